// Commands on keys that are no streams: hashes, lists, sorted sets and numbers, in which the gateway keeps its own.

extension RedisCommand {
    private static func read(_ name: StaticString, _ key: [UInt8]) -> RedisCommand {
        var command = RedisCommand(name, effect: .read)
        command.appendKey(key)
        return command
    }

    private static func change(_ name: StaticString, _ key: [UInt8], reserving: Int = 192) -> RedisCommand {
        var command = RedisCommand(name, effect: .idempotent, reserving: reserving)
        command.appendKey(key)
        return command
    }

    public static func get(_ key: [UInt8]) -> RedisCommand { read("GET", key) }

    public static func del(_ key: [UInt8]) -> RedisCommand { change("DEL", key) }

    public static func pexpire(_ key: [UInt8], after life: Duration) -> RedisCommand {
        var command = change("PEXPIRE", key)
        command.append(milliseconds: life)
        return command
    }

    // MARK: Hashes

    public static func hget(_ key: [UInt8], _ field: String) -> RedisCommand {
        var command = read("HGET", key)
        command.append(field)
        return command
    }

    public static func hmget(_ key: [UInt8], _ fields: some Sequence<String>) -> RedisCommand {
        var command = read("HMGET", key)
        for field in fields { command.append(field) }
        return command
    }

    public static func hkeys(_ key: [UInt8]) -> RedisCommand { read("HKEYS", key) }

    public static func hgetall(_ key: [UInt8]) -> RedisCommand { read("HGETALL", key) }

    public static func hset(_ key: [UInt8], _ pairs: [(field: String, value: [UInt8])]) -> RedisCommand {
        var command = change("HSET", key, reserving: pairs.reduce(128) { $0 + $1.value.count + $1.field.utf8.count + 32 })
        for pair in pairs {
            command.append(pair.field)
            command.append(pair.value)
        }
        return command
    }

    public static func hdel(_ key: [UInt8], _ fields: [String]) -> RedisCommand {
        var command = change("HDEL", key)
        for field in fields { command.append(field) }
        return command
    }

    // MARK: Lists

    /// All of it.
    public static func lrange(_ key: [UInt8]) -> RedisCommand {
        var command = read("LRANGE", key)
        command.append(literal: "0")
        command.append(literal: "-1")
        return command
    }

    // MARK: Sorted sets

    /// All members, or those between two places, each followed by its score when `withScores`.
    public static func zrange(_ key: [UInt8], from: Int = 0, to: Int = -1, withScores: Bool = false) -> RedisCommand {
        var command = read("ZRANGE", key)
        command.append(decimal: from)
        command.append(decimal: to)
        if withScores { command.append(literal: "WITHSCORES") }
        return command
    }

    public static func zcard(_ key: [UInt8]) -> RedisCommand { read("ZCARD", key) }

    /// - Parameter score: a time, in ms.
    public static func zadd(_ key: [UInt8], _ member: String, score: Duration) -> RedisCommand {
        var command = change("ZADD", key)
        command.append(milliseconds: score)
        command.append(member)
        return command
    }

    public static func zrem(_ key: [UInt8], _ member: [UInt8]) -> RedisCommand {
        var command = change("ZREM", key)
        command.append(member)
        return command
    }

    /// Removes what has a score up to `time`, in ms.
    public static func zremrangebyscore(_ key: [UInt8], upTo time: Duration) -> RedisCommand {
        var command = change("ZREMRANGEBYSCORE", key)
        command.append(literal: "-inf")
        command.append(milliseconds: time)
        return command
    }
}
