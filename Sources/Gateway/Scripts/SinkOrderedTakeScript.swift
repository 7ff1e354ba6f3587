// Takes messages for an ordered sink: what is pending in the order of IDs, or, once all of that was seen, what is new. It
// is not SinkTakeScript: what waits for a later time is taken too, since it holds its key back; the delivery count stays,
// since a message may wait long for those before it (it counts attempts that were begun: SinkScheduleScript raises it);
// and nothing is taken by whom the lease is no longer.
//
// KEYS  stream, the group's due times, the lease, and, where the sink has one, the dead-letter stream
// ARGV  group, consumer, the lease's number, which: all (also those under our own name: an earlier answer may be lost),
//       others (not ours), unowned, new; how many, the idle ms after which a message is anybody's, the ID to begin after
//       ("" for the start), how consumers of this sink are named, how those among them that have had the lease, and for how
//       many ms a request of theirs may be on its way
// Reply [taken, trimmed, cursor, waits, refused], or nil: the lease is not ours
//   taken    rows [id, fields, delivery count, due ms since 1970 or "", 1 where somebody else had it, or nobody]
//   trimmed  how many became dead letters, or, without a dead-letter stream, were left pending
//   cursor   the ID to go on after; empty: all was seen
//   waits    ms until the next one is anybody's, where it is held by a run of this sink from before it was ordered, which
//            hands it back soon, or by one that has had the lease, with a request that may be on its way; else 0
//   refused  why one was not made a dead letter, in Redis' words: it stays pending, and the others go on; empty: none was
// Whose names say that they have had the lease have it no longer. What they hold is taken as soon as no request with it can
// be on its way: each begins with an idle time of 0. That holds it back only where Redis has forgotten the lease before its
// end. What other consumers of the group hold is theirs until it was idle for the lease: it is passed over.
// It looks at no more than 1,000 pending messages: Redis serves nobody else meanwhile.

import Net
import Redis

enum SinkOrderedTakeScript {
    /// Which messages are looked for.
    enum Search: String {
        case all, others, unowned, new
    }

    static let script = RedisScript(
        """
        local stream, due, lease, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
        local group, consumer, wish, count, idle_limit = ARGV[1], ARGV[2], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6])
        local sink, leader, flight = ARGV[8], ARGV[9], tonumber(ARGV[10])
        \(LeaseFragment.lua)
        \(DeadLetterFragment.lua)
        if not leads(lease, consumer, ARGV[3]) then return false end
        local taken, trimmed, refused = {}, 0, ''

        if wish == 'new' then
          local reply = redis.pcall('XREADGROUP', 'GROUP', group, consumer, 'COUNT', count, 'STREAMS', stream, '>')
          if not reply then return {taken, trimmed, '', 0, refused} end
          if reply.err then return reply end
          local claim = {'XCLAIM', stream, group, consumer, 0}
          for _, entry in ipairs(reply[1][2]) do
            claim[#claim + 1] = entry[1]
            taken[#taken + 1] = {entry[1], entry[2], 0, '', 0}
          end
          for _, word in ipairs({'RETRYCOUNT', 0, 'JUSTID'}) do claim[#claim + 1] = word end
          redis.call(unpack(claim))
          return {taken, trimmed, '', 0, refused}
        end

        local summary = redis.pcall('XPENDING', stream, group)
        if summary.err then return summary end
        if summary[1] == 0 then return {taken, trimmed, '', 0, refused} end

        local function bury(row)
          local problem = dead and bury_trimmed(row)
          if problem then refused = problem else trimmed = trimmed + 1 end
        end

        local function begins(text, with) return string.sub(text, 1, #with) == with end

        local function visit(row)
          local id, holder, idle = row[1], row[2], row[3]
          local is_own = holder == consumer
          if is_own and wish ~= 'all' then return end
          if not is_own and holder ~= 'unowned' then
            local limit = begins(holder, leader) and flight or idle_limit
            if idle < limit then return begins(holder, sink) and limit - idle or nil end
          end
          local entry = redis.call('XRANGE', stream, id, id)[1]
          if not entry then return bury(row) end
          redis.call('XCLAIM', stream, group, consumer, 0, id, 'JUSTID')
          local score = tonumber(redis.call('ZSCORE', due, id) or '')
          taken[#taken + 1] = {id, entry[2], row[4], score and whole(score) or '', is_own and 0 or 1}
        end

        local last, seen = ARGV[7], 0
        while seen < 1000 do
          local query = {'XPENDING', stream, group, last == '' and '-' or '(' .. last, '+', 100}
          if wish == 'unowned' then query[7] = 'unowned' end
          local rows = redis.call(unpack(query))
          for _, row in ipairs(rows) do
            if #taken == count then return {taken, trimmed, last, 0, refused} end
            local wait = visit(row)
            if wait then return {taken, trimmed, last, wait, refused} end
            last = row[1]
          end
          if #rows < 100 then return {taken, trimmed, '', 0, refused} end
          seen = seen + #rows
        end
        return {taken, trimmed, last, 0, refused}
        """)

    /// How consumers of a sink are named: all of them, and those that have had a lease. No host has a slash in its name.
    static func prefixes(_ sink: String) -> (all: String, leading: String) { ("sink:\(sink):", "sink:\(sink):lease/") }

    static func call(
        _ stream: StreamName, _ group: GroupName, _ consumer: ConsumerName, _ number: Int, dead: StreamName?, of sink: String,
        _ search: Search, count: Int, lease: Duration, flight: Duration, after cursor: [UInt8]
    ) -> RedisCommand {
        var command = script.call(keyCount: dead == nil ? 3 : 4, effect: .consume, reserving: 512)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.appendKey(GatewayKeys.sinkLease(stream, group))
        if let dead { command.appendKey(dead.bytes) }
        command.append(group.bytes)
        command.append(consumer.bytes)
        command.append(decimal: number)
        command.append(search.rawValue)
        command.append(decimal: count)
        command.append(milliseconds: lease)
        command.append(cursor)
        command.append(prefixes(sink).all)
        command.append(prefixes(sink).leading)
        command.append(milliseconds: flight)
        return command
    }
}
