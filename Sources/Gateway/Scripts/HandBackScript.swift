// Makes messages unowned: what was read for a client that has gone, or is held by a sink that stops.
// One script, because the owner must still be the one who gives: who was stopped for longer than the
// lease must not take away what another has taken over.
//
// KEYS  stream, the group's due times
// ARGV  group, the consumer that gives, then pairs: id, due time in ms since 1970 ("" for now)
// Reply how many were handed back
// The delivery count stays (JUSTID); TIME 0 makes the message idle for anybody's claim. (IDLE above now is
// silently 0, on every server.)

import Net
import Redis

enum HandBackScript {
    static let script = RedisScript(
        """
        local stream, due = KEYS[1], KEYS[2]
        local group, owner, count = ARGV[1], ARGV[2], 0
        for i = 3, #ARGV, 2 do
          local id, at = ARGV[i], tonumber(ARGV[i + 1])
          local rows = redis.pcall('XPENDING', stream, group, id, id, 1, owner)
          if rows.err then return rows end
          if rows[1] then
            redis.call('XCLAIM', stream, group, 'unowned', 0, id, 'TIME', 0, 'RETRYCOUNT', rows[1][4], 'JUSTID')
            if at then
              redis.call('ZADD', due, at, id)
              redis.call('PEXPIREAT', due, at + 86400000)
            else
              redis.call('ZREM', due, id)
            end
            count = count + 1
          end
        end
        if count > 0 then redis.call('PUBLISH', 'sluice:nudge', 'u' .. #stream .. ':' .. stream .. group) end
        return count
        """)

    /// `messages`: entry IDs, each with the wall time before which no read may take it.
    static func call(
        _ stream: StreamName, _ group: GroupName, from owner: ConsumerName, _ messages: [(id: [UInt8], due: Duration?)]
    ) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .write)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.append(group.bytes)
        command.append(owner.bytes)
        for message in messages {
            command.append(message.id)
            if let due = message.due { command.append(decimal: due.milliseconds) } else { command.append(literal: "") }
        }
        return command
    }
}
