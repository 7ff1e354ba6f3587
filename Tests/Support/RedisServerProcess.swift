// A real redis-server of a test's own: in a directory of its own, on a Unix socket or a loopback port,
// ended by its own process number.
//
// The program is `SLUICE_REDIS_SERVER`, else the `redis-server` of the path.

import Foundation
import Glibc
import Net
package import Redis

package final class RedisServerProcess {
    package enum Failure: Error {
        /// `noAnswer`: with what it logged.
        case directory, noAnswer(log: String)
    }

    /// Options of one that loses nothing when it is killed: each write is the kernel's before it is answered. (`everysec` puts
    /// writes off while the disk is busy.)
    package static let lasting = ["--appendonly", "yes", "--appendfsync", "no"]

    package let directory: String
    package let endpoint: RedisEndpoint
    /// Of a server on a port.
    package var port: UInt16? { if case .tcp(_, let port) = endpoint.place { port } else { nil } }
    private let arguments: [String]
    private let address: SocketAddress
    private var process: ProcessDescriptor?

    /// Starts a server and waits until it takes connections.
    /// - Parameter options: redis.conf's, e.g. `["--requirepass", "x"]`.
    package init(options: [String] = [], onPort: Bool = false) throws {
        var template = Array("/tmp/sluice-redis-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure.directory }
        let directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        self.directory = directory
        let port = onPort ? try RedisServerProcess.freePort() : 0
        let place: RedisEndpoint.Place =
            onPort ? .tcp(host: "127.0.0.1", port: port) : .unix(path: "\(directory)/redis.sock")
        endpoint = RedisEndpoint(place: place)
        guard let address = onPort
            ? SocketAddress(literal: "127.0.0.1", port: port) : SocketAddress(unixPath: "\(directory)/redis.sock")
        else { throw Failure.directory }
        self.address = address
        arguments = [
            "--port", String(port), "--bind", "127.0.0.1", "--dir", directory, "--save", "", "--loglevel", "warning",
            "--logfile", "\(directory)/log",
        ] + (onPort ? [] : ["--unixsocket", "\(directory)/redis.sock"]) + options
        try start()
    }

    deinit {
        end()
        try? FileManager.default.removeItem(atPath: directory)  // What is left is a temporary directory.
    }

    // MARK: What a test does to it

    /// kill -9, and waits for the end.
    package func end() {
        process?.send(SIGKILL)
        _ = process?.waitForEnd(atMost: .seconds(60))
        _ = process?.reap()
        process = nil
    }

    /// Starts it again after `end`, on the same socket, without data.
    package func start() throws {
        let program = getenv("SLUICE_REDIS_SERVER").map { String(cString: $0) } ?? "redis-server"
        // It has none of our descriptors: if this process crashes, whoever reads its output is to see the end of it.
        process = try ProcessDescriptor.spawn("/usr/bin/env", [program] + arguments, output: "\(directory)/log")
        try waitUntilReady()
    }

    /// SIGSTOP: it takes connections (the kernel does) and answers nothing.
    package func freeze() { process?.send(SIGSTOP) }

    package func thaw() { process?.send(SIGCONT) }

    /// What another client says: sends one command on a connection of its own, and returns the answer as it came
    /// over the wire. Blocks, for a minute at most.
    @discardableResult
    package func run(_ first: String, _ rest: String...) throws -> String {
        try run([first] + rest)
    }

    @discardableResult
    package func run(_ words: [String]) throws -> String { try exchange(words.map { Array($0.utf8) }).text }

    /// The same, and the answer as a value.
    @discardableResult
    package func ask(_ words: [String]) throws -> RedisValue { try ask(bytes: words.map { Array($0.utf8) }) }

    @discardableResult
    package func ask(bytes words: [[UInt8]]) throws -> RedisValue { try exchange(words).value }

    private func exchange(_ words: [[UInt8]]) throws -> (text: String, value: RedisValue) {
        let socket = try connectBlocking()
        defer { Glibc.close(socket) }
        var bytes = Array("*\(words.count)\r\n".utf8)
        for word in words { bytes += Array("$\(word.count)\r\n".utf8) + word + Array("\r\n".utf8) }
        guard send(socket, &bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else { throw noAnswer }
        var answer: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            // A server may write an answer in pieces: before 7.0 it does so for each list whose length it learns late.
            let count = Glibc.read(socket, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }  // So ends a read with a limit where the process was stopped.
            guard count > 0 else { throw noAnswer }
            answer += piece[..<count]
            var rest = answer[...]
            if let value = RedisValue(taking: &rest) { return (String(decoding: answer, as: UTF8.self), value) }
        }
    }

    // MARK: Inside

    private func waitUntilReady() throws {
        for _ in 0..<6000 {
            // The first attempts may fail: that is what is waited for.
            if let answer = try? run("PING"), answer.hasPrefix("+PONG") || answer.hasPrefix("-NOAUTH") { return }
            if process?.waitForEnd(atMost: .milliseconds(10)) == true { break }
        }
        throw noAnswer
    }

    private var noAnswer: Failure {
        // No log yet is an empty one.
        .noAnswer(log: (try? String(contentsOfFile: "\(directory)/log", encoding: .utf8)) ?? "")
    }

    private func connectBlocking() throws -> Int32 {
        let descriptor = try Socket.connect(to: address).release()
        var state = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&state, 1, 60_000)
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) & ~O_NONBLOCK)
        var limit = timeval(tv_sec: 60, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }

    /// A port of loopback that nobody listens on just now.
    package static func freePort() throws -> UInt16 {
        guard let any = SocketAddress(literal: "127.0.0.1", port: 0) else { throw Failure.directory }
        return try ListeningSocket(binding: any).address.port
    }
}
