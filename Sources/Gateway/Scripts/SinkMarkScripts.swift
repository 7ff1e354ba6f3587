// Keeps since when a sink reads what its globs match (`SinkMark`), and which streams those are (`SinkFinds`). Scripts, because only
// the first replica to say so begins a sink, and because one that has not heard yet that the sink was deleted or replaced has no
// say: what it knows is of another sink.
//
// The hash `GatewayKeys.sinkGlobs` has a field for each mark, and one for the finds of each group. Marks of globs that the
// definition has no more stay until a walk has ended without them: a stream that they match may have messages, and not have been
// found yet. Different files of the configuration that run side by side for a while each keep their own marks.

import Net
import Redis

/// KEYS  definitions, the sink's hash
/// ARGV  the sink's name, its definition ('' for one of the configuration), how long one of those is kept (ms), the finds' field,
///       how marks' fields begin; for each glob itself, and its mark if it is known
/// Reply the finds or nil, then each glob and its mark, of globs that were replaced too; empty where another definition is in force
enum SinkMarkScript {
    static let script = RedisScript(
        """
        \(ClockFragment.lua)
        local sinks, marks, name, definition, life, finds, prefix = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
        if definition ~= '' and redis.call('HGET', sinks, name) ~= definition then return {} end
        local now = whole(now_ms())
        for i = 6, #ARGV, 2 do
          redis.call('HSETNX', marks, prefix .. ARGV[i], ARGV[i + 1] ~= '' and ARGV[i + 1] or now)
        end
        if definition == '' then redis.call('PEXPIRE', marks, life) else redis.call('PERSIST', marks) end
        local reply = {redis.call('HGET', marks, finds)}
        local rows = redis.call('HGETALL', marks)
        for i = 1, #rows, 2 do
          if string.sub(rows[i], 1, #prefix) == prefix then
            reply[#reply + 1] = string.sub(rows[i], #prefix + 1)
            reply[#reply + 1] = rows[i + 1]
          end
        end
        return reply
        """)

    /// `stored`: as Redis has the definition; empty for one of the configuration. `known` has what was heard before: Redis may
    /// have lost it.
    static func call(_ definition: SinkDefinition, stored: [UInt8], known: [Glob: SinkMark]) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write, reserving: 384 + stored.count)
        command.appendMarkArguments(definition, stored)
        for glob in definition.globs {
            command.append(glob.text)
            command.append(known[glob]?.text ?? "")
        }
        return command
    }
}

/// KEYS  definitions, the sink's hash
/// ARGV  the sink's name, its definition ('' for one of the configuration), how long one of those is kept (ms), the finds' field,
///       how marks' fields begin, the finds; for each glob itself, and since when it was marked when the walk began
/// Reply 1 kept, 0 another definition is in force
/// A walk has ended. It counts for the marks with which it began. Those of other globs have had their time; with the
/// configuration, where nobody knows which file is in force, but for those that are newer than all of this one's.
enum SinkWalkedScript {
    static let script = RedisScript(
        """
        local sinks, marks, name, definition, life, finds, prefix = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
        if definition ~= '' and redis.call('HGET', sinks, name) ~= definition then return 0 end
        local own, newest = {}, 0
        for i = 7, #ARGV, 2 do
          local field, since = prefix .. ARGV[i], ARGV[i + 1]
          own[field] = true
          newest = math.max(newest, tonumber(since))
          if redis.call('HGET', marks, field) == since then redis.call('HSET', marks, field, since .. ' walked') end
        end
        local rows = redis.call('HGETALL', marks)
        for i = 1, #rows, 2 do
          local since = string.sub(rows[i], 1, #prefix) == prefix and not own[rows[i]] and string.match(rows[i + 1], '^%d+')
          if since and (definition ~= '' or tonumber(since) <= newest) then redis.call('HDEL', marks, rows[i]) end
        end
        redis.call('HSET', marks, finds, ARGV[6])
        if definition == '' then redis.call('PEXPIRE', marks, life) end
        return 1
        """)

    /// `marks`: those with which the walk began.
    static func call(_ definition: SinkDefinition, stored: [UInt8], _ finds: SinkFinds, _ marks: [Glob: SinkMark]) -> RedisCommand {
        let json = finds.json
        var command = script.call(keyCount: 2, effect: .write, reserving: 384 + stored.count + json.utf8.count)
        command.appendMarkArguments(definition, stored)
        command.append(json)
        for glob in definition.globs {
            guard let mark = marks[glob] else { continue }
            command.append(glob.text)
            command.append(decimal: mark.since)
        }
        return command
    }
}

extension RedisCommand {
    fileprivate mutating func appendMarkArguments(_ definition: SinkDefinition, _ stored: [UInt8]) {
        appendKey(GatewayKeys.sinks)
        appendKey(GatewayKeys.sinkGlobs(definition.name))
        append(definition.name)
        append(stored)
        append(decimal: Int(SinkMark.life.milliseconds))
        append(SinkFinds.field(definition))
        append(SinkMark.prefix(definition))
    }
}
