// What clients that have gone were given, on its way back to their groups: one queue a loop.
//
//   add → waiting ⇄ under way → done
//
// - Few calls at a time are under way. A shutdown ends thousands of tails in one tick, and all of it at once would be more
//   than a connection to Redis is let have.
// - What Redis does not take now is tried again: at once when it is back, else ever less often. Nobody else would do it, and
//   no message is taken from whom it was delivered to meanwhile (see `Delivery`).
// - While Redis is away nothing is read, so what waits is no more than readers and tails held before. Past
//   `Limits.handBacks` messages the newest stay with their consumer, until its next tail begins with them or they are claimed.

import Logging
import Net
import Redis

final class HandBacks {
    struct Item {
        let stream: StreamName
        let group: GroupName
        let consumer: ConsumerName
        let deliveries: [Delivery]
        /// Since when they are nobody's.
        let since: EventLoop.Instant
    }

    struct Counters: Sendable {
        /// Messages that wait, or are under way, now.
        var messages = 0
        /// Messages that stayed with their consumers.
        var dropped = 0
    }

    private(set) var counters = Counters()
    /// Starts a worker, which ends with `nil` from `take`; set by the server.
    var startWorker: () -> Void = { preconditionFailure("Nobody starts workers for this queue.") }
    private let loop: EventLoop
    private let limit: Int
    private var waiting: ArraySlice<Item> = []
    private var workers = 0
    private var pause = HandBacks.shortestPause
    /// Until when nothing is tried.
    private var rest: TimerID?

    private static let shortestPause = Duration.milliseconds(100)
    private static let longestPause = Duration.seconds(5)

    init(loop: EventLoop, limit: Int) {
        self.loop = loop
        self.limit = limit
    }

    var isEmpty: Bool { counters.messages == 0 }

    func add(_ item: Item) {
        guard !item.deliveries.isEmpty else { return }
        guard counters.messages + item.deliveries.count <= limit else { return counters.dropped += item.deliveries.count }
        counters.messages += item.deliveries.count
        waiting.append(item)
        startOne()
    }

    /// Redis is there again.
    func resume() {
        if let rest { loop.cancel(rest) }
        rest = nil
        startOne()
    }

    private func startOne() {
        guard rest == nil, !waiting.isEmpty, workers < Limits.handBackCalls else { return }
        workers += 1
        startWorker()
    }

    // MARK: For the workers

    /// What to do next; nil: that worker ends.
    func take() -> Item? {
        guard rest == nil, let item = waiting.popFirst() else {
            workers -= 1
            return nil
        }
        if waiting.isEmpty { waiting = [] }  // A slice keeps what was taken from it.
        return item
    }

    func finished(_ item: Item) {
        counters.messages -= item.deliveries.count
        pause = HandBacks.shortestPause
        startOne()
    }

    /// Redis did not take it for now. False where that was known.
    func postpone(_ item: Item) -> Bool {
        waiting.append(item)
        guard rest == nil else { return false }
        rest = loop.schedule(at: loop.now + pause) { [unowned self] in
            rest = nil
            startOne()
        }
        defer { pause = min(pause * 2, HandBacks.longestPause) }
        return pause == HandBacks.shortestPause
    }

    /// Redis will not take it.
    func drop(_ item: Item) {
        counters.messages -= item.deliveries.count
        counters.dropped += item.deliveries.count
        startOne()
    }
}

extension API {
    /// The messages become unowned, and the next waiter gets them.
    func handBack(_ read: GroupRead, _ batch: Batch) {
        guard !batch.isEmpty, !read.noAck, read.position == .new else { return }
        handBack(read, batch.deliveries)
    }

    func handBack(_ read: GroupRead, _ deliveries: [Delivery]) {
        handBacks.add(
            HandBacks.Item(stream: read.stream, group: read.group, consumer: read.consumer, deliveries: deliveries, since: loop.now))
    }

    func handBack(_ read: GroupRead, late slice: Batch.Slice) {
        var batch = Batch()
        batch.slices = [slice]
        batch.count = batch.deliveries.count
        handBack(read, batch)
    }

    /// A worker of `HandBacks`.
    func handBackWaiting(_ log: Logger) async {
        while let item = handBacks.take() {
            do throws(RedisError) {
                try await handBack(item)
                handBacks.finished(item)
            } catch {
                let metadata: Logger.Metadata = [
                    "stream": "\(item.stream.bytes.quoted)", "group": "\(item.group.bytes.quoted)", "messages": "\(item.deliveries.count)",
                ]
                if error.mayPass {
                    guard handBacks.postpone(item) else { continue }
                    log.warning("Messages of clients that have gone are handed back later: \(error)", metadata: metadata)
                } else {
                    handBacks.drop(item)
                    log.warning("Messages of a client that has gone stay with their consumer until they are claimed: \(error)", metadata: metadata)
                }
            }
        }
    }

    /// A slice at a time. What was delivered again since, perhaps to the same client under the same name, is left where it is.
    /// With its group everything that was pending has gone.
    private func handBack(_ item: HandBacks.Item) async throws(RedisError) {
        for start in stride(from: 0, to: item.deliveries.count, by: Limits.scriptSlice) {
            let slice = item.deliveries[start..<min(start + Limits.scriptSlice, item.deliveries.count)]
            let call = SettleScript.handBack(item.stream, item.group, from: item.consumer, slice, after: loop.now - item.since)
            let reply: RedisReply
            do {
                reply = try await store.evaluate(SettleScript.script, call)
            } catch {
                if error.saysThereIsNoGroup { return }
                throw error
            }
            var parts = reply.elements
            guard var statuses = parts.takeArray() else { continue }
            while statuses.remaining > 0 {
                if statuses.takeBytes()?.isSame(as: "done") ?? false { longPoll.counters.handedBack += 1 }
            }
        }
    }
}
