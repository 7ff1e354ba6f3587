// Destroys a group with all that the gateway keeps beside it: a group of the same name that is created later must
// not find the policy, nor the due times, of this one. Every gateway is told in the same step: tracking does not.
//
// KEYS  stream, the group's due times, its recovery policy
// ARGV  group
// Reply 1 destroyed, 0 there was none

import Redis

enum DestroyGroupScript {
    static let script = RedisScript(
        """
        local stream, due, policy, group = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
        \(NudgeFragment.lua)
        local destroyed = redis.pcall('XGROUP', 'DESTROY', stream, group)
        if type(destroyed) == 'table' then return destroyed end
        redis.call('DEL', due)
        if redis.call('DEL', policy) == 1 then nudge(\(Nudge.Kind.policy.lua), stream, group) end
        nudge(\(Nudge.Kind.group.lua), stream, group)
        return destroyed
        """)

    static func call(_ stream: StreamName, _ group: GroupName) -> RedisCommand {
        var command = script.call(keyCount: 3, effect: .write)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.appendKey(GatewayKeys.recovery(stream, group))
        command.append(group.bytes)
        return command
    }
}
