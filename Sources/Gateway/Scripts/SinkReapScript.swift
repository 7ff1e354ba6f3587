// Removes the consumers that earlier processes of a sink have left. A script, because XGROUP DELCONSUMER drops the
// pending messages of whom it deletes: there must be none at that very moment.
//
// KEYS  stream
// ARGV  group, how the names of this sink's consumers begin, our own name, idle ms
// Reply how many were removed

import Net
import Redis

enum SinkReapScript {
    static let script = RedisScript(
        """
        local stream, group, prefix, own, least = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
        local consumers = redis.pcall('XINFO', 'CONSUMERS', stream, group)
        if consumers.err then return consumers end
        local count = 0
        for _, row in ipairs(consumers) do
          local consumer = {}
          for i = 1, #row, 2 do consumer[row[i]] = row[i + 1] end
          local name = consumer.name
          if name ~= own and string.sub(name, 1, #prefix) == prefix and consumer.pending == 0 and consumer.idle >= least then
            redis.call('XGROUP', 'DELCONSUMER', stream, group, name)
            count = count + 1
          end
        end
        return count
        """)

    static func call(
        _ stream: StreamName, _ group: GroupName, prefix: String, own: ConsumerName, idle: Duration
    ) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write)
        command.appendKey(stream.bytes)
        command.append(group.bytes)
        command.append(prefix)
        command.append(own.bytes)
        command.append(milliseconds: idle)
        return command
    }
}
