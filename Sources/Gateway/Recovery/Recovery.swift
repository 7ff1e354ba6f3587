// Recovery policies on one loop: knows which groups have one, and carries out those of the streams that live here.
//
// There is no leader. Every gateway asks, when it thinks that the time has come, and `RecoveryScript` lets one of them
// walk; times are shaken a little, so that it is usually one that asks first. What a walk finds is buried one by one,
// each by a script that looks again. So any gateway may die at any point: another goes on a walk later.
//
// What is known comes from Redis: all policies at each connect and once a minute after (a nudge may have been missed),
// one when it is nudged. Whoever waits for a group needs nothing of this: it knows itself when a message may be idle
// for long enough, and looks then.

import Logging
import Net
import Redis

/// What one loop has done; for /metrics.
struct RecoveryCounters: Sendable {
    /// Known to this loop, of streams that live here.
    var policies = 0
    var recovered = 0
    var deadLettered = 0
    var reaped = 0
    var errors = 0
}

/// A message that a policy gives up.
struct RecoveryLetter {
    var key: WaitKey
    var group: GroupName
    var id: StreamID
    var holder: [UInt8]
    var deliveries: Int
    /// `original_data` (API.md §6).
    var data: [UInt8]

    private var isTrimmed: Bool { data.elementsEqual("null".utf8) }
    var reason: DeadLetterReason { isTrimmed ? .trimmed : .maxRetriesExceeded }
    var error: String {
        isTrimmed ? "the entry was trimmed while it was pending" : "delivered \(deliveries) times and not acknowledged"
    }
}

final class Recovery {
    /// Policies asked for in one pipeline.
    private static let loadSlice = 200
    /// An entry of the index without a policy is dropped after so long: until then it may be one that is being put.
    private static let indexPatience = Duration.seconds(3600)

    var index = RecoveryIndex()
    /// All of them were read once.
    private(set) var isLoaded = false
    var counters = RecoveryCounters()
    /// Starts work on this loop; set by the server.
    var startWork: (BackgroundWork) -> Void = { _ in preconditionFailure("Nobody starts work for this loop.") }

    private let loop: EventLoop
    private let store: any StreamStore
    private let longPoll: LongPoll
    private let limits: Limits
    private let log = Logger(label: "sluice")
    private var schedule = RecoverySchedule()
    private var timer: (id: TimerID, at: EventLoop.Instant)?
    private var reload: TimerID?
    private let loading = SingleRun()
    /// Nudged while all were loaded: what was asked for before that is old.
    private var nudged: Set<WaitKey> = []
    private var hearsNudges = true
    private var isDraining = false
    private var failing: Set<WaitKey> = []

    init(loop: EventLoop, store: any StreamStore, longPoll: LongPoll, limits: Limits) {
        self.loop = loop
        self.store = store
        self.longPoll = longPoll
        self.limits = limits
    }

    // MARK: What is known

    func connected(hearsNudges: Bool) {
        self.hearsNudges = hearsNudges
        startWork(.loadPolicies)
    }

    /// One policy was put or deleted, here or elsewhere.
    func load(_ key: WaitKey) async {
        nudged.insert(key)
        do {
            use(key, RecoveryPolicy(try await store.send(RecoveryPolicy.read(key.stream, key.nonNilGroup))))
        } catch {
            counters.errors += 1
            log.warning("A recovery policy can't be read: \(error)", metadata: key.metadata)
            loading.rerun()
            loadSoon(.seconds(1))
        }
    }

    func loadAll() async {
        await loading { await loadOnce() }
    }

    private func loadOnce() async {
        guard !isDraining else { return }
        nudged = []
        do {
            let indexed = try await indexed()
            let keys = Set(index.keys).union(indexed.keys)
            for slice in Array(keys).slices(of: Recovery.loadSlice) { try await load(slice, indexed) }
            isLoaded = true
            loadSoon(hearsNudges ? .seconds(60) : .seconds(5))
        } catch {
            if store.features != nil {  // Else it is told already.
                counters.errors += 1
                log.warning("Recovery policies can't be read: \(error)")
            }
            loadSoon(.seconds(1))
        }
    }

    /// The groups in the index, and since when (ms since 1970).
    private func indexed() async throws(RedisError) -> [WaitKey: Int] {
        let reply = try await store.send(.zrange(GatewayKeys.policies, withScores: true))
        var (members, found) = (reply.elements, [WaitKey: Int]())
        while let member = members.takeBytes(), let score = members.takeText() {
            if let (stream, group) = Nudge.unpack(member) { found[WaitKey(stream: stream, group: group)] = Int(score) ?? 0 }
        }
        return found
    }

    private func load(_ keys: ArraySlice<WaitKey>, _ indexed: [WaitKey: Int]) async throws(RedisError) {
        let replies = try await store.send(keys.map { RecoveryPolicy.read($0.stream, $0.nonNilGroup) }, tracked: false)
        for (key, reply) in zip(keys, replies) where !nudged.contains(key) {
            let policy = RecoveryPolicy(try reply.get())
            use(key, policy)
            if longPoll.index == 0 { await mendIndex(key, policy, since: indexed[key]) }
        }
    }

    /// A policy that has lost its place in the index would be unknown to whoever starts later.
    private func mendIndex(_ key: WaitKey, _ policy: RecoveryPolicy?, since: Int?) async {
        do throws(RedisError) {
            if policy != nil && since == nil {
                let call = IndexPolicyScript.call(key.stream, key.nonNilGroup, limit: .max)
                _ = try await store.evaluate(IndexPolicyScript.script, call)
            } else if let since, policy == nil,
                loop.clock.wallTime - .milliseconds(since) > Recovery.indexPatience
            {
                _ = try await store.send(.forgetPolicy(key.stream, key.nonNilGroup))
            }
        } catch {
            log.debug("The index of recovery policies can't be mended: \(error)", metadata: key.metadata)
        }
    }

    private func use(_ key: WaitKey, _ policy: RecoveryPolicy?) {
        guard index.set(key, policy) else { return }
        defer { longPoll.nudged(key) }  // Whoever waits looks by the new policy.
        guard longPoll.isHome(of: key.stream) else { return }
        counters.policies = index.keys.count { longPoll.isHome(of: $0.stream) }
        if let policy {
            schedule.remove(key)
            schedule.add(key, at: loop.now + shaken(.milliseconds(10), by: policy.interval / 8))
        } else {
            schedule.remove(key)
            failing.remove(key)
        }
        advance()
    }

    private func loadSoon(_ pause: Duration) {
        if let reload { loop.cancel(reload) }
        reload = loop.schedule(at: loop.now + shaken(pause, by: pause / 4)) { [unowned self] in
            reload = nil
            if !isDraining { startWork(.loadPolicies) }
        }
    }

    /// A little later, by chance: others are told the same time.
    private func shaken(_ pause: Duration, by most: Duration) -> Duration {
        pause + .milliseconds(Int.random(in: 0...max(most.milliseconds, 1)))
    }

    // MARK: The worker

    func drain() {
        isDraining = true
        schedule.stop()
    }

    private func advance() {
        while let key = schedule.popDue(loop.now) { startWork(.recover(key)) }
        guard let next = schedule.next else { return }
        if let timer {
            guard next < timer.at else { return }
            loop.cancel(timer.id)
        }
        timer = (
            loop.schedule(at: next) { [unowned self] in
                timer = nil
                advance()
            }, next
        )
    }

    /// Walks a group's pending list, if nobody else does.
    func run(_ key: WaitKey) async {
        var wait = Duration.seconds(1)
        do throws(RedisError) {
            wait = try await walk(key) ?? wait
            if failing.remove(key) != nil { log.notice("Recovery goes on.", metadata: key.metadata) }
        } catch {
            // One line until it works again.
            if store.features != nil {
                counters.errors += 1
                if failing.insert(key).inserted { log.warning("A recovery policy can't be carried out: \(error)", metadata: key.metadata) }
            }
        }
        let interval = index.policy(key)?.interval ?? .seconds(1)
        schedule.ended(key, next: loop.now + shaken(wait, by: interval / 8))
        advance()
    }

    /// When to come again; nil when there is no policy any more.
    private func walk(_ key: WaitKey) async throws(RedisError) -> Duration? {
        var cursor: [UInt8] = []
        var wait: Duration?
        repeat {
            guard let policy = index.policy(key) else { return nil }
            let call = RecoveryScript.call(key.stream, key.nonNilGroup, interval: policy.interval, cursor: cursor)
            let reply = try await store.evaluate(RecoveryScript.script, call)
            var parts = reply.elements
            guard let state = parts.takeInteger(), let left = parts.takeInteger(), var found = parts.takeArray(),
                let next = parts.takeBytes(), let reaped = parts.takeInteger()
            else { return wait }
            wait = .milliseconds(left)
            if state < 0 { use(key, nil) }  // The nudge may be on its way, or lost.
            guard state == 1 else { return wait }
            counters.reaped += Int(reaped)
            if reaped > 0 { log.info("Removed consumers that were idle.", metadata: key.metadata(["consumers": "\(reaped)"])) }
            cursor = Array(next)
            while var row = found.takeArray() {
                guard let id = row.takeBytes().flatMap({ StreamID($0) }), let holder = row.takeBytes(),
                    let deliveries = row.takeInteger()
                else { continue }
                try await bury(id, holder: Array(holder), deliveries: Int(deliveries), key, to: policy.deadLetter)
            }
        } while !cursor.isEmpty && !isDraining
        return wait
    }

    private func bury(
        _ id: StreamID, holder: [UInt8], deliveries: Int, _ key: WaitKey, to dead: StreamName
    ) async throws(RedisError) {
        let entry = try await store.send(.xrange(key.stream.bytes, from: .including(id), to: .including(id), count: 1))
        let letter = RecoveryLetter(
            key: key, group: key.nonNilGroup, id: id, holder: holder, deliveries: deliveries, data: originalData(entry))
        let isOneStep = store.canTouchTogether(key.stream, dead)
        if !isOneStep {
            _ = try await store.send(DeadLetterScript.add(letter, to: dead, wallTime: loop.clock.wallTime))
        }
        let call = DeadLetterScript.call(letter, to: isOneStep ? dead : nil)
        guard try await store.evaluate(DeadLetterScript.script, call).integer == 1 else { return }
        counters.deadLettered += 1
        log.warning(
            "dead letter",
            metadata: key.metadata(["id": "\(id)", "attempt": "\(deliveries)", "reason": "\(letter.reason.rawValue)"]))
    }

    /// The entry as the dead letter keeps it; `null` where it is gone.
    private func originalData(_ entries: RedisReply) -> [UInt8] {
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        scratch.clear()
        var entries = entries.elements
        guard entries.enterArray() == 2 else { return Array("null".utf8) }
        entries.skip()
        scratch.append(literal: "{\"fields\":")
        MessageWriter(body: scratch).writeFields(&entries)
        scratch.append(UInt8(ascii: "}"))
        return scratch.takeArray()
    }
}

extension WaitKey {
    /// Policies are of groups.
    fileprivate var nonNilGroup: GroupName {
        guard let group else { preconditionFailure("A policy is a group's.") }
        return group
    }

    fileprivate var metadata: Logger.Metadata { metadata([:]) }

    fileprivate func metadata(_ more: Logger.Metadata) -> Logger.Metadata {
        more.merging(["stream": "\(stream.bytes.quoted)", "group": "\(nonNilGroup.bytes.quoted)"]) { a, _ in a }
    }
}

extension StreamStore {
    /// Whether one script may touch both keys: always, outside a cluster; there, where they are in one slot.
    func canTouchTogether(_ a: StreamName, _ b: StreamName) -> Bool {
        features?.mode != "cluster" || HashSlot(of: a.bytes) == HashSlot(of: b.bytes)
    }
}

extension RedisCommand {
    /// ZREM of a group from the index of policies.
    static func forgetPolicy(_ stream: StreamName, _ group: GroupName) -> RedisCommand {
        .zrem(GatewayKeys.policies, Nudge.pack(stream, group))
    }
}

extension Array {
    /// Pieces of at most `size` elements, in order.
    func slices(of size: Int) -> [ArraySlice<Element>] {
        stride(from: 0, to: count, by: size).map { self[$0..<Swift.min($0 + size, count)] }
    }
}
