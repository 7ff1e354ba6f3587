// What follows from the end of an attempt (SINKS.md §2), and from the end of a sink.

import Net
import Redis

extension SinkState {
    mutating func attemptEnded(_ key: Key, _ outcome: SinkOutcome) {
        inFlight -= 1
        if outcome.isTaken { patience = SinkPatience() }
        let message = held[key]
        if let message { keepPace(message, outcome) }
        landed(key, message, outcome, among: 1)
    }

    /// - Parameters:
    ///   - message: nil: it was handed back at the deadline, and that is confirmed.
    ///   - count: of the messages that have this outcome in common.
    mutating func landed(_ key: Key, _ message: Held?, _ outcome: SinkOutcome, among count: Int) {
        streams[key.stream].counters.count(outcome)
        guard let message else { return }
        if case .success = outcome {
            // A real 2xx counts, whoever owns the message by now: XACK does not ask.
            return acknowledge(message)
        }
        message.lastStatus = outcome.status
        message.lastError = outcome.error
        guard message.phase == .inFlight else { return }  // Being handed back.
        if case .gone = outcome { stop(because: "the receiver answered 410 Gone to message \(key.id)") }
        if message.isLost {
            streams[key.stream].counters.lost += 1
            return drop(message, settled: false)
        }
        if message.isTrimmed { return trimmed(message) }
        failed(message, outcome, among: count)
    }

    mutating func keepPace(_ message: Held, _ outcome: SinkOutcome) {
        let wasOpen = pace.isOpen
        switch outcome {
        case .success, .dropped, .final: pace.taken()
        case .retry, .throttled:
            pace.failed(
                message.number, isProbe: message.isProbe, counts: outcome.isFailure, isAway: outcome.isAway, moment.now, &backoff)
        case .ours, .gone: break
        }
        if pace.isOpen && !wasOpen { putReadyBack() }
        if !pace.isOpen { freshProbes = 0 }
        // It answers, and it may be that each that was tried so far is to blame for what it answers: new ones have their turn.
        if !pace.isAway { retriesBeforeFresh = min(retriesBeforeFresh, 1) }
    }

    private mutating func failed(_ message: Held, _ outcome: SinkOutcome, among count: Int) {
        switch outcome {
        case .success: preconditionFailure("A success was dealt with above.")
        case .final where count > 1, .retry where count > 1:
            // It may be another's fault.
            message.batchLimit = count / 2
            retry(message, after: .zero, spends: true)
        case .final:
            hasDeadLetter ? bury(message, .rejected, attempts: message.deliveries) : retry(message, after: .zero, spends: true)
        case .dropped: hasDeadLetter ? bury(message, .dropped, attempts: message.deliveries) : acknowledge(message)
        case .retry: retry(message, after: .zero, spends: !(outcome.isAway && message.isProbe))
        // The breaker has its own patience with it.
        case .throttled where outcome.isAway && message.isProbe: retry(message, after: .zero, spends: false)
        case .throttled(_, let retryAfter, let spends):
            let least = pause(atLeast: retryAfter ?? .zero, isAway: outcome.isAway)
            // A limiter that counts messages may refuse so many at once for ever.
            if count > 1, patience.failures > 1 { message.batchLimit = max(count / 2, 1) }
            retry(message, after: least, spends: spends)
        case .ours: retry(message, after: pause(atLeast: .zero), spends: false)
        case .gone: release(message, due: nil, unspent: true)
        }
    }

    /// The endpoint waits, in this process: `least`, or longer when it was already told to be patient. Answers to
    /// requests that were under way together are one reason, not many.
    private mutating func pause(atLeast least: Duration, isAway: Bool = false) -> Duration {
        if pausedUntil <= moment.now { patience.failed(isAway: isAway) }
        let delay = max(patience.pause(isAway: isAway, backoff), least)
        pausedUntil = max(pausedUntil, moment.now + backoff.jittered(delay))
        // Were the lease lost meanwhile, what is ready would be forgotten, and its attempt, never made, spent.
        if definition.isOrdered { putReadyBack() }
        return least
    }

    /// After a failed attempt: a time for the next one, or the end.
    private mutating func retry(_ message: Held, after least: Duration, spends: Bool) {
        let attempts = message.deliveries
        if spends, attempts >= definition.retry.maxDeliveries, hasDeadLetter {
            return bury(message, .maxRetriesExceeded, attempts: attempts)
        }
        let delay = backoff.jittered(max(backoff.least(after: max(attempts, 1)), least))
        if isStopped { return release(message, due: moment.wall + delay, unspent: !spends) }
        message.dueWall = moment.wall + delay
        if !spends { message.deliveries = max(attempts - 1, 0) }
        streams[message.key.stream].counters.retries += 1
        enqueue(message, .schedule)
    }

    /// A message that can't be sent spends its attempt all the same, where there is no dead letter for it.
    mutating func unreadable(_ message: Held, _ reason: String) {
        message.lastError = reason
        hasDeadLetter ? bury(message, .unreadable, attempts: message.deliveries) : retry(message, after: .zero, spends: true)
    }

    mutating func acknowledge(_ message: Held) { enqueue(message, .acknowledge) }

    mutating func bury(_ message: Held, _ reason: DeadLetterReason, attempts: Int) {
        message.reason = reason
        message.deliveries = max(attempts, 0)
        enqueue(message, .bury)
    }

    /// Its entry is gone: nothing but a dead letter can come of it, and without one it stays pending.
    mutating func trimmed(_ message: Held) {
        streams[message.key.stream].counters.trimmed += 1
        hasDeadLetter ? bury(message, .trimmed, attempts: message.deliveries) : drop(message, settled: false)
    }

    /// `unspent`: the delivery that the counter has counted was never made, or does not count.
    mutating func release(_ message: Held, due: Duration?, unspent: Bool) {
        if unspent { message.deliveries = max(message.deliveries - 1, 0) }
        message.dueWall = due
        enqueue(message, .release)
    }

    // MARK: The end of a sink

    private mutating func stop(because reason: String) {
        guard disabledReason == nil else { return }
        disabledReason = reason
        actions.append(.disabled(reason: reason))
        stop(draining: false)
    }

    /// Nothing more is read; what is not in flight goes back at once.
    mutating func stop(draining: Bool) {
        if draining { isDraining = true }
        for message in held.values.sorted(by: { $0.key < $1.key }) {
            switch message.phase {
            case .ready, .writing(.begin, isSent: false): release(message, due: nil, unspent: true)
            case .due: release(message, due: nil, unspent: false)
            case .blocked: release(message, due: message.dueWall, unspent: false)
            case .waiting, .writing(.schedule, isSent: false): release(message, due: message.dueWall, unspent: false)
            case .inFlight, .writing, .gone: break  // Their result says what to do.
            }
        }
    }

    /// What is in flight goes back with its attempt spent: it may have arrived.
    mutating func abandon() {
        stop(draining: true)
        for message in held.values.sorted(by: { $0.key < $1.key }) where message.phase == .inFlight { release(message, due: nil, unspent: false) }
    }
}
