// XCLAIM and XAUTOCLAIM with one answer on every version, and with what a caller wants to know of each
// message: who held it, and for how long. 6.2 answers an entry that is gone as nil and leaves it pending;
// since 7.0 it leaves the list, and only XAUTOCLAIM names it. Here both name it, and it always leaves. Since 7.2
// a claim creates its consumer also when it finds nothing; here it always does.

import Net
import Redis

/// Claims by ID. One script: what it says of the holder before must be true of the moment of the claim.
///
/// KEYS  stream, the group's due times
/// ARGV  group, consumer, min idle ms, 1 for JUSTID, how many options follow, the options, the ids
/// Reply [claimed, deleted]: rows [id, fields, delivery count, idle ms before, consumer before]; ids
enum ClaimScript {
    struct Claim {
        var stream: StreamName
        var group: GroupName
        var consumer: ConsumerName
        var minIdle = Duration.zero
        var idle: Duration?
        var time: Duration?
        var retryCount: Int?
        var force = false
        var justID = false
        var lastID: StreamID?
        var ids: [StreamID] = []

        var key: WaitKey { WaitKey(stream: stream, group: group) }
    }

    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, consumer, min_idle, just_id = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
        local option_count = tonumber(ARGV[5])
        local probe = redis.pcall('XPENDING', stream, group, '-', '+', 1)
        if probe.err then return probe end
        redis.call('XGROUP', 'CREATECONSUMER', stream, group, consumer)
        -- Redis moves the group on whatever becomes of the ids; those that are gone are never shown to it here.
        for o = 6, 5 + option_count do
          if ARGV[o] == 'LASTID' then redis.call('XCLAIM', stream, group, consumer, 0, '0-0', 'LASTID', ARGV[o + 1], 'JUSTID') end
        end
        local claimed, deleted = {}, {}
        for i = 6 + option_count, #ARGV do
          local id = ARGV[i]
          local row = redis.call('XPENDING', stream, group, id, id, 1)[1]
          local exists = redis.call('XRANGE', stream, id, id)[1]
          if row and not exists then
            redis.call('XACK', stream, group, id)
            redis.call('ZREM', due, id)
            deleted[#deleted + 1] = id
          elseif exists then
            local command = {'XCLAIM', stream, group, consumer, min_idle, id}
            for o = 6, 5 + option_count do command[#command + 1] = ARGV[o] end
            if just_id then command[#command + 1] = 'JUSTID' end
            local got = redis.call(unpack(command))[1]
            if got then
              redis.call('ZREM', due, id)
              local now = redis.call('XPENDING', stream, group, id, id, 1)[1]
              claimed[#claimed + 1] = {id, exists[2], now[4], row and row[3] or false, row and row[2] or false}
            end
          end
        end
        return {claimed, deleted}
        """)

    static func call(_ claim: Claim) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .consume, reserving: 320 + 32 * claim.ids.count)
        command.appendKey(claim.stream.bytes)
        command.appendKey(GatewayKeys.due(claim.stream, claim.group))
        command.append(claim.group.bytes)
        command.append(claim.consumer.bytes)
        command.append(decimal: claim.minIdle.milliseconds)
        command.append(literal: claim.justID ? "1" : "0")
        var options: [String] = []
        if let idle = claim.idle { options += ["IDLE", "\(idle.milliseconds)"] }
        if let time = claim.time { options += ["TIME", "\(time.milliseconds)"] }
        if let retryCount = claim.retryCount { options += ["RETRYCOUNT", "\(retryCount)"] }
        if claim.force { options.append("FORCE") }
        if let lastID = claim.lastID { options += ["LASTID", "\(lastID)"] }
        command.append(decimal: options.count)
        for option in options { command.append(option) }
        for id in claim.ids { command.append(id: id) }
        return command
    }
}

/// Claims whatever has been idle for long enough, a page at a time. One script, for the same reason.
///
/// KEYS  stream, the group's due times
/// ARGV  group, consumer, min idle ms, start, count, 1 for JUSTID
/// Reply [cursor, claimed, deleted]; rows as of `ClaimScript`. The cursor is 0-0 at the end.
/// Like XAUTOCLAIM it looks at no more than ten times `count` pending messages.
enum AutoclaimScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, consumer, min_idle = ARGV[1], ARGV[2], tonumber(ARGV[3])
        local from, count, just_id = ARGV[4], tonumber(ARGV[5]), ARGV[6] == '1'
        local claimed, deleted, seen, cursor = {}, {}, 0, '0-0'
        local first = redis.pcall('XPENDING', stream, group, '-', '+', 1)
        if first.err then return first end
        redis.call('XGROUP', 'CREATECONSUMER', stream, group, consumer)

        local function visit(row)
          local id = row[1]
          if row[3] < min_idle then return end
          local exists = redis.call('XRANGE', stream, id, id)[1]
          if not exists then
            redis.call('XACK', stream, group, id)
            redis.call('ZREM', due, id)
            deleted[#deleted + 1] = id
            return
          end
          local command = {'XCLAIM', stream, group, consumer, min_idle, id}
          if just_id then command[#command + 1] = 'JUSTID' end
          if redis.call(unpack(command))[1] then
            redis.call('ZREM', due, id)
            claimed[#claimed + 1] = {id, exists[2], just_id and row[4] or row[4] + 1, row[3], row[2]}
          end
        end

        while true do
          local rows = redis.call('XPENDING', stream, group, from, '+', 100)
          for i, row in ipairs(rows) do
            if #claimed >= count or seen >= count * 10 then
              cursor = row[1]
              return {cursor, claimed, deleted}
            end
            seen = seen + 1
            visit(row)
          end
          if #rows < 100 then return {'0-0', claimed, deleted} end
          from = '(' .. rows[#rows][1]
        end
        """)

    static func call(
        _ stream: StreamName, _ group: GroupName, _ consumer: ConsumerName, minIdle: Duration, start: StreamID,
        count: Int, justID: Bool
    ) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .consume)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.append(group.bytes)
        command.append(consumer.bytes)
        command.append(decimal: minIdle.milliseconds)
        command.append(id: start)
        command.append(decimal: count)
        command.append(literal: justID ? "1" : "0")
        return command
    }
}
