// What follows from the end of an attempt (SINKS.md §2), and from the end of a sink.

import Net
import Redis

extension SinkState {
    mutating func attemptEnded(_ key: Key, _ outcome: SinkOutcome) {
        streams[key.stream].counters.count(outcome)
        inFlight -= 1
        if case .success = outcome { throttlesInARow = 0 }
        guard var message = held[key] else { return }  // Handed back at the deadline, and that is confirmed.
        if case .success = outcome {
            // A real 2xx counts, whoever owns the message by now: XACK does not ask.
            return acknowledge(key)
        }
        message.lastStatus = outcome.status
        message.lastError = outcome.error
        held[key] = message
        guard message.phase == .inFlight else { return }  // Being handed back.
        if case .gone = outcome { stop(because: "the receiver answered 410 Gone to message \(key.id)") }
        if message.isLost { return drop(key, settled: false) }
        if message.isTrimmed { return trimmed(key) }
        failed(key, outcome)
    }

    private mutating func failed(_ key: Key, _ outcome: SinkOutcome) {
        switch outcome {
        case .success: preconditionFailure("A success was dealt with above.")
        case .final:
            hasDeadLetter ? bury(key, .rejected, attempts: held[key]!.deliveries) : retry(key, after: .zero, spends: true)
        case .retry: retry(key, after: .zero, spends: true)
        case .throttled(_, let retryAfter, let spends):
            retry(key, after: pause(atLeast: retryAfter ?? .zero), spends: spends)
        case .ours: retry(key, after: pause(atLeast: .zero), spends: false)
        case .gone: release(key, due: nil, unspent: true)
        }
    }

    /// The endpoint waits, in this process: `least`, or longer when it was already told to be patient. Answers to
    /// requests that were under way together are one reason, not many.
    private mutating func pause(atLeast least: Duration) -> Duration {
        if pausedUntil <= moment.now { throttlesInARow += 1 }
        let delay = max(backoff.least(after: throttlesInARow), least)
        pausedUntil = max(pausedUntil, moment.now + backoff.jittered(delay))
        return least
    }

    /// After a failed attempt: a time for the next one, or the end.
    private mutating func retry(_ key: Key, after least: Duration, spends: Bool) {
        let attempts = held[key]!.deliveries
        if spends, attempts >= definition.retry.maxDeliveries, hasDeadLetter {
            return bury(key, .maxRetriesExceeded, attempts: attempts)
        }
        let delay = backoff.jittered(max(backoff.least(after: max(attempts, 1)), least))
        if isStopped { return release(key, due: moment.wall + delay, unspent: !spends) }
        held[key]!.dueWall = moment.wall + delay
        if !spends { held[key]!.deliveries = max(attempts - 1, 0) }
        streams[key.stream].counters.retries += 1
        enqueue(key, .schedule)
    }

    /// A message that can't be sent spends its attempt all the same, where there is no dead letter for it.
    mutating func unreadable(_ key: Key, _ reason: String) {
        held[key]!.lastError = reason
        hasDeadLetter ? bury(key, .unreadable, attempts: held[key]!.deliveries) : retry(key, after: .zero, spends: true)
    }

    mutating func acknowledge(_ key: Key) { enqueue(key, .acknowledge) }

    mutating func bury(_ key: Key, _ reason: DeadLetterReason, attempts: Int) {
        held[key]!.reason = reason
        held[key]!.deliveries = max(attempts, 0)
        enqueue(key, .bury)
    }

    /// Its entry is gone: nothing but a dead letter can come of it, and without one it stays pending.
    mutating func trimmed(_ key: Key) {
        streams[key.stream].counters.trimmed += 1
        hasDeadLetter ? bury(key, .trimmed, attempts: held[key]!.deliveries) : drop(key, settled: false)
    }

    /// `unspent`: the delivery that the counter has counted was never made, or does not count.
    mutating func release(_ key: Key, due: Duration?, unspent: Bool) {
        if unspent { held[key]!.deliveries = max(held[key]!.deliveries - 1, 0) }
        held[key]!.dueWall = due
        enqueue(key, .release)
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
        for (key, message) in held.sorted(by: { $0.key < $1.key }) {
            switch message.phase {
            case .ready, .writing(.begin, isSent: false): release(key, due: nil, unspent: true)
            case .due: release(key, due: nil, unspent: false)
            case .waiting, .writing(.schedule, isSent: false): release(key, due: message.dueWall, unspent: false)
            case .inFlight, .writing: break  // Their result says what to do.
            }
        }
    }

    /// What is in flight goes back with its attempt spent: it may have arrived.
    mutating func abandon() {
        stop(draining: true)
        for (key, message) in held.sorted(by: { $0.key < $1.key }) where message.phase == .inFlight { release(key, due: nil, unspent: false) }
    }
}
