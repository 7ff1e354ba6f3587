// The Lua that a sink's scripts share which write of a message only while it is theirs. A bare XCLAIM or XACK asks
// nobody: a process that was stopped and goes on would steal back, or settle, what another has taken over. A script
// puts it behind its own locals `stream`, `group` and `owner`.

enum OwnerFragment {
    static let lua = """
        -- The row of the pending list while `owner` has it, else nil; behind it the error of a group that is gone.
        local function held(id)
          local rows = redis.pcall('XPENDING', stream, group, id, id, 1, owner)
          if rows.err then return nil, rows end
          return rows[1]
        end
        """
}
