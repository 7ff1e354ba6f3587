// What a wake-up costs where a few wait, and where ten thousand do: as many steps, as many words to Redis and to other
// loops, and as much memory that is asked for (a queue that were copied by accident would show there).

import CAllocations
import Support
import Testing

@testable import Gateway

struct WaitHomeScaleTests {
    struct Crowd: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var waiters: Int
        /// Where the waiter of a number waits: a call that reads many streams is a waiter at each.
        var streams: Int
        var streamsOfEach = 1
        /// Do not want what nobody holds, all but the last.
        var isModest = false
        /// Those in the middle have left.
        var hasThinned = false
    }

    private struct Cost: Equatable {
        var steps = 0
        var actions = 0
        var bytes = 0
    }

    private static let small = Crowd(testDescription: "a hundred at one stream", waiters: 100, streams: 1)

    /// Parked at rest; at one of the streams there will be messages.
    private func park(_ crowd: Crowd, on bench: HomeBench) -> WaitKey {
        let keys = (0..<crowd.streams).map { WaitKey(stream: StreamName("s\($0)"), group: GroupName("g")) }
        var number = 0
        var tracks: [WaitHome.Action] = []  // Answered when all are there: one look serves all newcomers.
        for call in 0..<crowd.waiters {
            for part in 0..<crowd.streamsOfEach {
                number += 1
                let key = keys[(call + part) % crowd.streams]
                let takes = !crowd.isModest || call == crowd.waiters - 1
                tracks += bench.send(.join(waiter(number), key, claims: nil, takesUnowned: takes))
            }
        }
        for track in tracks { bench.settle([track]) { _ in .nothing } }
        if crowd.hasThinned {
            for number in 3..<crowd.waiters - 3 { _ = bench.send(.leave(waiter(number))) }
        }
        bench.now += .seconds(1)
        return keys[crowd.streams - 1]
    }

    /// One message: the word, the tracking, the look that finds it, the one that finds no more; and who had it is back.
    /// Returns what the home wanted done.
    private func wakeUp(_ bench: HomeBench, _ key: WaitKey, _ next: inout Int) -> Int {
        let asked = bench.send(.invalidated(key.stream))
        let told = bench.track(asked)
        guard let found = told.looks.first, told.count == 1 else {
            Issue.record("One message wakes one waiter, not \(told).")
            return 0
        }
        let more = bench.answer(found, .found(full: true))
        bench.settle(more) { _ in .nothing }
        next += 1
        bench.settle(bench.join(next, key)) { _ in .nothing }
        bench.now += .milliseconds(10)
        return asked.count + told.count + more.count
    }

    private func cost(_ crowd: Crowd) -> Cost {
        let bench = HomeBench()
        let key = park(crowd, on: bench)
        var next = 2_000_000
        for _ in 0..<5 { _ = wakeUp(bench, key, &next) }  // Tables have their size.
        var cost = Cost()
        let (steps, bytes) = (bench.home.steps, sluice_allocated_bytes())
        for _ in 0..<8 { cost.actions += wakeUp(bench, key, &next) }
        cost.steps = bench.home.steps - steps
        cost.bytes = sluice_allocated_bytes() - bytes
        return cost
    }

    @Test(arguments: [
        Crowd(testDescription: "10,000 at one stream", waiters: 10_000, streams: 1),
        Crowd(testDescription: "10,000 at a stream each", waiters: 10_000, streams: 10_000),
        Crowd(testDescription: "1,000 at 100 streams each", waiters: 1_000, streams: 100, streamsOfEach: 100),
        Crowd(testDescription: "10,000 who do not want what nobody holds, and one who does", waiters: 10_000, streams: 1, isModest: true),
        Crowd(testDescription: "the first and the last few of 10,000", waiters: 10_000, streams: 1, hasThinned: true),
    ]) func `a wake-up costs no more in a crowd`(crowd: Crowd) {
        var few = Self.small
        (few.isModest, few.waiters) = (crowd.isModest, crowd.streams == 10_000 ? 1 : 100)
        let (small, large) = (cost(few), cost(crowd))
        #expect(large.steps == small.steps && large.actions == small.actions, "\(large), not \(small)")
        #expect(large.steps <= 8 * 14, "\(large.steps) steps for 8 wake-ups")
        #expect(large.bytes <= small.bytes + 8 * 512, "\(large.bytes) bytes, not \(small.bytes)")
    }

    @Test func `a second of ten thousand waiters at rest is one walk, within its budget`() {
        for streams in [1, 10_000] {
            let bench = HomeBench()
            _ = park(Crowd(testDescription: "", waiters: 10_000, streams: streams), on: bench)
            let looks = bench.home.looksStarted
            for _ in 0..<10 {
                bench.now += .milliseconds(100)
                for one in bench.send(.slowTick).looks { _ = bench.answer(one, .nothing) }
            }
            #expect(bench.home.looksStarted - looks <= min(2 * streams, 500))
        }
    }

    @Test func `a thousand waiters who leave at random leave a queue in order`() {
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 32)
        var random = SeededRandom(seed: seed)
        let bench = HomeBench()
        bench.park(1_000)
        var left = Set<Int>()
        var served: [Int] = []
        while left.count + served.count < 1_000 {
            if Bool.random(using: &random) {
                let number = Int.random(in: 1...1_000, using: &random)
                if !served.contains(number), left.insert(number).inserted { _ = bench.send(.leave(waiter(number))) }
            } else {
                bench.now += .milliseconds(10)
                var open = bench.send(.nudged(HomeBench.key))
                guard let first = open.looks.first else { continue }
                open = bench.answer(first, .found(full: false))
                served.append(first)
                for one in open.looks { _ = bench.answer(one, .nothing) }
            }
        }
        #expect(served == served.sorted() && left.isDisjoint(with: served), "SEED=\(seed)")
    }
}
