// What a sink's attempts came to, remembered until it is told to Redis: failures, the latest hundred of them; of
// successes a few at a time. Costs an attempt that succeeded two assignments and nothing more.
//
// Owned by its sink, on the sink's loop; emptied by `SinkRoster`, which tells what is in it. What does not get there is
// gone: nothing is ever delivered again for it.

import Net
import Redis
import Webhook

final class SinkJournal {
    struct Attempt {
        var wall: Duration
        var key: SinkState.Key
        /// The delivery count that it was sent with.
        var number: Int
        var outcome: SinkOutcome
        /// What went wrong where no answer came; nil: one came.
        var failure: WebhookFailure?
        var duration: Duration
        /// Wall time; nil: there will be none, or nobody knows.
        var next: Duration?
    }

    /// There is something to tell.
    var changed: () -> Void = {}
    /// The receiver is gone.
    var disabled: (String) -> Void = { _ in }
    private(set) var failures: [Attempt] = []
    private(set) var successes: [Attempt] = []
    private(set) var failuresInARow = 0
    private(set) var lastFailure: Attempt?
    private(set) var lastSuccess: Duration?
    /// Failures whose next attempt is not decided yet, at the end of `failures`.
    private var undecided = 0
    private var isTold = true

    func ended(_ key: SinkState.Key, _ number: Int, _ result: WebhookResult, _ outcome: SinkOutcome, wall: Duration) {
        if outcome.isTaken {
            lastSuccess = wall
            failuresInARow = 0
            if successes.count < Limits.sinkSample {
                successes.append(Attempt(wall: wall, key: key, number: number, outcome: outcome, duration: result.duration))
            }
        } else {
            failed(Attempt(wall: wall, key: key, number: number, outcome: outcome, failure: result.failure, duration: result.duration))
        }
        tell()
    }

    private func failed(_ attempt: Attempt) {
        failuresInARow += 1
        lastFailure = attempt
        if failures.count >= 2 * Limits.sinkAttempts { failures.removeFirst(Limits.sinkAttempts) }
        failures.append(attempt)
        undecided = min(undecided + 1, failures.count)
    }

    /// The sink has dealt with all that ended: now it is known what becomes of a failure.
    func decided(_ next: (SinkState.Key) -> Duration?) {
        guard undecided > 0 else { return }
        for place in failures.indices.suffix(undecided) { failures[place].next = next(failures[place].key) }
        lastFailure = failures.last
        undecided = 0
    }

    /// The sink's state has changed, or something else of what is told of it.
    func tell() {
        guard isTold else { return }
        isTold = false
        changed()
    }

    /// What is to be told. What has ended a moment ago, and is not decided, is told the next time.
    func take() -> (failures: [Attempt], successes: [Attempt]) {
        let told = (Array(failures.dropLast(undecided).suffix(Limits.sinkAttempts)), successes)
        failures = failures.suffix(undecided)
        successes = []
        isTold = true
        if undecided > 0 { tell() }
        return told
    }
}

extension WebhookResult {
    fileprivate var failure: WebhookFailure? {
        if case .failed(let failure, _) = outcome { failure } else { nil }
    }
}

extension SinkJournal.Attempt {
    /// A row of `GET /v1/sinks/{name}/deliveries`.
    func json(stream: String, replica: String) -> [UInt8] {
        let error = outcome.error.isEmpty ? "null" : jsonText(outcome.error)
        return Array(
            "{\"at_ms\":\(wall.milliseconds),\"stream\":\(jsonText(stream)),\"id\":\"\(key.id)\",\"attempt\":\(number),\"outcome\":\"\(outcome.name)\",\"status\":\(outcome.status.json),\"ms\":\(duration.milliseconds),\"error\":\(error),\"next_attempt_ms\":\((next?.milliseconds).json),\"replica\":\(jsonText(replica))}"
                .utf8)
    }
}

extension SinkOutcome {
    /// As metrics and replies name it.
    var name: String {
        switch self {
        case .success: "success"
        case .throttled: "throttled"
        case .dropped: "dropped"
        case .retry: "retry"
        case .final: "final"
        case .gone: "gone"
        case .ours: "our_fault"
        }
    }
}
