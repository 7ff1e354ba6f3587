// The rules of the home of waiting, one by one. What they come to together is `WaitHomeSimulationTests`' matter.

import Testing

@testable import Gateway

struct WaitHomeTests {
    private let bench = HomeBench()

    // MARK: Looking

    @Test func `nobody looks before Redis tracks the key`() {
        let asked = bench.join(1)
        #expect(asked.tracks.count == 1 && asked.looks.isEmpty)
        #expect(bench.track(asked).looks == [1])
    }

    @Test func `the look of the head serves all newcomers`() {
        let asked = bench.join(1)
        for number in 2...100 { #expect(bench.join(number).isEmpty) }
        #expect(bench.track(asked).looks == [1])
        #expect(bench.answer(1, .nothing).isEmpty)
        #expect(bench.home.looksStarted == 1)
    }

    @Test func `a newcomer does not jump the queue`() {
        bench.park(3)
        #expect(bench.join(4).looks == [1])
    }

    @Test func `who takes what nobody holds looks after one who does not, and only then`() {
        _ = bench.settle(bench.send(.join(waiter(1), HomeBench.key, claims: nil, takesUnowned: false))) { _ in .nothing }
        _ = bench.settle(bench.send(.join(waiter(2), HomeBench.key, claims: nil, takesUnowned: false))) { _ in .nothing }
        let asked = bench.join(3)
        #expect(asked.looks == [1])
        #expect(bench.settle(asked) { _ in .nothing } == 1)
        bench.now += .seconds(1)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        bench.now += .seconds(1)  // Nothing is throttled.
        #expect(bench.answer(1, .nothing).looks == [3])
        #expect(bench.answer(3, .found(full: false)).looks.isEmpty)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        bench.now += .seconds(1)
        #expect(bench.answer(1, .nothing).looks.isEmpty, "nobody is there who takes them")
    }

    @Test func `looks widen 1, 1, 1, 2, 4 while they come back full`() {
        bench.park(20)
        var actions = bench.track(bench.send(.invalidated(HomeBench.orders)))
        var widths: [Int] = []
        var next = 1
        while !actions.looks.isEmpty && widths.count < 6 {
            let batch = actions.looks
            #expect(batch == Array(next..<next + batch.count))
            widths.append(batch.count)
            next += batch.count
            actions = batch.flatMap { bench.answer($0, .found(full: true)) }
        }
        #expect(widths == [1, 1, 1, 2, 4, 8])
    }

    @Test(arguments: 0...64) func `n messages cost at most 2n + 1 looks`(messages: Int) {
        let bench = HomeBench()
        bench.park(200)
        var left = messages
        let looks = bench.settle(bench.send(.invalidated(HomeBench.orders))) { _ in
            left -= 1
            return left >= 0 ? .found(full: true) : .nothing
        }
        #expect(left < 0, "Somebody saw that there is no more.")
        #expect(bench.home.waiterCount == 200 - messages)
        #expect(looks <= max(2 * messages, 1))
    }

    @Test func `full looks of a lone waiter do not widen the looks of a later crowd`() {
        bench.park(1)
        var actions = bench.send(.nudged(HomeBench.key))
        for number in 1...100 {  // There is always one more when one leaves; a doubling each time would overflow.
            #expect(actions.looks == [number])
            #expect(bench.join(number + 1).isEmpty)
            actions = bench.answer(number, .found(full: true))
        }
        for number in 102...200 { _ = bench.join(number) }
        #expect(bench.answer(101, .found(full: true)).looks.count == 2)
    }

    @Test func `a group has one batch of looks at a time`() {
        bench.park(10)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        #expect(bench.send(.nudged(HomeBench.key)).looks.isEmpty)
        #expect(bench.join(11).looks.isEmpty)
        #expect(bench.answer(1, .nothing).looks == [1], "And then one look for both doubts.")
        #expect(bench.answer(1, .nothing).looks.isEmpty)
    }

    @Test func `groups of a stream share its tracking and look for themselves`() {
        bench.park(2)
        let other = WaitKey(stream: HomeBench.orders, group: GroupName("others"))
        #expect(bench.join(7, other) == [.look(waiter(7), toldAt: nil)])
        _ = bench.answer(7, .nothing)
        let asked = bench.send(.invalidated(HomeBench.orders))
        #expect(asked.tracks.count == 1)
        #expect(Set(bench.track(asked).looks) == [1, 7])
    }

    // MARK: Doubt

    @Test func `an invalidation during the tracking is looked for, twice`() {
        let asked = bench.join(1)
        #expect(bench.send(.invalidated(HomeBench.orders)).isEmpty)
        #expect(bench.track(asked).looks == [1], "At once, or a busy stream would never be looked at.")
        let again = bench.answer(1, .nothing)
        #expect(again.tracks.count == 1, "What came before the tracking proves nothing.")
        #expect(bench.track(again).looks == [1])
        #expect(bench.answer(1, .nothing).isEmpty)
    }

    @Test func `an invalidation during a look outlives it`() {
        let look = bench.track(bench.join(1))
        #expect(look.looks == [1])
        #expect(bench.send(.invalidated(HomeBench.orders)).isEmpty)
        let again = bench.answer(1, .nothing)
        #expect(again.tracks.count == 1 && again.looks.isEmpty)
        #expect(bench.track(again).looks == [1])
    }

    @Test func `an invalidation of everything is one of each stream`() {
        bench.park(1)
        bench.settle(bench.join(2, WaitKey(stream: StreamName("other"), group: GroupName("g")))) { _ in .nothing }
        #expect(bench.send(.invalidated(nil)).tracks.count == 2)
    }

    @Test func `a stale answer to track counts for nothing`() {
        let old = bench.join(1)
        #expect(bench.send(.leave(waiter(1))).isEmpty)
        let new = bench.join(2)
        #expect(bench.track(old).isEmpty)
        #expect(bench.track(new).looks == [2])
    }

    @Test func `a failed track is tried again after a while`() {
        let asked = bench.join(1)
        let later = bench.track(asked, false)
        #expect(later.looks.isEmpty && later.tracks.isEmpty)
        #expect(later.wakes == [bench.now + .milliseconds(100)])
        bench.now += .milliseconds(100)
        #expect(bench.send(.timer(HomeBench.key)).tracks.count == 1)
    }

    @Test func `a failed look is tried again after a while`() {
        bench.park(1)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        let later = bench.answer(1, .failed)
        #expect(later == [.wake(HomeBench.key, at: bench.now + .milliseconds(100))])
        bench.now += .milliseconds(100)
        #expect(bench.send(.timer(HomeBench.key)).looks == [1])
    }

    // MARK: Leaving

    @Test func `who leaves in the middle of a look leaves doubt behind`() {
        bench.park(2)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        #expect(bench.send(.leave(waiter(1))).looks == [2])
        #expect(bench.answer(1, .nothing).isEmpty, "It has gone.")
        #expect(bench.answer(2, .nothing).isEmpty)
    }

    @Test func `who leaves at rest changes nothing`() {
        bench.park(3)
        #expect(bench.send(.leave(waiter(2))).isEmpty)
        #expect(bench.send(.leave(waiter(2))).isEmpty)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        #expect(bench.answer(1, .found(full: true)).looks == [3])
    }

    @Test func `entries go with their last waiter`() {
        bench.park(3)
        bench.park(3, HomeBench.tail)  // The same three move over: ids are not reused in life, so count anew.
        let fresh = HomeBench()
        fresh.park(3)
        for number in 1...3 { _ = fresh.send(.leave(waiter(number))) }
        #expect(fresh.home.waiterCount == 0 && fresh.home.streamCount == 0)
        for event in [WaitHome.Event.timer(HomeBench.key), .nudged(HomeBench.key), .invalidated(HomeBench.orders)] {
            #expect(fresh.send(event).isEmpty)
        }
    }

    @Test func `an ended queue ends all its waiters, but the one who told`() {
        bench.park(3)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        let ends = bench.answer(1, .ended(.groupGone))
        #expect(ends == [.end(waiter(2), .groupGone), .end(waiter(3), .groupGone)])
        #expect(bench.home.waiterCount == 0 && bench.home.streamCount == 0)
    }

    @Test func `who came after a look began is not ended by what it saw`() {
        bench.park(2)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        _ = bench.join(3)  // It has just read from a group that was created anew.
        let actions = bench.answer(1, .ended(.groupGone))
        #expect(actions.ends == [2])
        #expect(actions.looks == [3], "It sees for itself.")
        #expect(bench.home.waiterCount == 1)
    }

    // MARK: Readers without a group

    @Test func `without a group everybody looks for himself`() {
        bench.park(3, HomeBench.tail)
        #expect(bench.track(bench.send(.invalidated(HomeBench.orders))).looks == [1, 2, 3])
    }

    @Test func `without a group a newcomer looks alone`() {
        bench.park(3, HomeBench.tail)
        #expect(bench.join(4, HomeBench.tail).looks == [4])
    }
}
