// What tests ask Redis about itself, and say to it, besides single commands.

import Support
import Testing

extension RedisServerProcess {
    /// Of INFO, by name.
    func info(_ section: String) throws -> [String: String] {
        var values: [String: String] = [:]
        for line in try run("INFO", section).split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        return values
    }

    /// Connections to it, the one that asks among them.
    var connections: Int {
        get throws { try info("clients")["connected_clients"].flatMap { Int($0) } ?? -1 }
    }

    /// Commands executed so far.
    func commandCount() throws -> Int {
        try info("stats")["total_commands_processed"].flatMap { Int($0) } ?? -1
    }

    /// Whether `command` takes `option`. (A server that can't tell, before 7.0, has none of those that tests ask for.)
    func offers(_ command: String, _ option: String) throws -> Bool {
        try run("COMMAND", "DOCS", command).contains(option)
    }

    /// A connection of the test's own.
    func connect() throws -> ClientSocket {
        let socket = try ClientSocket(unixPath: "\(directory)/redis.sock")
        try socket.send(commands: [["PING"]])
        try socket.expect("PONG")  // Redis has it: one that stands still accepts nobody.
        return socket
    }

    /// All in one MULTI.
    func transaction(_ commands: [[String]]) throws {
        let socket = try connect()
        try socket.send(commands: [["MULTI"]] + commands + [["EXEC"]])
        try socket.expect("*\(commands.count)\r\n")
    }
}

extension Reply {
    /// Fails the test when the status is another.
    @discardableResult
    func expect(_ status: Int, sourceLocation: SourceLocation = #_sourceLocation) -> Reply {
        #expect(self.status == status, "\(text)", sourceLocation: sourceLocation)
        return self
    }
}
