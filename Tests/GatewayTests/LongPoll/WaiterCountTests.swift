// The bounds on who may wait, with no gateway around them.

import Net
import Support
import Synchronization
import Testing

@testable import Gateway

struct WaiterCountTests {
    private let a = StreamName("a")
    private let b = StreamName("b")
    private let near = SocketAddress(literal: "192.0.2.1", port: 1).map { ClientAddress($0) }
    private let far = SocketAddress(literal: "192.0.2.2", port: 1).map { ClientAddress($0) }

    private func refusal(_ count: WaiterCount, _ streams: [StreamName], _ client: ClientAddress?) -> Problem? {
        switch count.enter(streams, for: client) {
        case .success(let place):
            count.leave(place)
            return nil
        case .failure(let refusal): return refusal.problem
        }
    }

    @Test func `a refusal takes nothing, and names its bound`() throws {
        let count = WaiterCount(limit: 4, streamLimit: 2, clientLimit: 3)
        let first = try count.enter([a], for: near).get()
        let both = try count.enter([a, b], for: near).get()
        #expect(refusal(count, [b, a], far)?.detail == "2 requests are waiting for the stream 'a' already (max_stream_waiters).")
        let third = try count.enter([b], for: near).get()
        let detail = refusal(count, [StreamName("c")], near)?.detail
        #expect(detail?.hasPrefix("3 requests from 192.0.2.1 are waiting already") == true && detail?.contains("max_client_waiters") == true)
        #expect(count.mostOfStream == 2 && count.mostOfClient == 3 && count.current == 3)
        let fourth = try count.enter([], for: nil).get()
        #expect(refusal(count, [], nil)?.detail == "4 requests are waiting already (max_waiters).")
        for place in [first, both, third, fourth] { count.leave(place) }
        #expect(count.mostOfStream == 0 && count.mostOfClient == 0 && count.current == 0)
    }

    @Test func `what is not bounded is not counted`() throws {
        let count = WaiterCount(limit: 4)
        let places = try (0..<4).map { _ in try count.enter([a], for: near).get() }
        #expect(count.mostOfStream == nil && count.mostOfClient == nil)
        for place in places { count.leave(place) }
        #expect(count.current == 0)
    }

    private final class Tally: Sendable {
        let tooMany = Atomic(0)
        let refusals = Atomic(0)
    }

    @Test func `threads together never get more than the bound, and all comes back`() async {
        let count = WaiterCount(limit: 20, streamLimit: 5, clientLimit: 7)
        let tally = Tally()
        let (a, b, near) = (a, b, near)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    var random = SeededRandom(seed: UInt64(task))
                    var places: [WaiterCount.Place] = []
                    for _ in 0..<2_000 {
                        if Bool.random(using: &random) || places.isEmpty {
                            let streams = [[a], [b], [a, b]][Int.random(in: 0..<3, using: &random)]
                            switch count.enter(streams, for: near) {
                            case .success(let place): places.append(place)
                            case .failure: tally.refusals.wrappingAdd(1, ordering: .relaxed)
                            }
                        } else {
                            count.leave(places.removeLast())
                        }
                        if (count.mostOfStream ?? 0) > 5 || (count.mostOfClient ?? 0) > 7 { tally.tooMany.wrappingAdd(1, ordering: .relaxed) }
                    }
                    for place in places { count.leave(place) }
                }
            }
        }
        #expect(tally.tooMany.load(ordering: .relaxed) == 0 && tally.refusals.load(ordering: .relaxed) > 0)
        #expect(count.current == 0 && count.mostOfStream == 0 && count.mostOfClient == 0)
    }
}
