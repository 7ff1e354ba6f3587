// Since when a look has something to look for: what the delay of a wake-up is counted from.

import Testing

@testable import Gateway

struct WaitHomeWordTests {
    private let bench = HomeBench()

    @Test func `a look goes back to the first word that no look has begun after`() {
        bench.park(2)
        let first = bench.now
        let asked = bench.send(.invalidated(HomeBench.orders))
        bench.now += .milliseconds(3)
        _ = bench.send(.nudged(HomeBench.key))
        bench.now += .milliseconds(3)
        #expect(bench.track(asked).words == [first])
        bench.now += .milliseconds(3)
        let second = bench.now
        _ = bench.send(.nudged(HomeBench.key))
        bench.now += .milliseconds(3)
        #expect(bench.answer(1, .found(full: true)).words == [second], "the run goes on, for a newer word")
    }

    @Test func `a run goes back to the word that began it, and ends with it`() {
        bench.park(9)
        let word = bench.now
        _ = bench.send(.nudged(HomeBench.key))
        for number in 1...4 {
            bench.now += .milliseconds(1)
            let looks = bench.answer(number, .found(full: true))
            #expect(looks.words == looks.looks.map { _ in word })
        }
        for number in 5...7 { _ = bench.answer(number, .nothing) }
        let asked = bench.send(.join(waiter(20), HomeBench.key, claims: nil))
        #expect(asked.words == [nil], "a newcomer's look is for no word")
    }

    @Test func `who leaves, or fails, in the middle of a look leaves its word to the next`() {
        bench.park(3)
        let word = bench.now
        _ = bench.send(.nudged(HomeBench.key))
        bench.now += .milliseconds(1)
        #expect(bench.send(.leave(waiter(1))).words == [word])
        _ = bench.answer(2, .failed)
        bench.now += .milliseconds(100)
        #expect(bench.send(.timer(HomeBench.key)).words == [word])
    }

    @Test func `the slow tick's looks are for no word`() {
        bench.park(1)
        bench.now += .seconds(2)
        let asked = bench.send(.slowTick)
        #expect(asked.looks == [1])
        #expect(asked.words == [nil])
    }
}
