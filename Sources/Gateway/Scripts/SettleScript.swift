// Settles messages that a consumer holds: acknowledges, makes unowned, keeps alive. One script, because the owner
// must still be the one who settles: who was slower than the lease must not touch what another has taken over.
// Handing back what was read for a client that has gone is a nack of what was not delivered again since: a client that
// came back under the same name may have it.
//
// KEYS  stream, the group's due times
// ARGV  group, the consumer that settles, 1 for the group's numbers, then triples: ack, nack, extend or
//       hand_back, id, the nack's delay in ms ("" for none) or the delivery count of what is handed back ("": any; below
//       zero: whatever was delivered no later than so many ms ago)
// Reply [for each id done, lease_lost, not_pending or deleted; XINFO GROUPS, or nil]
// A nack leaves the delivery count and makes the message idle for anybody's claim (TIME 0: IDLE above now is silently
// 0, on every server). Its due time is by Redis' clock: the one that reads are held against.

import Net
import Redis

enum SettleScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, owner = ARGV[1], ARGV[2]
        \(ClockFragment.lua)
        \(GivingFragment.lua)
        local probe = redis.pcall('XPENDING', stream, group, '-', '+', 1)
        if probe.err then return probe end
        local now = now_ms()

        local function settle(operation, id, value)
          local row = redis.call('XPENDING', stream, group, id, id, 1)[1]
          if not row then return 'not_pending' end
          if row[2] ~= owner then return 'lease_lost' end
          if operation == 'hand_back' and value then
            if value < 0 and row[3] < -value or value >= 0 and row[4] > value then return 'lease_lost' end
          end
          if operation == 'ack' then
            forget(id)
          elseif not exists(id) then
            forget(id)
            return 'deleted'
          elseif operation == 'extend' then
            redis.call('XCLAIM', stream, group, owner, 0, id, 'JUSTID')
          else
            give(id, 'unowned', row[4], 'TIME', 0, operation == 'nack' and value and now + value)
          end
          return 'done'
        end

        local results = {}
        for i = 4, #ARGV, 3 do
          results[#results + 1] = settle(ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]))
        end
        tell()
        return {results, ARGV[3] == '1' and redis.call('XINFO', 'GROUPS', stream)}
        """)

    static func call(
        _ stream: StreamName, _ group: GroupName, by owner: ConsumerName, _ items: [Settlement.Item], wantsStats: Bool
    ) -> RedisCommand {
        var command = begin(stream, group, owner, count: items.count)
        command.append(literal: wantsStats ? "1" : "0")
        for item in items {
            command.append(item.operation.rawValue)
            command.append(id: item.id)
            if let delay = item.delay { command.append(milliseconds: delay) } else { command.append(literal: "") }
        }
        return command
    }

    /// Makes messages unowned, due at once, that were to be so some time ago. Where a delivery count is not known, that time
    /// tells what was delivered again since, but for the last moments: Redis' clock is read once for many commands.
    static func handBack(
        _ stream: StreamName, _ group: GroupName, from owner: ConsumerName, _ deliveries: ArraySlice<Delivery>, after time: Duration
    ) -> RedisCommand {
        let idle = (time - .milliseconds(100)).milliseconds
        var command = begin(stream, group, owner, count: deliveries.count)
        command.append(literal: "0")
        for delivery in deliveries {
            command.append(literal: "hand_back")
            command.append(id: delivery.id)
            if delivery.count > 0 || idle > 0 {
                command.append(decimal: delivery.count > 0 ? Int(delivery.count) : -idle)
            } else {
                command.append(literal: "")
            }
        }
        return command
    }

    private static func begin(_ stream: StreamName, _ group: GroupName, _ owner: ConsumerName, count: Int) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write, reserving: 384 + 64 * count)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.append(group.bytes)
        command.append(owner.bytes)
        return command
    }
}
