// What is added to a stream, read once for all its tails in the process. It lives on the stream's home loop, where it
// is one waiter like any other (see `WaitHome`), and brings what it reads to every loop that has tails.
//
// It reads while earlier batches are still being passed on, but a few at most: so where loops have much to write, more
// messages go out together. After Redis was away it looks whether what it read last is still there, as a tail
// does; while it reads as things are added it need not. It reads from where its first subscriber stands.
//
// Its home has nobody look while a look is under way, and beside it wait calls that are to be answered at once. So what it
// tells of as the look is one read: as long as there is more it reads on by itself, and told to look meanwhile it says at
// once that this look is over. It has it still before it.

import Net
import Redis

/// What tails share a feed for: their events are the same bytes.
struct FeedKey: Hashable, Sendable {
    let stream: StreamName
    let asPairs: Bool
}

final class TailFeed: WaiterOwner, ReplyTaker {
    private enum State {
        case resting, reading, checking, over
        /// There is more to read, and too much under way.
        case full
        /// What is under way goes out before a reset does, and that before all else.
        case resetting
    }

    let key: FeedKey
    private(set) var position: StreamID
    private let api: API
    private let waiter: Waiter
    private var state = State.resting
    /// How many batches each loop has still to pass on.
    private var loops: [Int: Int] = [:]
    /// Waits for what is under way.
    private var reset: EventBatch?
    /// It was told to look, and has not begun to since.
    private var mustLook = false
    /// Its home waits for the end of the look.
    private var isAwaited = false
    private var mayHaveGap = false
    private var isInclusive = false
    private var pace = ReadPace(100)
    /// Somebody has changed the key since the last look began, or before it: what is there may be another stream. At
    /// first nobody knows.
    private var isChanged = true
    private var wasChanged = false
    private var nextCheck = EventLoop.Instant.zero

    /// Batches on their way to the tails of one loop: that many parts of a round over all of them pass before it reads again.
    private static let mostUnderWay = 8

    init(_ api: API, _ key: FeedKey, at position: StreamID) {
        self.api = api
        self.key = key
        self.position = position
        waiter = api.longPoll.newPart(WaitKey(stream: key.stream, group: nil))
    }

    /// Once it can be found.
    func begin() {
        waiter.owner = self
        api.longPoll.enter(waiter, claims: nil, until: nil, afterLook: true)
    }

    // MARK: Its loops

    func subscribe(_ loop: Int) {
        loops[loop] = 0
        api.tails.send(.joined(key, position), to: loop)
    }

    /// True when nobody is left.
    func unsubscribe(_ loop: Int) -> Bool {
        loops[loop] = nil
        guard loops.isEmpty else {
            proceed()
            return false
        }
        state = .over
        api.longPoll.leave(waiter)
        return true
    }

    func delivered(_ loop: Int) {
        guard let count = loops[loop], count > 0 else { return }
        loops[loop] = count - 1
        proceed()
    }

    private func proceed() {
        let underWay = loops.values.max() ?? 0
        switch state {
        case .resting where mustLook && underWay < TailFeed.mostUnderWay, .full where underWay < TailFeed.mostUnderWay: look()
        case .resetting where underWay == 0:
            guard let reset else { return look() }
            self.reset = nil
            publish(reset)
        case .resting, .full, .resetting, .reading, .checking, .over: break
        }
    }

    private func publish(_ batch: EventBatch) {
        position = batch.last
        for loop in loops.keys { loops[loop]! += 1 }
        for loop in Array(loops.keys) { api.tails.send(.batch(key, batch), to: loop) }
    }

    // MARK: Looking

    /// Redis was away: it reads anew, and nobody knows what happened meanwhile.
    func reconnected() { (mayHaveGap, isChanged) = (true, true) }

    /// Somebody changed the key.
    func changed() { isChanged = true }

    func signalled(_ signal: Waiter.Signal) {
        guard signal == .look else { return }
        mustLook = true
        isAwaited = true
        proceed()
        if mustLook { tell(.nothing) }
    }

    private func look() {
        mustLook = false
        state = .reading
        wasChanged = wasChanged || isChanged
        isChanged = false
        isInclusive = mayHaveGap && position != .zero
        api.tails.counters.reads += 1
        ask(.xrange(
            key.stream.bytes, from: isInclusive ? .including(position) : .excluding(position), count: pace.count + (isInclusive ? 1 : 0)))
    }

    private func ask(_ command: RedisCommand) {
        do { try api.store.send(command, to: self, patience: nil, late: nil) } catch { redisFailed(error) }
    }

    private func rest(_ result: WaitHome.Look.Result) {
        state = .resting
        tell(result)
        proceed()
    }

    /// What its home hears of the look. Of a failure in any case: then it is told when to look again.
    private func tell(_ result: WaitHome.Look.Result) {
        guard isAwaited || result == .failed else { return }
        isAwaited = false
        api.longPoll.report(waiter, WaitHome.Look(result: result))
    }

    func redisAnswered(_ reply: RedisReply) {
        switch state {
        case .reading: absorb(reply)
        case .checking: judge(last: reply.lastGeneratedID.flatMap { StreamID($0) })
        case .resting, .full, .resetting, .over: break
        }
    }

    func redisFailed(_ error: RedisError) {
        guard state == .reading || state == .checking else { return }
        // No stream, or a key of another type: the tails go on waiting (API.md §1.8).
        if error.saysThereIsNoStream { return rest(.nothing) }
        (mayHaveGap, mustLook) = (true, false)
        rest(.failed)
    }

    private func absorb(_ reply: RedisReply) {
        // Redis was away meanwhile: only a read that begins with what the tails have had last tells of a gap.
        guard isInclusive || !mayHaveGap || position == .zero else { return look() }
        var entries = reply.elements
        let found = entries.peekID()
        let hasGap = isInclusive && found != nil && found != position
        if found == position { entries.skip() }
        mayHaveGap = mayHaveGap && found == nil
        let rows = entries.remaining
        guard rows > 0 else { return foundNothing() }
        wasChanged = false  // Its last ID is above what we knew.
        let buffer = api.newBody()
        var writer = EventWriter(buffer, asPairs: key.asPairs)
        if hasGap, let found { writer.writeGap(after: position, first: found) }
        while entries.remaining > 0 { writer.write(&entries) }
        let isFull = rows >= pace.count
        pace.note(rows, bytes: buffer.count)
        let batch = writer.batch(after: position)
        api.loop.buffers.give(buffer)
        // Before the next look, which may begin in the telling, and reads from its end.
        if isFull {
            state = .full
            publish(batch)
            tell(.found(full: false, stays: true))
            proceed()
        } else {
            publish(batch)
            if state == .reading { rest(.found(full: false, stays: true)) }
        }
    }

    private func foundNothing() {
        let isUnheard = api.store.features?.tracking == false  // Then no change is ever told.
        guard wasChanged || isUnheard, position != .zero, api.loop.now >= nextCheck else { return rest(.nothing) }
        wasChanged = false
        nextCheck = api.loop.now + .seconds(1)
        state = .checking
        ask(.xinfoStream(key.stream.bytes))
    }

    private func judge(last: StreamID?) {
        guard let last, last < position else { return rest(.nothing) }
        api.tails.counters.resets += 1
        state = .resetting
        reset = .reset(from: position, last: last)
        tell(.nothing)
        proceed()
    }
}
