// Creates a group that was lost while its sink ran (SINKS.md §3: NOGROUP), after the last message that is dealt
// with; at the very beginning where the stream is a new one too: its ids may start anywhere. Where the stream itself is
// gone, it is created if the sink names it, and Redis' error is the reply if a glob has found it.
//
// KEYS  stream
// ARGV  group, milliseconds and sequence of the id to begin after, '1' to create the stream
// Reply 1 created, 0 it is there

import Redis

enum SinkGroupScript {
    static let script = RedisScript(
        """
        local stream, group, ms, seq, makes_stream = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
        local function before(a, b) return #a < #b or (#a == #b and a < b) end
        local from = ms .. '-' .. seq
        local info = redis.pcall('XINFO', 'STREAM', stream)
        if info.err then
          from = '0'
        else
          for i = 1, #info, 2 do
            if info[i] == 'last-generated-id' then
              local last_ms, last_seq = string.match(info[i + 1], '^(%d+)-(%d+)$')
              if before(last_ms, ms) or (last_ms == ms and before(last_seq, seq)) then from = '0' end
            end
          end
        end
        local create = {'XGROUP', 'CREATE', stream, group, from}
        if makes_stream then create[6] = 'MKSTREAM' end
        local reply = redis.pcall(unpack(create))
        if not reply.err then return 1 end
        if string.sub(reply.err, 1, 9) == 'BUSYGROUP' then return 0 end
        return reply
        """)

    static func call(_ stream: StreamName, _ group: GroupName, after id: StreamID, makesStream: Bool) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write)
        command.appendKey(stream.bytes)
        command.append(group.bytes)
        command.append(String(id.milliseconds))
        command.append(String(id.sequence))
        command.append(makesStream ? "1" : "")
        return command
    }
}
