// How the home of waiting has its claimants look for what others leave idle.

import Testing

@testable import Gateway

struct WaitHomeClaimTests {
    private let bench = HomeBench()

    @Test func `the claimants of a group share one look for idle messages every 200 ms`() {
        bench.park(10, claims: .seconds(60))
        let looks = runClaims(for: .seconds(10)) { _ in .nothing }
        #expect((45...51).contains(looks))
    }

    @Test func `a throttled group does not claim more often`() {
        bench.park(10, claims: .seconds(60))
        let looks = runClaims(for: .seconds(1), nudgeEvery: .milliseconds(1)) { _ in .nothing }
        #expect(looks <= 200 + 10, "One look per 5 ms, claims among them.")
    }

    @Test func `a claim look that came back full is repeated at once, by a claimant`() {
        bench.park(1)
        bench.settle(bench.join(2, claims: .seconds(60))) { _ in .nothing }
        bench.settle(bench.join(3, claims: .seconds(60))) { _ in .nothing }
        bench.now += .milliseconds(300)
        #expect(bench.send(.timer(HomeBench.key)).looks == [2])
        let first = bench.answer(2, .found(full: true), claimDue: bench.now + .seconds(60))
        var asked = first.looks
        var seen = asked
        while let one = asked.first, one != 3 {
            asked = bench.answer(one, .nothing).looks
            seen += asked
        }
        #expect(seen.contains(3), "Waiter 1 does not claim.")
    }

    @Test func `a claim look that promises too soon does not spin`() {
        bench.park(1, claims: .seconds(60))
        let looks = runClaims(for: .seconds(1), promise: .zero) { _ in .nothing }
        #expect(looks <= 6)
    }

    @Test func `who asks for less idle time does not wait for what others wait for`() {
        bench.settle(bench.join(1, claims: .seconds(60))) { _ in .nothing }
        bench.now += .seconds(1)
        #expect(bench.send(.timer(HomeBench.key)).looks == [1])
        _ = bench.answer(1, .nothing, claimDue: bench.now + .seconds(60))
        bench.now += .milliseconds(10)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        _ = bench.join(2, claims: .seconds(5))
        let actions = bench.answer(1, .found(full: false), claimDue: bench.now + .seconds(60))
        let more = actions + actions.looks.flatMap { bench.answer($0, .nothing) }
        #expect(more.wakes.contains { $0 <= bench.now + .seconds(1) })
    }

    @Test func `a failed claim look is tried again`() {
        bench.park(1, claims: .seconds(60))
        var failures = 3
        let looks = runClaims(for: .seconds(2)) { _ in
            failures -= 1
            return failures >= 0 ? .failed : .nothing
        }
        #expect(looks >= 8 && looks <= 14)
    }

    @Test func `who asks for the least idle time looks for all claimants`() {
        joinMixed()
        bench.now += .milliseconds(200)
        #expect(bench.send(.timer(HomeBench.key)).looks == [3], "The first of those who ask for a second.")
        let due = bench.now + .milliseconds(800)
        #expect(bench.answer(3, .nothing, claimDue: due) == [.wake(HomeBench.key, at: due)])
        #expect(bench.send(.leave(waiter(3))).isEmpty)
        bench.now = due
        #expect(bench.send(.timer(HomeBench.key)).looks == [4])
        _ = bench.answer(4, .nothing, claimDue: bench.now + .milliseconds(800))
        #expect(bench.send(.leave(waiter(4))).isEmpty)
        bench.now += .milliseconds(800)
        #expect(bench.send(.timer(HomeBench.key)).looks == [5])
    }

    @Test func `claimants of several thresholds cost no more looks than one claimant`() {
        joinMixed()
        bench.now += .seconds(1)
        let looks = runClaims(for: .seconds(10), promise: .milliseconds(800)) { _ in .nothing }
        #expect((11...14).contains(looks))
    }

    @Test func `who asks for more idle time waits for the look that was planned`() {
        bench.settle(bench.join(1, claims: .seconds(1))) { _ in .nothing }
        bench.now += .seconds(1)
        #expect(bench.send(.timer(HomeBench.key)).looks == [1])
        let due = bench.now + .milliseconds(800)
        #expect(bench.answer(1, .nothing, claimDue: due).wakes == [due])
        bench.now += .milliseconds(10)
        let asked = bench.join(2, claims: .seconds(60))
        let more = asked + asked.looks.flatMap { bench.answer($0, .nothing, claimDue: due) }
        #expect(asked.looks == [1], "The newcomer's doubt.")
        #expect(more.wakes.isEmpty)
    }

    @Test func `a look of the first claimant for whatever reason is its claim`() {
        bench.settle(bench.join(1, claims: .seconds(1))) { _ in .nothing }
        bench.now += .seconds(1)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        #expect(bench.send(.timer(HomeBench.key)).isEmpty)
        #expect(bench.answer(1, .nothing, claimDue: bench.now + .milliseconds(800)).looks.isEmpty)
    }

    @Test func `the idle time that a later claimant waits for does not put off the first one's look`() {
        joinMixed()
        bench.now += .milliseconds(100)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        _ = bench.answer(1, .nothing)
        bench.now += .milliseconds(10)
        #expect(bench.send(.leave(waiter(1))).isEmpty)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [2])
        _ = bench.answer(2, .nothing, claimDue: bench.now + .seconds(60))
        bench.now += .milliseconds(100)
        #expect(bench.send(.timer(HomeBench.key)).looks == [3])
    }

    /// Waiters 1 … 5: one that does not claim, and claimants for 60, 1, 1 and 5 seconds.
    private func joinMixed() {
        for (place, claims) in [nil, Duration.seconds(60), .seconds(1), .seconds(1), .seconds(5)].enumerated() {
            let asked = bench.join(place + 1, claims: claims)
            for one in (asked + bench.track(asked)).looks { _ = bench.answer(one, .nothing) }
            bench.now += .milliseconds(10)
        }
    }

    /// Fires the timers in order; returns the number of looks. `promise`: the `claimDue` of a look, from its end.
    private func runClaims(
        for time: Duration, nudgeEvery: Duration? = nil, promise: Duration = .milliseconds(200),
        _ look: (Int) -> WaitHome.Look.Result
    ) -> Int {
        let before = bench.home.looksStarted
        let end = bench.now + time
        var nextNudge = nudgeEvery.map { bench.now + $0 } ?? .seconds(1_000_000)
        var wakes: [Duration] = []
        var open = bench.send(.timer(HomeBench.key))
        while true {
            while !open.isEmpty {
                wakes += open.wakes
                open = open.looks.flatMap {
                    let late = bench.send(.timer(HomeBench.key))  // A stray one, in the middle of the look.
                    bench.now += .microseconds(100)
                    return late + bench.answer($0, look($0), claimDue: bench.now + promise)
                }
            }
            let next = min(wakes.min() ?? end, nextNudge)
            guard next < end else { return bench.home.looksStarted - before }
            bench.now = max(bench.now, next)
            if next == nextNudge {
                nextNudge += nudgeEvery!
                open = bench.send(.nudged(HomeBench.key))
            } else {
                wakes.remove(at: wakes.firstIndex(of: next)!)
                open = bench.send(.timer(HomeBench.key))
            }
        }
    }
}
