// A small Redis and a moody receiver for `SinkState`, and a scheduler that picks what happens next at random from a
// seed: which answer comes first, what fails, when the process dies.
//
// It checks at every step what must hold at every step, and keeps the books for what must hold at the end.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis


struct SinkWorld {
    typealias Key = SinkState.Key

    struct Pending {
        var owner: String
        var count: Int
        var since: Duration
    }

    /// What is under way, and will be answered in any order.
    enum Errand {
        case read(stream: Int, count: Int)
        case attempt(Key, deliveryCount: Int)
        case batch(Int, [Key])
        case write(Int, SinkState.Write, [SinkState.Entry])
        case keepAlive(Int, [StreamID])

        var isRequest: Bool { switch self { case .attempt, .batch: true; default: false } }
    }

    struct Mood {
        var failures = 30
        var redisFailures = 10
        var trims = 0
        var rejects = 5
        /// Another process takes over what is ours.
        var thefts = 0
        /// The receiver is away, from the beginning until then.
        var awayUntil = Duration.zero
        /// Every seventh message is one that the receiver can't take.
        var hasPoison = true
    }

    var random: SeededRandom
    var mood = Mood()
    let definition: SinkDefinition
    var machine: SinkState
    var process = 1
    var now = Duration.seconds(1000)
    var wall: Duration { now + .seconds(1_700_000_000) }

    // Redis.
    var fresh: [[StreamID]]
    var pending: [Key: Pending] = [:]
    var due: [Key: Duration] = [:]
    var trimmed: Set<Key> = []
    var dead: [Key: [DeadLetterReason]] = [:]
    var acknowledged: Set<Key> = []
    // The receiver.
    var delivered: Set<Key> = []
    var spent: [Key: Int] = [:]
    var notBefore: [Key: Duration] = [:]
    var hasCrashed = false

    var tasks: [Errand] = []
    var wantsToRead: Set<Int> = []
    var wakeAt: Duration?
    var nextTending: Duration
    var isDrained = false
    var takeoverDue: [Duration]
    var problems: [String] = []

    init(_ definition: SinkDefinition, messages: Int, seed: UInt64) {
        random = SeededRandom(seed: seed)
        self.definition = definition
        machine = SinkState(definition, seed: seed)
        fresh = definition.streams.map { _ in (1...messages).map { StreamID(UInt64(1_700_000_000_000 + $0), 0) } }
        wantsToRead = Set(definition.streams.indices)
        nextTending = now + definition.lease / 3
        takeoverDue = definition.streams.map { _ in .zero }
    }

    var owner: String { "process \(process)" }
    var isSettled: Bool { fresh.allSatisfy(\.isEmpty) && pending.isEmpty }

    // MARK: One step

    /// False when nothing is left to happen.
    mutating func step() -> Bool {
        for stream in wantsToRead.sorted() where !isDrained && machine.streams[stream].reserved == 0 {
            let count = machine.reserve(stream, at: moment)
            wantsToRead.remove(stream)
            if count > 0 { tasks.append(.read(stream: stream, count: count)) }
        }
        if random.chance(mood.thefts) { steal() }
        if !tasks.isEmpty, random.chance(90) {
            perform(tasks.remove(at: Int.random(in: tasks.indices, using: &random)))
        } else {
            advanceTime()
        }
        checkBounds()
        return !isSettled
    }

    private var moment: SinkState.Moment { .init(now: now, wall: wall) }

    private mutating func advanceTime() {
        if random.chance(70), !tasks.isEmpty {
            now += .milliseconds(Int.random(in: 1...50, using: &random))
        } else {
            now = max(now, min(wakeAt ?? nextTending, nextTending))
        }
        if now >= nextTending {
            nextTending = now + definition.lease / 3
            for stream in definition.streams.indices {
                let ids = machine.keepAliveIDs(stream)
                if !ids.isEmpty { tasks.append(.keepAlive(stream, ids)) }
                wantsToRead.insert(stream)
            }
        }
        if let wakeAt, now >= wakeAt {
            self.wakeAt = nil
            handle(.timer)
        }
    }

    mutating func handle(_ event: SinkState.Event) {
        for action in machine.handle(event, at: moment) {
            switch action {
            case .attempt(let key, _, let count):
                begin(key, count)
                tasks.append(.attempt(key, deliveryCount: count))
            case .batch(let stream, let parcels):
                for parcel in parcels { begin(parcel.key, parcel.deliveryCount) }
                if parcels.count > definition.batch.maxMessages { problems.append("\(parcels.count) in a batch") }
                if parcels.count > 1, parcels.contains(where: { $0.deliveryCount >= definition.retry.maxDeliveries }) {
                    problems.append("a last attempt is shared")
                }
                tasks.append(.batch(stream, parcels.map(\.key)))
            case .write(let stream, let write, let entries): tasks.append(.write(stream, write, entries))
            case .wake(let instant): wakeAt = min(wakeAt ?? instant, instant)
            case .credit(let stream): wantsToRead.insert(stream)
            case .disabled, .stoodDown: break
            case .drained: isDrained = true
            }
        }
    }

    // MARK: The receiver

    var isAway: Bool { now < mood.awayUntil }

    private mutating func begin(_ key: Key, _ count: Int) {
        if let least = notBefore[key], now < least { problems.append("\(key.id) was sent \(least - now) too soon") }
        let truth = (spent[key] ?? 0) + 1
        if hasCrashed ? count < truth : count != truth { problems.append("\(key.id) is delivery \(truth), not \(count)") }
        if count > definition.retry.maxDeliveries { problems.append("\(key.id) was sent \(count) times") }
        if pending[key]?.owner == owner, dead[key] != nil { problems.append("\(key.id) was sent after its dead letter") }
    }

    /// Some others may end in the same tick.
    private mutating func end(_ key: Key) {
        var ended = [(key: key, outcome: answer(key))]
        while random.chance(30), let place = tasks.firstIndex(where: { if case .attempt = $0 { true } else { false } }),
            case .attempt(let key, _) = tasks.remove(at: place)
        { ended.append((key, answer(key))) }
        handle(.attemptsEnded(ended))
    }

    /// All for one reason, or each for its own.
    private mutating func end(_ stream: Int, _ keys: [Key]) {
        let isWhole = keys.contains { $0.id.milliseconds % 7 == 0 } || random.chance(mood.failures) || isAway
        var outcomes: [SinkOutcome] = []
        if isWhole {
            let all: [SinkOutcome] = [
                .final(status: 400), .retry(status: 500, error: ""), .retry(status: nil, error: "timeout"),
                .throttled(status: 503, retryAfter: nil, spends: true), .throttled(status: 429, retryAfter: .seconds(1), spends: false),
                .ours(error: "resolver down"),
            ]
            let outcome = all[isAway ? 2 : Int.random(in: all.indices, using: &random)]
            outcomes = keys.map { _ in outcome }
        } else {
            outcomes = keys.map { _ in random.chance(mood.failures) ? .retry(status: 200, error: "named") : .success(status: 200) }
        }
        for (key, outcome) in zip(keys, outcomes) {
            if outcome == .success(status: 200) { delivered.insert(key) }
            note(outcome, key)
        }
        handle(.batchesEnded([.init(stream: stream, outcomes: zip(keys, outcomes).map { ($0, $1) }, isWhole: isWhole)]))
    }

    private mutating func answer(_ key: Key) -> SinkOutcome {
        let outcome: SinkOutcome
        if isAway {
            outcome = [.retry(status: nil, error: "refused"), .throttled(status: 503, retryAfter: nil, spends: true)].randomElement(using: &random)!
        } else if random.chance(mood.rejects) {
            outcome = .final(status: 400)
        } else if random.chance(mood.failures) || mood.hasPoison && key.id.milliseconds % 7 == 0 {
            outcome = [
                .retry(status: 500, error: "status 500"), .retry(status: nil, error: "timeout"),
                .throttled(status: 429, retryAfter: .milliseconds(1500), spends: false),
                .throttled(status: 503, retryAfter: nil, spends: true), .ours(error: "resolver down"),
            ].randomElement(using: &random)!
        } else {
            outcome = .success(status: 200)
            delivered.insert(key)
        }
        note(outcome, key)
        return outcome
    }

    private mutating func note(_ outcome: SinkOutcome, _ key: Key) {
        let attempts = (spent[key] ?? 0) + 1
        let backoff = SinkBackoff(definition.retry, seed: 0)
        switch outcome {
        case .ours, .throttled(_, _, spends: false): break
        case .throttled, .retry(status: nil, _): if machine.held[key]?.isProbe != true { spent[key] = attempts }
        default: spent[key] = attempts
        }
        var least = backoff.least(after: attempts)
        if case .throttled(_, let wait?, _) = outcome { least = max(least, wait) }
        // The failure of what is no longer ours is not ours to write down.
        notBefore[key] = pending[key]?.owner == owner ? now + least : nil
    }

    // MARK: Redis

    private mutating func perform(_ task: Errand) {
        switch task {
        case .read(let stream, let count): read(stream, count)
        case .attempt(let key, _): end(key)
        case .batch(let stream, let keys): end(stream, keys)
        case .write(let stream, let write, let entries): self.write(stream, write, entries)
        case .keepAlive(let stream, let ids):
            var lost: [StreamID] = []
            var gone: [StreamID] = []
            for id in ids {
                switch state(Key(stream: stream, id: id)) {
                case .lost: lost.append(id)
                case .trimmed: gone.append(id)
                case .done, .unled: pending[Key(stream: stream, id: id)]!.since = now
                }
            }
            handle(.keptAlive(stream, lost: lost, trimmed: gone))
        }
    }

    private func state(_ key: Key) -> SinkState.Written {
        guard pending[key]?.owner == owner else { return .lost }
        return trimmed.contains(key) ? .trimmed : .done
    }

    private mutating func read(_ stream: Int, _ count: Int) {
        var arrivals: [SinkArrival] = []
        let own = machine.held
        for (key, entry) in pending.sorted(by: { ($0.key.id, $0.key.stream) < ($1.key.id, $1.key.stream) }) where key.stream == stream && arrivals.count < count {
            let isIdle = entry.owner == "unowned" || now - entry.since >= definition.lease
            guard isIdle, own[key] == nil || entry.owner != owner else { continue }
            if trimmed.contains(key) {
                if definition.deadLetter != .none {
                    pending[key] = nil
                    dead[key, default: []].append(.trimmed)
                }
                continue
            }
            guard (due[key] ?? .zero) <= wall else { continue }
            due[key] = nil
            pending[key] = Pending(owner: owner, count: entry.count + 1, since: now)
            arrivals.append(arrival(key.id, entry.count + 1, true))
        }
        while arrivals.count < count, let id = fresh[stream].first {
            fresh[stream].removeFirst()
            pending[Key(stream: stream, id: id)] = Pending(owner: owner, count: 1, since: now)
            arrivals.append(arrival(id, 1, false))
        }
        for arrival in arrivals where random.chance(mood.trims) {
            trimmed.insert(Key(stream: stream, id: arrival.message.id))
        }
        handle(.read(stream, arrivals))
        if !fresh[stream].isEmpty || random.chance(20) { wantsToRead.insert(stream) }
    }

    private func arrival(_ id: StreamID, _ count: Int, _ wasTakenOver: Bool) -> SinkArrival {
        let message = SinkMessage(id: id, fields: Array("{}".utf8))
        if id.milliseconds % 11 == 0 { message.unreadable = "a line break" }
        return SinkArrival(message: message, deliveryCount: count, wasTakenOver: wasTakenOver)
    }

    private mutating func write(_ stream: Int, _ write: SinkState.Write, _ entries: [SinkState.Entry]) {
        let isRefused = random.chance(mood.redisFailures)
        if isRefused && random.chance(50) { return handle(.writeFailed(stream, write, entries.map(\.message.id))) }
        let results = entries.map { entry -> (id: StreamID, result: SinkState.Written) in
            (entry.message.id, apply(write, entry, Key(stream: stream, id: entry.message.id)))
        }
        // It was done, and the answer never came.
        if isRefused { return handle(.writeFailed(stream, write, entries.map(\.message.id))) }
        handle(.wrote(stream, write, results))
    }

    private mutating func apply(_ write: SinkState.Write, _ entry: SinkState.Entry, _ key: Key) -> SinkState.Written {
        if write == .acknowledge {
            if !delivered.contains(key) { problems.append("\(key.id) was acknowledged without a 2xx") }
            pending[key] = nil
            due[key] = nil
            acknowledged.insert(key)
            return .done
        }
        let state = state(key)
        if write == .bury, state != .lost {
            pending[key] = nil
            due[key] = nil
            dead[key, default: []].append(entry.reason!)
            return .done
        }
        guard state == .done else { return state }
        due[key] = entry.due
        pending[key] = Pending(owner: write == .release ? "unowned" : owner, count: entry.deliveries, since: now)
        return .done
    }

    private mutating func steal() {
        guard let key = pending.filter({ $0.value.owner == owner }).keys.sorted(by: { ($0.id, $0.stream) < ($1.id, $1.stream) }).randomElement(using: &random)
        else { return }
        pending[key]!.owner = "unowned"
        notBefore[key] = nil
        hasCrashed = true  // Its counter may now count a delivery that was never made.
    }

    // MARK: Faults

    /// kill -9: whatever was under way is forgotten; requests in flight may have arrived.
    mutating func crash() {
        hasCrashed = true
        for key in flying {
            spent[key] = (spent[key] ?? 0) + 1
            notBefore[key] = nil
        }
        restart()
        now += definition.lease + .seconds(1)
    }

    /// What is in flight.
    var flying: [Key] {
        tasks.flatMap { task -> [Key] in
            switch task {
            case .attempt(let key, _): [key]
            case .batch(_, let keys): keys
            case .read, .write, .keepAlive: []
            }
        }
    }

    mutating func restart() {
        process += 1
        tasks = []
        isDrained = false
        wakeAt = nil
        machine = SinkState(definition, seed: random.next())
        wantsToRead = Set(definition.streams.indices)
    }

    // MARK: What must hold

    private mutating func checkBounds() {
        let flights = tasks.count(where: \.isRequest)
        if flights > definition.concurrency { problems.append("\(flights) in flight") }
        let held = machine.held.count + machine.streams.reduce(0) { $0 + $1.reserved }
        // What is read, or counted in Redis, must not wait for a slot.
        let beginning = machine.held.values.count { if case .writing(.begin, _) = $0.phase { true } else { false } }
        let taken = machine.inFlight + beginning + machine.readyCount + machine.reserved
        if taken > definition.concurrency * definition.batch.maxMessages { problems.append("\(taken) slots are taken") }
        if held > definition.maxHeld { problems.append("\(held) held") }
    }

    /// Every message ended in a 2xx or in exactly one dead letter.
    func verdict(messages: Int) -> [String] {
        var found = problems
        for stream in definition.streams.indices {
            for number in 1...messages {
                let key = Key(stream: stream, id: StreamID(UInt64(1_700_000_000_000 + number), 0))
                let letters = dead[key]?.count ?? 0
                if !delivered.contains(key) && letters == 0 { found.append("\(key.id) is lost") }
                if letters > 1 { found.append("\(key.id) has \(letters) dead letters") }
                if acknowledged.contains(key) && letters > 0 && !hasCrashed { found.append("\(key.id) has both") }
            }
        }
        if !machine.held.isEmpty { found.append("\(machine.held.count) still held") }
        return found
    }
}

extension SeededRandom {
    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}
