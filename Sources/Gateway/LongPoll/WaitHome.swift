// Where waiting happens: the queues of the streams that live on one loop, as a pure state machine.
// Events go in, actions come out; `LongPoll` is the shell that performs them. It and its queues are classes, and never
// shared: a queue is a few hundred bytes, changed in place by every event.
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

final class WaitHome {
    typealias Instant = Duration

    var settings: Settings
    private(set) var looksStarted = 0  // For tests and metrics.
    /// Queues that were looked after, and waiters that were taken from one: what an event costs. For tests.
    private(set) var steps = 0
    private var streams: [StreamName: Stream] = [:]
    private var queueOf: [WaiterID: Queue] = [:]
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

    var waiterCount: Int { queueOf.count }
    var streamCount: Int { streams.count }
    /// How many newcomers are remembered as not yet looked for.
    var restlessCount: Int { streams.values.reduce(0) { $0 + $1.queues.values.reduce(0) { $0 + $1.restless.count } } }

    /// The waiters of a queue in their order, for tests.
    func waiters(of key: WaitKey) -> [WaiterID] {
        streams[key.stream]?.queues[key.group]?.waiters.prefix(.max) ?? []
    }

    func handle(_ event: Event, now: Instant) -> [Action] {
        self.now = now
        actions.removeAll(keepingCapacity: true)
        switch event {
        case .join(let waiter, let key, let claims, let takes): join(waiter, key, claims: claims, takesUnowned: takes)
        case .leave(let waiter): leave(waiter)
        case .looked(let waiter, let look): looked(waiter, look)
        case .tracked(let stream, let id, let succeeded): tracked(stream, id, succeeded)
        case .invalidated(let stream?): invalidated(stream)
        case .invalidated(nil): for stream in streams.keys { invalidated(stream) }
        case .nudged(let key): nudged(key)
        case .asked(let key, let hunger): asked(key, hunger)
        case .timer(let key): timer(key)
        case .slowTick: slowTick()
        }
        return actions
    }

    // MARK: Coming and going

    private func join(_ waiter: WaiterID, _ key: WaitKey, claims: Duration?, takesUnowned: Bool) {
        let queue = queue(of: key) ?? newQueue(key)
        queueOf[waiter] = queue
        queue.waiters.append(waiter)
        queue.doubt(by: waiter)
        if takesUnowned { queue.takers.append(waiter) }
        // Its own look, a moment ago, found nothing.
        if let claims { queue.addClaimant(waiter, claims, now + settings.claimInterval) }
        advance(queue)
    }

    private func queue(of key: WaitKey) -> Queue? { streams[key.stream]?.queues[key.group] }

    private func newQueue(_ key: WaitKey) -> Queue {
        let queue = Queue(key, now)
        streams[key.stream, default: Stream()].queues[key.group] = queue
        return queue
    }

    private func leave(_ waiter: WaiterID) {
        guard let queue = queueOf.removeValue(forKey: waiter) else { return }
        queue.remove(waiter)
        // It was told to look, and nobody knows whether it did.
        if queue.endLook(of: waiter) && queue.key.group != nil {
            queue.keepWord()
            queue.doubt()
            queue.batchCameFull = false
        }
        if queue.looking.isEmpty && !queue.batchCameFull { queue.endRun() }
        advance(queue)
    }

    private func looked(_ waiter: WaiterID, _ look: Look) {
        guard let queue = queueOf[waiter] else { return }
        if case .ended(let reason) = look.result { return end(queue, reason, except: waiter) }
        if case .found(_, stays: false) = look.result { queueOf[waiter] = nil }
        _ = queue.endLook(of: waiter)
        queue.unownedDue = look.unownedDue ?? queue.unownedDue
        if let due = look.claimDue, queue.claimants.speaksForAll(waiter) {
            queue.claimDue = max(due, queue.lastLook + settings.claimInterval)
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
            let retry = now + settings.retryDelay
            queue.batchCameEmpty = false
            queue.batchCameFull = false
            queue.keepWord()
            queue.doubt(by: waiter)
            queue.notBefore = retry
            queue.claimDue = queue.claimDue.map { max($0, retry) }
        case .ended:
            preconditionFailure("Ended queues were dealt with above.")
        }
        if queue.looking.isEmpty { endBatch(queue) }
        advance(queue)
    }

    /// All who were told to look have.
    private func endBatch(_ queue: Queue) {
        // Each of those who come may have a look of his own: what must not spin is what we hear.
        if queue.batchCameEmpty && !queue.isForNewcomers { queue.emptyLooks += 1 }
        if queue.batchCameEmpty, queue.found == 0, queue.cause != nil, queue.key.group != nil,
            queue.loses(allowed: settings.lossesAllowed)
        {
            actions.append(.ask(queue.key, hunger: now - queue.hungrySince))
        }
        if queue.batchCameFull && queue.key.group != nil {
            queue.doubt()  // More may be there.
            queue.needsClaim = queue.isClaiming
            // Not twice what was wished for: then a lone waiter's full looks would add up.
            queue.width = max(1, min(queue.width * 2, queue.found - 1))
        } else {
            queue.endRun()
        }
    }

    private func end(_ queue: Queue, _ reason: WaitEnd, except teller: WaiterID) {
        // Who came since the look began may have found it created anew: he sees for himself.
        let ended = queue.waiters.prefix(.max).filter { $0 == teller || !queue.restless.contains($0) }
        for waiter in ended {
            queueOf[waiter] = nil
            queue.remove(waiter)
            if waiter != teller { actions.append(.end(waiter, reason)) }
        }
        queue.looking = []
        queue.endRun()
        queue.doubt()
        advance(queue)
    }

    // MARK: Causes for doubt

    private func tracked(_ stream: StreamName, _ id: TrackID, _ succeeded: Bool) {
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

    private func invalidated(_ stream: StreamName) {
        guard let tracking = streams[stream]?.tracking else { return }
        if case .pending(let id, _) = tracking {
            streams[stream]!.tracking = .pending(id, doubted: true)
        } else {
            streams[stream]!.tracking = .off
        }
        let (now, turn) = (now, settings.turn)
        changeAll(stream) { $0.doubt(toldAt: now, yielding: turn) }
    }

    private func nudged(_ key: WaitKey) {
        guard let queue = queue(of: key) else { return }
        queue.doubt(toldAt: now)
        advance(queue)
    }

    private func asked(_ key: WaitKey, _ hunger: Duration) {
        guard let queue = queue(of: key) else { return }
        if hunger > now - queue.hungrySince { queue.yieldsUntil = now + .seconds(1) }
        advance(queue)
    }

    private func timer(_ key: WaitKey) {
        guard let queue = queue(of: key) else { return }
        while let wake = queue.wakes.last, wake <= now { queue.wakes.removeLast() }
        if let due = queue.unownedDue, due <= now {
            queue.unownedDue = nil
            queue.doubt()
        }
        if let due = queue.claimDue, due <= now { queue.needsClaim = true }
        advance(queue)
    }

    /// A walk over all queues takes at least a second, and longer when there are more than the budget allows.
    private func slowTick() {
        if walk.isEmpty && now - walkBegan >= .seconds(1) {
            walk = streams.flatMap { name, stream in stream.queues.keys.map { WaitKey(stream: name, group: $0) } }
            walkBegan = now
        }
        let share = max(1, settings.slowLooksPerSecond / 10)
        walkCredit = min(share, walkCredit + share)
        while walkCredit > 0, let key = walk.popLast() {
            walkCredit -= 1
            let before = looksStarted
            guard let queue = queue(of: key) else { continue }
            if now - queue.lastLook >= .seconds(1) { queue.doubt() }
            advance(queue)
            walkCredit -= max(0, looksStarted - before - 1)  // Without a group all its waiters look.
        }
    }

    // MARK: Looking

    private func changeAll(_ stream: StreamName, evenUntracked: Bool = false, _ change: (Queue) -> Void) {
        for queue in streams[stream]!.queues.values {
            change(queue)
            advance(queue, evenUntracked: evenUntracked)
        }
    }

    /// Starts what the queue needs next, if it can be started now. One that nobody waits in any more is let go.
    private func advance(_ queue: Queue, evenUntracked: Bool = false) {
        steps += 1
        guard !queue.waiters.isEmpty else { return remove(queue) }
        guard queue.looking.isEmpty else { return }
        if queue.needsLook {
            let start = max(queue.notBefore, throttle(queue))
            if now < start {
                wake(queue, at: start)
            } else if evenUntracked || isTracked(queue.key.stream) {
                if startLooks(queue, stillDoubted: evenUntracked) { return }
            }
        }
        if !queue.needsLook && !settings.isTracking {
            queue.doubt()
            queue.notBefore = now + settings.pollInterval
            wake(queue, at: queue.notBefore)
        }
        if queue.needsClaim, let claimant = queue.claimants.first { return look(queue, [claimant]) }
        if let due = queue.unownedDue { wake(queue, at: due) }
        if let due = queue.claimDue, !queue.claimants.isEmpty { wake(queue, at: due) }
    }

    private func remove(_ queue: Queue) {
        let (stream, group) = (queue.key.stream, queue.key.group)
        streams[stream]!.queues[group] = nil
        if streams[stream]!.queues.isEmpty { streams[stream] = nil }
    }

    /// False when those who had to look for themselves have gone.
    private func startLooks(_ queue: Queue, stillDoubted: Bool) -> Bool {
        let batch: [WaiterID]
        if queue.needsTaker, let taker = queue.takers.first {
            batch = [taker]
        } else if queue.key.group != nil {
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
        look(queue, batch, toldAt: queue.cause)
        queue.isForNewcomers = isForNewcomers
        return true
    }

    private func look(_ queue: Queue, _ batch: [WaiterID], toldAt word: Instant? = nil) {
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
        actions += batch.map { .look($0, toldAt: word) }
    }

    /// Asks Redis to track the key if it does not; true when it does.
    private func isTracked(_ stream: StreamName) -> Bool {
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

    private func wake(_ queue: Queue, at instant: Instant) {
        let instant = min(instant, now + settings.longestSleep)
        if let sooner = queue.wakes.last, sooner <= instant { return }
        queue.wakes.append(instant)
        actions.append(.wake(queue.key, at: instant))
    }
}
