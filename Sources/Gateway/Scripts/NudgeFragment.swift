// The Lua that scripts share which tell all gateways of a change (`Nudge`), in the step that makes it.

import Redis

enum NudgeFragment {
    static let lua = """
        -- An ACL that refuses the channel does not undo what was done: who can't be told looks from time to time.
        local function nudge(kind, stream, group)
          redis.pcall('PUBLISH', '\(NudgeChannel.name)', kind .. #stream .. ':' .. stream .. group)
        end
        """
}

extension Nudge.Kind {
    /// In Lua: the argument of `nudge`.
    var lua: String { "'\(Unicode.Scalar(rawValue))'" }
}
