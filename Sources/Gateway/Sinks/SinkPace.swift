// How fast a sink may send (SINKS.md §1, §2): a window of requests in flight that grows while the endpoint takes what
// it gets, a breaker that sends one probe at a time to an endpoint that fails, and a bucket of tokens for `rate_per_s`.
//
// Pure, owned by `SinkState`, and of this process alone. What holds here:
// - The window starts at 1 and grows by one with each success, so that it doubles with each round trip. It halves with a
//   failure, once for all that were under way together: they are one sign, not many.
// - After `breaker_failures` failures in a row the breaker is open: nothing is sent but a probe when its time has come,
//   each later than the one before, up to `retry.max_ms`. Whatever the endpoint takes closes it.

import Net

struct SinkPace {
    typealias Instant = EventLoop.Instant

    /// Requests under way at once, now that the breaker is closed.
    private(set) var window = 1
    /// When the next probe may be sent; nil: the breaker is closed.
    private(set) var probeAt: Instant?
    private(set) var failuresInARow = 0
    private let most: Int
    private let breakerFailures: Int
    private var bucket: TokenBucket?
    /// Probes since the breaker opened, and the one to come.
    private var probes = 0
    private var begun = 0
    /// Attempts up to this one knew nothing of the last halving.
    private var halvedAt = 0

    init(_ definition: SinkDefinition) {
        most = definition.concurrency
        breakerFailures = definition.breakerFailures
        bucket = definition.ratePerSecond.map { TokenBucket(perSecond: $0) }
    }

    var isOpen: Bool { probeAt != nil }

    /// Requests that may be under way.
    func slots(_ now: Instant) -> Int {
        guard let probeAt else { return window }
        return probeAt <= now ? 1 : 0
    }

    /// Requests that may be begun, by the rate alone; nil: any number.
    func tokens(_ now: Instant) -> Int? { bucket?.count(now) }

    /// When there are tokens again; nil: there are some.
    func nextToken(_ now: Instant) -> Instant? { bucket.flatMap { $0.count(now) > 0 ? nil : $0.next(now) } }

    /// An attempt is begun: its number, for when it ends.
    mutating func begin(_ now: Instant) -> Int {
        bucket?.take(now)
        begun += 1
        return begun
    }

    /// The endpoint is well: it took a message, or said that it does not want this one.
    mutating func taken() {
        failuresInARow = 0
        if probeAt != nil { probeAt = nil }
        if window < most { window += 1 }
    }

    /// Attempt `number` has failed, or the endpoint asked for patience, which makes the window smaller and is no sign of
    /// a failing endpoint (`counts` is false).
    mutating func failed(_ number: Int, isProbe: Bool, counts: Bool, _ now: Instant, _ backoff: inout SinkBackoff) {
        if number > halvedAt {
            window = max(window / 2, 1)
            halvedAt = begun
        }
        guard counts else { return }
        failuresInARow += 1
        guard isProbe || probeAt == nil && failuresInARow >= breakerFailures else { return }
        // An attempt from before that failed later has moved nothing.
        probes = isProbe ? probes + 1 : 1
        probeAt = now + backoff.delay(after: probes)
        window = 1
    }
}

/// Tokens come in at a steady rate, up to a tenth of a second's worth or one; each request takes one.
struct TokenBucket {
    typealias Instant = EventLoop.Instant

    private let perSecond: Double
    private let most: Double
    private var tokens: Double
    private var at = Instant.zero

    /// Waiting for a token is waiting for so many at least, or at a high rate a timer would fire for each.
    private static let patience = 0.005

    init(perSecond: Double) {
        self.perSecond = perSecond
        most = max(1, perSecond / 10)
        tokens = most
    }

    private func level(_ now: Instant) -> Double { min(most, tokens + max((now - at).inSeconds, 0) * perSecond) }

    /// Whole ones. (What a timer waited for is there, whatever is lost in rounding.)
    func count(_ now: Instant) -> Int { Int(level(now) + 1e-6) }

    func next(_ now: Instant) -> Instant {
        let wanted = max(1, min(most, perSecond * TokenBucket.patience))
        return now + max(.seconds((wanted - level(now)) / perSecond), .milliseconds(1))
    }

    mutating func take(_ now: Instant) {
        tokens = max(level(now) - 1, 0)
        at = now
    }
}
