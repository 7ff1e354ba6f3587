// Finding, configuring and starting a redis-server, and asking one who it is (which blocks: it is for the
// start of the program).

import Glibc
import Net

enum ServerLaunch {
    /// What a server said of itself.
    struct Identity {
        var pid: Int32
        var configuration: String
    }

    /// The first of these in the PATH.
    static let names = ["redis-server", "valkey-server"]

    static var searchPath: String { getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin" }

    static func find(_ wanted: String?, path: String) throws(EmbeddedRedisError) -> String {
        if let wanted { return wanted }
        for name in names {
            for folder in path.split(separator: ":") where access("\(folder)/\(name)", X_OK) == 0 {
                return "\(folder)/\(name)"
            }
        }
        throw .serverNotFound
    }

    static func configuration(_ directory: DataDirectory, _ fsync: EmbeddedRedisOptions.Fsync) -> String {
        """
        # Written by sluice at each start: changes are lost. To have a say, run a Redis and name its URL.
        port 0
        unixsocket \(quoted(directory.socketPath))
        unixsocketperm 700
        dir \(quoted(directory.path))
        pidfile \(quoted(directory.path + "/redis.pid"))
        logfile \(quoted(directory.log))
        daemonize no
        # The append-only file holds all: snapshots beside it would fork for nothing, and with no save points
        # a failed snapshot stops no writes either (a failed append does, until it works again).
        appendonly yes
        appendfsync \(fsync.rawValue)
        save ""
        # A message that was taken is never dropped for memory: the writer is told (507).
        maxmemory-policy noeviction

        """
    }

    /// As Redis reads a string in its configuration.
    private static func quoted(_ text: String) -> String {
        var result = "\""
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"), ..<32, 127...:
                let hex = String(byte, radix: 16)
                result += "\\x" + (hex.count == 1 ? "0" : "") + hex
            default: result.unicodeScalars.append(Unicode.Scalar(byte))
            }
        }
        return result + "\""
    }

    /// The server has `lock` for as long as it lives.
    static func spawn(_ executable: String, _ directory: DataDirectory, lock: Int32) throws(EmbeddedRedisError) -> ProcessDescriptor {
        let mask = umask(0o077)  // What it writes is this user's alone, whatever the directory allows.
        defer { umask(mask) }
        do throws(SystemError) {
            return try .spawn(executable, [directory.configuration], output: directory.log, lending: lock)
        } catch {
            throw .spawn(executable, error)
        }
    }

    /// Asks the server on a Unix socket who it is; nil when nobody answers.
    static func identify(_ socketPath: String) -> Identity? {
        guard let info = exchange("*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n", on: socketPath) else { return nil }
        // "\r\n" is one Character: lines are split as bytes.
        func value(_ name: String) -> String? {
            for line in info.split(separator: UInt8(ascii: "\n")) where line.starts(with: (name + ":").utf8) {
                let rest = line.dropFirst(name.utf8.count + 1)
                return String(decoding: rest.last == UInt8(ascii: "\r") ? rest.dropLast() : rest, as: UTF8.self)
            }
            return nil
        }
        guard let pid = value("process_id").flatMap({ Int32($0) }), let file = value("config_file") else { return nil }
        return Identity(pid: pid, configuration: file)
    }

    /// Sends one command and returns its whole reply; nil when there is none within a second.
    static func exchange(_ command: String, on socketPath: String) -> [UInt8]? {
        guard let address = SocketAddress(unixPath: socketPath) else { return nil }
        // Nobody listens, or not yet: the caller asks again.
        guard let socket = try? Socket.connect(to: address) else { return nil }
        var request = command
        // A server that hangs up meanwhile has not answered either.
        guard request.withUTF8({ try? socket.write(UnsafeRawBufferPointer($0)) }) != nil else { return nil }
        let buffer = ByteBuffer(capacity: 8192)
        while !isWhole(buffer.bytes) {
            var file = pollfd(fd: socket.descriptor, events: Int16(POLLIN), revents: 0)
            guard poll(&file, 1, 1000) > 0 else { return nil }
            let room = buffer.reserve(4096)
            // As above.
            guard case .bytes(let count)? = try? socket.read(into: room) else { return nil }
            buffer.wrote(count)
        }
        return buffer.takeArray()
    }

    /// A simple reply's line, or a bulk string's length and as many bytes, are there.
    private static func isWhole(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else { return false }
        guard bytes[0] == UInt8(ascii: "$") else { return true }
        let digits = String(decoding: bytes[1..<end].prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
        return bytes.count >= end + 1 + (Int(digits) ?? 0) + 2
    }
}
