// Makes a dead letter of a message that a sink holds (API.md §6): XADD to the dead-letter stream first, then the
// acknowledgement, in one atomic step and only while the message is ours. If no answer comes it is sent again: a
// second run finds that the message is no longer ours, and doubles nothing.
//
// KEYS  stream, the group's due times, the dead-letter stream
// ARGV  group, the consumer that holds, id, data ("null" where the entry is gone), attempts, reason, last status
//       ("" where none came), last error
// Reply 1 done, 0 no longer ours

import Redis

enum DeadLetterScript {
    static let script = RedisScript(
        """
        local stream, due, dead = KEYS[1], KEYS[2], KEYS[3]
        local group, owner, id, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
        \(OwnerFragment.lua)
        local row, gone = held(id)
        if gone then return gone end
        if not row then return 0 end
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        redis.call('XADD', dead, '*', 'original_stream', stream, 'original_id', id, 'original_data', data,
          'group', group, 'last_consumer', owner, 'attempts', ARGV[5], 'reason', ARGV[6], 'last_status', ARGV[7],
          'last_error', ARGV[8], 'failed_at_ms', string.format('%.0f', now))
        redis.call('XACK', stream, group, id)
        redis.call('ZREM', due, id)
        return 1
        """)

    static func call(
        _ stream: StreamName, _ group: GroupName, from owner: ConsumerName, to dead: StreamName, _ entry: SinkState.Entry
    ) -> RedisCommand {
        let data = entry.reason == .trimmed ? Array("null".utf8) : entry.message.originalData
        var command = script.call(keyCount: 3, effect: .write, reserving: 512 + data.count)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        command.appendKey(dead.bytes)
        command.append(group.bytes)
        command.append(owner.bytes)
        command.append(id: entry.message.id)
        command.append(data)
        command.append(decimal: entry.deliveries)
        command.append(entry.reason?.rawValue ?? DeadLetterReason.maxRetriesExceeded.rawValue)
        if let status = entry.lastStatus { command.append(decimal: status) } else { command.append(literal: "") }
        command.append(entry.lastError)
        return command
    }
}
