// Deletes entries and says of each what became of it, with the same answers on every version. With a group it
// acknowledges first, and deletes only what was pending there. One script, because nobody may get an entry
// between the look into the groups and its deletion.
//
// KEYS  stream
// ARGV  KEEPREF, DELREF or ACKED; 1 where the server has XDELEX; 1 to acknowledge for a group; that group; ids
// Reply [how many were acknowledged, [1 deleted | 2 retained | -1 not found, …]], for the first ids: all of them, or
//       as many as 10,000 looks into groups go round for, so that Redis is not held up; call again for the rest
//
// XDELEX and XACKDEL are not enough by themselves (8.2): with ACKED they call an entry retained that does not
// exist, if it is above some group's position or still pending somewhere, and XACKDEL calls one deleted that was
// gone already. ACKED is decided as there: no group has it pending, and every group's position is past it.

import Redis

enum DeleteScript {
    static let script = RedisScript(
        """
        local stream, policy, native = KEYS[1], ARGV[1], ARGV[2] == '1'
        local acks, group = ARGV[3] == '1', ARGV[4]
        local kind = redis.call('TYPE', stream).ok
        if kind == 'none' then return {err = 'ERR no such key'} end
        if kind ~= 'stream' then return {err = 'WRONGTYPE Operation against a key holding the wrong kind of value'} end

        local groups = {}
        if policy ~= 'KEEPREF' and not native then
          for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
            local one = {}
            for i = 1, #row, 2 do one[row[i]] = row[i + 1] end
            groups[#groups + 1] = one
          end
        end

        -- Numbers of 64 bits as text: a Lua number would round them.
        local function less(a, b) return #a < #b or #a == #b and a < b end

        local function is_before(a, b)
          local ams, aseq = string.match(a, '(%d+)-(%d+)')
          local bms, bseq = string.match(b, '(%d+)-(%d+)')
          return less(ams, bms) or ams == bms and less(aseq, bseq)
        end

        local function is_referenced(id)
          for _, one in ipairs(groups) do
            if is_before(one['last-delivered-id'], id) then return true end
            if one.pending > 0 and redis.call('XPENDING', stream, one.name, id, id, 1)[1] then return true end
          end
          return false
        end

        local function exists(id) return redis.call('XRANGE', stream, id, id)[1] ~= nil end

        local function delete(id)
          if policy ~= 'KEEPREF' and native then
            local status = redis.call('XDELEX', stream, policy, 'IDS', 1, id)[1]
            if status == 2 and not exists(id) then return -1 end
            return status
          end
          if policy == 'ACKED' and is_referenced(id) then return exists(id) and 2 or -1 end
          if policy == 'DELREF' then
            for _, one in ipairs(groups) do
              if one.pending > 0 then redis.call('XACK', stream, one.name, id) end
            end
          end
          return redis.call('XDEL', stream, id) == 1 and 1 or -1
        end

        local acked, statuses = 0, {}
        local room = math.max(1, math.floor(10000 / (#groups + 1)))
        for i = 5, math.min(#ARGV, 4 + room) do
          local id, status = ARGV[i], -1
          if not acks then
            status = delete(id)
          elseif redis.call('XACK', stream, group, id) == 1 then
            acked = acked + 1
            status = delete(id)
          end
          statuses[#statuses + 1] = status
        end
        return {acked, statuses}
        """)

    /// - Parameter group: acknowledges for it, and deletes only what was pending there.
    static func call(
        _ stream: StreamName, _ ids: ArraySlice<StreamID>, _ references: StreamReferencePolicy, acknowledging group: GroupName?,
        isNative: Bool
    ) -> RedisCommand {
        var command = script.call(keyCount: 1, effect: .write, reserving: 320 + 32 * ids.count)
        command.appendKey(stream.bytes)
        command.append(literal: references.token)
        command.append(literal: isNative ? "1" : "0")
        command.append(literal: group == nil ? "0" : "1")
        command.append(group?.bytes ?? [])
        for id in ids { command.append(id: id) }
        return command
    }
}
