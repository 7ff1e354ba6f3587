// The Lua that scripts share which take a message from one consumer and give it to another: its due time, and the
// word to all gateways when it becomes unowned. A script puts it behind its own locals `stream`, `due` and `group`,
// and calls `tell` at its end, when it knows all that it gave.
//
// A due time is a score in the sorted set `due` (ms since 1970). An entry without one is due now, so that the set may
// expire once all of it is past. XCLAIM comes before ZADD: a Redis that is out of memory refuses ZADD only as the
// first write of a script.

enum GivingFragment {
    /// Beyond it Lua's numbers, which are doubles, leave some out. (Redis counts to 2^63, and then from below zero.)
    static let mostDeliveries = 1 << 53 - 1

    static let lua = """
        \(NudgeFragment.lua)
        local given, given_later = 0, 0

        local function exists(id) return redis.call('XRANGE', stream, id, id)[1] end

        -- Off the pending list, on every version.
        local function forget(id)
          redis.call('XACK', stream, group, id)
          redis.call('ZREM', due, id)
        end

        -- The delivery count is set, as Redis takes it: Lua would write a large one as 1e+17. `clock` and `value` are
        -- XCLAIM's option for the idle time. `at`: the due time.
        local function give(id, heir, count, clock, value, at)
          count = string.format('%.0f', math.max(0, math.min(count, \(mostDeliveries))))
          redis.call('XCLAIM', stream, group, heir, 0, id, clock, value, 'RETRYCOUNT', count, 'JUSTID')
          if at then
            redis.call('ZADD', due, at, id)
            local last = redis.call('ZRANGE', due, -1, -1, 'WITHSCORES')[2]
            redis.call('PEXPIREAT', due, last + 86400000)
          else
            redis.call('ZREM', due, id)
          end
          if heir ~= 'unowned' then return end
          if at then given_later = given_later + 1 else given = given + 1 end
        end

        -- Redis' own tracking tells nobody of an XCLAIM. Unowned: look for what has no due time; due: only a due time is new.
        local function tell()
          local kind = given > 0 and \(Nudge.Kind.unowned.lua) or given_later > 0 and \(Nudge.Kind.due.lua)
          if kind then nudge(kind, stream, group) end
        end
        """
}
