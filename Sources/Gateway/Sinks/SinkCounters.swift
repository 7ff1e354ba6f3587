// What a sink has done on one stream since it started: for /metrics, and never for a decision.

import Net

struct SinkCounters: Sendable, Equatable {
    /// Attempts begun.
    var attempts = 0
    /// How attempts ended.
    var succeeded = 0
    var throttled = 0
    var failed = 0
    var rejected = 0
    var gone = 0
    var ours = 0
    /// Attempts that were put off to a later time.
    var retries = 0
    /// Messages acknowledged, as Redis has confirmed.
    var delivered = 0
    var deadLetters: [DeadLetterReason: Int] = [:]
    /// Messages that another consumer, or nobody, held before.
    var takeovers = 0
    /// Messages that turned out to be somebody else's.
    var lost = 0
    /// Messages whose entry was trimmed while they were pending.
    var trimmed = 0
    /// Messages handed back unfinished.
    var released = 0
    /// How often the group had to be created again.
    var groupsCreatedAgain = 0
    /// Writes of a sink's state that Redis did not take at once.
    var redisFailures = 0
    /// Of an ordered sink: how often it was this replica's to deliver the stream, and how often no longer, though it had
    /// not given it up.
    var leasesTaken = 0
    var leasesLost = 0
    /// Now: messages that wait for an earlier one of their key, and 1 while the stream is this replica's to deliver.
    var blocked = 0
    var leases = 0
    /// Now.
    var inFlight = 0
    var held = 0
    /// The last failure of an attempt, in one line; empty: there was none.
    var lastError = ""

    mutating func count(_ outcome: SinkOutcome) {
        switch outcome {
        case .success: succeeded += 1
        case .throttled: throttled += 1
        case .retry: failed += 1
        case .final, .dropped: rejected += 1
        case .gone: gone += 1
        case .ours: ours += 1
        }
        if outcome.isTaken { return }
        lastError = outcome.error
    }
}

extension SinkCounters {
    /// What another run of the same sink has done.
    mutating func add(_ other: SinkCounters) {
        for path in SinkCounters.all { self[keyPath: path] += other[keyPath: path] }
        for (reason, count) in other.deadLetters { deadLetters[reason, default: 0] += count }
    }

    /// Unsafe: key paths are not Sendable by their type; these hold nothing, and the list is never changed.
    private nonisolated(unsafe) static let all: [WritableKeyPath<SinkCounters, Int>] = [
        \.attempts, \.succeeded, \.throttled, \.failed, \.rejected, \.gone, \.ours, \.retries, \.delivered, \.takeovers,
        \.lost, \.trimmed, \.released, \.groupsCreatedAgain, \.redisFailures, \.inFlight, \.held,
        \.leasesTaken, \.leasesLost, \.blocked, \.leases,
    ]

    /// Names and numbers as replies have them.
    var named: [(name: String, count: Int)] {
        [
            ("attempts", attempts), ("succeeded", succeeded), ("throttled", throttled), ("failed", failed),
            ("rejected", rejected), ("our_faults", ours), ("retries", retries), ("delivered", delivered),
            ("dead_letters", deadLetters.values.reduce(0, +)), ("takeovers", takeovers), ("lost", lost), ("released", released),
            ("in_flight", inFlight), ("held", held), ("blocked", blocked),
        ]
    }
}

/// What a sink is doing (API.md §6).
enum SinkStatus: Sendable, Equatable {
    case running
    /// Of an ordered sink: another replica delivers, of all its streams.
    case standby
    /// By `POST …/pause`.
    case paused
    /// The endpoint asked for patience: nothing is sent before `until`.
    case backingOff(until: EventLoop.Instant)
    /// The breaker is open; `until`: the next probe.
    case failing(until: EventLoop.Instant)
    case disabled(reason: String)
    case draining

    var name: SinkStateName {
        switch self {
        case .running: .running
        case .standby: .standby
        case .paused: .paused
        case .backingOff: .backingOff
        case .failing: .failing
        case .disabled: .disabled
        case .draining: .draining
        }
    }
}

/// The same as a word: in Redis, in replies and on the page of metrics (API.md §6).
enum SinkStateName: String, Sendable, CaseIterable {
    case running, standby, paused
    case backingOff = "backing_off"
    case failing, disabled, draining
    /// A replica can't run it.
    case refused
}
