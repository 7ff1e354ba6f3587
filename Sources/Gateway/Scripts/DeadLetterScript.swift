// Makes a dead letter of a message (API.md §6): XADD to the dead-letter stream first, then the acknowledgement, in
// one atomic step and only while the message is there to be buried: still the sink's that holds it, or still left idle
// too often under a recovery policy that still says so. If no answer comes it is sent again: a second run finds that the
// message is no longer pending, and doubles nothing.
//
// KEYS  stream, the group's due times, the dead-letter stream, and, where a recovery policy is carried out, that
// ARGV  group, the consumer that holds ("" for any: a policy decides), id, data ("null" where the entry is gone),
//       attempts ("" for what the pending list says), reason, last status ("" where none came), last error,
//       1 to write the dead letter, 0 where that was done before (the dead-letter stream is in another slot of a
//       cluster, and is then not among the keys: the stream itself stands in its place)
// Reply 1 done, 0 no longer to be buried

import Net
import Redis

enum DeadLetterScript {
    static let script = RedisScript(
        """
        local stream, due, dead, policy = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
        local group, owner, id, data = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
        \(DeadLetterFragment.lua)
        local query = {'XPENDING', stream, group, id, id, 1}
        if owner ~= '' then query[7] = owner end
        local rows = redis.pcall(unpack(query))
        if rows.err then return rows end
        local row = rows[1]
        if not row then return 0 end
        if policy then
          local limits = redis.call('HMGET', policy, 'max_idle_ms', 'max_deliveries', 'dead_letter')
          if not limits[1] or row[3] < tonumber(limits[1]) then return 0 end
          if data ~= 'null' and row[4] < tonumber(limits[2]) then return 0 end
          if ARGV[9] == '1' and limits[3] ~= dead then return 0 end
        end
        if ARGV[9] == '1' then
          local refused = write_letter(row, data, ARGV[5] ~= '' and ARGV[5] or row[4], ARGV[6], ARGV[7], ARGV[8])
          if refused then return refused end
        end
        settle(id)
        if policy then redis.call('HINCRBY', policy, 'dead_lettered', 1) end
        return 1
        """)

    /// Of a message that a sink holds.
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
        command.append(literal: "1")
        return command
    }

    /// Of a message that a recovery policy gives up. `dead`: nil where the dead letter was added by `add`.
    static func call(_ letter: RecoveryLetter, to dead: StreamName?) -> RedisCommand {
        var command = script.call(keyCount: 4, effect: .write, reserving: 640 + letter.data.count)
        command.appendKey(letter.key.stream.bytes)
        command.appendKey(GatewayKeys.due(letter.key.stream, letter.group))
        command.appendKey((dead ?? letter.key.stream).bytes)
        command.appendKey(GatewayKeys.recovery(letter.key.stream, letter.group))
        command.append(letter.group.bytes)
        command.append(literal: "")
        command.append(id: letter.id)
        command.append(letter.data)
        command.append(literal: "")
        command.append(letter.reason.rawValue)
        command.append(literal: "")
        command.append(letter.error)
        command.append(literal: dead == nil ? "0" : "1")
        return command
    }

    /// The dead letter alone, for a dead-letter stream in another slot: before the acknowledgement, so that a crash in
    /// between doubles it and loses nothing.
    static func add(_ letter: RecoveryLetter, to dead: StreamName, wallTime: Duration) -> RedisCommand {
        var command = RedisCommand.xadd(dead.bytes, reserving: 512 + letter.data.count)
        for field in DeadLetterField.allCases {
            command.append(field.rawValue)
            switch field {
            case .originalStream: command.append(letter.key.stream.bytes)
            case .originalID: command.append(id: letter.id)
            case .originalData: command.append(letter.data)
            case .group: command.append(letter.group.bytes)
            case .lastConsumer: command.append(letter.holder)
            case .attempts: command.append(decimal: letter.deliveries)
            case .reason: command.append(letter.reason.rawValue)
            case .lastStatus: command.append(literal: "")
            case .lastError: command.append(letter.error)
            case .failedAt: command.append(milliseconds: wallTime)
            }
        }
        return command
    }
}
