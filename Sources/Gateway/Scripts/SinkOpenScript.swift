// Creates the group of a sink in a stream that one of its globs has found: where the stream has messages since the sink's
// mark, after the last one before it, else at `otherwise`. One step, or what comes in between would be passed over.
//
// The stream's IDs say when its messages came. Where they are a day and more ahead of Redis' clock (microseconds, a snowflake's)
// they don't, and everything in the stream would seem to have come since: it begins at `otherwise`.
//
// KEYS  stream
// ARGV  group, milliseconds and sequence of the id before the mark (empty: none asks for it), where to begin otherwise
// Reply 1 created, 0 it is there

import Redis

enum SinkOpenScript {
    static let script = RedisScript(
        """
        local stream, group, ms, seq, from = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
        local function before(a, b) return #a < #b or (#a == #b and a < b) end
        local info = redis.pcall('XINFO', 'STREAM', stream)
        if info.err then return info end
        for i = 1, #info, 2 do
          if ms ~= '' and info[i] == 'last-generated-id' then
            local last_ms, last_seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
            local is_since = before(ms, last_ms) or (ms == last_ms and before(seq, last_seq))
            if is_since and tonumber(last_ms) < (redis.call('TIME')[1] + 86400) * 1000 then from = ms .. '-' .. seq end
          end
        end
        local reply = redis.pcall('XGROUP', 'CREATE', stream, group, from)
        if not reply.err then return 1 end
        if string.sub(reply.err, 1, 9) == 'BUSYGROUP' then return 0 end
        return reply
        """)

    static func call(_ stream: StreamName, _ group: GroupName, since id: StreamID?, otherwise position: StreamGroupPosition) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write)
        command.appendKey(stream.bytes)
        command.append(group.bytes)
        command.append(id.map { String($0.milliseconds) } ?? "")
        command.append(id.map { String($0.sequence) } ?? "")
        command.append(position)
        return command
    }
}
