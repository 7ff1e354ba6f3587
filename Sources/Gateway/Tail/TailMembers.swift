// The live tails of one stream on one loop, and the batches that are on their way to them.
//
// The tails stand in a circle, and are gone round a stretch a tick. Whoever is come to gets all that is under way, in one
// write; a batch has been passed on when the round has come back to where it was when the batch came. So a message takes
// one round at most, however many others come during it, and where rounds take long each write carries more.
//
// A tail that leaves leaves a hole, so that nobody is passed over; one that joins gets at once what is under way, or reads it
// on its own account.

import Net
import Redis

final class TailMembers: Flushable {
    let key: FeedKey
    var isOver = false
    private unowned let hub: TailHub
    private var tails: [Tail?] = []
    private var count = 0
    /// What has been passed on to all; nil until the feed has said from where it reads.
    private var position: StreamID?
    /// Under way, each with how many places are left to come to.
    private var batches: [(batch: EventBatch, left: Int)] = []
    /// All that is under way, as one.
    private var joint: EventBatch?
    /// Came when there was enough under way.
    private var waiting: [EventBatch] = []
    /// Who is next.
    private var next = 0
    private var isScheduled = false

    /// Tails that are written to in one tick: between two, what others wait for goes on.
    private static let stretch = 32
    /// Batches are joined up to so many bytes: each that comes or goes has all the others copied.
    private static let jointLimit = 64 * 1024

    init(_ hub: TailHub, _ key: FeedKey) {
        self.hub = hub
        self.key = key
    }

    var isEmpty: Bool { count == 0 }

    func add(_ tail: Tail) {
        tail.place = tails.count
        tails.append(tail)
        count += 1
        for index in batches.indices { batches[index].left += 1 }
        if let joint {
            if tail.after < joint.last || joint.isReset { tail.take(joint) }
        } else if let position, tail.after < position {
            tail.isBehind(before: position)
        }
    }

    /// False when it was not there.
    func remove(_ tail: Tail) -> Bool {
        guard let place = tail.place else { return false }
        tail.place = nil
        tails[place] = nil
        count -= 1
        if batches.isEmpty, tails.count > 32, count * 2 < tails.count { compact() }
        return true
    }

    func joined(_ position: StreamID) {
        self.position = position
        for tail in tails { if let tail, tail.after < position { tail.isBehind(before: position) } }
    }

    func add(_ batch: EventBatch) {
        guard position != nil else { return hub.passedOn(key) }  // For tails that have gone.
        waiting.append(batch)
        passOn()
    }

    func flush() {
        isScheduled = false
        passOn()
    }

    private func passOn() {
        guard !isOver, !isScheduled else { return }
        letIn()
        guard let joint, let first = batches.first else { return }
        let places = min(TailMembers.stretch, first.left)
        for _ in 0..<places {
            if next >= tails.count { next = 0 }
            let tail = tails[next]
            next += 1
            tail?.take(joint)
        }
        guard !isOver else { return }
        for index in batches.indices { batches[index].left -= places }
        let done = batches.prefix { $0.left <= 0 }.count
        if done > 0 { end(done) }
        if count * 2 < tails.count { compact() }
        if !isOver, !isScheduled, !batches.isEmpty || !waiting.isEmpty { goOnLater() }
    }

    /// A reset is a round of its own: what follows it follows another position. (Its feed has nothing else under way.)
    private func letIn() {
        var bytes = batches.reduce(0) { $0 + $1.batch.bytes.count }
        var taken = 0
        for batch in waiting {
            guard bytes == 0 || bytes + batch.bytes.count <= TailMembers.jointLimit else { break }
            bytes += batch.bytes.count
            batches.append((batch, tails.count))
            taken += 1
        }
        guard taken > 0 else { return }
        waiting.removeFirst(taken)
        joint = EventBatch.joined(batches.map(\.batch))
    }

    /// The first so many have been passed on.
    private func end(_ done: Int) {
        position = batches[done - 1].batch.last
        batches.removeFirst(done)
        joint = batches.isEmpty ? nil : EventBatch.joined(batches.map(\.batch))
        for _ in 0..<done { hub.passedOn(key) }
    }

    private func goOnLater() {
        isScheduled = true
        hub.api.loop.flushLater(self)
    }

    /// Closes the holes. What is under way is offered to all once more: who has it takes nothing.
    private func compact() {
        tails = tails.filter { $0 != nil }
        for (place, tail) in tails.enumerated() { tail?.place = place }
        for index in batches.indices { batches[index].left = tails.count }
    }
}
