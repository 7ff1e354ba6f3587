// The lease on a stream of an ordered sink (`order_by`): who has it delivers the group's messages, alone; the others
// stand by. It is a hash of its own beside the stream, so that the scripts which take messages and write down attempts ask
// for it in their own step (`LeaseFragment`).
//
// What holds:
// - The number grows with every taking, also with one by the same holder, and also where Redis has forgotten the lease
//   (it is no less than the time in ms): whatever an earlier holder, or an earlier term of this one, sent and Redis
//   executes late carries a smaller one, and does nothing.
// - It ends by itself `lease_ms` after it was last confirmed. Whose renewal finds it gone or somebody else's has lost it.
//
// KEYS  the lease
// ARGV  take, renew or release; the holder; its number ("" to take); how long it lasts, in ms; stream and group
// Reply take: [number, holder, ms left]; the number is 0 where somebody else has it
//       renew, release: 1 done, 0 not (or no longer) ours

import Net
import Redis

enum SinkLeaseScript {
    static let script = RedisScript(
        """
        local lease, wish, holder, number, life = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4]
        \(ClockFragment.lua)
        \(NudgeFragment.lua)
        local now_has = redis.call('HMGET', lease, 'holder', 'number')
        if wish == 'take' then
          if now_has[1] and now_has[1] ~= holder then return {0, now_has[1], redis.call('PTTL', lease)} end
          local next = math.max(now_ms(), tonumber(now_has[2] or 0) + 1)
          -- A Redis that is full refuses what needs memory only as a script's first write: this one needs none.
          redis.call('PEXPIRE', lease, life)
          redis.call('HSET', lease, 'holder', holder, 'number', whole(next))
          redis.call('PEXPIRE', lease, life)
          return {next, holder, tonumber(life)}
        end
        if now_has[1] ~= holder or now_has[2] ~= number then return 0 end
        if wish == 'renew' then return redis.call('PEXPIRE', lease, life) end
        -- The number stays for a while: the next is greater, be it in the same millisecond.
        redis.call('HDEL', lease, 'holder')
        redis.call('PEXPIRE', lease, 60000)
        nudge(\(Nudge.Kind.lease.lua), ARGV[5], ARGV[6])  -- For those who stand by.
        return 1
        """)

    static func take(_ stream: StreamName, _ group: GroupName, for holder: ConsumerName, lasting life: Duration) -> RedisCommand {
        call("take", stream, group, holder, nil, life)
    }

    static func renew(_ stream: StreamName, _ group: GroupName, _ holder: ConsumerName, _ number: Int, lasting life: Duration) -> RedisCommand {
        call("renew", stream, group, holder, number, life)
    }

    static func release(_ stream: StreamName, _ group: GroupName, _ holder: ConsumerName, _ number: Int) -> RedisCommand {
        call("release", stream, group, holder, number, .zero)
    }

    private static func call(
        _ wish: StaticString, _ stream: StreamName, _ group: GroupName, _ holder: ConsumerName, _ number: Int?, _ life: Duration
    ) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write)
        command.appendKey(GatewayKeys.sinkLease(stream, group))
        command.append(literal: wish)
        command.append(holder.bytes)
        if let number { command.append(decimal: number) } else { command.append(literal: "") }
        command.append(milliseconds: life)
        command.append(stream.bytes)
        command.append(group.bytes)
        return command
    }
}

/// The Lua by which a script does nothing for whom the lease is no longer: `lease` is its key, nil where there is none.
enum LeaseFragment {
    static let lua = """
        local function leads(lease, holder, number)
          if not lease then return true end
          local has = redis.call('HMGET', lease, 'holder', 'number')
          return has[1] == holder and has[2] == number
        end
        """
}
