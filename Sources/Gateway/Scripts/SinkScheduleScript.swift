// Writes down what a sink decided about messages that it holds: how many deliveries count, and when the next may
// be made. Both at once, so that a crash neither resets nor skips a backoff; and only while they are ours, and, of an
// ordered sink, while the lease is: of a stopped holder that goes on nothing is written any more.
//
// KEYS  stream, the group's due times, and, of an ordered sink, the lease
// ARGV  group, the consumer that holds, the consumer that shall hold (itself, or `unowned`), the lease's number ("" where
//       there is none), then triples: id, delivery count, due time in ms since 1970 ("" for none)
// Reply for each id: 1 done, 0 no longer ours, 2 its entry is gone (left as it is, see SinkKeepAliveScript),
//       3 nothing was done, the lease is not ours
// What is handed to `unowned` becomes idle for anybody's claim (TIME 0), and every gateway is told.

import Net
import Redis

enum SinkScheduleScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, owner, heir = ARGV[1], ARGV[2], ARGV[3]
        \(LeaseFragment.lua)
        \(OwnerFragment.lua)
        \(GivingFragment.lua)
        local results = {}
        local is_ours = leads(KEYS[3], owner, ARGV[4])
        for i = 5, #ARGV, 3 do
          local id, count, at = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
          local row, gone = held(id)
          if gone then return gone end
          if not is_ours then
            results[#results + 1] = 3
          elseif not row then
            results[#results + 1] = 0
          elseif not exists(id) then
            results[#results + 1] = 2
          else
            give(id, heir, count, heir == owner and 'IDLE' or 'TIME', 0, at)
            results[#results + 1] = 1
          end
        end
        tell()
        return results
        """)

    /// Under which lease; `number` is nil where it was lost.
    struct Lease {
        var number: Int?
    }

    /// `lease`: of an ordered sink.
    static func call(
        _ stream: StreamName, _ group: GroupName, from owner: ConsumerName, to heir: ConsumerName, under lease: Lease? = nil,
        _ entries: [SinkState.Entry]
    ) -> RedisCommand {
        var command = script.call(keyCount: lease == nil ? 2 : 3, effect: .write, reserving: 384 + 64 * entries.count)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        if lease != nil { command.appendKey(GatewayKeys.sinkLease(stream, group)) }
        command.append(group.bytes)
        command.append(owner.bytes)
        command.append(heir.bytes)
        if let number = lease?.number { command.append(decimal: number) } else { command.append(literal: "") }
        for entry in entries {
            command.append(id: entry.message.id)
            command.append(decimal: entry.deliveries)
            // Rounded up: never a moment before the backoff is over.
            if let due = entry.due { command.append(milliseconds: due + .microseconds(999)) } else { command.append(literal: "") }
        }
        return command
    }
}
