// How fast a sink may send (SINKS.md §1, §2): a window of requests in flight that grows while the endpoint takes what
// it gets, a breaker that sends one probe at a time to an endpoint that fails, and a bucket of tokens for `rate_per_s`.
//
// Pure, owned by `SinkState`, and of this process alone. What holds here:
// - The window starts at 1 and grows by one with each success, so that it doubles with each round trip. It halves with a
//   failure, once for all that were under way together: they are one sign, not many.
// - After `breaker_failures` failures in a row the breaker is open: nothing is sent but a probe when its time has come,
//   each later than the one before, up to `retry.max_ms`. Whatever the endpoint takes closes it.
// - A probe that found the endpoint away has spent no attempt, so it may be repeated soon: nobody is to wait minutes for the
//   return of one that was away for an hour. What it answers when it is there has a patience of its own, which grows with each
//   such answer, also where an endpoint does both by turns.

import Net

struct SinkPace {
    typealias Instant = EventLoop.Instant

    /// Requests under way at once, now that the breaker is closed.
    private(set) var window = 1
    /// When the next probe may be sent; nil: the breaker is closed.
    private(set) var probeAt: Instant?
    private(set) var failuresInARow = 0
    /// No answer of the endpoint's own came to the last attempt that failed; while the breaker is open, to the last probe.
    private(set) var isAway = false
    private let most: Int
    private let breakerFailures: Int
    private var bucket: TokenBucket?
    /// Since the breaker opened.
    private var patience = SinkPatience()
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
    /// a failing endpoint (`counts` is false). `isAway`: a probe that ended so spends no attempt.
    mutating func failed(_ number: Int, isProbe: Bool, counts: Bool, isAway: Bool, _ now: Instant, _ backoff: inout SinkBackoff) {
        if number > halvedAt {
            window = max(window / 2, 1)
            halvedAt = begun
        }
        guard counts else { return }
        failuresInARow += 1
        // An attempt from before the breaker opened that failed later has moved nothing.
        guard isProbe || probeAt == nil else { return }
        self.isAway = isAway
        if probeAt == nil {
            guard failuresInARow >= breakerFailures else { return }
            patience = SinkPatience()
        }
        patience.failed(isAway: isAway)
        probeAt = now + backoff.jittered(patience.pause(isAway: isAway, backoff))
        window = 1
    }
}

/// How long to wait where nobody has asked for it. Failures in a row of an endpoint that is away, and others, are counted apart:
/// the pauses of the former stay short, so that their number says nothing of the latter.
struct SinkPatience {
    private var away = 0
    private var others = 0
    /// Between probes of an endpoint that is away, or `retry.base_ms` where that is more.
    private static let mostAway = Duration.seconds(3)

    var failures: Int { away + others }

    mutating func failed(isAway: Bool) { if isAway { away += 1 } else { others += 1 } }

    /// After a failure of the kind.
    func pause(isAway: Bool, _ backoff: SinkBackoff) -> Duration {
        let pause = backoff.least(after: isAway ? away : others)
        return isAway ? min(pause, max(SinkPatience.mostAway, backoff.retry.base)) : pause
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
