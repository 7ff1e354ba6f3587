// The queues of waiters and of claimants against plain arrays.

import Support
import Testing

@testable import Gateway

struct WaiterQueueTests {
    @Test func `it behaves as an array does`() {
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 32)
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            var queue = WaiterQueue()
            var model: [WaiterID] = []
            let leaning = Int.random(in: 3...7, using: &random)
            for number in 0..<400 {
                if Int.random(in: 0..<10, using: &random) < leaning || model.isEmpty {
                    queue.append(waiter(number))
                    model.append(waiter(number))
                } else {
                    let place = Bool.random(using: &random) ? 0 : Int.random(in: 0..<model.count, using: &random)
                    let removed = queue.remove(model.remove(at: place))
                    #expect(removed)
                }
                let width = Int.random(in: 0...5, using: &random)
                guard queue.prefix(width) == Array(model.prefix(width)), queue.count == model.count else {
                    Issue.record("SEED=\(seed): differs after \(number) steps.")
                    return
                }
            }
            #expect(queue.first == model.first && queue.isEmpty == model.isEmpty)
            let removed = queue.remove(waiter(1_000_000))
            #expect(!removed)
        }
    }
}

struct ClaimantQueueTests {
    @Test func `first comes who asks for the least, and among equals who came first`() {
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 32)
        var random = SeededRandom(seed: seed)
        for _ in 0..<50 {
            var queue = ClaimantQueue()
            var model: [(number: Int, threshold: Duration)] = []
            let leaning = Int.random(in: 3...7, using: &random)
            for number in 0..<200 {
                if Int.random(in: 0..<10, using: &random) < leaning || model.isEmpty {
                    let threshold = Duration.seconds(Int.random(in: 1...20, using: &random))
                    queue.append(waiter(number), threshold: threshold)
                    model.append((number, threshold))
                } else {
                    let place = Int.random(in: 0..<model.count, using: &random)
                    queue.remove(waiter(model.remove(at: place).number))
                }
                queue.remove(waiter(1_000_000))  // Never there.
                let first = model.min { $0.threshold < $1.threshold }
                let speakers = model.filter { queue.speaksForAll(waiter($0.number)) }.map(\.number)
                guard queue.first == first.map({ waiter($0.number) }), queue.smallestThreshold == first?.threshold,
                    queue.isEmpty == model.isEmpty,
                    speakers == model.filter({ $0.threshold == first?.threshold }).map(\.number)
                else {
                    Issue.record("SEED=\(seed): differs after \(number) steps.")
                    return
                }
            }
        }
    }
}
