// The stream commands, one builder each, with the effect each has when its answer is lost.
//
// None blocks: the one connection is everybody's. Names and keys are bytes.

extension RedisCommand {
    // MARK: Entries

    /// XADD, up to the ID: append names and values in turn. The mark stands before the ID.
    /// - Parameters:
    ///   - onlyIfExists: NOMKSTREAM.
    ///   - references: 8.2 only.
    ///   - reserving: bytes that the whole command will probably take.
    public static func xadd(
        _ key: [UInt8], id: StreamAddID = .automatic, trim: StreamTrim? = nil, onlyIfExists: Bool = false,
        references: StreamReferencePolicy? = nil, reserving: Int = 256
    ) -> RedisCommand {
        var command = RedisCommand("XADD", effect: .write, reserving: reserving)
        command.appendKey(key)
        if onlyIfExists { command.append(literal: "NOMKSTREAM") }
        if let references { command.append(literal: references.token) }
        if let trim { command.append(trim) }
        command.mark()
        switch id {
        case .automatic: command.append(literal: "*")
        case .exact(let id): command.append(id: id)
        case .next(let milliseconds): command.append("\(milliseconds)-*")
        }
        return command
    }

    /// XRANGE, or XREVRANGE where `descending`; `from` is the lower end in both.
    public static func xrange(
        _ key: [UInt8], from: StreamBound = .earliest, to: StreamBound = .latest, count: Int? = nil,
        descending: Bool = false
    ) -> RedisCommand {
        var command = RedisCommand(descending ? "XREVRANGE" : "XRANGE", effect: .read)
        command.appendKey(key)
        command.append(bound: descending ? to : from)
        command.append(bound: descending ? from : to)
        command.append(count: count)
        return command
    }

    /// XREAD of one stream or many, without blocking.
    public static func xread(_ streams: [(key: [UInt8], from: StreamTailStart)], count: Int? = nil) -> RedisCommand {
        var command = RedisCommand("XREAD", effect: .read)
        command.append(count: count)
        command.append(literal: "STREAMS")
        for stream in streams { command.appendKey(stream.key) }
        for stream in streams {
            switch stream.from {
            case .after(let id): command.append(id: id)
            case .latest: command.append(literal: "$")
            }
        }
        return command
    }

    public static func xdel(_ key: [UInt8], _ ids: [StreamID]) -> RedisCommand {
        var command = RedisCommand("XDEL", effect: .write, reserving: 64 + key.count + 32 * ids.count)
        command.appendKey(key)
        for id in ids { command.append(id: id) }
        return command
    }

    /// XDELEX (8.2).
    public static func xdelex(_ key: [UInt8], _ ids: [StreamID], references: StreamReferencePolicy) -> RedisCommand {
        var command = RedisCommand("XDELEX", effect: .write, reserving: 96 + key.count + 32 * ids.count)
        command.appendKey(key)
        command.append(literal: references.token)
        command.append(ids: ids)
        return command
    }

    public static func xtrim(
        _ key: [UInt8], _ trim: StreamTrim, references: StreamReferencePolicy? = nil
    ) -> RedisCommand {
        var command = RedisCommand("XTRIM", effect: .write)
        command.appendKey(key)
        command.append(trim)
        if let references { command.append(literal: references.token) }
        return command
    }

    /// XSETID; `entriesAdded` and `maximumDeletedID` go together (7.0).
    public static func xsetid(
        _ key: [UInt8], lastID: StreamID, entriesAdded: Int64? = nil, maximumDeletedID: StreamID? = nil
    ) -> RedisCommand {
        var command = RedisCommand("XSETID", effect: .write)
        command.appendKey(key)
        command.append(id: lastID)
        if let entriesAdded {
            command.append(literal: "ENTRIESADDED")
            command.append(decimal: entriesAdded)
        }
        if let maximumDeletedID {
            command.append(literal: "MAXDELETEDID")
            command.append(id: maximumDeletedID)
        }
        return command
    }

    // MARK: Keys

    /// SCAN for streams. Cursor 0 begins; `pattern` is a glob; `count` is what Redis looks at, not what comes.
    public static func scanStreams(cursor: UInt64, pattern: [UInt8]? = nil, count: Int? = nil) -> RedisCommand {
        var command = RedisCommand("SCAN", effect: .read)
        command.append("\(cursor)")
        if let pattern {
            command.append(literal: "MATCH")
            command.append(pattern)
        }
        command.append(count: count)
        command.append(literal: "TYPE")
        command.append(literal: "stream")
        return command
    }

    public static func exists(_ key: [UInt8]) -> RedisCommand {
        var command = RedisCommand("EXISTS", effect: .read)
        command.appendKey(key)
        return command
    }

    public static func type(_ key: [UInt8]) -> RedisCommand {
        var command = RedisCommand("TYPE", effect: .read)
        command.appendKey(key)
        return command
    }

    public static func unlink(_ key: [UInt8]) -> RedisCommand {
        var command = RedisCommand("UNLINK", effect: .write)
        command.appendKey(key)
        return command
    }

    /// PUBLISH on `NudgeChannel`; see `RedisClientDelegate.redisNudged`.
    public static func nudge(_ payload: [UInt8]) -> RedisCommand {
        var command = RedisCommand("PUBLISH", effect: .write)
        command.append(literal: NudgeChannel.name)
        command.append(payload)
        return command
    }
}

// MARK: Options

extension RedisCommand {
    mutating func append(count: Int?) {
        guard let count else { return }
        append(literal: "COUNT")
        append(decimal: count)
    }

    /// `IDS n id …`, as the commands of 8.2 have it.
    mutating func append(ids: [StreamID]) {
        append(literal: "IDS")
        append(decimal: ids.count)
        for id in ids { append(id: id) }
    }

    mutating func append(bound: StreamBound) {
        switch bound {
        case .earliest: append(literal: "-")
        case .latest: append(literal: "+")
        case .including(let id): append(id: id)
        case .excluding(let id): append(id: id, exclusive: true)
        case .millisecond(let milliseconds): append("\(milliseconds)")
        case .excludingMillisecond(let milliseconds): append("(\(milliseconds)")
        }
    }

    mutating func append(_ trim: StreamTrim) {
        switch trim.bound {
        case .maximumLength(let length):
            append(literal: "MAXLEN")
            append(literal: trim.approximate ? "~" : "=")
            append(decimal: length)
        case .minimumID(let id):
            append(literal: "MINID")
            append(literal: trim.approximate ? "~" : "=")
            append(id: id)
        }
        if let limit = trim.limit {
            append(literal: "LIMIT")
            append(decimal: limit)
        }
    }
}

/// Where gateways tell one another what key tracking does not tell. Each subscribes to it, in the handshake.
public enum NudgeChannel {
    public static let name: StaticString = "sluice:nudge"
}
