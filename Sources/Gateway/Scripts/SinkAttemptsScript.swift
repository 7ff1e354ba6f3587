// Keeps the latest attempts of sinks, of many of them in one call. A script, because a sink that was deleted
// meanwhile must not leave a list behind: whether it is there is asked in the same step.
//
// KEYS  definitions, then pairs: a sink's failed attempts, its other attempts
// ARGV  how many of each kind are kept, for how long (ms), then for each sink: its name, '1' if it is one of the
//       configuration, how many failed ones follow, how many others; then those, each kind in its order of time
// Reply how many sinks were there

import Net
import Redis

enum SinkAttemptsScript {
    /// One sink's part of a call: its attempts as JSON.
    struct Part {
        var sink: String
        var isConfigured: Bool
        var failed: [[UInt8]]
        var others: [[UInt8]]
    }

    /// Sinks in one call: some thousand arguments at most.
    static let slice = 20

    static let script = RedisScript(
        """
        local keep, life = tonumber(ARGV[1]), ARGV[2]
        local place, known = 3, 0
        local function push(list, count, is_known)
          if count > 0 and is_known then
            redis.call('LPUSH', list, unpack(ARGV, place, place + count - 1))
            redis.call('LTRIM', list, 0, keep - 1)
            redis.call('PEXPIRE', list, life)
          end
          place = place + count
        end
        for i = 2, #KEYS, 2 do
          local is_known = ARGV[place + 1] == '1' or redis.call('HEXISTS', KEYS[1], ARGV[place]) == 1
          local failed, others = tonumber(ARGV[place + 2]), tonumber(ARGV[place + 3])
          place = place + 4
          push(KEYS[i], failed, is_known)
          push(KEYS[i + 1], others, is_known)
          if is_known then known = known + 1 end
        end
        return known
        """)

    static func call(_ parts: some Collection<Part>, keeping count: Int, for life: Duration) -> RedisCommand {
        var command = script.call(keyCount: 1 + 2 * parts.count, effect: .write, reserving: 1024)
        command.appendKey(GatewayKeys.sinks)
        for part in parts {
            command.appendKey(GatewayKeys.sinkAttempts(part.sink, failed: true))
            command.appendKey(GatewayKeys.sinkAttempts(part.sink, failed: false))
        }
        command.append(decimal: count)
        command.append(milliseconds: life)
        for part in parts {
            command.append(part.sink)
            command.append(part.isConfigured ? "1" : "")
            command.append(decimal: part.failed.count)
            command.append(decimal: part.others.count)
            for attempt in part.failed + part.others { command.append(attempt) }
        }
        return command
    }
}
