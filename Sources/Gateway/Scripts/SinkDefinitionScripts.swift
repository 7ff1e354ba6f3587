// A sink's definition and its stop (`SinkStop`), changed: put, deleted, paused or disabled, resumed. Scripts, because
// the change, the number that tells of it to those who missed the nudge, and the nudge are one step: two replicas that
// change a sink at once do so in some order, and each that hears of it reads the last.

import Redis

/// KEYS  definitions, stops, version, the hash of its globs (`SinkMarkScripts`)
/// ARGV  the sink's name, its definition, how many sinks there may be; where it has globs the finds' field, how marks' fields begin,
///       how many marks of globs that were replaced are kept, and each glob
/// Reply 1 created, 0 replaced, -1 there is no room for another
/// What the receiver of the old definition said (410) is forgotten; a pause stays. Globs begin now, but for those that it had
/// with this group. Those that it has no more are kept until a walk has ended: beyond the bound, which one that is replaced over
/// and over while it is paused may reach, some of them go, with messages of streams that nobody has found yet.
enum PutSinkScript {
    static let script = RedisScript(
        """
        \(ClockFragment.lua)
        local sinks, stops, version, marks, name, definition, limit = KEYS[1], KEYS[2], KEYS[3], KEYS[4], ARGV[1], ARGV[2], tonumber(ARGV[3])
        local finds, prefix, room = ARGV[4], ARGV[5], tonumber(ARGV[6] or 0)
        local now = finds and whole(now_ms())
        local is_new = redis.call('HEXISTS', sinks, name) == 0
        if is_new and redis.call('HLEN', sinks) >= limit then return -1 end
        redis.call('HSET', sinks, name, definition)
        local stop = redis.call('HGET', stops, name)
        if stop and (is_new or string.find(stop, '"state":"disabled"', 1, true)) then redis.call('HDEL', stops, name) end
        if is_new or not finds then redis.call('DEL', marks) end
        local own = {}
        for i = 7, #ARGV do
          own[prefix .. ARGV[i]] = true
          redis.call('HSETNX', marks, prefix .. ARGV[i], now)
        end
        for _, field in ipairs(redis.call('HKEYS', marks)) do
          local is_replaced = not own[field] and string.sub(field, 1, #prefix) == prefix
          if is_replaced then room = room - 1 end
          if not own[field] and field ~= finds and not (is_replaced and room >= 0) then redis.call('HDEL', marks, field) end
        end
        redis.call('INCR', version)
        \(SinkNudge.lua)
        return is_new and 1 or 0
        """)

    static func call(_ definition: SinkDefinition, _ stored: [UInt8], limit: Int) -> RedisCommand {
        var command = script.call(keyCount: 4, effect: .write, reserving: 384 + stored.count)
        command.appendSinkKeys()
        command.appendKey(GatewayKeys.sinkGlobs(definition.name))
        command.append(definition.name)
        command.append(stored)
        command.append(decimal: limit)
        guard !definition.globs.isEmpty else { return command }
        command.append(SinkFinds.field(definition))
        command.append(SinkMark.prefix(definition))
        command.append(decimal: Limits.sinkStreams)
        for glob in definition.globs { command.append(glob.text) }
        return command
    }
}

/// KEYS  definitions, stops, version, its failed attempts, its other attempts, the hash of its globs
/// ARGV  the sink's name
/// Reply 1 deleted, 0 there was none
enum DeleteSinkScript {
    static let script = RedisScript(
        """
        local sinks, stops, version, name = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
        if redis.call('HDEL', sinks, name) == 0 then return 0 end
        redis.call('HDEL', stops, name)
        redis.call('DEL', KEYS[4], KEYS[5], KEYS[6])
        redis.call('INCR', version)
        \(SinkNudge.lua)
        return 1
        """)

    static func call(_ name: String) -> RedisCommand {
        var command = script.call(keyCount: 6, effect: .write)
        command.appendSinkKeys()
        command.appendKey(GatewayKeys.sinkAttempts(name, failed: true))
        command.appendKey(GatewayKeys.sinkAttempts(name, failed: false))
        command.appendKey(GatewayKeys.sinkGlobs(name))
        command.append(name)
        return command
    }
}

/// KEYS  definitions, stops, version
/// ARGV  the sink's name, '1' if it is one of the configuration, the stop, the definition that it is about ('' for any)
/// Reply 1 stopped, 0 it was paused already, -1 there is no such sink, or it has another definition by now
/// A pause takes the place of a 410: it holds whatever definition comes next.
enum StopSinkScript {
    static let script = RedisScript(
        """
        local sinks, stops, version = KEYS[1], KEYS[2], KEYS[3]
        local name, is_configured, stop, about = ARGV[1], ARGV[2] == '1', ARGV[3], ARGV[4]
        if not is_configured then
          local definition = redis.call('HGET', sinks, name)
          if not definition or about ~= '' and definition ~= about then return -1 end
        end
        local before = redis.call('HGET', stops, name)
        if before and string.find(before, '"state":"paused"', 1, true) then return 0 end
        redis.call('HSET', stops, name, stop)
        redis.call('INCR', version)
        \(SinkNudge.lua)
        return 1
        """)

    /// `about` is nil for a pause.
    static func call(_ name: String, isConfigured: Bool, _ stop: SinkStop, about definition: [UInt8]?) -> RedisCommand {
        var command = script.call(keyCount: 3, effect: .write)
        command.appendSinkKeys()
        command.append(name)
        command.append(isConfigured ? "1" : "")
        command.append(stop.json)
        command.append(definition ?? [])
        return command
    }
}

/// KEYS  definitions, stops, version
/// ARGV  the sink's name, '1' if it is one of the configuration
/// Reply 1 resumed, 0 it was not stopped, -1 there is no such sink
enum ResumeSinkScript {
    static let script = RedisScript(
        """
        local sinks, stops, version, name, is_configured = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2] == '1'
        if not is_configured and redis.call('HEXISTS', sinks, name) == 0 then return -1 end
        if redis.call('HDEL', stops, name) == 0 then return 0 end
        redis.call('INCR', version)
        \(SinkNudge.lua)
        return 1
        """)

    static func call(_ name: String, isConfigured: Bool) -> RedisCommand {
        var command = script.call(keyCount: 3, effect: .write)
        command.appendSinkKeys()
        command.append(name)
        command.append(isConfigured ? "1" : "")
        return command
    }
}

extension RedisCommand {
    fileprivate mutating func appendSinkKeys() {
        appendKey(GatewayKeys.sinks)
        appendKey(GatewayKeys.sinkStops)
        appendKey(GatewayKeys.sinkVersion)
    }
}
