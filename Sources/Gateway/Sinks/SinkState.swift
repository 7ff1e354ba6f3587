// A sink's decisions, as a pure state machine: events go in, actions come out; `Sink` is the shell that performs
// them. One machine covers all streams of a sink, since what it bounds (requests in flight, messages held) and what
// it waits for (an endpoint that asked for patience) belong to the endpoint.
//
// What holds here (SINKS.md, top and §3):
// - A message leaves this memory only when Redis has confirmed its acknowledgement, its dead letter or its hand-back,
//   or has said that it is no longer ours.
// - The pending list's counter counts attempts begun. It is raised before a retry is sent (`begin`) and lowered again
//   for an attempt that is not to count, so that whoever takes over after a crash goes on from the truth.
// - A slot is reserved before anything is read for it: free slots = window − (reserved + ready + in flight), `SinkPace`.
//   Retries whose time has come go first.
// - While the breaker is open, probes are retries and new messages by turns: messages that nobody could take don't keep it
//   open. A probe that gets no answer of the receiver's own (or 502, 503, 504) spends no attempt: one that is away costs
//   nobody a dead letter. It costs no memory either: new messages are then ever rarer among the probes, after one retry, after
//   two, after three. What was ready when it opened goes back among the retries, unspent: it would be probed first.
// - Each kind of write has one batch a stream on its way; what comes meanwhile gathers for the next.

import Net
import Redis

struct SinkState {
    typealias Instant = EventLoop.Instant

    /// Both clocks, read once an event.
    struct Moment {
        var now: Instant
        /// Since 1970, for what Redis is told.
        var wall: Duration
    }

    struct Key: Hashable, Comparable {
        let stream: Int
        let id: StreamID

        /// In one word: a message is looked up five times on its way.
        func hash(into hasher: inout Hasher) {
            hasher.combine(id.milliseconds &* 0x9E37_79B9_7F4A_7C15 ^ id.sequence &<< 16 ^ UInt64(truncatingIfNeeded: stream))
        }

        /// Messages go back in order, and a seed always gives the same run.
        static func < (a: Key, b: Key) -> Bool { (a.stream, a.id) < (b.stream, b.id) }
    }

    /// What is written to Redis for a message. The order is that of the queues.
    enum Write: Int, CaseIterable {
        /// XACK: it was delivered.
        case acknowledge
        /// Its retry's time and the attempts spent.
        case schedule
        /// Its counter, before a retry is sent.
        case begin
        /// Its dead letter, and then its acknowledgement.
        case bury
        /// Back to `unowned`.
        case release
    }

    enum Event {
        /// What a reservation came to; its slots are free again.
        case read(Int, [SinkArrival])
        /// What a read brought after it had ended without a result: no slots are reserved for it.
        case late(Int, [SinkArrival])
        /// All that came about together.
        case attemptsEnded([(key: Key, outcome: SinkOutcome)])
        /// Likewise, where a request has several messages.
        case batchesEnded([BatchEnd])
        /// Redis has answered a write of these messages; of an ordered sink, under the lease of this number.
        case wrote(Int, Write, [(id: StreamID, result: Written)], under: Int? = nil)
        /// It has not, or not now.
        case writeFailed(Int, Write, [StreamID])
        /// What keeping messages alive found: no longer ours, no longer in the stream.
        case keptAlive(Int, lost: [StreamID], trimmed: [StreamID])
        /// The stream's lease is ours: taken, or confirmed. The number of one that is lost tells which it was.
        case leased(Int, Lease)
        case renewed(Int, Lease)
        case leaseLost(Int, number: Int)
        /// Its reader waits for no credit.
        case resting(Int)
        /// There is no such stream any more.
        case gone(Int)
        /// Redis is there again.
        case redisBack
        case timer
        /// No more reading; what waits is handed back.
        case drain
        /// Nor waiting: what is in flight is handed back too.
        case abandon
    }

    enum Action: Equatable {
        case attempt(Key, SinkMessage, deliveryCount: Int)
        /// Of one stream.
        case batch(Int, [Parcel])
        case write(Int, Write, [Entry])
        /// Send `.timer` then. A sooner one may be asked for later.
        case wake(at: Instant)
        /// A stream that found no free slot may ask again.
        case credit(Int)
        /// The stream's lease is ours no longer.
        case stoodDown(Int)
        case disabled(reason: String)
        /// Nothing is held any more, and nothing will come.
        case drained
    }

    enum Phase: Equatable {
        /// Counted, and waiting for a slot to be sent in.
        case ready
        case inFlight
        case writing(Write, isSent: Bool)
        case waiting(until: Instant)
        /// Its time has come, and no slot is free.
        case due
        /// It waits for an earlier message of its key.
        case blocked
        /// No longer held; what still refers to it passes it over.
        case gone
    }

    /// A message held. A class: it stands in `held` and in the queue of its phase.
    final class Held {
        let key: Key
        let message: SinkMessage
        /// The pending list's counter, or what it will be when the write under way is done.
        var deliveries: Int
        var phase = Phase.ready
        /// In flight, and no longer ours: its failure is somebody else's business.
        var isLost = false
        var isTrimmed = false
        /// Its attempt, in flight, was begun as this one of `SinkPace`.
        var number = 0
        /// And while the breaker was open.
        var isProbe = false
        /// How many may share its next request, since a larger one has failed; and since when it is ready for that.
        var batchLimit = Int.max
        var readyAt = Instant.zero
        /// What it takes of a slot that is good for `batchSize` messages, until it is sent.
        var room = 1
        var dueWall: Duration?
        var reason: DeadLetterReason?
        var lastStatus: Int?
        var lastError = ""

        init(_ key: Key, _ message: SinkMessage, deliveries: Int) {
            self.key = key
            self.message = message
            self.deliveries = deliveries
        }
    }

    struct Stream {
        /// Of its name.
        let nameBytes: Int
        var reserved = 0
        var isWanting = false
        /// Where messages go in batches, `SinkState.ready`'s part of this stream.
        var ready = Fifo<Held>()
        /// Its next batch waits for more until then, when so many are ready.
        var linger: (until: Instant, ready: Int)?
        var queues = [[Held]](repeating: [], count: Write.allCases.count)
        var isWriting = [Bool](repeating: false, count: Write.allCases.count)
        /// The stream itself is gone, and with it whatever was to be written of its messages.
        var isGone = false
        /// It is in `queued`.
        var isQueued = false
        /// Redis refused a write: none is tried before this.
        var blockedUntil = Instant.zero
        var failures = 0
        var counters = SinkCounters()
        /// Of an ordered sink; nil: others deliver this stream.
        var lease: Lease?
        var lanes = SinkLanes()
        var watermark = SinkWatermark()

        init(nameBytes: Int) { self.nameBytes = nameBytes }
    }

    let definition: SinkDefinition
    var streams: [Stream]
    /// Slots of all streams that are reserved.
    var reserved = 0
    /// Streams whose queues may hold something: there may be a thousand others.
    var queued: [Int] = []
    var held: [Key: Held] = [:]
    var inFlight = 0
    var ready = Fifo<Held>()
    /// In all streams' `ready`, and the room that they take.
    var readyInStreams = 0
    var readyRoom = 0
    var batchTurn = 0
    /// A batch waits for more until then.
    var lingerUntil: Instant?
    /// The room of the messages whose `begin` is being written.
    var beginning = 0
    var waiting = DueHeap<Held>()
    var due = Fifo<Held>()
    var wanting: [Int] = []
    var backoff: SinkBackoff
    var pace: SinkPace
    /// Probes that are retries, if there are any, before the next one is a message that was not read yet.
    var retriesBeforeFresh = 0
    /// Messages that were read for a probe since the breaker opened.
    var freshProbes = 0
    var pausedUntil = Instant.zero
    /// Pauses of the whole endpoint since it last took something.
    var patience = SinkPatience()
    var isDraining = false
    var hasDrained = false
    var disabledReason: String?
    var moment = Moment(now: .zero, wall: .zero)
    var actions: [Action] = []

    /// Messages in one write: a script over them blocks Redis for about a tenth of a millisecond each ten.
    static let writeLimit = 100
    /// The first pause after a write that Redis refused, and the longest.
    static let redisPause = (least: Duration.milliseconds(100), most: Duration.seconds(5))

    init(_ definition: SinkDefinition, seed: UInt64) {
        self.definition = definition
        streams = definition.names.map { Stream(nameBytes: $0.utf8.count) }
        backoff = SinkBackoff(definition.retry, seed: seed)
        pace = SinkPace(definition)
    }

    /// One more, the last: a glob matches it.
    mutating func addStream(_ name: String) { streams.append(Stream(nameBytes: name.utf8.count)) }

    var isStopped: Bool { isDraining || disabledReason != nil }

    func status(now: Instant) -> SinkStatus {
        if isDraining { return .draining }
        if let disabledReason { return .disabled(reason: disabledReason) }
        if standsBy { return .standby }
        if let probeAt = pace.probeAt { return .failing(until: max(probeAt, pausedUntil)) }
        return pausedUntil > now ? .backingOff(until: pausedUntil) : .running
    }

    /// One a stream. What is held is walked once for all of them.
    var counters: [SinkCounters] {
        var counters = streams.map(\.counters)
        for (key, message) in held {
            counters[key.stream].held += 1
            if message.phase == .inFlight { counters[key.stream].inFlight += 1 }
            if message.phase == .blocked { counters[key.stream].blocked += 1 }
        }
        for stream in streams.indices where streams[stream].lease != nil { counters[stream].leases = 1 }
        return counters
    }

    mutating func handle(_ event: Event, at moment: Moment) -> [Action] {
        self.moment = moment
        actions.removeAll(keepingCapacity: true)
        switch event {
        case .read(let stream, let arrivals): read(stream, arrivals)
        case .late(let stream, let arrivals): arrived(stream, arrivals)
        case .attemptsEnded(let attempts): for attempt in attempts { attemptEnded(attempt.key, attempt.outcome) }
        case .batchesEnded(let batches): for batch in batches { batchEnded(batch) }
        case .wrote(let stream, let write, let results, let number): wrote(stream, write, results, under: number)
        case .writeFailed(let stream, let write, let ids): writeFailed(stream, write, ids)
        case .keptAlive(let stream, let lost, let trimmed): keptAlive(stream, lost: lost, trimmed: trimmed)
        case .leased(let stream, let lease): leased(stream, lease)
        case .renewed(let stream, let lease): renewed(stream, lease)
        case .leaseLost(let stream, let number): leaseLost(stream, number: number)
        case .resting(let stream): rest(stream)
        case .gone(let stream): gone(stream)
        case .redisBack: for stream in streams.indices { streams[stream].blockedUntil = .zero }
        case .timer: break  // What is due is found below.
        case .drain: stop(draining: true)
        case .abandon: abandon()
        }
        advance()
        return actions
    }

    // MARK: Going on

    /// Starts whatever can be started now.
    private mutating func advance() {
        standDownInTime()
        while let message = waiting.popDue(moment.now) {
            guard case .waiting(let until) = message.phase, until <= moment.now else { continue }
            move(message, to: .due)
            due.append(message)
        }
        if moment.now >= pausedUntil && !isStopped {
            if definition.isBatched { startBatches() } else { startReady() }
            while freeSlots > 0, !leavesTurn, let message = takeDue() { begin(message) }
        }
        flushWrites()
        grantCredit()
        if isDraining && held.isEmpty && reserved == 0 && !hasDrained {
            hasDrained = true
            actions.append(.drained)
        }
        scheduleWake()
    }

    private mutating func startReady() {
        while inFlight < pace.slots(moment.now), pace.tokens(moment.now) != 0, let message = ready.popFirst() {
            guard message.phase == .ready else { continue }
            if endsUnsent(message) { continue }
            move(message, to: .inFlight)
            message.isProbe = pace.isOpen
            message.number = pace.begin(moment.now)
            inFlight += 1
            streams[message.key.stream].counters.attempts += 1
            actions.append(.attempt(message.key, message.message, deliveryCount: message.deliveries))
        }
    }

    /// Whether it is done with, though it was ready to be sent.
    mutating func endsUnsent(_ message: Held) -> Bool {
        if isExpired(message), hasDeadLetter {
            bury(message, .expired, attempts: message.deliveries - 1)
        } else if message.deliveries > definition.retry.maxDeliveries, hasDeadLetter {
            bury(message, .maxRetriesExceeded, attempts: message.deliveries - 1)
        } else if let reason = message.message.unreadable {
            unreadable(message, reason)
        } else {
            return false
        }
        return true
    }

    private mutating func takeDue() -> Held? {
        while let message = due.popFirst() {
            if message.phase == .due { return message }
        }
        return nil
    }

    private mutating func begin(_ message: Held) {
        let attempts = message.deliveries
        if attempts >= definition.retry.maxDeliveries, hasDeadLetter { return bury(message, .maxRetriesExceeded, attempts: attempts) }
        message.deliveries += 1
        message.dueWall = nil
        message.room = room(message)
        retriesBeforeFresh = max(retriesBeforeFresh - 1, 0)
        enqueue(message, .begin)
    }

    var isFreshTurn: Bool { retriesBeforeFresh == 0 }

    /// A reader that waits for credit is to have the probe.
    private var leavesTurn: Bool { pace.isOpen && isFreshTurn && wanting.contains { credit(of: $0) > 0 } }

    private mutating func grantCredit() {
        guard !isStopped, moment.now >= pausedUntil, credit > 0, let place = wanting.firstIndex(where: { credit(of: $0) > 0 }) else { return }
        let stream = wanting.remove(at: place)
        streams[stream].isWanting = false
        actions.append(.credit(stream))
    }

    private mutating func scheduleWake() {
        var next = waiting.next
        func sooner(_ instant: Instant) { next = min(next ?? instant, instant) }
        if !isStopped {
            if pausedUntil > moment.now { sooner(pausedUntil) }
            if let probeAt = pace.probeAt, probeAt > moment.now { sooner(probeAt) }
            if let lingerUntil, lingerUntil > moment.now { sooner(lingerUntil) }
            if let nextToken = pace.nextToken(moment.now) { sooner(nextToken) }
        }
        for stream in queued where streams[stream].blockedUntil > moment.now { sooner(streams[stream].blockedUntil) }
        if definition.isOrdered { for stream in streams { if let lease = stream.lease { sooner(lease.until) } } }
        if let next { actions.append(.wake(at: next)) }
    }

    private func isExpired(_ message: Held) -> Bool {
        guard let maxAge = definition.retry.maxAge else { return false }
        return moment.wall - .milliseconds(Int64(clamping: message.key.id.milliseconds)) > maxAge
    }

    var hasDeadLetter: Bool { definition.deadLetter != .none }
}
