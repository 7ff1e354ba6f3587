// Several messages in one request (`batch`): which of them go together, and what follows from the request's end.
//
// A batch is of one stream, in the order in which its messages became ready. What fails as a whole is halved: its
// messages go into requests of at most half as many, and the last attempt of each is its own, so that the one message
// which spoils a batch stands alone in the end, and no dead letter is made for another's sake. Both follow from the
// message's own counter, too: whoever takes over after a crash goes on with small batches.

import Net
import Redis

extension SinkState {
    /// One message of a request.
    struct Parcel: Equatable {
        var key: Key
        var message: SinkMessage
        var deliveryCount: Int
    }

    /// What a request with several messages came to.
    struct BatchEnd {
        var stream: Int
        var outcomes: [(key: Key, outcome: SinkOutcome)]
        /// All of them have the same for the same reason; else the receiver told them apart.
        var isWhole: Bool
    }

    /// Of JSON around a message's fields: names, numbers and braces; stream and group come on top.
    private static let envelope = 192

    /// Messages that a slot is good for. A probe is one.
    var batchSize: Int { pace.isOpen ? 1 : definition.batch.maxMessages }

    /// It can be sent, unless the breaker is open and has its probe, or, of an ordered sink, the endpoint waits (`pause`).
    mutating func becomeReady(_ message: Held) {
        if definition.isOrdered, pausedUntil > moment.now { return putBack(message) }
        guard !pace.isOpen || inFlight + readyCount == 0 else { return putBack(message) }
        move(message, to: .ready)
        guard definition.isBatched else { return ready.append(message) }
        message.readyAt = moment.now
        message.room = room(message)
        streams[message.key.stream].ready.append(message)
        readyInStreams += 1
        readyRoom += message.room
    }

    var readyCount: Int { ready.count + readyInStreams }

    /// Of slots that are good for `batchSize` messages each.
    var roomTaken: Int { beginning + ready.count + readyRoom }

    /// In a smaller request a message takes more of the slot: no more are begun than can be sent, or a crash would cost the
    /// others an attempt that was never made.
    func room(_ message: Held) -> Int {
        let limit = batchLimit(message)
        return (definition.batch.maxMessages + limit - 1) / limit
    }

    /// The breaker has opened: what is ready becomes retries that are due, so that they and new messages are probed by turns.
    /// Likewise where an ordered sink's endpoint waits.
    mutating func putReadyBack() {
        let all = Array(ready) + streams.flatMap(\.ready)
        (ready, readyInStreams, readyRoom) = (Fifo(), 0, 0)
        for stream in streams.indices { (streams[stream].ready, streams[stream].linger) = (Fifo(), nil) }
        for message in all where message.phase == .ready { putBack(message) }
    }

    private mutating func putBack(_ message: Held) {
        message.deliveries = max(message.deliveries - 1, 0)
        message.dueWall = moment.wall
        enqueue(message, .schedule)
    }

    /// Sends what may be sent, by turns of the streams.
    mutating func startBatches() {
        lingerUntil = nil
        var idle = 0
        while idle < streams.count, readyInStreams > 0, inFlight < pace.slots(moment.now), pace.tokens(moment.now) != 0 {
            batchTurn = (batchTurn + 1) % streams.count
            let batch = takeBatch(batchTurn)
            idle = batch.isEmpty ? idle + 1 : 0
            if !batch.isEmpty { send(batch, batchTurn) }
        }
    }

    private mutating func send(_ batch: [Held], _ stream: Int) {
        let number = pace.begin(moment.now)
        for message in batch {
            move(message, to: .inFlight)
            message.isProbe = pace.isOpen
            message.number = number
        }
        inFlight += 1
        streams[stream].counters.attempts += batch.count
        actions.append(.batch(stream, batch.map { Parcel(key: $0.key, message: $0.message, deliveryCount: $0.deliveries) }))
    }

    /// The next batch of `stream`; empty: there is nothing, or it waits for more to come.
    private mutating func takeBatch(_ stream: Int) -> [Held] {
        if let linger = streams[stream].linger, linger.ready == streams[stream].ready.count, lingers(linger.until) { return [] }
        var batch: [Held] = []
        var (bytes, limit) = (0, 0)
        var isFull = false
        var place = 0
        let envelope = SinkState.envelope + streams[stream].nameBytes + definition.group.utf8.count
        while place < streams[stream].ready.count {
            let message = streams[stream].ready[place]
            guard message.phase == .ready, !endsUnsent(message) else {
                place += 1
                continue
            }
            let own = pace.isOpen ? 1 : batchLimit(message)
            let weight = envelope + (message.message.body?.count ?? message.message.fields.count)
            isFull = !batch.isEmpty && (own != limit || batch.count == limit || bytes + weight > definition.batch.maxBytes)
            if isFull { break }
            batch.append(message)
            (limit, bytes, place) = (own, bytes + weight, place + 1)
        }
        if let first = batch.first, !isFull, batch.count < limit, lingers(first.readyAt + definition.batch.linger) {
            streams[stream].linger = (first.readyAt + definition.batch.linger, streams[stream].ready.count)
            return []
        }
        removeReady(place, stream)
        return batch
    }

    /// Whether a batch waits until then for more to come. Where nothing more can be read now, there is nothing to wait for.
    private mutating func lingers(_ until: Instant) -> Bool {
        guard until > moment.now, reserved > 0 || credit > 0 else { return false }
        lingerUntil = min(lingerUntil ?? until, until)
        return true
    }

    /// The first so many.
    private mutating func removeReady(_ count: Int, _ stream: Int) {
        readyInStreams -= count
        for _ in 0..<count { readyRoom -= streams[stream].ready.popFirst()?.room ?? 0 }
        streams[stream].linger = nil
    }

    /// How many may share its next request.
    private func batchLimit(_ message: Held) -> Int {
        if message.deliveries >= definition.retry.maxDeliveries { return 1 }
        return min(message.batchLimit, max(definition.batch.maxMessages >> max(message.deliveries - 1, 0), 1))
    }

    mutating func batchEnded(_ end: BatchEnd) {
        inFlight -= 1
        let taken = end.outcomes.first { $0.outcome.isTaken }
        if taken != nil { patience = SinkPatience() }
        let count = end.outcomes.count
        if let known = end.outcomes.first(where: { held[$0.key] != nil }), let message = held[known.key] {
            keepPace(message, (taken ?? known).outcome)
        }
        // Those that wait for the same reason wait together.
        backoff.beginTogether()
        for (key, outcome) in end.outcomes { landed(key, held[key], outcome, among: end.isWhole ? count : 1) }
        backoff.endTogether()
    }
}
