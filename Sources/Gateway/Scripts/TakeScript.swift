// A consumer's read of new messages where there may be older ones to take first: messages that nobody
// holds, and messages that others have left idle. One script, because between looking and claiming
// another reader could take the same message: each must reach exactly one.
//
// KEYS  stream, the group's due times, and, where the claim is its recovery policy's alone, that
// ARGV  group, consumer, count, which unowned ones to take (nothing; due: those whose due time has come;
//       everything: also those without one), idle ms to claim from ("" for none), 1 for NOACK, where the walk over
//       the pending list begins ("-", or the cursor of the call before), where that over the unowned ones does, how
//       often a message is delivered at most ("" where the group has no recovery policy)
// Reply [taken, fresh, due, idle, cursor, rest, seen]
//   taken  rows [id, fields, delivery count, idle ms before, consumer before], in the pending list's order
//   fresh  entries as XREADGROUP gives them
//   due    ms until the next unowned message falls due; -1: none waits
//   idle   ms until the oldest message seen is idle enough; -1: none is pending, or none was asked for
//   cursor where to go on, when `count` were taken and there may be more to take; else ""
//   rest   where to go on with the unowned ones, when there are too many for one call; then only they were looked
//          at, and the call is to be repeated before anything else; else ""
//   seen   where the walk for idle ones ended before the list's end because it had seen enough; else ""
// A pending message whose entry is gone is acknowledged on the way (6.2 would leave it pending for ever). Under a
// recovery policy it is left alone, and so is one that was delivered often enough: both become dead letters, whatever
// their due time.
// Due times may be lost (the set expires a day after the last of them, a Redis that is full may evict it): where more
// is unowned than has one, also `due` takes everything.
// It looks at no more than 1,000 pending messages of a kind: Redis serves nobody else meanwhile.

import Net
import Redis

enum TakeScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, consumer, count = ARGV[1], ARGV[2], tonumber(ARGV[3])
        local min_idle, max_deliveries, policy = tonumber(ARGV[5]), tonumber(ARGV[9]), KEYS[3]
        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then return summary end
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        local taken, next_due, next_idle = {}, -1, -1

        local function take(row)
          if max_deliveries
            and (row[4] >= max_deliveries or not redis.call('XRANGE', stream, row[1], row[1])[1]) then
            redis.call('ZREM', due, row[1])
            return
          end
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

        local function walk(from, holder, visit)
          local seen, last = 0, from
          while #taken < count do
            if seen >= 1000 then return last, true end
            local query = {'XPENDING', stream, group, last, '+', 100, holder}
            local rows = redis.call(unpack(query))
            for _, row in ipairs(rows) do
              if #taken >= count then return last end
              visit(row)
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
          local last, goes_on = walk(ARGV[8], 'unowned', function(row)
            if not wait_for_due(row[1]) then take(row) end
          end)
          if goes_on then return {taken, {}, next_due, next_idle, '', last, ''} end
        end
        local cursor, goes_on, recovered = ARGV[7], false, 0
        if summary[1] > 0 and min_idle then
          cursor, goes_on = walk(cursor, nil, function(row)
            if row[3] >= min_idle then
              if row[2] ~= 'unowned' then
                recovered = recovered - #taken
                take(row)
                recovered = recovered + #taken
              elseif not (policy and ARGV[4] == 'nothing') and not wait_for_due(row[1]) then
                take(row)
              end
            else
              local left = min_idle - row[3]
              if next_idle < 0 or left < next_idle then next_idle = left end
            end
          end)
          if policy and recovered > 0 and redis.call('EXISTS', policy) == 1 then
            redis.call('HINCRBY', policy, 'recovered', recovered)
          end
        end

        local fresh = {}
        if #taken < count then
          local query = {'XREADGROUP', 'GROUP', group, consumer, 'COUNT', count - #taken}
          if ARGV[6] == '1' then query[#query + 1] = 'NOACK' end
          for _, word in ipairs({'STREAMS', stream, '>'}) do query[#query + 1] = word end
          local reply = redis.call(unpack(query))
          if reply then fresh = reply[1][2] end
        end
        return {taken, fresh, next_due, next_idle, #taken >= count and cursor or '', '', goes_on and cursor or ''}
        """)

    /// `policy`: the group's; `isClaimByPolicy`: nobody asked for the claim by name.
    static func call(
        _ stream: StreamName, _ group: GroupName, _ consumer: ConsumerName, count: Int,
        unowned: UnownedIndex.Search, minIdle: Duration?, noack: Bool, cursor: String = "-", rest: String = "-",
        policy: RecoveryPolicy? = nil, isClaimByPolicy: Bool = false
    ) -> RedisCommand {
        var command = script.call(keyCount: isClaimByPolicy ? 3 : 2, effect: .consume)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        if isClaimByPolicy { command.appendKey(GatewayKeys.recovery(stream, group)) }
        command.append(group.bytes)
        command.append(consumer.bytes)
        command.append(decimal: count)
        command.append(unowned.rawValue)
        if let minIdle { command.append(milliseconds: minIdle) } else { command.append(literal: "") }
        command.append(literal: noack ? "1" : "0")
        command.append(cursor)
        command.append(rest)
        if let policy { command.append(decimal: policy.maxDeliveries) } else { command.append(literal: "") }
        return command
    }
}
