// How long to wait: never less than the definition says, since jitter is only ever added.

import Net

struct SinkBackoff: Sendable {
    let retry: SinkDefinition.Retry
    private var random: UInt64
    private var shared: Double?

    /// `seed`: equal seeds give equal jitter.
    init(_ retry: SinkDefinition.Retry, seed: UInt64) {
        self.retry = retry
        random = seed
    }

    /// The least delay after `failures` failures (1, 2, …): base * factor^(failures - 1), at most `max`.
    func least(after failures: Int) -> Duration {
        var delay = retry.base.inSeconds
        let most = retry.max.inSeconds
        var left = failures - 1
        while left > 0 && delay < most {
            delay *= retry.factor
            if retry.factor <= 1 { break }  // A thousand failures change nothing.
            left -= 1
        }
        return min(Duration.seconds(delay), retry.max)
    }

    /// The same with its jitter.
    mutating func delay(after failures: Int) -> Duration { jittered(least(after: failures)) }

    /// `delay`, and up to the share `retry.jitter` of it more.
    mutating func jittered(_ delay: Duration) -> Duration {
        delay + delay * (retry.jitter * (shared ?? fraction()))
    }

    /// Until `endTogether` all have the same jitter.
    mutating func beginTogether() { shared = fraction() }
    mutating func endTogether() { shared = nil }

    /// From 0 up to 1 (SplitMix64).
    mutating func fraction() -> Double {
        random &+= 0x9E37_79B9_7F4A_7C15
        var bits = random
        bits = (bits ^ bits >> 30) &* 0xBF58_476D_1CE4_E5B9
        bits = (bits ^ bits >> 27) &* 0x94D0_49BB_1331_11EB
        bits ^= bits >> 31
        return Double(bits >> 11) / Double(1 << 53)
    }
}
