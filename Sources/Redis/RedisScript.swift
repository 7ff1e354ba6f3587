// A Lua script, called by its digest and loaded where a server does not have it yet.

import Crypto

public struct RedisScript: Sendable {
    public let source: String
    /// SHA-1 of the source in lower-case hexadecimal: Redis' name for it.
    public let digest: [UInt8]

    /// Make it once, as a static constant: the digest is computed here.
    public init(_ source: String) {
        self.source = source
        digest = Array(Digest.sha1Hex(Array(source.utf8)).utf8)
    }

    /// `EVALSHA digest keyCount`: append exactly `keyCount` keys by `appendKey`, then the arguments.
    public func call(keyCount: Int, effect: RedisCommand.Effect, reserving: Int = 320) -> RedisCommand {
        var command = RedisCommand("EVALSHA", effect: effect, reserving: reserving)
        command.append(digest)
        command.append(decimal: keyCount)
        return command
    }

    /// SCRIPT LOAD. Changes no data, so that a lost one counts as nothing executed.
    public var load: RedisCommand {
        var command = RedisCommand("SCRIPT", effect: .read, reserving: 64 + source.utf8.count)
        command.append(literal: "LOAD")
        command.append(source)
        return command
    }
}
