// A Lua script, called by its digest.

public struct RedisScript: Sendable {
    public let source: String
    /// SHA-1 of the source in lower-case hex: Redis' name for it.
    public let digest: [UInt8]

    public init(_ source: String) {
        self.source = source
        digest = []
    }

    /// `EVALSHA digest keyCount`: append exactly `keyCount` keys by `appendKey`, then the arguments.
    public func call(keyCount: Int, effect: RedisCommand.Effect, reserving: Int = 320) -> RedisCommand {
        var command = RedisCommand("EVALSHA", effect: effect, reserving: reserving)
        command.append(digest)
        command.append(decimal: keyCount)
        return command
    }
}
