// One consumer's messages, pushed as they come (API.md §5): its own pending ones first, then new ones, and never more at
// once than `max_pending` that it has not acknowledged.
//
//   opening → idle → recalling | waiting → looking | counting → idle → …  → closed
//
// - It waits in its group's queue like any parked read, takes at most as many as such a read does by default, and then
//   queues up again behind the others.
// - Acknowledging is anybody's ordinary call, perhaps at another replica, and Redis tells nobody of it. So what it has
//   sent counts until it must know better: when it may send no more it asks Redis which of them are still pending,
//   after 20 ms and, as long as nothing changes, less and less often, at least every 500 ms.
// - Nothing is taken for a client that has not taken what was sent. When it goes, whatever it was sent and is still
//   its consumer's becomes unowned, whichever way the tail ended.

import HTTP
import Net
import Redis

final class GroupTail: EventStream, WaiterOwner, ReplyTaker {
    private enum State { case opening, idle, recalling, waiting, looking, counting, closed }

    private let read: GroupRead
    private let maxPending: Int
    private var state = State.opening
    private var waiter: Waiter?
    /// What it was sent and has not acknowledged, as far as we know.
    private var held: Set<StreamID> = []
    /// Its pending messages of before are sent up to here; nil: all.
    private var recalled: StreamID? = .zero
    private var recallCount = 0
    private var first: RedisReply?
    private var timer: TimerID?
    private var pause = GroupTail.shortestPause
    /// Where the count of what is pending goes on, and what it has found.
    private var counted: Set<StreamID> = []

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
        handBack(held)
        held = []
    }

    override func caughtUp() {
        if state == .idle { goOn() }
    }

    // MARK: What next

    private func goOn() {
        guard isOpen, backlog == 0 else { return state = .idle }
        let room = maxPending - held.count
        if room <= 0 {
            pauseThenCount()
        } else if let recalled {
            state = .recalling
            recallCount = min(room, api.limits.readSlice)
            ask(GroupTail.recall(read, after: recalled, count: recallCount, api))
        } else {
            wait()
        }
    }

    private func ask(_ command: RedisCommand) {
        do { try api.store.send(command, to: self, patience: nil, late: nil) } catch { redisFailed(error) }
    }

    func redisAnswered(_ reply: RedisReply) {
        guard isOpen else { return }
        switch state {
        case .recalling: recall(reply)
        case .counting: count(reply)
        case .opening, .idle, .waiting, .looking, .closed: break
        }
    }

    func redisFailed(_ error: RedisError) {
        guard isOpen, state == .recalling || state == .counting else { return }
        if error.code == .noGroup || error.code == .wrongType {
            // Nothing is pending any more, and its next look learns what is gone, or finds it created anew.
            (held, recalled) = ([], nil)
            return goOn()
        }
        pauseThenCount()
    }

    // MARK: Its own pending messages

    private func recall(_ reply: RedisReply) {
        let body = api.newBody()
        defer { api.loop.buffers.give(body) }
        var batch = Batch()
        var own = read
        own.position = .pending(after: .zero)
        api.absorb(reply, own, recallCount, into: body, &batch)
        recalled = batch.isFull ? batch.last : nil
        deliver(batch, body)
    }

    /// And goes on when the client has taken them.
    private func deliver(_ batch: Batch, _ body: ByteBuffer) {
        state = .idle
        guard batch.count > 0 else { return goOn() }
        pause = GroupTail.shortestPause
        let ids = batch.ids.compactMap { $0.withUnsafeBytes { StreamID($0) } }
        held.formUnion(ids)
        send(EventBatch(body.bytes, ids))
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
        deliver(batch, body)
    }

    private func failed(_ waiter: Waiter, _ error: RedisError) async {
        var end: Problem?
        if error.code == .noGroup || error.code == .wrongType { end = await api.explain(error, read.stream, read.group) }
        if state == .looking { state = .waiting }
        guard let end, let reason = end.waitEnd else { return api.longPoll.report(waiter, WaitHome.Look(result: .failed)) }
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
        counted = []
        timer = api.loop.schedule(at: api.loop.now + pause) { [weak self] in
            guard let self else { return }
            timer = nil
            askForPending()
        }
        pause = min(pause * 2, GroupTail.longestPause)
    }

    private func askForPending() {
        guard let first = counted.max()?.next ?? held.min(), let last = held.max() else { return goOn() }
        ask(.xpending(
            read.stream.bytes, group: read.group.bytes, from: .including(first), to: .including(last), count: Limits.scriptSlice,
            consumer: read.consumer.bytes))
    }

    private func count(_ reply: RedisReply) {
        var rows = reply.elements
        let isAll = rows.remaining < Limits.scriptSlice
        while rows.remaining > 0 {
            if let id = rows.peekID() { counted.insert(id) }
            rows.skip()
        }
        guard isAll else { return askForPending() }
        if held.isSubset(of: counted) { return pauseThenCount() }
        held.formIntersection(counted)
        counted = []
        pause = GroupTail.shortestPause
        goOn()
    }

    // MARK: What it leaves behind

    private func handBack(_ ids: Set<StreamID>) {
        guard !ids.isEmpty else { return }
        api.longPoll.counters.handedBack += ids.count
        api.startWork(.handBack(read.stream, read.group, read.consumer, ids: ids.sorted().map { Array($0.description.utf8) }))
    }
}
