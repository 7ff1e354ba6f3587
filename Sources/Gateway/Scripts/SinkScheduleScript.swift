// Writes down what a sink decided about messages that it holds: how many deliveries count, and when the next may
// be made. Both at once, so that a crash neither resets nor skips a backoff; and only while they are ours.
//
// KEYS  stream, the group's due times
// ARGV  group, the consumer that holds, the consumer that shall hold (itself, or `unowned`), then triples: id,
//       delivery count, due time in ms since 1970 ("" for none)
// Reply for each id: 1 done, 0 no longer ours, 2 its entry is gone (left as it is, see SinkKeepAliveScript)
// What is handed to `unowned` becomes idle for anybody's claim (TIME 0), and every gateway is told.

import Net
import Redis

enum SinkScheduleScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, owner, heir = ARGV[1], ARGV[2], ARGV[3]
        \(OwnerFragment.lua)
        \(GivingFragment.lua)
        local results = {}
        for i = 4, #ARGV, 3 do
          local id, count, at = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
          local row, gone = held(id)
          if gone then return gone end
          if not row then
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

    static func call(
        _ stream: StreamName, _ group: GroupName, from owner: ConsumerName, to heir: ConsumerName, _ entries: [SinkState.Entry]
    ) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write, reserving: 384 + 64 * entries.count)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.append(group.bytes)
        command.append(owner.bytes)
        command.append(heir.bytes)
        for entry in entries {
            command.append(id: entry.message.id)
            command.append(decimal: entry.deliveries)
            // Rounded up: never a moment before the backoff is over.
            if let due = entry.due { command.append(milliseconds: due + .microseconds(999)) } else { command.append(literal: "") }
        }
        return command
    }
}
