// One live tail of a stream (API.md §5): reads on its own account until it has come to the stream's end, and from then
// on gets what its stream's feed brings to all.
//
//   reading → live → reading → …  → closed
//
// - Live, its position is never before the feed's; whenever it is, or can't be judged, it reads on its own account.
// - Reading, it takes the next slice when the client has taken the last: so it is as slow as its client. Live, one who
//   does not keep up is ended with an `error` event, and goes on by `Last-Event-ID`.
// - Its own reads begin with the entry of its position: where that is gone and a later one is there, a `gap` is told.
// - Where the stream's last ID is below its position the stream was deleted and made anew, or set back: it is told a
//   `reset`, and then the stream from its beginning. So nothing is waited for in vain, and nothing repeats unsaid.

import HTTP
import Net
import Redis

final class Tail: EventStream, ReplyTaker {
    private enum State {
        case opening
        /// Between two reads of its own, or in the middle of one.
        case behind
        case reading
        /// Asks where the stream's end is.
        case checking
        case live
        case closed
    }

    let key: FeedKey
    private(set) var after: StreamID
    /// In the feed's list.
    var place: Int?
    private var state = State.opening
    /// What was after this position is gone already, and what comes next is told with a gap.
    private var missed: StreamID?
    /// Everything up to here was in the stream before it began to read: where a read finds nothing, nothing is left of it.
    private var goal: StreamID?
    private var pace = ReadPace()
    private var retry: TimerID?
    /// The first slice, which was read before the reply was begun.
    private var first: RedisReply?

    /// `first`: what `Tail.read` found there; nil: its reader wants only what is new.
    init(_ api: API, _ key: FeedKey, after: StreamID, first: RedisReply?, _ place: WaiterCount.Place?) {
        self.key = key
        self.after = after
        self.first = first
        super.init(api, place)
    }

    /// What one reads who stands at `after`.
    static func read(_ stream: StreamName, after: StreamID, _ pace: ReadPace) -> RedisCommand {
        .xrange(stream.bytes, from: after == .zero ? .earliest : .including(after), count: pace.count + 1)
    }

    override var position: StreamID { after }

    override func opened() {
        guard let first else { return goLive() }
        self.first = nil
        state = .reading
        redisAnswered(first)
    }

    override func closed() {
        if state == .live { api.tails.leave(self) }
        if let retry { api.loop.cancel(retry) }
        retry = nil
        state = .closed
    }

    // MARK: Live

    private func goLive() {
        state = .live
        api.tails.join(self)
    }

    /// The feed has gone past it, and has seen everything up to `goal`; nil: it can't be judged.
    func isBehind(before goal: StreamID? = nil) {
        guard state == .live else { return }
        api.tails.leave(self)
        state = .behind
        self.goal = goal
        if backlog == 0 { readOn() }
    }

    func take(_ batch: EventBatch) {
        guard state == .live else { return }
        if batch.isReset {
            // One who is below that has been told already, or has read what is there now.
            if after >= batch.after { deliver(batch) }
            return
        }
        // One that is ahead of what was just added: it has read that itself, or the stream was set back.
        guard after >= batch.after else { return isBehind(before: batch.after) }
        guard after <= batch.last else { return isBehind() }
        guard after < batch.last else { return }
        if let missed, let first = batch.events.first(where: { $0.id > after }) {
            self.missed = nil
            tellGap(after: missed, first: first.id)
        }
        if after == batch.after {
            deliver(batch)
        } else if let part = batch.part(after: after) {
            deliver(part)
        }
        // One batch is always under way: a single message may be larger than the limit.
        if isOpen, isQueueing, backlog > api.limits.tailBacklog { endAsSlow() }
    }

    private func deliver(_ batch: EventBatch) {
        after = batch.last
        if batch.isReset { missed = nil }
        send(batch)
    }

    private func tellGap(after position: StreamID, first: StreamID) {
        api.tails.counters.gaps += 1
        let buffer = api.newBody()
        let writer = EventWriter(buffer, asPairs: key.asPairs)
        writer.writeGap(after: position, first: first)
        send(writer.batch(after: after))
        api.loop.buffers.give(buffer)
    }

    private func endAsSlow() {
        api.tails.counters.behind += 1
        let backlog = backlog
        end(dropping: true) { [api] position in
            var problem = Problem(
                .overloaded,
                "This reader does not keep up: \(backlog) bytes wait for it (max_tail_backlog_bytes). Go on with Last-Event-ID: \(position).")
            problem.members = [("last_id", "\"\(position)\"")]
            return api.errorEvent(problem)
        }
    }

    // MARK: Reading on its own account

    override func caughtUp() {
        if state == .behind, retry == nil { readOn() }
    }

    private func readOn() {
        guard isOpen, state == .behind else { return }
        state = .reading
        ask(Tail.read(key.stream, after: after, pace))
    }

    private func ask(_ command: RedisCommand) {
        do { try api.store.send(command, to: self, patience: nil, late: nil) } catch { redisFailed(error) }
    }

    func redisAnswered(_ reply: RedisReply) {
        guard isOpen else { return }
        switch state {
        case .reading: absorb(reply)
        case .checking: judge(last: reply.lastGeneratedID.flatMap { StreamID($0) })
        case .opening, .behind, .live, .closed: break
        }
    }

    func redisFailed(_ error: RedisError) {
        guard isOpen, state == .reading || state == .checking else { return }
        // There is no stream, or none any more: whatever comes is new.
        if error.saysThereIsNoStream {
            _ = skipToGoal(isOwnEntryGone: true)
            return goLive()
        }
        state = .behind
        retry = api.loop.schedule(at: api.loop.now + WaitHome.Settings().retryDelay) { [weak self] in
            guard let self else { return }
            retry = nil
            readOn()
        }
    }

    private func absorb(_ reply: RedisReply) {
        var entries = reply.elements
        let isFull = entries.remaining > pace.count
        let found = entries.peekID()
        if found == after { entries.skip() }
        guard entries.remaining > 0 else {
            if skipToGoal(isOwnEntryGone: found == nil) { return goLive() }
            // Its own entry is gone, and nothing follows: only the stream's last ID can tell what that means.
            guard found == nil, after != .zero else { return goLive() }
            state = .checking
            return ask(.xinfoStream(key.stream.bytes))
        }
        let buffer = api.newBody()
        var writer = EventWriter(buffer, asPairs: key.asPairs)
        if found != after, after != .zero, let found {
            api.tails.counters.gaps += 1
            writer.writeGap(after: missed ?? after, first: found)
        }
        missed = nil
        while entries.remaining > 0 { writer.write(&entries) }
        pace.note(writer.events.count, bytes: buffer.count)
        let batch = writer.batch(after: after)
        api.loop.buffers.give(buffer)
        state = .behind
        guard isFull else {
            // What comes from the feed queues up behind it.
            after = batch.last
            state = .live
            send(batch)
            if isOpen { api.tails.join(self) }
            return
        }
        deliver(batch)  // When it is taken the next is read.
    }

    /// Goes on from where the feed is, since nothing is left of what was before that. Without this it would be behind
    /// again at once, and read again.
    private func skipToGoal(isOwnEntryGone: Bool) -> Bool {
        guard let goal, goal > after else { return false }
        if isOwnEntryGone, after != .zero { missed = missed ?? after }
        after = goal
        return true
    }

    private func judge(last: StreamID?) {
        guard let last, last != after else { return goLive() }
        if last > after {
            missed = missed ?? after
            return goLive()
        }
        api.tails.counters.resets += 1
        state = .behind
        deliver(.reset(from: after, last: last))
    }
}

/// How many entries the next read asks for: no one read is a long stretch of work, for Redis or for us.
struct ReadPace {
    private(set) var count: Int

    /// A reader's own first read is a small one: a hundred messages of a megabyte would wait for one slow client each.
    init(_ count: Int = 8) { self.count = count }

    mutating func note(_ rows: Int, bytes: Int) {
        count = API.sliceCount(left: API.sliceRows, taken: rows, bytes: bytes, first: count)
    }
}

extension API {
    /// The last event of a stream that ends for a reason.
    func errorEvent(_ problem: Problem) -> String {
        metrics.values.problems[problem.code.rawValue, default: 0] += 1
        let body = newBody()
        defer { loop.buffers.give(body) }
        body.append(literal: "event: error\ndata: ")
        problem.write(to: body, requestID: nil)
        body.append(literal: "\n\n")
        return String(decoding: body.bytes, as: UTF8.self)
    }
}
