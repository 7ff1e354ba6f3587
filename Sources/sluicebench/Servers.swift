// The processes under test, on loopback ports that the kernel chose: started, waited for, ended by pid.

import Glibc
import Net

/// A server of ours, which ends with this object.
final class Server {
    let process: ProcessDescriptor
    let port: UInt16
    var pid: Int32 { process.pid }
    var address: SocketAddress { SocketAddress(literal: "127.0.0.1", port: port)! }

    init(_ name: String, _ executable: String, _ arguments: [String], port: UInt16, in bench: Bench) throws {
        let log = bench.folder + "/\(name).log"
        self.port = port
        process = try .spawn(executable, arguments, output: log)
        let clock = MonotonicClock()
        let deadline = clock.now + .seconds(10)
        while !Server.listens(port) {
            if process.waitForEnd(atMost: .milliseconds(1)) || clock.now > deadline {
                throw BenchError.didNotStart(executable, log: log)
            }
        }
    }

    deinit {
        process.send(SIGTERM)
        if !process.waitForEnd(atMost: .seconds(10)) { process.send(SIGKILL) }
        _ = process.waitForEnd(atMost: .seconds(1))
        _ = process.reap()
    }

    private static func listens(_ port: UInt16) -> Bool {
        guard let address = SocketAddress(literal: "127.0.0.1", port: port) else { return false }
        // Refused is the answer while it starts.
        guard let socket = try? Socket.connect(to: address) else { return false }
        var file = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
        return poll(&file, 1, 100) > 0 && socket.connectError == nil
    }
}

/// A run's folder and what it starts.
final class Bench {
    let folder: String

    init() throws {
        var template = Array("/tmp/sluicebench-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw SystemError("mkdtemp") }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Logs and pid files stay behind when something failed: they say why.
    func clean() {
        guard let entries = opendir(folder) else { return }
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            unlink(folder + "/" + name)
        }
        closedir(entries)
        rmdir(folder)
    }

    static func find(_ program: String) -> String? {
        let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin:/bin"
        // Debian keeps nginx where a user's PATH does not look.
        for folder in (path + ":/usr/sbin").split(separator: ":") where access("\(folder)/\(program)", X_OK) == 0 {
            return "\(folder)/\(program)"
        }
        return nil
    }

    func redis(more: [String] = []) throws -> Server {
        guard let path = Bench.find("redis-server") else { throw BenchError.missing("redis-server") }
        let port = try freePort()
        return try Server("redis", path, ["--port", "\(port)", "--bind", "127.0.0.1", "--save", "", "--dir", folder] + more, port: port, in: self)
    }

    func sluice(_ options: CommonOptions, redis: Server, more: [String] = []) throws -> Server {
        guard access(options.sluice, X_OK) == 0 else { throw BenchError.missing(options.sluice) }
        let port = try freePort()
        return try Server("sluice", options.sluice, Bench.arguments(options, port: port, redis: redis) + more, port: port, in: self)
    }

    static func arguments(_ options: CommonOptions, port: UInt16, redis: Server) -> [String] {
        ["serve", "--port", "\(port)", "--redis", "redis://127.0.0.1:\(redis.port)", "--loops", "\(options.loops)"]
    }

    /// As its users run it, with one thread like the gateway's one loop.
    func webdis(redis: Server, threads: Int) throws -> Server? {
        guard let path = Bench.find("webdis") else { return nil }
        let port = try freePort()
        let configuration = """
            {"redis_host":"127.0.0.1","redis_port":\(redis.port),"redis_auth":null,"http_host":"127.0.0.1",\
            "http_port":\(port),"threads":\(threads),"daemonize":false,"database":0,"acl":[],"verbosity":1,\
            "logfile":"\(folder)/webdis.out"}
            """
        try write(folder + "/webdis.json", configuration)
        return try Server("webdis", path, [folder + "/webdis.json"], port: port, in: self)
    }

    /// A receiver that costs as little as one can: 204 to everything.
    func nginx() throws -> Server {
        guard let path = Bench.find("nginx") else { throw BenchError.missing("nginx") }
        let port = try freePort()
        let configuration = """
            daemon off; worker_processes 1; pid \(folder)/nginx.pid; error_log \(folder)/nginx.err;
            events { worker_connections 8192; }
            http {
              access_log off; keepalive_requests 100000000; client_body_temp_path \(folder)/body;
              proxy_temp_path \(folder)/proxy; fastcgi_temp_path \(folder)/fastcgi;
              uwsgi_temp_path \(folder)/uwsgi; scgi_temp_path \(folder)/scgi;
              server { listen 127.0.0.1:\(port); location / { return 204; } }
            }

            """
        try write(folder + "/nginx.conf", configuration)
        return try Server("nginx", path, ["-c", folder + "/nginx.conf", "-e", folder + "/nginx.err"], port: port, in: self)
    }

    func freePort() throws -> UInt16 {
        guard let any = SocketAddress(literal: "127.0.0.1", port: 0) else { throw SystemError("bind") }
        let socket = try ListeningSocket(binding: any)
        return socket.address.port
    }

    func write(_ path: String, _ text: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw SystemError("open") }
        defer { close(file) }
        let bytes = Array(text.utf8)
        guard Glibc.write(file, bytes, bytes.count) == bytes.count else { throw SystemError("write") }
    }
}
