// One consumer's messages, pushed as they come (API.md §5): its own pending ones first, then new ones, and never more at
// once than `max_pending` that it has not acknowledged.
//
//   opening → idle → recalling | waiting → looking | counting → idle → …  → closed
//
// - It waits in its group's queue like any parked read, takes at most as many as such a read does by default, and then
//   queues up again behind the others.
// - Acknowledging is anybody's ordinary call, perhaps at another replica, and Redis tells nobody of it. So what it has
//   sent counts until it must know better: when it may send no more it asks Redis which of them are still pending,
//   after 20 ms and, until a quarter of that is free or 300 ms are over, less and less often, at least every 500 ms.
// - What Redis gave to a look that it did not answer is pending for its consumer, unseen. So then, too, it asks what is
//   pending, and where that is more than it has sent, the rest comes as its own pending ones do.
// - Nothing is taken for a client that has not taken what was sent. When it goes, whatever it was sent and is still
//   its consumer's becomes unowned, whichever way the tail ended, but for what was delivered again since: its client may
//   have come back under its name before it was known to have gone.

import HTTP
import Net
import Redis

final class GroupTail: EventStream, WaiterOwner, ReplyTaker {
    private enum State { case opening, idle, recalling, waiting, looking, counting, closed }

    private let read: GroupRead
    private let maxPending: Int
    private var state = State.opening
    private var waiter: Waiter?
    /// What it was sent and has not acknowledged, as far as we know, with its delivery count then; 0: not known (yet).
    private var held: [StreamID: Int64] = [:]
    /// Its pending messages of before are sent up to here; nil: all.
    private var recalled: StreamID? = .zero
    private var recallCount = 0
    /// One is under way.
    private var isRecalling = false
    private var first: RedisReply?
    private var timer: TimerID?
    private var pause = GroupTail.shortestPause
    /// What the count of the pending ones has found of those held, and how far it has come.
    private var counted: Set<StreamID> = []
    private var cursor: StreamID?
    /// Redis may have given more than we know of: the count looks at all that is pending.
    private var isUncertain = false
    /// Such a count has found what is not held, behind this one.
    private var missed: StreamID?

    private static let shortestPause = Duration.milliseconds(20)
    private static let longestPause = Duration.milliseconds(500)
    /// Messages of one turn: as a parked read that names no count.
    private static let turn = 10

    /// `first`: what `recall` answered, before the reply was begun.
    init(_ api: API, _ read: GroupRead, maxPending: Int, first: RedisReply?, _ place: WaiterCount.Place?) {
        self.read = read
        self.maxPending = maxPending
        self.first = first
        super.init(api, place)
    }

    override var position: StreamID { .zero }
    override var greeting: String { ":\n\n" }

    /// The consumer's own pending messages after an ID.
    static func recall(_ read: GroupRead, after id: StreamID, count: Int, _ api: API) -> RedisCommand {
        var read = read
        read.position = .pending(after: id)
        return api.plainCommand(read, count)
    }

    /// So many at first.
    static func firstCount(_ maxPending: Int, _ limits: Limits) -> Int { min(maxPending, limits.readSlice) }

    override func opened() {
        if api.store.features?.emptyReadCreatesConsumer == false { api.createConsumerSoon(read) }
        guard let first else { return goOn() }
        self.first = nil
        state = .recalling
        recallCount = GroupTail.firstCount(maxPending, api.limits)
        redisAnswered(first)
    }

    override func closed() {
        state = .closed
        if let timer { api.loop.cancel(timer) }
        if let waiter { api.longPoll.leave(waiter) }
        (timer, waiter) = (nil, nil)
        if let first { handBack(first) }  // It never began.
        first = nil
        guard !held.isEmpty else { return }
        api.handBack(read, held.map { Delivery(id: $0.key, count: $0.value) }.sorted { $0.id < $1.id })
        held = [:]
    }

    /// What a recall has given that nobody will be sent. It was a delivery: an older tail of this consumer leaves it to us.
    private func handBack(_ recall: RedisReply) {
        guard var entries = recall.entriesOfOnlyStream else { return }
        var ids: [StreamID] = []
        while entries.remaining > 0 {
            if let id = entries.peekID() { ids.append(id) }
            entries.skip()
        }
        if !ids.isEmpty { api.handBack(read, ids.map { Delivery(id: $0, count: 0) }) }
    }

    override func caughtUp() {
        if state == .idle { goOn() }
    }

    // MARK: What next

    private func goOn() {
        guard isOpen, backlog == 0 else { return state = .idle }
        let room = maxPending - held.count
        if room <= 0 || isUncertain {
            pauseThenCount()
        } else if let recalled {
            state = .recalling
            isRecalling = true
            recallCount = min(room, api.limits.readSlice)
            // It delivers them again, whether or not its answer comes.
            for id in held.keys where id > recalled { held[id] = 0 }
            ask(GroupTail.recall(read, after: recalled, count: recallCount, api))
        } else {
            wait()
        }
    }

    private func ask(_ command: RedisCommand) {
        do { try api.store.send(command, to: self, patience: nil, late: nil) } catch { redisFailed(error) }
    }

    func redisAnswered(_ reply: RedisReply) {
        let wasRecalling = isRecalling
        isRecalling = false
        guard isOpen else {
            if wasRecalling { handBack(reply) }
            return
        }
        switch state {
        case .recalling: recall(reply)
        case .counting: count(reply)
        case .opening, .idle, .waiting, .looking, .closed: break
        }
    }

    func redisFailed(_ error: RedisError) {
        isRecalling = false
        guard isOpen, state == .recalling || state == .counting else { return }
        if error.code == .noGroup || error.code == .wrongType {
            // Nothing is pending any more, and its next look learns what is gone, or finds it created anew.
            (held, recalled, isUncertain) = ([:], nil, false)
            return goOn()
        }
        // The next recall is not before Redis answers again.
        if state == .recalling, error.isOutcomeUnknown { isUncertain = true }
        pauseThenCount()
    }

    // MARK: Its own pending messages

    private func recall(_ reply: RedisReply) {
        pause = GroupTail.shortestPause
        state = .idle
        recalled = nil
        guard var entries = reply.entriesOfOnlyStream, let first = entries.peekID() else { return goOn() }
        let isFull = entries.remaining >= recallCount
        let body = api.newBody()
        defer { api.loop.buffers.give(body) }
        var writer = EventWriter(body, asPairs: read.asPairs)
        var last = first
        while entries.remaining > 0 {
            if let id = entries.peekID() { last = id }
            if held[last] != nil { entries.skip() } else { writer.write(&entries) }
        }
        if isFull { recalled = last }
        let counts = xpending(from: .including(first), to: .including(last), count: recallCount)
        // Unless it can be sent they are not known, and handed back in any case.
        do { try api.store.send(counts, to: RecallCounts(self), patience: nil, late: nil) } catch {}
        deliver(writer.events.map { Delivery(id: $0.id, count: 0) }, body)
    }

    /// The delivery counts of what was recalled, which Redis does not give with it.
    private final class RecallCounts: ReplyTaker {
        private let tail: GroupTail

        init(_ tail: GroupTail) { self.tail = tail }

        func redisAnswered(_ reply: RedisReply) {
            var rows = reply.elements
            while rows.remaining > 0 {
                let id = rows.peekID()
                guard var row = rows.takeArray() else { continue }
                for _ in 0..<3 { row.skip() }
                if let id, tail.held[id] == 0 { tail.held[id] = row.takeInteger() ?? 0 }
            }
        }

        func redisFailed(_ error: RedisError) {}
    }

    /// And goes on when the client has taken them.
    private func deliver(_ deliveries: [Delivery], _ body: ByteBuffer) {
        state = .idle
        guard !deliveries.isEmpty else { return goOn() }
        pause = GroupTail.shortestPause
        for delivery in deliveries { held[delivery.id] = delivery.count }
        send(EventBatch(body.bytes, deliveries.map(\.id)))
    }

    // MARK: New ones

    private func wait() {
        state = .waiting
        let waiter = api.longPoll.newPart(read.key)
        waiter.owner = self
        self.waiter = waiter
        api.longPoll.enter(waiter, claims: nil, until: nil)
    }

    func signalled(_ signal: Waiter.Signal) {
        switch signal {
        case .look:
            guard state == .waiting, let waiter else { return }
            state = .looking
            api.startWork(.look(waiter.id))
        case .ended(let reason): end(Problem(reason, read.key))
        case .expired, .gone, .draining: break  // The gateway's end is told to all streams of events.
        }
    }

    /// One look, told by its waiter's home.
    func look() async {
        guard state == .looking, let waiter else { return }
        // Nothing is read for one who has gone.
        if isClientGone() { return clientGone() }
        var read = read
        read.count = min(maxPending - held.count, GroupTail.turn)
        let body = api.newBody()
        defer { api.loop.buffers.give(body) }
        let batch: Batch
        do {
            batch = try await api.take(read, .ofParked, into: body)
        } catch {
            return await failed(waiter, error)
        }
        let look = WaitHome.Look(
            result: batch.isEmpty ? .nothing : .found(full: batch.isFull), unownedDue: batch.unownedDue, claimDue: batch.claimDue)
        if state == .looking {
            if batch.isEmpty { state = .waiting } else { self.waiter = nil }
        }
        api.longPoll.report(waiter, look)
        guard !batch.isEmpty else { return }
        guard isOpen, state == .looking else { return api.handBack(read, batch) }
        isUncertain = batch.isUncertain
        deliver(batch.deliveries, body)
    }

    private func failed(_ waiter: Waiter, _ error: RedisError) async {
        var end: Problem?
        if error.code == .noGroup || error.code == .wrongType { end = await api.explain(error, read.stream, read.group) }
        let isItsLook = state == .looking
        if isItsLook { state = .waiting }
        guard let end, let reason = end.waitEnd else {
            api.longPoll.report(waiter, WaitHome.Look(result: .failed))
            guard isItsLook, error.isOutcomeUnknown, self.waiter === waiter else { return }
            api.longPoll.leave(waiter)
            self.waiter = nil
            isUncertain = true
            return pauseThenCount()
        }
        if self.waiter === waiter { self.waiter = nil }
        api.longPoll.report(waiter, WaitHome.Look(result: .ended(reason)))
        self.end(end)
    }

    private func end(_ problem: Problem) {
        end(dropping: false) { [api] _ in api.errorEvent(problem) }
    }

    // MARK: What was acknowledged

    private func pauseThenCount() {
        state = .counting
        (counted, cursor, missed) = ([], nil, nil)
        timer = api.loop.schedule(at: api.loop.now + pause) { [weak self] in
            guard let self else { return }
            timer = nil
            askForPending()
        }
        pause = min(pause * 2, GroupTail.longestPause)
    }

    private func askForPending() {
        let after = cursor.map { StreamBound.excluding($0) }
        if isUncertain { return ask(xpending(from: after ?? .earliest, to: .latest, count: Limits.scriptSlice)) }
        guard let first = held.keys.min(), let last = held.keys.max() else { return goOn() }
        ask(xpending(from: after ?? .including(first), to: .including(last), count: Limits.scriptSlice))
    }

    /// Of what is pending for its consumer.
    private func xpending(from: StreamBound, to: StreamBound, count: Int) -> RedisCommand {
        .xpending(read.stream.bytes, group: read.group.bytes, from: from, to: to, count: count, consumer: read.consumer.bytes)
    }

    private func count(_ reply: RedisReply) {
        var rows = reply.elements
        let isAll = rows.remaining < Limits.scriptSlice
        while rows.remaining > 0 {
            if let id = rows.peekID() {
                if held[id] != nil { counted.insert(id) } else { missed = missed ?? cursor ?? .zero }
                cursor = id
            }
            rows.skip()
        }
        guard isAll else { return askForPending() }
        held = held.filter { counted.contains($0.key) }
        if isUncertain { (isUncertain, recalled) = (false, missed) }
        // With a backlog, each message that is acknowledged would cost such a count and a look.
        let (room, isLong) = (maxPending - held.count, pause * 2 > GroupTail.longestPause)
        guard room >= max(1, maxPending / 4) || room > 0 && isLong else { return pauseThenCount() }
        // Where Redis refuses a recall and answers this, the pauses grow all the same.
        if recalled == nil { pause = GroupTail.shortestPause }
        goOn()
    }
}
