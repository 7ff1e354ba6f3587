// The pending messages of a tail's consumer, read once more for it: what it begins with, and what Redis may have given unseen.
//
// Reading them is a delivery: an older tail of the consumer leaves them to us. So what nobody is sent of them, also where the
// answer comes too late for whoever asked, is handed back. That must not take from anybody to whom it was delivered since,
// which their delivery counts tell. Redis does not give these with the messages: they are asked for next to them.

import HTTP
import Net
import Redis

final class Recall {
    /// Nil: not answered.
    private(set) var reply: RedisReply?
    /// The delivery counts that this has made, where they are known.
    private(set) var counts: [StreamID: Int64] = [:]
    private let read: GroupRead
    private let after: StreamID
    private let count: Int

    /// At most `count` of the consumer's pending messages after an ID.
    init(_ read: GroupRead, after id: StreamID, count: Int) {
        self.read = read
        after = id
        self.count = count
    }

    /// Asks in a task.
    func ask(_ api: API) async throws(Problem) {
        do throws(RedisError) {
            try askForCounts(api)
            reply = try await api.store.send(command(api), patience: nil, late: { [self] in late($0, api) })
        } catch {
            throw await api.explain(error, read.stream, read.group)
        }
    }

    /// Asks for a tail, which is told.
    func send(_ api: API, to tail: GroupTail) throws(RedisError) {
        try askForCounts(api)
        let late: (RedisReply) -> Void = { [self] reply in
            // One that goes on asks again what it has missed.
            if !tail.isOpen { self.late(reply, api) }
        }
        try api.store.send(command(api), to: Taker(self, tail), patience: nil, late: late)
    }

    /// Nobody is sent what it gave.
    func handBack(to api: API) {
        guard var entries = reply?.entriesOfOnlyStream else { return }
        var deliveries: [Delivery] = []
        while entries.remaining > 0 {
            if let id = entries.peekID() { deliveries.append(Delivery(id: id, count: counts[id] ?? 0)) }
            entries.skip()
        }
        api.handBack(read, deliveries)
    }

    private func late(_ reply: RedisReply, _ api: API) {
        self.reply = reply
        handBack(to: api)
    }

    private func command(_ api: API) -> RedisCommand {
        var read = read
        read.position = .pending(after: after)
        return api.plainCommand(read, count)
    }

    /// Right before: then each is one more.
    private func askForCounts(_ api: API) throws(RedisError) {
        let command = RedisCommand.xpending(
            read.stream.bytes, group: read.group.bytes, from: .excluding(after), to: .latest, count: count,
            consumer: read.consumer.bytes)
        try api.store.send(command, to: CountTaker(self), patience: nil, late: { [self] in note($0) })
    }

    private func note(_ pending: RedisReply) {
        var rows = pending.elements
        while rows.remaining > 0 {
            let id = rows.peekID()
            guard var row = rows.takeArray() else { continue }
            for _ in 0..<3 { row.skip() }
            if let id, let count = row.takeInteger() { counts[id] = count + 1 }
        }
    }

    private final class CountTaker: ReplyTaker {
        private let recall: Recall

        init(_ recall: Recall) { self.recall = recall }

        func redisAnswered(_ reply: RedisReply) { recall.note(reply) }

        /// Then they are not known.
        func redisFailed(_ error: RedisError) {}
    }

    private final class Taker: ReplyTaker {
        private let recall: Recall
        private let tail: GroupTail

        init(_ recall: Recall, _ tail: GroupTail) {
            self.recall = recall
            self.tail = tail
        }

        func redisAnswered(_ reply: RedisReply) {
            recall.reply = reply
            tail.take(recall)
        }

        func redisFailed(_ error: RedisError) { tail.redisFailed(error) }
    }
}
