// Takes over messages for a sink: those that nobody holds, and those that a process has left idle for the lease.
// One script, because between looking and claiming another could take the same message. It is not TakeScript: where
// the entry is gone that one acknowledges, and a sink's message must end as a dead letter then.
//
// KEYS  stream, the group's due times, and, where the sink has one, the dead-letter stream
// ARGV  group, consumer, count, lease in ms ("" to take unowned ones only), the id to begin after ("" for the start)
// Reply [taken, trimmed, cursor, due, refused]
//   taken    rows [id, fields, delivery count]
//   trimmed  ids that became dead letters, or, without a dead-letter stream, were left pending
//   cursor   the id to go on after; empty: all was seen
//   due      ms until the next message falls due; -1: none waits
//   refused  why one was not made a dead letter, in Redis' words: it stays pending, and the others go on; empty: none was
// A due time counts whoever holds the message: a retry that a dead process left waits until its time. It looks at
// no more than 1,000 pending messages: Redis serves nobody else meanwhile.

import Net
import Redis

enum SinkTakeScript {
    static let script = RedisScript(
        """
        local stream, due, dead = KEYS[1], KEYS[2], KEYS[3]
        local group, consumer, count, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
        \(DeadLetterFragment.lua)
        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then return summary end
        local now = now_ms()
        local taken, trimmed, next_due, refused = {}, {}, -1, ''
        if summary[1] == 0 then return {taken, trimmed, '', next_due, refused} end

        local function bury(row)
          local problem = dead and bury_trimmed(row)
          if problem then refused = problem else trimmed[#trimmed + 1] = row[1] end
        end

        local function visit(row)
          local id, holder, idle = row[1], row[2], row[3]
          if holder ~= 'unowned' and not (lease and idle >= lease) then return end
          if not redis.call('XRANGE', stream, id, id)[1] then return bury(row) end
          local score = tonumber(redis.call('ZSCORE', due, id) or 0)
          if score > now then
            if next_due < 0 or score - now < next_due then next_due = score - now end
            return
          end
          local entry = redis.call('XCLAIM', stream, group, consumer, 0, id)[1]
          redis.call('ZREM', due, id)
          taken[#taken + 1] = {id, entry[2], row[4] + 1}
        end

        local last, seen = ARGV[5], 0
        while seen < 1000 do
          local query = {'XPENDING', stream, group, last == '' and '-' or '(' .. last, '+', 100}
          if not lease then query[7] = 'unowned' end
          local rows = redis.call(unpack(query))
          for _, row in ipairs(rows) do
            if #taken == count then return {taken, trimmed, last, next_due, refused} end
            visit(row)
            last = row[1]
          end
          if #rows < 100 then return {taken, trimmed, '', next_due, refused} end
          seen = seen + #rows
        end
        return {taken, trimmed, last, next_due, refused}
        """)

    /// `lease`: nil takes unowned ones only.
    static func call(
        _ stream: StreamName, _ group: GroupName, _ consumer: ConsumerName, dead: StreamName?, count: Int,
        lease: Duration?, after cursor: [UInt8]
    ) -> RedisCommand {
        var command = script.call(keyCount: dead == nil ? 2 : 3, effect: .consume)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        if let dead { command.appendKey(dead.bytes) }
        command.append(group.bytes)
        command.append(consumer.bytes)
        command.append(decimal: count)
        if let lease { command.append(milliseconds: lease) } else { command.append(literal: "") }
        command.append(cursor)
        return command
    }
}
