// Deletes a consumer, and first gives what it holds to another: XGROUP DELCONSUMER drops it for good. One script,
// because the consumer may read meanwhile: at the very moment of its deletion it must hold nothing. It gives a slice
// at a time, since Redis serves nobody else meanwhile; the last slice and the deletion are one step.
//
// KEYS  stream, the group's due times
// ARGV  group, consumer, transfer, drop or refuse, the heir of a transfer, how many a slice
// Reply [outcome, how many were given or dropped, how many more were of entries that are gone]
//       outcome: deleted; more (call again); missing (there is no such consumer); refused (it holds messages)
// Idle times and delivery counts are kept, due times are not. Who was given something once is not asked again: a
// call that dies half way is repeated without harm.

import Redis

enum DeleteConsumerScript {
    enum Pending: String, CaseIterable {
        case transfer, drop, refuse
    }

    enum Outcome: String {
        case deleted, more, missing, refused
    }

    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, consumer, pending, heir, slice = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
        \(GivingFragment.lua)
        local rows = redis.pcall('XPENDING', stream, group, '-', '+', slice, consumer)
        if rows.err then return rows end

        local function is_there()
          for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
            for i = 1, #row, 2 do
              if row[i] == 'name' and row[i + 1] == consumer then return true end
            end
          end
        end

        if not rows[1] and not is_there() then return {'missing', 0, 0} end
        if rows[1] and pending == 'refuse' then return {'refused', 0, 0} end
        if pending == 'drop' then return {'deleted', redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer), 0} end

        local gone = 0
        for _, row in ipairs(rows) do
          if exists(row[1]) then
            give(row[1], heir, row[4], 'IDLE', row[3])
          else
            forget(row[1])
            gone = gone + 1
          end
        end
        tell()
        if #rows == slice then return {'more', #rows - gone, gone} end
        redis.call('XGROUP', 'DELCONSUMER', stream, group, consumer)
        return {'deleted', #rows - gone, gone}
        """)

    static func call(
        _ stream: StreamName, _ group: GroupName, _ consumer: ConsumerName, _ pending: Pending, to heir: ConsumerName
    ) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.append(group.bytes)
        command.append(consumer.bytes)
        command.append(pending.rawValue)
        command.append(heir.bytes)
        command.append(decimal: Limits.scriptSlice)
        return command
    }
}
