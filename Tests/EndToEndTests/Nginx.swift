// An nginx in front of gateways, as `deploy/examples/nginx.conf` has it but for the waiting: what streams of events have to
// get through. It can serve a test's own pages, which then are of the gateways' origin.

import Foundation
import Glibc
import Net
import Support

final class Nginx {
    let port: UInt16
    private let directory: TemporaryDirectory
    private var process: ProcessDescriptor?

    /// - Parameters:
    ///   - gateways: their ports. Which one gets a request is nginx' business; one that is not there is passed over.
    ///   - pages: by their names.
    ///   - reports: the port of a receiver of all that is sent to `/report`.
    init(_ gateways: [UInt16], pages: [String: String] = [:], reports: UInt16? = nil) throws {
        port = try RedisServerProcess.freePort()
        directory = try TemporaryDirectory()
        let path = directory.path
        for (name, text) in pages { try text.write(toFile: "\(path)/\(name)", atomically: true, encoding: .utf8) }
        let upstreams = gateways.map { "server 127.0.0.1:\($0) max_fails=0;" }.joined(separator: " ")
        let report = reports.map { "location /report { proxy_pass http://127.0.0.1:\($0); }" } ?? ""
        let configuration = """
            daemon off; master_process off; pid \(path)/pid; error_log \(path)/error.log;
            events {}
            http {
              access_log off; client_body_temp_path \(path)/a; proxy_temp_path \(path)/b;
              fastcgi_temp_path \(path)/c; uwsgi_temp_path \(path)/d; scgi_temp_path \(path)/e;
              types { text/html html; }
              upstream gateways { \(upstreams) }
              server {
                listen 127.0.0.1:\(port);
                root \(path);
                \(report)
                location /v1/ { proxy_pass http://gateways; proxy_set_header Host $http_host; }
              }
            }
            """
        try configuration.write(toFile: "\(path)/nginx.conf", atomically: true, encoding: .utf8)
        try start()
    }

    deinit { kill() }

    func start() throws {
        let path = directory.path
        // Where Debian puts it.
        process = try ProcessDescriptor.spawn("/usr/sbin/nginx", ["-p", path, "-c", "\(path)/nginx.conf"], output: "\(path)/output")
        // Refused: not yet.
        try waitUntil("nginx listens") { (try? ClientSocket(port: port)) != nil }
    }

    /// With all connections, and nobody is told why.
    func kill() {
        process?.send(SIGKILL)
        _ = process?.waitForEnd(atMost: .seconds(10))
        _ = process?.reap()
        process = nil
    }
}
