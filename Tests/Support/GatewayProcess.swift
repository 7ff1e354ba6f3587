// The built `sluice`, as a process of a test's own: on a port of its own, with a log that the test can read,
// ended by its own process number.
//
// The program is `SLUICE_BINARY`, else the `sluice` beside the test bundle.

import Foundation
import Glibc
import Net

package final class GatewayProcess {
    package enum Failure: Error {
        case directory, noProgram(String)
        /// It ended, or did not listen in time; with what it logged.
        case notListening(log: String)
    }

    /// For its log, and for whatever a test gives it.
    package let directory: String
    package private(set) var port: UInt16 = 0
    private let process: ProcessDescriptor

    /// Starts it, on a free port unless `arguments` say otherwise, and waits until it listens.
    /// - Parameter configuration: the text of its sluice.yaml.
    package convenience init(_ arguments: [String], configuration: String? = nil) throws {
        let hasPort = arguments.contains("--port")
        try self.init(launching: (hasPort ? [] : ["--port", "0"]) + arguments, configuration: configuration)
        try waitUntil("the gateway listens") {
            if let found = listeningPort { port = found }
            return port != 0 || hasEnded
        }
        guard port != 0 else { throw Failure.notListening(log: log) }
    }

    private init(launching arguments: [String], configuration: String?) throws {
        var template = Array("/tmp/sluice-gateway-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure.directory }
        directory = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        // Always one of its own: there may be a sluice.yaml in the directory that the tests run in.
        try Data((configuration ?? "{}").utf8).write(to: URL(fileURLWithPath: "\(directory)/sluice.yaml"))
        process = try ProcessDescriptor.spawn(
            try GatewayProcess.program(), ["--config", "\(directory)/sluice.yaml"] + arguments,
            output: "\(directory)/log")
    }

    deinit {
        process.send(SIGCONT)
        process.send(SIGTERM)  // Its private Redis ends with it.
        if !process.waitForEnd(atMost: .seconds(10)) { process.send(SIGKILL) }
        _ = process.waitForEnd(atMost: .seconds(10))
        _ = process.reap()
        // What can't be removed stays: a leftover, no failure.
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// For a start that is to be refused: waits for its end.
    /// - Returns: the exit code (negative: the signal that ended it; nil: it went on running) and what it said.
    package static func run(_ arguments: [String], configuration: String? = nil) throws -> (code: Int32?, log: String) {
        let gateway = try GatewayProcess(launching: arguments, configuration: configuration)
        return (gateway.waitForEnd(atMost: .seconds(60)), gateway.log)
    }

    // MARK: What a test does to it

    package func send(_ signal: Int32) { process.send(signal) }

    /// The exit code; negative: the signal that ended it; nil: it goes on running. Waits for less than a drain may take
    /// (28 s): a gateway that drains in vain ends with 0, too.
    package func waitForEnd(atMost limit: Duration = .seconds(25)) -> Int32? {
        guard process.waitForEnd(atMost: limit), let status = process.reap() else { return nil }
        return status & 0x7F == 0 ? (status >> 8) & 0xFF : -(status & 0x7F)
    }

    /// kill -9.
    package func kill() {
        process.send(SIGKILL)
        _ = process.waitForEnd(atMost: .seconds(60))
    }

    // MARK: What a test sees of it

    package var log: String {
        // No log yet is an empty one.
        (try? String(contentsOfFile: "\(directory)/log", encoding: .utf8)) ?? ""
    }

    private var hasEnded: Bool { process.waitForEnd(atMost: .zero) }

    private var listeningPort: UInt16? {
        for line in log.split(separator: "\n") where line.contains("Listening on http://") {
            let address = line.components(separatedBy: "Listening on http://")[1].prefix { $0 != "\"" && $0 != " " }
            return address.split(separator: ":").last.flatMap { UInt16($0) }
        }
        return nil
    }

    /// Open file descriptors.
    package var descriptorCount: Int {
        // A process that has ended has none.
        (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(process.pid)/fd").count) ?? 0
    }

    /// Resident memory in bytes.
    package var memory: Int {
        // The same.
        let status = (try? String(contentsOfFile: "/proc/\(process.pid)/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }

    private static func program() throws -> String {
        if let program = getenv("SLUICE_BINARY") { return String(cString: program) }
        // The bundle is loaded into this process, whichever program runs the tests.
        let maps = try String(contentsOfFile: "/proc/self/maps", encoding: .utf8).split(separator: "\n")
        guard let line = maps.first(where: { $0.hasSuffix(".xctest") }), let start = line.firstIndex(of: "/") else {
            throw Failure.noProgram("the test bundle is not to be found")
        }
        let path = URL(fileURLWithPath: String(line[start...])).deletingLastPathComponent().path + "/sluice"
        guard access(path, X_OK) == 0 else { throw Failure.noProgram(path) }
        return path
    }
}
