// Adds a message at most once under an Idempotency-Key (API.md §2). One script, because of two callers with one
// key that come at the same time, by whichever gateways, exactly one may add; and because what was added and what
// is remembered of it must not come apart when a process dies between the two.
//
// KEYS  stream, what is remembered under the key
// ARGV  ms to remember, digest of the message (32 bytes), 1 when replicas will be waited for,
//       XADD's arguments behind the stream's name
// Reply the new ID; or [the first ID], a replay; or 0, the key was used for another message; or nil, there is no
//       stream (NOMKSTREAM)
// An add that fails is not remembered. A replay that is to be confirmed by replicas writes what it has read once
// more: WAIT counts from the last write of its own connection, and the first add may have come over another one.

import Crypto
import Net
import Redis

enum IdempotentAddScript {
    static let script = RedisScript(
        """
        local known = redis.call('GET', KEYS[2])
        if known then
          if string.sub(known, 1, 32) ~= ARGV[2] then return 0 end
          if ARGV[3] == '1' then redis.call('SET', KEYS[2], known, 'KEEPTTL') end
          return {string.sub(known, 33)}
        end
        local id = redis.pcall('XADD', KEYS[1], unpack(ARGV, 4))
        if type(id) ~= 'string' then return id end
        redis.call('SET', KEYS[2], ARGV[2] .. id, 'PX', ARGV[1])
        return id
        """)

    /// - Parameter add: the whole XADD of the message.
    static func call(
        _ add: RedisCommand, _ stream: StreamName, key: [UInt8], life: Duration, isReplicated: Bool
    ) -> RedisCommand {
        var command = script.call(keyCount: 2, effect: .idempotent, reserving: add.byteCount + key.count + 640)
        command.appendKey(stream.bytes)
        command.appendKey(GatewayKeys.idempotency(stream, key))
        command.append(milliseconds: life)
        command.append(add.withMarkedArguments { Digest.sha256($0) })  // Its ID, if it names one, names and values.
        command.append(literal: isReplicated ? "1" : "0")
        command.append(argumentsBehindKeyOf: add)
        return command
    }
}
