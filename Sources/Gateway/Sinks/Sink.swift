// A sink at work: the shell around `SinkState`. It reads a consumer group as any long-polling consumer does, posts
// what it reads, and keeps what it knows in Redis.
//
// All streams of a sink live on one loop: they share the endpoint's requests in flight, its messages held and its
// patience. Whatever has to wait for Redis (a reader a stream, a write) is a piece of work in a queue; for each the
// host starts a task, which takes the oldest piece. An attempt is no task: what it came to is a call from the way out,
// and all of a tick's are one event. Owned by the loop's server, which calls `start`, `drain` and `redisConnected`.

import Crypto
import Glibc
import Logging
import Net
import Redis
import Webhook

final class Sink: Flushable {
    /// What a task is started for.
    enum Work {
        case reader(SinkStream)
        case keepAlive(SinkStream)
        case renewal(SinkStream)
        case write(SinkStream, SinkState.Write, [SinkState.Entry])
    }

    let definition: SinkDefinition
    /// One a process and boot, so that ownership in the pending list means something.
    let consumer: ConsumerName
    let consumerPrefix: String
    let host: SinkHost
    let log: Logger
    let journal = SinkJournal()
    /// Of its attempts.
    var durations = DurationHistogram()
    /// Nil: every request has the same, or none.
    let authorization: SinkAuthorization?
    var state: SinkState
    private(set) var streams: [SinkStream] = []
    private let resources: SinkResources
    private var work = Fifo<Work>()
    private var timer: (id: TimerID, at: EventLoop.Instant)?
    private let drainedBell: SinkBell
    /// Attempts that ended in this tick.
    private var ended: [(key: SinkState.Key, outcome: SinkOutcome)] = []
    private var endedBatches: [SinkState.BatchEnd] = []

    /// - Parameter seed: for jitter, and for the consumer's name.
    init(_ definition: SinkDefinition, host: SinkHost, seed: UInt64 = UInt64.random(in: 0...UInt64.max)) throws(SinkError) {
        self.definition = definition
        self.host = host
        consumerPrefix = SinkOrderedTakeScript.prefixes(definition.name).all
        let prefix = definition.isOrdered ? SinkOrderedTakeScript.prefixes(definition.name).leading : consumerPrefix
        consumer = ConsumerName("\(prefix)\(Sink.hostName()):\(getpid())-\(String(seed, radix: 36))")
        var log = host.log
        log[metadataKey: "sink"] = "\(definition.name)"
        self.log = log
        state = SinkState(definition, seed: seed)
        drainedBell = SinkBell(host.loop)
        resources = try SinkResources(definition)
        authorization = SinkAuthorization(definition, resources, host.loop, host.outbound, log)
        streams = definition.names.enumerated().map { newStream($0, $1, isFound: false) }
    }

    static func hostName() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "host" }
        return String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    // MARK: For the server

    /// Begins to read. Once.
    func start() {
        log.info("sink started", metadata: ["url": "\(definition.url)", "consumer": "\(String(decoding: consumer.bytes, as: UTF8.self))"])
        for stream in streams { start(stream) }
    }

    private func start(_ stream: SinkStream) {
        enqueue(.reader(stream))
        scheduleKeepAlive(stream)
    }

    /// The streams that its globs match by now. One that is new is read; one that is there no more, or is a dead-letter
    /// stream by now, is not, until it is among them again.
    func found(_ names: [String]) {
        guard !state.isStopped else { return }
        let found = Set(names)
        for stream in streams where stream.isFound && stream.isResting == found.contains(stream.text) {
            if stream.isResting { wake(stream) } else { rest(stream) }
        }
        let known = Set(streams.map(\.text))
        for name in names where !known.contains(name) {
            state.addStream(name)
            streams.append(newStream(streams.count, name, isFound: true))
            start(streams[streams.count - 1])
        }
    }

    func rest(_ stream: SinkStream) {
        stream.isResting = true
        stream.waiter?.deliver(.draining)
        stream.bell.ring()  // What it waits for is for others.
    }

    private func wake(_ stream: SinkStream) {
        stream.isResting = false
        stream.mustTakeLease = true  // Its renewal may have been left off.
        state.streams[stream.index].isGone = false
        stream.bell.ring()
    }

    private func newStream(_ index: Int, _ name: String, isFound: Bool) -> SinkStream {
        SinkStream(index, name, definition, host.loop, SinkWire(definition, stream: name, resources: resources), isFound: isFound)
    }

    /// Redis is there, or there again.
    func redisConnected() {
        handle(.redisBack)
        for stream in streams {
            if definition.isOrdered {
                // It may know less than it has told us: what was acknowledged may be pending again, under our name. All that
                // is pending is gone through anew, also where the reader is parked.
                stream.mustTakeLease = true
                stream.waiter?.deliver(.draining)
            }
            stream.bell.ring()
        }
    }

    /// Stops reading, lets what is in flight land until `deadline`, and hands the rest back. Returns when everything
    /// is settled, or `SinkLimits.drainGrace` after the deadline: what Redis has not confirmed by then is still
    /// pending under our name, and is taken over after the lease.
    func drain(until deadline: EventLoop.Instant) async {
        guard !state.hasDrained else { return }
        host.loop.schedule(at: deadline) { [weak self] in self?.handle(.abandon) }
        handle(.drain)
        for stream in streams {
            stream.waiter?.deliver(.draining)
            stream.bell.ring()
            if let timer = stream.keepAliveTimer { host.loop.cancel(timer) }
        }
        if !state.hasDrained { await drainedBell.wait(until: deadline + SinkLimits.drainGrace) }
        // What may still be under way is waited for by the lease.
        if definition.isOrdered, state.hasDrained, state.inFlight == 0 { await releaseLeases() }
        let left = state.held.count
        if left > 0 { log.warning("sink stopped with messages unsettled; they are taken over after the lease", metadata: ["held": "\(left)"]) }
    }

    var status: SinkStatus { state.status(now: host.loop.now) }

    /// One piece of work, the oldest: what the task calls that `host.spawn` starts.
    func run() async {
        guard let piece = work.popFirst() else { return }
        switch piece {
        case .reader(let stream): await read(stream)
        case .keepAlive(let stream):
            _ = await keepAlive(stream)
            scheduleKeepAlive(stream)
        case .renewal(let stream): await renew(stream)
        case .write(let stream, let write, let entries): await perform(write, entries, stream)
        }
    }

    // MARK: Inside

    var moment: SinkState.Moment { .init(now: host.loop.now, wall: host.loop.clock.wallTime) }

    func enqueue(_ piece: Work) {
        work.append(piece)
        host.spawn()
    }

    func handle(_ event: SinkState.Event) {
        for action in state.handle(event, at: moment) {
            switch action {
            case .attempt(let key, let message, let count): attempt(key, message, deliveryCount: count)
            case .batch(let stream, let parcels): attempt(streams[stream], parcels)
            case .write(let stream, let write, let entries): enqueue(.write(streams[stream], write, entries))
            case .wake(let instant): wake(at: instant)
            case .credit(let stream): streams[stream].bell.ring()
            case .stoodDown(let stream): stoodDown(streams[stream])
            case .disabled(let reason):
                log.error("sink disabled", metadata: ["reason": "\(reason)"])
                journal.disabled(reason)
            case .drained: drainedBell.ring()
            }
        }
    }

    /// Told at the end of the tick, so that what ended together is acknowledged together.
    func attemptEnded(_ key: SinkState.Key, _ outcome: SinkOutcome) {
        if ended.isEmpty && endedBatches.isEmpty { host.loop.flushLater(self) }
        ended.append((key, outcome))
    }

    func batchEnded(_ end: SinkState.BatchEnd) {
        if ended.isEmpty && endedBatches.isEmpty { host.loop.flushLater(self) }
        endedBatches.append(end)
    }

    func flush() {
        let attempts = ended
        let batches = endedBatches
        ended = []
        endedBatches = []
        let wasOpen = state.pace.isOpen
        if !attempts.isEmpty { handle(.attemptsEnded(attempts)) }
        if !batches.isEmpty { handle(.batchesEnded(batches)) }
        if state.pace.isOpen != wasOpen { tellBreaker() }
        journal.decided { state.held[$0]?.dueWall }
    }

    private func tellBreaker() {
        if state.pace.isOpen {
            log.warning("the endpoint fails: one probe at a time", metadata: ["failures": "\(state.pace.failuresInARow)", "url": "\(definition.url)"])
        } else {
            log.notice("the endpoint takes messages again", metadata: ["url": "\(definition.url)"])
        }
    }

    private func wake(at instant: EventLoop.Instant) {
        if let timer {
            guard instant < timer.at else { return }
            host.loop.cancel(timer.id)
        }
        timer = (
            host.loop.schedule(at: instant) { [weak self] in
                self?.timer = nil
                self?.handle(.timer)
            }, instant
        )
    }

    private func scheduleKeepAlive(_ stream: SinkStream) {
        guard !state.hasDrained else { return }
        stream.keepAliveTimer = host.loop.schedule(at: host.loop.now + definition.lease / 3) { [weak self] in
            guard let self else { return }
            stream.keepAliveTimer = nil
            if state.held.isEmpty { scheduleKeepAlive(stream) } else { enqueue(.keepAlive(stream)) }
        }
    }
}

/// One stream of a sink: its names, and what its reader is at.
final class SinkStream {
    let index: Int
    let text: String
    let name: StreamName
    let group: GroupName
    let dead: StreamName?
    let key: WaitKey
    let wire: SinkWire
    /// A glob matches it: it is read while it is there, and not created.
    let isFound: Bool
    /// It is not read: it is gone, or no glob matches it any more.
    var isResting = false
    /// Rings when the reader may have something to do.
    let bell: SinkBell
    /// While it is parked.
    var waiter: Waiter?
    var keepAliveTimer: TimerID?
    var isOpening = false
    /// Why its group can't be made or read now, in Redis' words; nil: it can.
    var problem: String?
    /// The group was there once: if it is missing now, it was lost.
    var wasOpen = false
    /// When to look for what others have left, and where that look goes on.
    var takeoverDue = EventLoop.Instant.zero
    var takeoverCursor: [UInt8] = []
    /// When the first of those falls due that it has seen so far.
    var nextDue: EventLoop.Instant?
    var reapDue = EventLoop.Instant.zero
    /// Of an ordered sink: which of the pending messages are being gone through, and where that goes on; nil: what is new
    /// may be read.
    var search: SinkOrderedTakeScript.Search?
    var searchCursor: [UInt8] = []
    /// One that was trimmed could not become a dead letter yet: it may be under our own name, which only `all` visits.
    var hasRefused = false
    /// What was known of unowned messages when it began.
    var searchGeneration: UInt32 = 0
    /// It is not ours, or it is not known what was done under it.
    var mustTakeLease = true
    /// Who has it, as we were told.
    var leader: String?
    var renewalTimer: TimerID?
    /// Reads that failed in a row.
    var failures = 0

    init(
        _ index: Int, _ name: String, _ definition: SinkDefinition, _ loop: EventLoop, _ wire: SinkWire, isFound: Bool
    ) {
        self.index = index
        self.isFound = isFound
        text = name
        self.name = StreamName(name)
        group = GroupName(definition.group)
        dead = definition.deadLetterStream(of: name).map { StreamName($0) }
        key = WaitKey(stream: self.name, group: group)
        self.wire = wire
        bell = SinkBell(loop)
    }
}

/// The bounds of a sink beside those of its definition, with the reason for each.
enum SinkLimits {
    /// After the deadline of a drain, for Redis to confirm what was handed back.
    static let drainGrace = Duration.seconds(2)
    /// Headers that a message brings itself: receivers take 8 to 64 KiB, and libcurl gives up at 1 MiB as if memory were
    /// out. Beyond, it is unreadable.
    static let headerBytes = 64 * 1024
    /// The first pause of a reader that Redis has refused, and the longest.
    static let readPause = (least: Duration.milliseconds(100), most: Duration.seconds(5))
    /// How soon to look again for messages that an earlier run is about to hand back, or to be done with.
    static let handBackLook = Duration.milliseconds(500)
    /// Ids in one script that keeps messages alive: about a millisecond of Redis' time.
    static let keepAliveSlice = 200
    /// Consumers of earlier processes go after this long without a message.
    static let reapIdle = Duration.seconds(3600)
    /// How often they are looked for.
    static let reapInterval = Duration.seconds(600)
}
