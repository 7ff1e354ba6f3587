// Replicas of one ordered sink before a small Redis and a moody receiver: leases that run out, answers that are lost or
// carried out late, processes that are killed, stopped for a while, or drained. A scheduler picks what happens next, from
// a seed.
//
// The oracle is the receiver's: of a key, no message comes after a later one of that key, and none while another of that
// key is under way, but for a request of a process that was stopped in the middle of it.

import Support

@testable import Gateway
@testable import Net
@testable import Redis

struct SinkOrderWorld {
    typealias Key = SinkState.Key
    typealias Search = SinkOrderedTakeScript.Search

    struct Mood {
        var failures = 30
        var rejects = 5
        var redisFailures = 0
        var kills = 0
        var stops = 0
        var drains = 0
        var redrives = 0
        var trims = 0
        /// Redis has evicted a lease, or has failed over to a replica that knows less.
        var forgottenLeases = 0
    }

    enum Errand {
        case takeLease(Int, sent: Duration)
        case renew(Int, number: Int, sent: Duration)
        case read(Int, Search, after: StreamID?, count: Int, number: Int)
        case attempt([Key], stream: Int, isBatch: Bool, deadline: Duration)
        case write(Int, SinkState.Write, [SinkState.Entry], number: Int?)
    }

    struct Reader {
        var search: Search?
        var cursor: StreamID?
        var mustTake = true
        var isBusy = false
        var isParked = false
        var mayHaveUnowned = true
        var takeoverDue = Duration.zero
        var nextTry = Duration.zero
        var renewAt: Duration?
    }

    struct Process {
        var name: String
        var machine: SinkState
        var tasks: [Errand] = []
        var readers: [Reader]
        var wakeAt: Duration?
        var isStopped = false
        var isDraining = false
    }

    struct Pending {
        var owner: String
        var count: Int
        var since: Duration
    }

    var random: SeededRandom
    var mood = Mood()
    let definition: SinkDefinition
    let lanes: [Key: Int]
    var processes: [Process] = []
    private var born = 0
    var now = Duration.seconds(1000)
    var wall: Duration { now + .seconds(1_700_000_000) }

    // Redis.
    var fresh: [[StreamID]]
    var pending: [Key: Pending] = [:]
    var due: [Key: Duration] = [:]
    var leases: [(holder: String, number: Int, ends: Duration)?]
    var dead: [Key: [DeadLetterReason]] = [:]
    var trimmed: Set<Key> = []
    /// Calls that nobody waits for any more, and that Redis is yet to execute.
    var strays: [(owner: String, errand: Errand)] = []
    // The receiver.
    var delivered: Set<Key> = []
    var begun: [Key: Int] = [:]
    var latest: [String: StreamID] = [:]
    var underWay: [(keys: [Key], process: String)] = []
    var redriven: Set<Key> = []
    var notBefore: [Key: Duration] = [:]
    var problems: [String] = []
    var mostBlocked = 0

    init(_ definition: SinkDefinition, messages: Int, keys: Int, replicas: Int, seed: UInt64) {
        random = SeededRandom(seed: seed)
        self.definition = definition
        fresh = definition.streams.map { _ in (1...messages).map { StreamID(UInt64(1_700_000_000_000 + $0), 0) } }
        leases = definition.streams.map { _ in nil }
        var lanes: [Key: Int] = [:]
        for (stream, ids) in fresh.enumerated() {
            for id in ids {
                let lane = definition.orderBy == .stream ? 0 : Int.random(in: 0...keys, using: &random)
                if lane < keys { lanes[Key(stream: stream, id: id)] = lane }  // Else it has no order.
            }
        }
        self.lanes = lanes
        for _ in 0..<replicas { processes.append(newProcess()) }
    }

    mutating func replace(_ index: Int) { processes[index] = newProcess() }

    private mutating func newProcess() -> Process {
        born += 1
        return Process(
            name: "process \(born)", machine: SinkState(definition, seed: random.next()), readers: definition.streams.map { _ in Reader() })
    }

    var isSettled: Bool { fresh.allSatisfy(\.isEmpty) && pending.isEmpty }

    // MARK: One step

    mutating func step() -> Bool {
        let index = Int.random(in: processes.indices, using: &random)
        if random.chance(2) { misfortune(index) }
        if random.chance(5), !strays.isEmpty { runStray() }
        guard !processes[index].isStopped else {
            if random.chance(3) { processes[index].isStopped = false }
            return !isSettled
        }
        beginReads(index)
        if !processes[index].tasks.isEmpty, random.chance(80) {
            let place = Int.random(in: processes[index].tasks.indices, using: &random)
            perform(processes[index].tasks.remove(at: place), index)
        } else {
            advanceTime()
        }
        if processes[index].machine.hasDrained && processes[index].machine.inFlight == 0 { leave(index) }
        if random.chance(2) { mostBlocked = max(mostBlocked, processes[index].machine.counters.reduce(0) { $0 + $1.blocked }) }
        return !isSettled
    }

    private var moment: SinkState.Moment { .init(now: now, wall: wall) }

    private mutating func beginReads(_ index: Int) {
        for stream in definition.streams.indices where !processes[index].readers[stream].isBusy && !processes[index].machine.isStopped {
            let reader = processes[index].readers[stream]
            if reader.mustTake || !processes[index].machine.leads(stream, at: now) {
                guard now >= reader.nextTry else { continue }
                processes[index].readers[stream].isBusy = true
                processes[index].tasks.append(.takeLease(stream, sent: now))
                continue
            }
            if reader.isParked && !random.chance(20) { continue }
            let count = processes[index].machine.reserve(stream, at: moment)
            guard count > 0, let number = processes[index].machine.streams[stream].lease?.number else { continue }
            let search = reader.search ?? (reader.takeoverDue <= now ? .others : reader.mayHaveUnowned ? .unowned : .new)
            if search != .new { processes[index].readers[stream].search = search }
            processes[index].readers[stream].isBusy = true
            processes[index].readers[stream].isParked = false
            processes[index].tasks.append(.read(stream, search, after: reader.cursor, count: count, number: number))
        }
    }

    /// To a moment from now, or to the next at which anything happens by itself. A request of a living process ends in time.
    private mutating func advanceTime() {
        var next = now + .milliseconds(random.chance(70) ? Int.random(in: 1...50, using: &random) : 60_000)
        for process in processes where !process.isStopped {
            next = min(next, process.wakeAt ?? next)
            for reader in process.readers { next = min(next, reader.renewAt ?? next, reader.mustTake && !reader.isBusy ? max(reader.nextTry, now) : next) }
            for case .attempt(_, _, _, let deadline) in process.tasks { next = min(next, deadline) }
        }
        now = max(now, next)
        for index in processes.indices where !processes[index].isStopped {
            while let place = processes[index].tasks.firstIndex(where: { if case .attempt(_, _, _, let deadline) = $0 { deadline <= now } else { false } }) {
                perform(processes[index].tasks.remove(at: place), index)
            }
            for stream in definition.streams.indices {
                guard let at = processes[index].readers[stream].renewAt, now >= at else { continue }
                processes[index].readers[stream].renewAt = nil
                guard let number = processes[index].machine.streams[stream].lease?.number, !processes[index].machine.isStopped else { continue }
                processes[index].tasks.append(.renew(stream, number: number, sent: now))
            }
            if let wakeAt = processes[index].wakeAt, now >= wakeAt {
                processes[index].wakeAt = nil
                handle(.timer, index)
            }
        }
    }

    mutating func handle(_ event: SinkState.Event, _ index: Int) {
        for action in processes[index].machine.handle(event, at: moment) {
            switch action {
            case .attempt(let key, _, let count): begin([(key, count)], index, isBatch: false)
            case .batch(_, let parcels): begin(parcels.map { ($0.key, $0.deliveryCount) }, index, isBatch: true)
            case .write(let stream, let write, let entries):
                let number = processes[index].machine.streams[stream].lease?.number
                processes[index].tasks.append(.write(stream, write, entries, number: number))
            case .wake(let instant): processes[index].wakeAt = min(processes[index].wakeAt ?? instant, instant)
            case .stoodDown(let stream): processes[index].readers[stream].mustTake = true
            case .credit, .disabled, .drained: break
            }
        }
        if processes[index].machine.held.count > definition.maxHeld { problems.append("\(processes[index].machine.held.count) held") }
    }

    // MARK: The receiver

    private func lane(_ key: Key) -> String? { lanes[key].map { "\(key.stream)/\($0)" } }

    private mutating func begin(_ parcels: [(key: Key, count: Int)], _ index: Int, isBatch: Bool) {
        let name = processes[index].name
        for (key, count) in parcels {
            if let least = notBefore[key], now < least { problems.append("\(key.id) was sent \(least - now) too soon") }
            if count > definition.retry.maxDeliveries { problems.append("\(key.id) was sent \(count) times") }
            begun[key, default: 0] += 1
            guard let lane = lane(key) else { continue }
            if underWay.contains(where: { $0.keys.contains { self.lane($0) == lane } }) { problems.append("\(key.id) is sent by \(name) beside another of its key") }
            if parcels.count(where: { self.lane($0.key) == lane }) > 1 { problems.append("a batch has two of one key") }
            if let before = latest[lane], key.id < before, !redriven.contains(key) { problems.append("\(key.id) is sent by \(name) after \(before)") }
            if !redriven.contains(key) { latest[lane] = max(latest[lane] ?? key.id, key.id) }
        }
        let keys = parcels.map(\.key)
        underWay.append((keys, name))
        processes[index].tasks.append(.attempt(keys, stream: keys[0].stream, isBatch: isBatch, deadline: now + definition.timeout))
    }

    mutating func end(_ keys: [Key], _ stream: Int, isBatch: Bool, _ index: Int) {
        let name = processes[index].name
        underWay.removeAll { $0.keys == keys && $0.process == name }
        let outcomes = keys.map { answer($0) }
        if isBatch {
            handle(.batchesEnded([.init(stream: stream, outcomes: zip(keys, outcomes).map { ($0, $1) }, isWhole: false)]), index)
        } else {
            handle(.attemptsEnded([(keys[0], outcomes[0])]), index)
        }
    }

    private mutating func answer(_ key: Key) -> SinkOutcome {
        if random.chance(mood.rejects) { return .final(status: 400) }
        guard random.chance(mood.failures) || key.id.milliseconds % 13 == 0 else {
            delivered.insert(key)
            return .success(status: 200)
        }
        return random.chance(50) ? .retry(status: 500, error: "status 500") : .throttled(status: 429, retryAfter: .milliseconds(500), spends: false)
    }
}
