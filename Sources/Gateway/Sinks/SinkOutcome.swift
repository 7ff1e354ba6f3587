// What one attempt came to, in the terms of SINKS.md §2.

import Net
import Webhook

enum SinkOutcome: Sendable, Equatable {
    /// 2xx: acknowledge.
    case success(status: Int)
    /// 2xx, and its body says DROP.
    case dropped(status: Int)
    /// The endpoint has too much to do, or is not there now: all of it waits. `spends`: the attempt counts.
    case throttled(status: Int, retryAfter: Duration?, spends: Bool)
    /// Any other failure of the receiver or of the way to it; `status` is nil where no answer came.
    case retry(status: Int?, error: String)
    /// The receiver says that it will never take this message.
    case final(status: Int)
    /// 410: the receiver is gone for good.
    case gone
    /// The receiver has no part in it: no attempt is spent.
    case ours(error: String)

    /// `wallTime`: now, for a `Retry-After` that is a date.
    init(_ outcome: WebhookResult.Outcome, _ definition: borrowing SinkDefinition, wallTime: @autoclosure () -> Duration) {
        switch outcome {
        case .answered(let answer):
            if definition.honoursReplies, let verdict = SinkOutcome.verdict(answer) {
                self = verdict
            } else {
                self.init(answer, deadLetterOn: definition.deadLetterOn, wallTime: wallTime)
            }
        case .failed(let failure, let message):
            self = failure.isOurs ? .ours(error: message) : .retry(status: nil, error: message)
        }
    }

    /// One for each message of a request that has several, by what the receiver knows them by; `isWhole`: it has not told
    /// them apart.
    static func ofBatch(
        _ names: [String], _ outcome: WebhookResult.Outcome, _ definition: SinkDefinition, wallTime: @autoclosure () -> Duration
    ) -> (outcomes: [SinkOutcome], isWhole: Bool) {
        let whole = SinkOutcome(outcome, definition, wallTime: wallTime())
        guard whole.isTaken, case .answered(let answer) = outcome else { return (names.map { _ in whole }, true) }
        let status = answer.status
        switch SinkBatchAnswer(answer, of: Set(names)) {
        case .taken: return (names.map { _ in whole }, true)
        case .failed(let failed):
            let named = SinkOutcome.retry(status: status, error: "status \(status), which names it in batchItemFailures")
            return (names.map { failed.contains($0) ? named : whole }, false)
        case .malformed(let reason):
            let all = SinkOutcome.retry(status: status, error: "status \(status), whose body \(reason)")
            return (names.map { _ in all }, true)
        }
    }

    /// What a 2xx says of itself; nil: no more than that it is one.
    private static func verdict(_ answer: WebhookAnswer) -> SinkOutcome? {
        guard (200..<300).contains(answer.status), !answer.bodyTruncated else { return nil }
        switch SinkVerdict(answer.body) {
        case .retry: return .retry(status: answer.status, error: "status \(answer.status), which says RETRY")
        case .drop: return .dropped(status: answer.status)
        case .success, nil: return nil
        }
    }

    private init(_ answer: WebhookAnswer, deadLetterOn: [Int], wallTime: () -> Duration) {
        let status = answer.status
        let wait = answer.retryAfter.flatMap { RetryAfter.delay($0, wallTime: wallTime()) }
        switch status {
        case 200..<300: self = .success(status: status)
        case 410: self = .gone
        case _ where deadLetterOn.contains(status): self = .final(status: status)
        case 429: self = .throttled(status: status, retryAfter: wait, spends: false)
        case _ where wait != nil: self = .throttled(status: status, retryAfter: wait, spends: false)
        case 502, 503, 504: self = .throttled(status: status, retryAfter: nil, spends: true)
        default: self = .retry(status: status, error: "status \(status)")
        }
    }

    /// The receiver has dealt with the message.
    var isTaken: Bool {
        switch self {
        case .success, .dropped: true
        case .throttled, .retry, .final, .gone, .ours: false
        }
    }

    /// Nothing of the receiver's own was heard: no answer came, or one of whoever stands in for it.
    var isAway: Bool {
        switch self {
        case .retry(status: nil, _), .throttled(_, retryAfter: nil, spends: true): true
        case .success, .dropped, .retry, .throttled, .final, .gone, .ours: false
        }
    }

    /// A sign of an endpoint that fails: not so where it asks for patience.
    var isFailure: Bool {
        switch self {
        case .retry, .throttled(_, _, spends: true): true
        case .success, .dropped, .throttled, .final, .gone, .ours: false
        }
    }

    /// The receiver's status; nil where none came.
    var status: Int? {
        switch self {
        case .success(let status), .dropped(let status), .throttled(let status, _, _), .final(let status): status
        case .retry(let status, _): status
        case .gone: 410
        case .ours: nil
        }
    }

    /// One line for logs and for `last_error`.
    var error: String {
        switch self {
        case .success: ""
        case .dropped(let status): "status \(status), which says DROP"
        case .throttled(let status, _, _), .final(let status): "status \(status)"
        case .retry(_, let error), .ours(let error): error
        case .gone: "status 410"
        }
    }
}
