// One slice of the walk that carries a recovery policy out: finds the messages that nobody shall get any more, and
// removes consumers that are no longer used. One script, because that is how gateways share the work without a
// leader: the policy's own key says when the next walk begins and where the one under way is, so that of all who ask
// one walks, and another goes on where one has died.
//
// KEYS  stream, the group's recovery policy
// ARGV  group, ms between two walks, the cursor of the slice before ("" to begin a walk)
// Reply [state, wait, found, cursor, reaped]
//   state   1 walked, 0 it is not the time yet or somebody else goes on, -1 there is no policy, or no group any more
//   wait    ms until the next walk may begin
//   found   rows [id, holder, delivery count] of those that were delivered too often, or whose entry is gone
//   cursor  where this walk goes on; empty at the list's end
//   reaped  how many consumers were removed
// What is found is not taken: DeadLetterScript checks it again, and who dies before that leaves it to the next walk.

import Net
import Redis

enum RecoveryScript {
    /// Pending messages of a slice: Redis serves nobody else meanwhile. (They are read by the hundred.)
    static let slice = 1000
    /// Found in a slice at most: each costs its finder two round trips.
    static let foundLimit = 100

    static let script = RedisScript(
        """
        local stream, policy = KEYS[1], KEYS[2]
        local group, interval, cursor = ARGV[1], tonumber(ARGV[2]), ARGV[3]
        \(ClockFragment.lua)
        \(NudgeFragment.lua)
        local state = redis.call('HMGET', policy, 'max_idle_ms', 'max_deliveries', 'reap_consumers_idle_ms',
          'run_at', 'cursor', 'reap_at')
        local max_idle, max_deliveries, reap_idle = tonumber(state[1]), tonumber(state[2]), tonumber(state[3])
        if not max_idle or not max_deliveries then return {-1, 0, {}, '', 0} end
        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then
          local kind = string.match(summary.err, '^%u+')
          if kind ~= 'NOGROUP' and kind ~= 'WRONGTYPE' then return summary end
          redis.call('DEL', policy)
          nudge(\(Nudge.Kind.policy.lua), stream, group)
          return {-1, 0, {}, '', 0}
        end
        local now = now_ms()
        local wait = math.min(tonumber(state[4] or 0) - now, interval)
        if cursor == '' and wait > 0 or cursor ~= '' and state[5] ~= cursor then
          return {0, math.max(wait, 1), {}, '', 0}
        end

        redis.call('HSET', policy, 'run_at', whole(now + interval), 'last_run_ms', whole(now))

        local reaped = 0
        if reap_idle and cursor == '' and now >= tonumber(state[6] or 0) then
          for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
            local consumer = {}
            for i = 1, #row, 2 do consumer[row[i]] = row[i + 1] end
            if consumer.name ~= 'unowned' and consumer.pending == 0 and consumer.idle >= reap_idle then
              redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer.name)
              reaped = reaped + 1
            end
          end
          redis.call('HSET', policy, 'reap_at', whole(now + math.min(math.max(reap_idle / 4, 1000), 60000)))
          if reaped > 0 then redis.call('HINCRBY', policy, 'reaped', reaped) end
        end

        local last, seen, found, ended = state[5] or '-', 0, {}, false
        while not ended and seen < \(slice) and #found < \(foundLimit) do
          local rows = redis.call('XPENDING', stream, group, last, '+', 100)
          for _, row in ipairs(rows) do
            if row[3] >= max_idle
              and (row[4] >= max_deliveries or not redis.call('XRANGE', stream, row[1], row[1])[1]) then
              found[#found + 1] = {row[1], row[2], row[4]}
            end
            last = '(' .. row[1]
          end
          seen = seen + #rows
          ended = #rows < 100
        end
        if ended then
          redis.call('HDEL', policy, 'cursor')
          last = ''
        else
          redis.call('HSET', policy, 'cursor', last)
        end
        return {1, interval, found, last, reaped}
        """)

    static func call(_ stream: StreamName, _ group: GroupName, interval: Duration, cursor: [UInt8]) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.recovery(stream, group))
        command.append(group.bytes)
        command.append(milliseconds: interval)
        command.append(cursor)
        return command
    }
}
