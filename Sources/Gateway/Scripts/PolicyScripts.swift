// A group's recovery policy, put and deleted. Scripts, because the policy must not outlive its group: whether the
// group is there is asked in the same step, and every gateway is told in it. (The index of all policies is in
// another slot: see `GatewayKeys.policies`.)

import Net
import Redis

/// KEYS  stream, the group's recovery policy
/// ARGV  group, names and values of the policy's fields
/// Reply 1 created, 0 replaced. The counters of one that is replaced go on; its walk begins anew.
enum PutPolicyScript {
    static let script = RedisScript(
        """
        local stream, policy, group = KEYS[1], KEYS[2], ARGV[1]
        \(NudgeFragment.lua)
        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then return summary end
        local created = 1 - redis.call('EXISTS', policy)
        redis.call('HDEL', policy, 'reap_consumers_idle_ms', 'run_at', 'reap_at', 'cursor')
        redis.call('HSET', policy, unpack(ARGV, 2))
        nudge(\(Nudge.Kind.policy.lua), stream, group)
        return created
        """)

    static func call(_ stream: StreamName, _ group: GroupName, _ policy: RecoveryPolicy) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write, reserving: 640)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.recovery(stream, group))
        command.append(group.bytes)
        command.append(literal: "max_idle_ms")
        command.append(milliseconds: policy.maxIdle)
        command.append(literal: "max_deliveries")
        command.append(decimal: policy.maxDeliveries)
        command.append(literal: "dead_letter")
        command.append(policy.deadLetter.bytes)
        if let reapIdle = policy.reapIdle {
            command.append(literal: "reap_consumers_idle_ms")
            command.append(milliseconds: reapIdle)
        }
        return command
    }
}

/// KEYS  stream, the group's recovery policy
/// ARGV  group
/// Reply 1 deleted, 0 there was none
enum DeletePolicyScript {
    static let script = RedisScript(
        """
        local stream, policy, group = KEYS[1], KEYS[2], ARGV[1]
        \(NudgeFragment.lua)
        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then return summary end
        local deleted = redis.call('DEL', policy)
        if deleted == 1 then nudge(\(Nudge.Kind.policy.lua), stream, group) end
        return deleted
        """)

    static func call(_ stream: StreamName, _ group: GroupName) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.recovery(stream, group))
        command.append(group.bytes)
        return command
    }
}

/// KEYS  the index of all policies
/// ARGV  how many there may be, the packed group
/// Reply 1 it is in the index, 0 there is no room for another
enum IndexPolicyScript {
    static let script = RedisScript(
        """
        local index, limit, member = KEYS[1], tonumber(ARGV[1]), ARGV[2]
        \(ClockFragment.lua)
        if redis.call('ZCARD', index) >= limit and not redis.call('ZSCORE', index, member) then return 0 end
        redis.call('ZADD', index, whole(now_ms()), member)
        return 1
        """)

    static func call(_ stream: StreamName, _ group: GroupName, limit: Int) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write)
        command.appendKey(GatewayKeys.policies)
        command.append(decimal: limit)
        command.append(Nudge.pack(stream, group))
        return command
    }
}
