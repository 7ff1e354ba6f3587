// The live tails of one stream on one loop, and the batches that are on their way to them.
//
// A tail that leaves while a batch is handed round leaves a hole, so that nobody is passed over; one that joins then
// is beyond that batch already, or reads it on its own account.

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
    private var batches: [EventBatch] = []
    /// Who is next to get the first of them.
    private var next = 0
    /// Who has come after this one has read the first of them himself.
    private var roundEnd = 0
    private var isScheduled = false

    /// Tails that are written to in one tick.
    private static let stretch = 128

    init(_ hub: TailHub, _ key: FeedKey) {
        self.hub = hub
        self.key = key
    }

    var isEmpty: Bool { count == 0 }

    func add(_ tail: Tail) {
        tail.place = tails.count
        tails.append(tail)
        count += 1
        // A batch under way is not for who comes now, or a round of thousands might never end.
        if let from = batches.first?.last ?? position, tail.after < from { tail.isBehind(before: from) }
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
        batches.append(batch)
        if batches.count == 1 { passOn() }
    }

    func flush() {
        isScheduled = false
        passOn()
    }

    private func passOn() {
        guard !isOver, !isScheduled, let batch = batches.first else { return }
        if next == 0 { roundEnd = tails.count }
        let end = min(next + TailMembers.stretch, roundEnd)
        while next < end {
            tails[next]?.take(batch)
            next += 1
        }
        if next < roundEnd { return goOnLater() }
        next = 0
        batches.removeFirst()
        position = batch.last
        if count * 2 < tails.count { compact() }
        guard !isOver else { return }
        hub.passedOn(key)
        if !batches.isEmpty, !isScheduled { goOnLater() }
    }

    private func goOnLater() {
        isScheduled = true
        hub.api.loop.flushLater(self)
    }

    private func compact() {
        tails = tails.filter { $0 != nil }
        for (place, tail) in tails.enumerated() { tail?.place = place }
    }
}
