// Puts one dead letter back where it came from and deletes it, in one step (API.md §6): for its group alone where the
// entry and the group are still there, else anew, for every group. Of two redrives at once, and of one that is
// repeated because its answer was lost, one finds the dead letter gone and does nothing.
//
// KEYS  the original stream, the group's due times, and, where it is in the same slot, the dead-letter stream
// ARGV  group, the original id, the dead letter's id ("" where its stream is not among the keys: the caller
//       deletes it after), then names and values to add ("absent" is the answer where there are none)
// Reply [mode, new id]
//   mode  pending, added, absent (neither: nothing was done), gone (the dead letter is: nothing was done)
// An entry that is pending already stays with whoever holds it. (XCLAIM FORCE takes an entry that was acknowledged, on
// every version; it counts as delivered, so no new reading of the group brings it.)

import Net
import Redis

enum RedriveScript {
    enum Outcome: String {
        case pending, added, absent, gone
    }

    static let script = RedisScript(
        """
        local stream, due, dead = KEYS[1], KEYS[2], KEYS[3]
        local group, id, dead_id = ARGV[1], ARGV[2], ARGV[3]
        \(NudgeFragment.lua)
        if dead and not redis.call('XRANGE', dead, dead_id, dead_id)[1] then return {'gone', ''} end
        local entry = redis.pcall('XRANGE', stream, id, id)
        if entry.err then return entry end
        local rows = redis.pcall('XPENDING', stream, group, id, id, 1)
        if rows.err and string.sub(rows.err, 1, 7) ~= 'NOGROUP' then return rows end
        local mode, new_id = 'absent', ''
        if entry[1] and not rows.err then
          mode = 'pending'
          if not rows[1] then
            redis.call('XCLAIM', stream, group, 'unowned', 0, id, 'TIME', 0, 'RETRYCOUNT', 0, 'FORCE', 'JUSTID')
            redis.call('ZREM', due, id)
            nudge(\(Nudge.Kind.unowned.lua), stream, group)
          end
        elseif #ARGV > 3 then
          mode = 'added'
          new_id = redis.call('XADD', stream, '*', unpack(ARGV, 4))
        end
        if dead and mode ~= 'absent' then redis.call('XDEL', dead, dead_id) end
        return {mode, new_id}
        """)

    /// Lua hands on no more values than about 8,000.
    static let argumentLimit = 7000

    /// `dead`: nil where its stream is in another slot. Names and values to add may be appended.
    static func call(
        _ stream: StreamName, _ group: GroupName, _ id: StreamID, dead: (stream: StreamName, id: StreamID)?, reserving: Int = 0
    ) -> RedisCommand {
        var command = script.call(keyCount: dead == nil ? 2 : 3, effect: .write, reserving: 512 + reserving)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.due(stream, group))
        if let dead { command.appendKey(dead.stream.bytes) }
        command.append(group.bytes)
        command.append(id: id)
        if let dead { command.append(id: dead.id) } else { command.append(literal: "") }
        return command
    }
}
