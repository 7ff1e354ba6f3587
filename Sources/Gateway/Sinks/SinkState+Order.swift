// What an order (`order_by`) adds to a sink's decisions: messages of a key wait for one another, and those of a stream for
// its lease. Nothing here is used by a sink without an order.
//
// What holds:
// - Of a key (`SinkLanes`) one message at a time is anywhere between `due` and confirmed; the others are `blocked`. Only
//   when Redis has confirmed its acknowledgement or its dead letter, or has said that it is somebody else's, does the next
//   have its turn. A message without the key has no order, and waits for nobody.
// - The counter counts attempts begun, from zero: every attempt, the first one too, is written down (`begin`) before it is
//   sent, under the lease. So a message that waits long for those before it spends nothing when its holder dies.
// - All that is pending is read before anything new is (`Sink+Leading`), in the order of IDs; so what is held of a key is
//   always older than what is not.
// - Nothing is begun, read or sent later than the lease's last confirmation allows: `until` lies so long before the lease's
//   end that a request which begins by then has ended, one way or the other, before another replica may begin. Later, or
//   when the lease turns out to be another's, the stream is forgotten but for what is on its way: it stays pending, and
//   whoever has the lease next reads it anew. What a process that was stopped finds in its hands when it goes on is
//   therefore not sent; only a request that was under way already may arrive late.

import Net
import Redis

extension SinkState {
    /// A stream's lease, as long as it is ours.
    struct Lease: Equatable {
        var number: Int
        var until: Instant
    }

    /// In `order_by: stream`, what is read ahead of the one message that may be sent: as much as a read is worth.
    static let readAhead = 100

    /// Whether messages of `stream` may be sent by us now.
    func leads(_ stream: Int, at now: Instant) -> Bool {
        guard definition.isOrdered else { return true }
        guard let lease = streams[stream].lease else { return false }
        return now < lease.until
    }

    /// No stream of it is ours to deliver.
    var standsBy: Bool { definition.isOrdered && !streams.isEmpty && streams.allSatisfy { $0.lease == nil } }

    /// As `credit`, of one stream.
    func credit(of stream: Int) -> Int {
        guard definition.isOrdered else { return credit }
        guard streams[stream].lease != nil else { return 0 }
        guard definition.orderBy == .stream else { return credit }
        // One stream that waits for a retry must not have all the room.
        let room = max(1, min(SinkState.readAhead, definition.maxHeld / streams.count))
        return min(credit, room - streams[stream].lanes.count)
    }

    // MARK: A key's turn

    /// A message of the pending list, or a new one, which no attempt was made of yet.
    mutating func arrivedInOrder(_ arrival: SinkArrival, _ key: Key) {
        // It stays pending; whoever has the lease reads it again.
        guard streams[key.stream].lease != nil else { return }
        if arrival.wasTakenOver { streams[key.stream].counters.takeovers += 1 }
        if let message = held[key] { return message.isLost = false }
        streams[key.stream].watermark.opened(key.id)
        let message = Held(key, arrival.message, deliveries: arrival.deliveryCount)
        message.dueWall = arrival.due
        if arrival.deliveryCount >= definition.retry.maxDeliveries { message.lastError = "its last delivery ended without a result" }
        held[key] = message
        if isStopped { return release(message, due: arrival.due, unspent: false) }
        switch streams[key.stream].lanes.enter(message, isAtRest: isAtRest) {
        case .turn: takeTurn(message)
        case .behind: move(message, to: .blocked)
        case .before(let other):
            move(other, to: .blocked)
            takeTurn(message)
        }
    }

    private func isAtRest(_ message: Held) -> Bool {
        switch message.phase {
        case .waiting, .due: true
        case .ready, .inFlight, .writing, .blocked, .gone: false
        }
    }

    private mutating func takeTurn(_ message: Held) {
        if let dueWall = message.dueWall, dueWall > moment.wall { return wait(message, until: dueWall) }
        move(message, to: .due)
        due.append(message)
    }

    /// It is no longer held: the next of its key goes on.
    mutating func freeKey(of message: Held) {
        guard definition.isOrdered, let next = streams[message.key.stream].lanes.leave(message), next.phase == .blocked else { return }
        takeTurn(next)
    }

    // MARK: The lease

    /// It is ours, anew or for the first time. Who stops takes none, but holds what is on its way under the latest number.
    mutating func leased(_ stream: Int, _ lease: Lease) {
        guard !isStopped || streams[stream].lease != nil else { return }
        if streams[stream].lease == nil {
            streams[stream].counters.leasesTaken += 1
            // Others have had the group meanwhile.
            streams[stream].watermark = SinkWatermark()
            for key in held.keys where key.stream == stream { streams[stream].watermark.opened(key.id) }
        }
        streams[stream].lease = lease
    }

    mutating func renewed(_ stream: Int, _ lease: Lease) {
        // An answer of an earlier term says nothing of this one.
        if streams[stream].lease?.number == lease.number { streams[stream].lease = lease }
    }

    mutating func leaseLost(_ stream: Int, number: Int) {
        if streams[stream].lease?.number == number { standDown(stream) }
    }

    mutating func standDownInTime() {
        guard definition.isOrdered else { return }
        for stream in streams.indices { if let lease = streams[stream].lease, lease.until <= moment.now { standDown(stream) } }
    }

    /// All but what is on its way, or already known to the receiver, is forgotten. The watermark is left as it is: what is
    /// forgotten is open.
    private mutating func standDown(_ stream: Int) {
        streams[stream].lease = nil
        streams[stream].counters.leasesLost += 1
        streams[stream].isWanting = false
        wanting.removeAll { $0 == stream }
        streams[stream].lanes.removeAll()
        for message in held.values.filter({ $0.key.stream == stream }).sorted(by: { $0.key < $1.key }) {
            switch message.phase {
            case .inFlight, .writing(_, isSent: true), .writing(.acknowledge, _), .writing(.bury, _):
                _ = streams[stream].lanes.enter(message) { _ in false }
            case .ready, .waiting, .due, .blocked, .writing, .gone: forget(message)
            }
        }
        actions.append(.stoodDown(stream))
    }

    /// It is pending, and read again by whoever has the lease.
    mutating func forget(_ message: Held) {
        move(message, to: .gone)
        held[message.key] = nil
        freeKey(of: message)
    }
}
