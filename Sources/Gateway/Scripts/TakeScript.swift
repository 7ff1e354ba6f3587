// A consumer's read of new messages where there may be older ones to take first: messages that nobody
// holds, and messages that others have left idle. One script, because between looking and claiming
// another reader could take the same message: each must reach exactly one.
//
// KEYS  stream, the group's due times, its recovery policy
// ARGV  group, consumer, count, which unowned ones to take (nothing; due: those whose due time has come;
//       everything: also those without one), idle ms to claim from ("" for none), 1 for NOACK, where the walk over
//       the idle messages begins ("-", or the cursor of the call before), where that over the unowned ones does, 1
//       where the claim is the recovery policy's alone: it says from when on, if there is still one
// Reply [taken, fresh, due, idle, cursor, rest]
//   taken  rows [id, fields, delivery count, idle ms before, consumer before], in the pending list's order
//   fresh  entries as XREADGROUP gives them
//   due    ms until the next unowned message falls due; -1: none waits
//   idle   ms until one of the 100 oldest pending messages is idle enough; -1: none is, or none was asked for.
//          The others may be sooner: who waits must look again within a second anyway, since claims set idle times
//          (where nobody asked for the claim by name, it is no more than that then: reads look by it)
//   cursor where to go on, when `count` were taken and there may be more to take; else ""
//   rest   where to go on with the unowned ones, when there are too many for one call; then only they were looked
//          at, and the call is to be repeated before anything else; else ""
// A pending message whose entry is gone is acknowledged on the way (6.2 would leave it pending for ever). Under a
// recovery policy it is left alone, and so is one that was delivered often enough: both become dead letters, whatever
// their due time. The policy is read here, not told by the caller: a gateway that has just started, or that was told
// of a change a moment too late, must not deliver once more what is to be buried.
// Due times may be lost (the set expires a day after the last of them, a Redis that is full may evict it): where more
// is unowned than has one, also `due` takes everything.
// Redis picks the idle ones itself (16 ms for 100,000 pending; a walk here over 1,000 takes a millisecond). Of
// those that nobody holds it looks at no more than 1,000 a call (10,000 where idle ones are claimed, which they
// are too until they are due): Redis serves nobody else meanwhile.

import Net
import Redis

enum TakeScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
        local min_idle, policy, is_by_policy = tonumber(ARGV[5]), KEYS[3], ARGV[9] == '1'
        \(ClockFragment.lua)
        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then return summary end
        local now = now_ms()
        local taken, recovered, next_due, next_idle = {}, 0, -1, -1
        local limits = redis.call('HMGET', policy, 'max_idle_ms', 'max_deliveries')
        local max_deliveries = tonumber(limits[2])
        if is_by_policy then min_idle = tonumber(limits[1]) end

        local function take(row)
          if max_deliveries
            and (row[4] >= max_deliveries or not redis.call('XRANGE', stream, row[1], row[1])[1]) then
            redis.call('ZREM', due, row[1])
            return
          end
          if row[2] ~= 'unowned' then recovered = recovered + 1 end
          local claimed = redis.call('XCLAIM', stream, group, consumer, 0, row[1])[1]
          if claimed then
            taken[#taken + 1] = {row[1], claimed[2], row[4] + 1, row[3], row[2]}
            if ARGV[6] == '1' then redis.call('XACK', stream, group, row[1]) end
          else
            redis.call('XACK', stream, group, row[1])
          end
          redis.call('ZREM', due, row[1])
        end

        local function wait_for_due(id)
          local score = tonumber(redis.call('ZSCORE', due, id) or 0)
          if score <= now then return false end
          if next_due < 0 or score - now < next_due then next_due = score - now end
          return true
        end

        local function take_due()
          for _ = 1, 10 do
            local ids = redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, math.min(count - #taken, 100))
            for _, id in ipairs(ids) do
              local row = redis.call('XPENDING', stream, group, id, id, 1, 'unowned')[1]
              if row then take(row) else redis.call('ZREM', due, id) end
            end
            local next = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')[2]
            next_due = next and math.max(next - now, 0) or -1
            if #taken >= count or next_due ~= 0 then return end
          end
        end

        local function pending(idle, from, holder)
          if idle then return redis.call('XPENDING', stream, group, 'IDLE', idle, from, '+', 100) end
          return redis.call('XPENDING', stream, group, from, '+', 100, holder)
        end

        local function walk(from, idle, holder)
          local seen, last = 0, from
          while #taken < count do
            if seen >= 1000 and not idle then return last, true end
            if seen >= 10000 then return last end
            local rows = pending(idle, last, holder)
            for _, row in ipairs(rows) do
              if #taken >= count then return last end
              local is_left = is_by_policy and idle and ARGV[4] == 'nothing'
              if row[2] ~= 'unowned' or not is_left and not wait_for_due(row[1]) then take(row) end
              last = '(' .. row[1]
            end
            if #rows < 100 then return last end
            seen = seen + #rows
          end
          return last
        end

        local function unowned_count()
          for _, holder in ipairs(redis.call('XPENDING', stream, group)[4] or {}) do
            if holder[1] == 'unowned' then return tonumber(holder[2]) end
          end
          return 0
        end

        local wish = summary[1] > 0 and ARGV[4]
        if wish == 'due' then
          take_due()
          if #taken < count and unowned_count() > redis.call('ZCARD', due) then wish = 'everything' end
        end
        if wish == 'everything' then
          local last, goes_on = walk(ARGV[8], nil, 'unowned')
          if goes_on then return {taken, {}, next_due, next_idle, '', last} end
        end
        local cursor = ARGV[7]
        if summary[1] > 0 and min_idle then
          cursor = walk(cursor, min_idle)
          if #taken < count then
            for _, row in ipairs(redis.call('XPENDING', stream, group, '-', '+', 100)) do
              local left = min_idle - row[3]
              if left > 0 and (next_idle < 0 or left < next_idle) then next_idle = left end
            end
            if is_by_policy and summary[1] > 100 then
              local soon = math.min(math.max(math.floor(summary[1] / 100), 200), 1000)
              next_idle = next_idle < 0 and soon or math.min(next_idle, soon)
            end
          end
          if is_by_policy and recovered > 0 then redis.call('HINCRBY', policy, 'recovered', recovered) end
        end

        local fresh = {}
        if #taken < count then
          local query = {'XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #taken}
          if ARGV[6] == '1' then query[#query + 1] = 'NOACK' end
          for _, word in ipairs({'STREAMS', stream, '>'}) do query[#query + 1] = word end
          local reply = redis.call(unpack(query))
          if reply then fresh = reply[1][2] end
        end
        return {taken, fresh, next_due, next_idle, #taken >= count and cursor or '', ''}
        """)

    /// `isClaimByPolicy`: nobody asked for the claim by name.
    static func call(
        _ stream: StreamName, _ group: GroupName, _ consumer: ConsumerName, count: Int,
        unowned: UnownedIndex.Search, minIdle: Duration?, noack: Bool, cursor: String = "-", rest: String = "-",
        isClaimByPolicy: Bool = false
    ) -> RedisCommand {
        var command = script.call(keyCount: 3, effect: .consume)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.appendKey(GatewayKeys.recovery(stream, group))
        command.append(group.bytes)
        command.append(consumer.bytes)
        command.append(decimal: count)
        command.append(unowned.rawValue)
        if let minIdle { command.append(milliseconds: minIdle) } else { command.append(literal: "") }
        command.append(literal: noack ? "1" : "0")
        command.append(cursor)
        command.append(rest)
        command.append(literal: isClaimByPolicy ? "1" : "0")
        return command
    }
}
