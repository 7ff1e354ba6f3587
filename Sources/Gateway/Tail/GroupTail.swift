// One consumer's messages, pushed as they come (API.md §5): its own pending ones first, then new ones, and never more at
// once than `max_pending` that it has not acknowledged.
//
//   opening → idle → recalling | waiting → looking | counting → idle → …  → closed
//
// - It waits in its group's queue like any parked read, takes at most as many as such a read does by default, and then
//   queues up again behind the others.
// - Acknowledging is anybody's ordinary call. The calls of this process tell its tails (see `Release`). Of those at other
//   replicas nobody tells: when it may send no more it asks Redis which of them are still pending, soon, and then less and
//   less often, at least every 2 s. It goes on when a quarter of that is free, and after 300 ms with less.
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

    let read: GroupRead
    private let maxPending: Int
    private var state = State.opening
    private var waiter: Waiter?
    /// What it was sent and has not acknowledged, as far as we know.
    private var held: [StreamID: Holding] = [:]
    /// Its pending messages of before are sent up to here; nil: all.
    private var recalled: StreamID? = .zero
    private var recallCount = 0
    private var first: Recall?
    private var timer: (id: TimerID, at: EventLoop.Instant)?
    private var pause = GroupTail.shortestPause
    /// Since when it may send no more.
    private var fullSince: EventLoop.Instant?
    /// The last that made room for it was a call of this process: there is less to ask for.
    private var isTold = false
    /// What the count of the pending ones has found of those held, and how far it has come.
    private var counted: Set<StreamID> = []
    private var cursor: StreamID?
    /// Redis may have given more than we know of: the count looks at all that is pending.
    private var isUncertain = false
    /// Such a count has found what is not held, behind this one.
    private var missed: StreamID?

    private static let shortestPause = Duration.milliseconds(20)
    private static let shortestPauseIfTold = Duration.milliseconds(160)
    private static let longestPause = Duration.seconds(2)
    /// How long it waits for a quarter of what it may send: with a backlog, each message that is acknowledged would cost a look.
    private static let patience = Duration.milliseconds(300)
    /// Messages of one turn: as a parked read that names no count.
    private static let turn = 10

    struct Holding {
        /// Its delivery count when it was sent; 0: not known.
        var count: Int64
        /// When it was sent, by the clock itself.
        let at: EventLoop.Instant
    }

    /// `first`: its first recall, answered before the reply was begun.
    init(_ api: API, _ read: GroupRead, maxPending: Int, first: Recall?, _ place: WaiterCount.Place?) {
        self.read = read
        self.maxPending = maxPending
        self.first = first
        super.init(api, place)
    }

    override var position: StreamID { .zero }
    override var greeting: String { ":\n\n" }

    /// So many at first.
    static func firstCount(_ maxPending: Int, _ limits: Limits) -> Int { min(maxPending, limits.readSlice) }

    override func opened() {
        api.tails.follow(self)
        if api.store.features?.emptyReadCreatesConsumer == false { api.createConsumerSoon(read) }
        guard let first else { return goOn() }
        self.first = nil
        recallCount = GroupTail.firstCount(maxPending, api.limits)
        take(first)
    }

    override func closed() {
        state = .closed
        cancelTimer()
        if let waiter { api.longPoll.leave(waiter) }
        waiter = nil
        first?.handBack(to: api)  // It never began.
        first = nil
        api.tails.unfollow(self)
        api.handBack(read, held.map { Delivery(id: $0.key, count: $0.value.count) }.sorted { $0.id < $1.id })
        held = [:]
    }

    private func cancelTimer() {
        if let timer { api.loop.cancel(timer.id) }
        timer = nil
    }

    override func caughtUp() {
        if state == .idle { goOn() }
    }

    // MARK: What next

    private func goOn() {
        guard isOpen, backlog == 0 else { return state = .idle }
        guard room > 0, !isUncertain else { return pauseThenCount() }
        fullSince = nil
        guard let recalled else { return wait() }
        state = .recalling
        recallCount = min(room, api.limits.readSlice)
        // It delivers them again, whether or not its answer comes.
        for id in held.keys where id > recalled { held[id]?.count = 0 }
        do { try Recall(read, after: recalled, count: recallCount).send(api, to: self) } catch { redisFailed(error) }
    }

    /// How many more it may be sent.
    private var room: Int { maxPending - held.count }

    private func ask(_ command: RedisCommand) {
        do { try api.store.send(command, to: self, patience: nil, late: nil) } catch { redisFailed(error) }
    }

    func redisAnswered(_ reply: RedisReply) {
        if isOpen, state == .counting { count(reply) }
    }

    func redisFailed(_ error: RedisError) {
        guard isOpen, state == .recalling || state == .counting else { return }
        if error.saysThereIsNoGroup {
            // Nothing is pending any more, and its next look learns what is gone, or finds it created anew.
            (held, recalled, isUncertain) = ([:], nil, false)
            return goOn()
        }
        // The next recall is not before Redis answers again.
        if state == .recalling, error.isOutcomeUnknown { isUncertain = true }
        pauseThenCount()
    }

    // MARK: Its own pending messages

    func take(_ recall: Recall) {
        guard isOpen else { return recall.handBack(to: api) }
        pause = shortestPause
        state = .idle
        recalled = nil
        guard var entries = recall.reply?.entriesOfOnlyStream, let first = entries.peekID() else { return goOn() }
        let isFull = entries.remaining >= recallCount
        let body = api.newBody()
        defer { api.loop.buffers.give(body) }
        var writer = EventWriter(body, asPairs: read.asPairs)
        var last = first
        while entries.remaining > 0 {
            if let id = entries.peekID() { last = id }
            if held[last] != nil {
                held[last]?.count = recall.counts[last] ?? 0
                entries.skip()
            } else {
                writer.write(&entries)
            }
        }
        if isFull { recalled = last }
        deliver(writer.events.map { Delivery(id: $0.id, count: recall.counts[$0.id] ?? 0) }, body)
    }

    /// And goes on when the client has taken them.
    private func deliver(_ deliveries: [Delivery], _ body: ByteBuffer) {
        state = .idle
        guard !deliveries.isEmpty else { return goOn() }
        pause = shortestPause
        let now = api.loop.clock.now
        for delivery in deliveries { held[delivery.id] = Holding(count: delivery.count, at: now) }
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
        read.count = min(room, GroupTail.turn)
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
        if error.saysThereIsNoGroup { end = await api.explain(error, read.stream, read.group) }
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

    private var shortestPause: Duration { isTold ? GroupTail.shortestPauseIfTold : GroupTail.shortestPause }

    private func pauseThenCount() {
        state = .counting
        (counted, cursor, missed) = ([], nil, nil)
        fullSince = fullSince ?? api.loop.now
        rest(until: api.loop.now + pause)
        pause = min(pause * 2, GroupTail.longestPause)
    }

    private func rest(until end: EventLoop.Instant) {
        cancelTimer()
        let id = api.loop.schedule(at: end) { [weak self] in
            guard let self else { return }
            timer = nil
            if hasRoom, !isUncertain { goOn() } else { askForPending() }
        }
        timer = (id, end)
    }

    /// It goes on: there is room for a good part, or has been for less, for long enough.
    private var hasRoom: Bool {
        room >= max(1, maxPending / 4) || room > 0 && fullSince.map { api.loop.now - $0 >= GroupTail.patience } ?? true
    }

    /// Redis is there again, and may have given more than we know of.
    func reconnected() {
        guard isUncertain, state == .counting, timer != nil else { return }
        pause = GroupTail.shortestPause
        rest(until: api.loop.now + pause)
    }

    /// They are its consumer's no longer. One that was sent later than it was let go is another delivery.
    func released(_ ids: [StreamID], before time: EventLoop.Instant) {
        // A recall that is under way may have them still: it must know what was sent.
        guard state != .recalling else { return }
        let (before, hadRoom) = (held.count, hasRoom)
        for id in ids { if let holding = held[id], holding.at < time { held[id] = nil } }
        guard held.count < before else { return }
        isTold = true
        // A count that is under way says what else there is.
        guard state == .counting, !hadRoom, let timer, let fullSince, !isUncertain else { return }
        if hasRoom {
            cancelTimer()
            pause = shortestPause
            goOn()
        } else if timer.at > fullSince + GroupTail.patience {
            rest(until: fullSince + GroupTail.patience)
        }
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
        let before = held.count
        held = held.filter { counted.contains($0.key) }
        if held.count < before { isTold = false }
        if isUncertain { (isUncertain, recalled) = (false, missed) }
        guard hasRoom else { return pauseThenCount() }
        // Where Redis refuses a recall and answers this, the pauses grow all the same.
        if recalled == nil { pause = shortestPause }
        goOn()
    }
}
