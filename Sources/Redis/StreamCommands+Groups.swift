// The commands of consumer groups: reading, acknowledging, claiming, and what is known of them.

extension RedisCommand {
    // MARK: Reading and acknowledging

    /// XREADGROUP of one stream or many, without blocking.
    public static func xreadgroup(
        group: [UInt8], consumer: [UInt8], _ streams: [(key: [UInt8], from: StreamGroupStart)], count: Int? = nil,
        noAck: Bool = false
    ) -> RedisCommand {
        var command = RedisCommand("XREADGROUP", effect: .consume, reserving: 256)
        command.append(literal: "GROUP")
        command.append(group)
        command.append(consumer)
        command.append(count: count)
        if noAck { command.append(literal: "NOACK") }
        command.append(literal: "STREAMS")
        for stream in streams { command.appendKey(stream.key) }
        for stream in streams {
            switch stream.from {
            case .new: command.append(literal: ">")
            case .pending(let id): command.append(id: id)
            }
        }
        return command
    }

    public static func xack(_ key: [UInt8], group: [UInt8], _ ids: [StreamID]) -> RedisCommand {
        var command = RedisCommand("XACK", effect: .write, reserving: 64 + key.count + group.count + 32 * ids.count)
        command.appendKey(key)
        command.append(group)
        for id in ids { command.append(id: id) }
        return command
    }

    // MARK: Pending entries

    /// XPENDING, the summary.
    public static func xpending(_ key: [UInt8], group: [UInt8]) -> RedisCommand {
        var command = RedisCommand("XPENDING", effect: .read)
        command.appendKey(key)
        command.append(group)
        return command
    }

    /// XPENDING, entry by entry.
    public static func xpending(
        _ key: [UInt8], group: [UInt8], from: StreamBound = .earliest, to: StreamBound = .latest, count: Int,
        consumer: [UInt8]? = nil, minimumIdle: Duration? = nil
    ) -> RedisCommand {
        var command = RedisCommand("XPENDING", effect: .read)
        command.appendKey(key)
        command.append(group)
        if let minimumIdle {
            command.append(literal: "IDLE")
            command.append(milliseconds: minimumIdle)
        }
        command.append(bound: from)
        command.append(bound: to)
        command.append(decimal: count)
        if let consumer { command.append(consumer) }
        return command
    }

    // MARK: Groups

    /// - Parameter entriesRead: 7.0.
    public static func xgroupCreate(
        _ key: [UInt8], group: [UInt8], at position: StreamGroupPosition, makeStream: Bool, entriesRead: Int64? = nil
    ) -> RedisCommand {
        var command = xgroup("CREATE", key, group)
        command.append(position)
        if makeStream { command.append(literal: "MKSTREAM") }
        command.append(entriesRead: entriesRead)
        return command
    }

    /// - Parameter entriesRead: 7.0.
    public static func xgroupSetID(
        _ key: [UInt8], group: [UInt8], to position: StreamGroupPosition, entriesRead: Int64? = nil
    ) -> RedisCommand {
        var command = xgroup("SETID", key, group)
        command.append(position)
        command.append(entriesRead: entriesRead)
        return command
    }

    public static func xgroupCreateConsumer(_ key: [UInt8], group: [UInt8], consumer: [UInt8]) -> RedisCommand {
        var command = xgroup("CREATECONSUMER", key, group)
        command.append(consumer)
        return command
    }

    // MARK: What is known

    public static func xinfoStream(_ key: [UInt8]) -> RedisCommand { xinfo("STREAM", key) }

    /// XINFO STREAM FULL; `count` 0 means all. The reply is nested seven arrays deep, which is within what every
    /// hiredis reads (8), in an EXEC too.
    public static func xinfoStreamFull(_ key: [UInt8], count: Int? = nil) -> RedisCommand {
        var command = xinfo("STREAM", key)
        command.append(literal: "FULL")
        command.append(count: count)
        return command
    }

    public static func xinfoGroups(_ key: [UInt8]) -> RedisCommand { xinfo("GROUPS", key) }

    public static func xinfoConsumers(_ key: [UInt8], group: [UInt8]) -> RedisCommand {
        var command = xinfo("CONSUMERS", key)
        command.append(group)
        return command
    }

    private static func xinfo(_ subcommand: StaticString, _ key: [UInt8]) -> RedisCommand {
        var command = RedisCommand("XINFO", effect: .read)
        command.append(literal: subcommand)
        command.appendKey(key)
        return command
    }

    private static func xgroup(_ subcommand: StaticString, _ key: [UInt8], _ group: [UInt8]) -> RedisCommand {
        var command = RedisCommand("XGROUP", effect: .write)
        command.append(literal: subcommand)
        command.appendKey(key)
        command.append(group)
        return command
    }

    public mutating func append(_ position: StreamGroupPosition) {
        switch position {
        case .after(let id): append(id: id)
        case .latest: append(literal: "$")
        }
    }

    private mutating func append(entriesRead: Int64?) {
        guard let entriesRead else { return }
        append(literal: "ENTRIESREAD")
        append(decimal: entriesRead)
    }
}
