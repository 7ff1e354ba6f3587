// How many wait, and may: in the whole process, for one stream, and from one client's address. Shared by all loops.
//
// The first is one atomic number. The others are counted only where they are bounded, under a lock that is held for a
// few look-ups: an exact bound can't be had without one place that knows, and asking a stream's home loop would make
// every refusal a matter of messages.

import Net
import Synchronization

final class WaiterCount: Sendable {
    /// What a waiter may be too many for.
    enum Bound: Int, CaseIterable {
        case gateway, stream, client

        /// Its option.
        var name: String { ["max_waiters", "max_stream_waiters", "max_client_waiters"][rawValue] }
    }

    /// What one who waits takes up, until it is given back.
    struct Place: Sendable {
        fileprivate let streams: [StreamName]
        fileprivate let client: ClientAddress?
    }

    struct Refusal: Error {
        let bound: Bound
        fileprivate let limit: Int
        fileprivate var client: ClientAddress?
        fileprivate var stream: StreamName?
    }

    private struct Crowds {
        var streams: [StreamName: Int] = [:]
        var clients: [ClientAddress: Int] = [:]
    }

    private let parked = Atomic(0)
    private let crowds = Mutex(Crowds())
    let limit: Int
    /// Zero: not bounded, and not counted.
    let streamLimit: Int
    let clientLimit: Int

    init(limit: Int, streamLimit: Int = 0, clientLimit: Int = 0) {
        self.limit = limit
        self.streamLimit = streamLimit
        self.clientLimit = clientLimit
    }

    convenience init(_ limits: Limits) {
        self.init(limit: limits.waiters, streamLimit: limits.streamWaiters, clientLimit: limits.clientWaiters)
    }

    var current: Int { parked.load(ordering: .relaxed) }
    /// Waiters of the stream, or the client, that has most; nil where they are not counted.
    var mostOfStream: Int? { streamLimit == 0 ? nil : crowds.withLock { $0.streams.values.max() ?? 0 } }
    var mostOfClient: Int? { clientLimit == 0 ? nil : crowds.withLock { $0.clients.values.max() ?? 0 } }

    /// Takes all that is wanted, or nothing. A waiter of many streams is one of each.
    func enter(_ streams: [StreamName], for client: ClientAddress?) -> Result<Place, Refusal> {
        guard parked.wrappingAdd(1, ordering: .relaxed).newValue <= limit else {
            parked.wrappingSubtract(1, ordering: .relaxed)
            return .failure(Refusal(bound: .gateway, limit: limit))
        }
        let place = Place(streams: streamLimit == 0 ? [] : streams, client: clientLimit == 0 ? nil : client)
        guard isCrowded(place) else { return .success(place) }
        if let refusal = crowds.withLock({ enter(place, &$0) }) {
            parked.wrappingSubtract(1, ordering: .relaxed)
            return .failure(refusal)
        }
        return .success(place)
    }

    func leave(_ place: Place) {
        parked.wrappingSubtract(1, ordering: .relaxed)
        guard isCrowded(place) else { return }
        crowds.withLock { crowds in
            for stream in place.streams { WaiterCount.lower(&crowds.streams, stream) }
            if let client = place.client { WaiterCount.lower(&crowds.clients, client) }
        }
    }

    /// Whether more is counted of it than that it is there.
    private func isCrowded(_ place: Place) -> Bool { !place.streams.isEmpty || place.client != nil }

    private func enter(_ place: Place, _ crowds: inout Crowds) -> Refusal? {
        if let client = place.client, crowds.clients[client, default: 0] >= clientLimit {
            return Refusal(bound: .client, limit: clientLimit, client: client)
        }
        if let stream = place.streams.first(where: { crowds.streams[$0, default: 0] >= streamLimit }) {
            return Refusal(bound: .stream, limit: streamLimit, stream: stream)
        }
        for stream in place.streams { crowds.streams[stream, default: 0] += 1 }
        if let client = place.client { crowds.clients[client, default: 0] += 1 }
        return nil
    }

    private static func lower<Key>(_ counts: inout [Key: Int], _ key: Key) {
        guard let count = counts[key] else { preconditionFailure("Who leaves has been counted.") }
        counts[key] = count > 1 ? count - 1 : nil
    }
}

extension WaiterCount.Refusal {
    var problem: Problem {
        let text =
            switch bound {
            case .gateway: "\(limit) requests are waiting already"
            case .stream: "\(limit) requests are waiting for the stream \(stream?.bytes.quoted ?? "") already"
            case .client:
                "\(limit) requests from \(client.map { "\($0)" } ?? "") are waiting already; behind a proxy all clients have its address"
            }
        return Problem(.tooManyWaiters, "\(text) (\(bound.name)).")
    }
}
