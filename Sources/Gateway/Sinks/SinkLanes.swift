// The messages of a stream that go one after the other (`order_by`): a lane a key, in the order of IDs. One message of a
// lane has the turn; it keeps it through retries, until Redis has confirmed what became of it, so that a receiver never
// sees an earlier message again after a later one of its key.
//
// Pure, owned by `SinkState`, which bounds by `max_held` how many are in them. Invariants:
// - A lane that is not empty has exactly one message whose turn it is.
// - The turn goes to the least ID of those that wait.
// - The turn is never taken from a message that may be on its way to the receiver.

import Net
import Redis

struct SinkLanes {
    typealias Held = SinkState.Held

    /// Where a message has come to stand.
    enum Place {
        case turn
        case behind
        /// An earlier message has come late: it takes the turn from this one, which is not on its way.
        case before(Held)
    }

    fileprivate struct Lane {
        var turn: Held
        /// By ID.
        var others = Fifo<Held>()
    }

    private var lanes: [Int: Lane] = [:]
    /// In all lanes.
    private(set) var count = 0

    /// - Parameter isAtRest: whether a message that has the turn can give it up.
    mutating func enter(_ message: Held, isAtRest: (Held) -> Bool) -> Place {
        guard let key = message.message.lane else { return .turn }
        count += 1
        guard let before = lanes[key]?.turn else {
            lanes[key] = Lane(turn: message)
            return .turn
        }
        guard message.key.id < before.key.id, isAtRest(before) else {
            lanes[key]!.insert(message)
            return .behind
        }
        lanes[key]!.turn = message
        lanes[key]!.insert(before)
        return .before(before)
    }

    /// It is dealt with, or somebody else's. Whose turn it is now, where that has changed.
    mutating func leave(_ message: Held) -> Held? {
        guard let key = message.message.lane, lanes[key] != nil else { return nil }
        guard lanes[key]!.turn === message else {
            if lanes[key]!.remove(message) { count -= 1 }
            return nil
        }
        count -= 1
        guard let next = lanes[key]!.others.popFirst() else {
            lanes[key] = nil
            return nil
        }
        lanes[key]!.turn = next
        return next
    }

    mutating func removeAll() { self = SinkLanes() }
}

extension SinkLanes.Lane {
    fileprivate mutating func insert(_ message: SinkState.Held) {
        // They come in order, nearly always.
        guard let last = others.last, message.key.id < last.key.id else { return others.append(message) }
        others.insert(message, at: place(of: message.key.id))
    }

    fileprivate mutating func remove(_ message: SinkState.Held) -> Bool {
        let place = place(of: message.key.id)
        guard place < others.count, others[place] === message else { return false }
        others.remove(at: place)
        return true
    }

    /// Where the first that is not below `id` stands.
    private func place(of id: StreamID) -> Int { others.partitionPoint { $0.key.id < id } }
}
