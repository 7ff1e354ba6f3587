// Where waiting happens: the queues of the streams that live on one loop, as a pure state machine.
// Events go in, actions come out; `LongPoll` is the shell that performs them.
//
// A stream has one home in a process (a hash picks the loop), so that an XADD wakes one loop, not all.
// What holds here:
// - Nobody is left waiting for a message that is there. A waiter rests only while its stream's key is
//   tracked by Redis and the group was found empty since the tracking began. Whatever casts doubt on that
//   (an invalidation, a nudge, a newcomer, a failed look) sets `needsLook`; doubt that comes while a look
//   is under way outlives that look.
// - A look is the head waiter's own read. A newcomer queues up and the head looks for it: one look
//   serves any number of newcomers, and nobody jumps the queue.
// - One batch of looks per group at a time, of 1, 1, 1, 2, 4, 8, … waiters while they come back full: never more
//   than this run of full batches has found, less one. So n messages cost at most 2n + 1 looks however they
//   arrive: those that come back empty at a run's end, and the one that a late invalidation adds, are no more
//   than the run has found.
// - Whoever is there first has the message, which may always be the same of several gateways. One that was late with
//   `lossesAllowed` looks in a row, each for a word, asks for a turn: those that have had something since it had look for
//   the next word `turn` later. So the first waiter of each of r gateways has a message after at most r * lossesAllowed
//   looks, where its way to Redis is no more than half a `turn` longer than theirs, and the next in its line after as many
//   again. While words come its looks are no farther apart than they are, or than the throttle has them.
// - A queue goes with its last waiter. What Redis then still tracks costs one stray invalidation.

struct WaitHome {
    typealias Instant = Duration

    var settings: Settings
    private(set) var looksStarted = 0  // For tests and metrics.
    /// Queues that were looked after, and waiters that were taken from one: what an event costs. For tests.
    private(set) var steps = 0
    /// Of each look among the last actions, in their order: since when it is known that there is something to look for;
    /// nil where nobody said so. A run that goes on keeps its word unless a newer one has come.
    private(set) var toldAt: [Instant?] = []
    private var streams: [StreamName: Stream] = [:]
    private var keys: [WaiterID: WaitKey] = [:]
    private var lastTrack: TrackID = 0
    private var walk: [WaitKey] = []
    private var walkCredit = 0  // Looks that the walk may start; below zero after a large queue without a group.
    private var walkBegan = Instant.zero
    private var now = Instant.zero
    private var actions: [Action] = []

    fileprivate struct Stream {
        enum Tracking: Equatable {
            case off
            /// Asked for; `doubted`: the key changed since, or just before: the two sockets are not ordered.
            case pending(TrackID, doubted: Bool)
            case on
        }
        var tracking = Tracking.off
        var queues: [GroupName?: Queue] = [:]
    }

    init(settings: Settings = Settings()) { self.settings = settings }

    var waiterCount: Int { keys.count }
    var streamCount: Int { streams.count }
    /// How many newcomers are remembered as not yet looked for.
    var restlessCount: Int { streams.values.reduce(0) { $0 + $1.queues.values.reduce(0) { $0 + $1.restless.count } } }

    /// The waiters of a queue in their order, for tests.
    func waiters(of key: WaitKey) -> [WaiterID] {
        streams[key.stream]?.queues[key.group]?.waiters.prefix(.max) ?? []
    }

    mutating func handle(_ event: Event, now: Instant) -> [Action] {
        self.now = now
        actions.removeAll(keepingCapacity: true)
        toldAt.removeAll(keepingCapacity: true)
        switch event {
        case .join(let waiter, let key, let claims, let takes): join(waiter, key, claims: claims, takesUnowned: takes)
        case .leave(let waiter): leave(waiter)
        case .looked(let waiter, let look): looked(waiter, look)
        case .tracked(let stream, let id, let succeeded): tracked(stream, id, succeeded)
        case .invalidated(let stream?): invalidated(stream)
        case .invalidated(nil): for stream in streams.keys { invalidated(stream) }
        case .nudged(let key): change(key) { $0.doubt(toldAt: now) }
        case .asked(let key, let hunger): change(key) { if hunger > now - $0.hungrySince { $0.yieldsUntil = now + .seconds(1) } }
        case .timer(let key): timer(key)
        case .slowTick: slowTick()
        }
        return actions
    }

    // MARK: Coming and going

    private mutating func join(_ waiter: WaiterID, _ key: WaitKey, claims: Duration?, takesUnowned: Bool) {
        keys[waiter] = key
        streams[key.stream, default: Stream()].queues[key.group, default: Queue(hungrySince: now)].waiters.append(waiter)
        let firstClaim = now + settings.claimInterval  // Its own look, a moment ago, found nothing.
        change(key) { queue in
            queue.doubt(by: waiter)
            if takesUnowned { queue.takers.append(waiter) }
            if let claims { queue.addClaimant(waiter, claims, firstClaim) }
        }
    }

    private mutating func leave(_ waiter: WaiterID) {
        guard let key = keys.removeValue(forKey: waiter) else { return }
        change(key) { queue in
            queue.remove(waiter)
            // It was told to look, and nobody knows whether it did.
            if queue.looking.remove(waiter) != nil && key.group != nil {
                queue.keepWord()
                queue.doubt()
                queue.batchCameFull = false
            }
            if queue.looking.isEmpty && !queue.batchCameFull { queue.endRun() }
        }
    }

    private mutating func looked(_ waiter: WaiterID, _ look: Look) {
        guard let key = keys[waiter] else { return }
        if case .ended(let reason) = look.result { return end(key, reason, except: waiter) }
        if case .found(_, stays: false) = look.result { keys[waiter] = nil }
        let (retry, claimInterval) = (now + settings.retryDelay, settings.claimInterval)
        let (now, allowed) = (now, settings.lossesAllowed)
        var hunger: Duration?
        change(key) { queue in
            queue.looking.remove(waiter)
            queue.unownedDue = look.unownedDue ?? queue.unownedDue
            if let due = look.claimDue, queue.claimants.speaksForAll(waiter) {
                queue.claimDue = max(due, queue.lastLook + claimInterval)
            }
            switch look.result {
            case .found(let full, let stays):
                if !stays { queue.remove(waiter) }
                queue.found += 1
                queue.losses = 0
                queue.hungrySince = now
                queue.emptyLooks = 0
                queue.batchCameEmpty = false
                if !full { queue.batchCameFull = false }
            case .nothing:
                queue.batchCameFull = false
                if !queue.isClaiming, !queue.takers.contains(waiter), !queue.takers.isEmpty {
                    queue.needsTaker = true
                    queue.doubt()
                }
            case .failed:
                queue.batchCameEmpty = false
                queue.batchCameFull = false
                queue.keepWord()
                queue.doubt(by: waiter)
                queue.notBefore = retry
                queue.claimDue = queue.claimDue.map { max($0, retry) }
            case .ended:
                preconditionFailure("Ended queues were dealt with above.")
            }
            guard queue.looking.isEmpty else { return }
            // Each of those who come may have a look of his own: what must not spin is what we hear.
            if queue.batchCameEmpty && !queue.isForNewcomers { queue.emptyLooks += 1 }
            if queue.batchCameEmpty, queue.found == 0, queue.cause != nil, key.group != nil, queue.loses(allowed: allowed) {
                hunger = now - queue.hungrySince
            }
            if queue.batchCameFull && key.group != nil {
                queue.doubt()  // More may be there.
                queue.needsClaim = queue.isClaiming
                // Not twice what was wished for: then a lone waiter's full looks would add up.
                queue.width = max(1, min(queue.width * 2, queue.found - 1))
            } else {
                queue.endRun()
            }
        }
        if let hunger { actions.append(.ask(key, hunger: hunger)) }
    }

    private mutating func end(_ key: WaitKey, _ reason: WaitEnd, except teller: WaiterID) {
        guard let queue = streams[key.stream]?.queues[key.group] else { return }
        // Who came since the look began may have found it created anew: he sees for himself.
        let ended = queue.waiters.prefix(.max).filter { $0 == teller || !queue.restless.contains($0) }
        for waiter in ended {
            keys[waiter] = nil
            if waiter != teller { actions.append(.end(waiter, reason)) }
        }
        change(key) { queue in
            for waiter in ended { queue.remove(waiter) }
            queue.looking = []
            queue.endRun()
            queue.doubt()
        }
    }

    // MARK: Causes for doubt

    private mutating func tracked(_ stream: StreamName, _ id: TrackID, _ succeeded: Bool) {
        guard case .pending(id, let doubted)? = streams[stream]?.tracking else { return }
        guard succeeded else {
            streams[stream]!.tracking = .off
            let later = now + settings.retryDelay
            return changeAll(stream) { queue in
                queue.doubt()
                queue.notBefore = later
            }
        }
        streams[stream]!.tracking = doubted ? .off : .on
        // In doubt we look all the same, or a busy stream would never be looked at, and then again.
        changeAll(stream, evenUntracked: doubted) { if doubted { $0.doubt() } }
    }

    private mutating func invalidated(_ stream: StreamName) {
        guard let tracking = streams[stream]?.tracking else { return }
        if case .pending(let id, _) = tracking {
            streams[stream]!.tracking = .pending(id, doubted: true)
        } else {
            streams[stream]!.tracking = .off
        }
        let (now, turn) = (now, settings.turn)
        changeAll(stream) { $0.doubt(toldAt: now, yielding: turn) }
    }

    private mutating func timer(_ key: WaitKey) {
        let now = now
        change(key) { queue in
            while let wake = queue.wakes.last, wake <= now { queue.wakes.removeLast() }
            if let due = queue.unownedDue, due <= now {
                queue.unownedDue = nil
                queue.doubt()
            }
            if let due = queue.claimDue, due <= now { queue.needsClaim = true }
        }
    }

    /// A walk over all queues takes at least a second, and longer when there are more than the budget allows.
    private mutating func slowTick() {
        if walk.isEmpty && now - walkBegan >= .seconds(1) {
            walk = streams.flatMap { name, stream in stream.queues.keys.map { WaitKey(stream: name, group: $0) } }
            walkBegan = now
        }
        let (share, now) = (max(1, settings.slowLooksPerSecond / 10), now)
        walkCredit = min(share, walkCredit + share)
        while walkCredit > 0, let key = walk.popLast() {
            walkCredit -= 1
            let before = looksStarted
            change(key) { if now - $0.lastLook >= .seconds(1) { $0.doubt() } }
            walkCredit -= max(0, looksStarted - before - 1)  // Without a group all its waiters look.
        }
    }

    // MARK: Looking

    private mutating func change(_ key: WaitKey, _ body: (inout Queue) -> Void) {
        guard streams[key.stream]?.queues[key.group] != nil else { return }
        body(&streams[key.stream]!.queues[key.group]!)
        advance(key)
    }

    private mutating func changeAll(_ stream: StreamName, evenUntracked: Bool = false, _ body: (inout Queue) -> Void) {
        for group in streams[stream]!.queues.keys {
            body(&streams[stream]!.queues[group]!)
            advance(WaitKey(stream: stream, group: group), evenUntracked: evenUntracked)
        }
    }

    /// Starts what the queue of `key` needs next, if it can be started now.
    private mutating func advance(_ key: WaitKey, evenUntracked: Bool = false) {
        guard var queue = streams[key.stream]?.queues[key.group] else { return }
        steps += 1
        guard !queue.waiters.isEmpty else {
            streams[key.stream]!.queues[key.group] = nil
            if streams[key.stream]!.queues.isEmpty { streams[key.stream] = nil }
            return
        }
        defer { streams[key.stream]!.queues[key.group] = queue }
        guard queue.looking.isEmpty else { return }
        if queue.needsLook {
            let start = max(queue.notBefore, throttle(queue))
            if now < start {
                wake(&queue, key, at: start)
            } else if evenUntracked || isTracked(key.stream) {
                if startLooks(&queue, key, stillDoubted: evenUntracked) { return }
            }
        }
        if !queue.needsLook && !settings.isTracking {
            queue.doubt()
            queue.notBefore = now + settings.pollInterval
            wake(&queue, key, at: queue.notBefore)
        }
        if queue.needsClaim, let claimant = queue.claimants.first { return look(&queue, [claimant]) }
        if let due = queue.unownedDue { wake(&queue, key, at: due) }
        if let due = queue.claimDue, !queue.claimants.isEmpty { wake(&queue, key, at: due) }
    }

    /// False when those who had to look for themselves have gone.
    private mutating func startLooks(_ queue: inout Queue, _ key: WaitKey, stillDoubted: Bool) -> Bool {
        let batch: [WaiterID]
        if queue.needsTaker, let taker = queue.takers.first {
            batch = [taker]
        } else if key.group != nil {
            batch = queue.waiters.prefix(queue.width)
        } else if queue.isEveryoneRestless {
            batch = queue.waiters.prefix(.max)
        } else {
            batch = queue.restless.prefix(.max)
        }
        queue.needsTaker = false
        let isForNewcomers = !queue.isEveryoneRestless
        queue.calm()
        if stillDoubted { queue.doubt() }
        queue.cause = queue.toldAt ?? queue.cause
        queue.toldAt = nil
        guard !batch.isEmpty else { return false }
        look(&queue, batch, toldAt: queue.cause)
        queue.isForNewcomers = isForNewcomers
        return true
    }

    private mutating func look(_ queue: inout Queue, _ batch: [WaiterID], toldAt word: Instant? = nil) {
        queue.isClaiming = queue.claimants.first.map(batch.contains) ?? false
        if queue.isClaiming {
            queue.needsClaim = false
            queue.claimDue = now + settings.claimInterval  // Whatever becomes of the look.
        }
        queue.batchCameFull = true
        queue.batchCameEmpty = true
        queue.isForNewcomers = false
        queue.width = batch.count
        queue.lastLook = now
        queue.looking = Set(batch)
        looksStarted += batch.count
        steps += batch.count
        actions += batch.map { .look($0) }
        toldAt += batch.map { _ in word }
    }

    /// Asks Redis to track the key if it does not; true when it does.
    private mutating func isTracked(_ stream: StreamName) -> Bool {
        guard settings.isTracking else { return true }
        switch streams[stream]!.tracking {
        case .on: return true
        case .pending: return false
        case .off:
            lastTrack += 1
            streams[stream]!.tracking = .pending(lastTrack, doubted: false)
            actions.append(.track(stream, lastTrack))
            return false
        }
    }

    private func throttle(_ queue: Queue) -> Instant {
        queue.emptyLooks < settings.emptyLooksAllowed ? .zero : queue.lastLook + settings.emptyLookInterval
    }

    private mutating func wake(_ queue: inout Queue, _ key: WaitKey, at instant: Instant) {
        let instant = min(instant, now + settings.longestSleep)
        if let sooner = queue.wakes.last, sooner <= instant { return }
        queue.wakes.append(instant)
        actions.append(.wake(key, at: instant))
    }
}
