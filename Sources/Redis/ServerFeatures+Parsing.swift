// The answers to INFO, COMMAND INFO and COMMAND DOCS.

import Net

extension ServerFeatures {
    /// Commands that not every server has.
    static let commandsOfInterest = ["XDELEX"]
    /// Commands whose options differ from server to server.
    static let commandsWithOptions = ["XADD", "XTRIM", "XSETID", "XGROUP|CREATE", "XGROUP|SETID"]

    /// `name:value` lines.
    mutating func readInfo(_ text: UnsafeRawBufferPointer) {
        var values: [Substring: Substring] = [:]
        for line in String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            values[line[..<colon]] = line[line.index(after: colon)...]
        }
        version = String(values["redis_version"] ?? "")
        product = String(values["server_name"] ?? "redis")
        productVersion = String(values["valkey_version"] ?? values["redis_version"] ?? "")
        mode = String(values["redis_mode"] ?? values["server_mode"] ?? "")
        isLoading = values["loading"] == "1"
        warnings = ServerFeatures.warnings(values)
    }

    private static func warnings(_ values: [Substring: Substring]) -> [String] {
        var warnings: [String] = []
        if let policy = values["maxmemory_policy"], policy != "noeviction", values["maxmemory"] != "0" {
            warnings.append("maxmemory-policy is \(policy): Redis deletes whole streams when memory is short")
        }
        if values["aof_enabled"] == "0" {
            warnings.append("no append-only file: a crash of Redis loses what came after its last snapshot")
        }
        if values["aof_last_write_status"] == "err" || values["aof_last_bgrewrite_status"] == "err" {
            warnings.append("the append-only file can't be written")
        }
        if values["rdb_last_bgsave_status"] == "err" {
            warnings.append("the last snapshot has failed: Redis may refuse writes (MISCONF)")
        }
        if values["role"] == "slave" { warnings.append("this server is a replica: writes will be refused") }
        return warnings
    }

    /// An array with a description or a null for each command that was asked for, in order.
    mutating func readCommandInfo(_ reply: RedisReply) {
        var rows = reply.elements
        for name in ServerFeatures.commandsOfInterest where !rows.isAtEnd {
            if var row = rows.takeArray(), row.takeText()?.uppercased() == name { commands.insert(name) }
        }
    }

    /// Name and description in turn. A description nests arguments in arguments; options are what follows
    /// the word `token` at any depth.
    mutating func readCommandDocs(_ reply: RedisReply) {
        var rows = reply.elements
        while let name = rows.takeText(), var description = rows.takeArray() {
            var found: Set<String> = []
            while !description.isAtEnd {
                if description.kind == .array {
                    _ = description.enterArray()
                } else if description.takeBytes()?.isSame(as: "token") == true, let token = description.takeText() {
                    found.insert(token.uppercased())
                }
            }
            tokens[name.uppercased()] = found
        }
    }
}
