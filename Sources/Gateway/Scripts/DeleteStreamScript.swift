// Deletes a stream, and what the gateway keeps beside it for its groups: a stream that is made anew under the
// name, with the same IDs perhaps, must not find the old one's due times and recovery policies. One script, because a key of another
// type must be left alone, whoever puts it there when.
//
// KEYS  stream
// ARGV  how the keys of due times and those of policies begin that end in a group's name, in the stream's slot
// Reply 1; an error where there is no stream
//
// The keys of groups are not declared: only the stream itself knows its groups. They are of the stream's slot,
// which is what a cluster asks for.

import Redis

enum DeleteStreamScript {
    static let script = RedisScript(
        """
        local stream = KEYS[1]
        \(NudgeFragment.lua)
        local kind = redis.call('TYPE', stream).ok
        if kind == 'none' then return {err = 'ERR no such key'} end
        if kind ~= 'stream' then return {err = 'WRONGTYPE Operation against a key holding the wrong kind of value'} end
        for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
          for i = 1, #row, 2 do
            if row[i] == 'name' then
              redis.call('UNLINK', ARGV[1] .. row[i + 1])
              if redis.call('UNLINK', ARGV[2] .. row[i + 1]) == 1 then
                nudge(\(Nudge.Kind.policy.lua), stream, row[i + 1])
              end
            end
          end
        end
        redis.call('UNLINK', stream)
        return 1
        """)

    static func call(_ stream: StreamName) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write)
        command.appendKey(stream.bytes)
        command.append(GatewayKeys.duePrefix(stream))
        command.append(GatewayKeys.recoveryPrefix(stream))
        return command
    }
}
