// What the home of waiting does by the clock: throttle, poll, walk and due messages; and its bounds.

import Testing

@testable import Gateway

struct WaitHomeTimeTests {
    private let bench = HomeBench()

    @Test func `an invalidation for every look is throttled to one look per 5 ms`() {
        bench.park(3)
        let end = bench.now + .seconds(1)
        var (looks, wakes, sent): (Int, [Duration], Int) = (0, [], 0)
        var open = bench.send(.invalidated(HomeBench.orders))
        while bench.now < end {  // Every empty look is echoed, as if by an XACK.
            while !open.isEmpty {
                let action = open.removeFirst()
                switch action {
                case .track(let stream, let id): open += bench.send(.tracked(stream, id, true))
                case .look(let one, _):
                    looks += 1
                    open += bench.send(.invalidated(HomeBench.orders))
                    open += bench.answer(one.number, .nothing)
                case .wake(_, let instant): (wakes, sent) = (wakes + [instant], sent + 1)
                case .end, .ask: break
                }
            }
            guard let next = wakes.min() else { break }
            wakes.remove(at: wakes.firstIndex(of: next)!)
            bench.now = max(bench.now, next)
            open = bench.send(.timer(HomeBench.key))
        }
        #expect(looks <= 3 + 200 && looks > 150)
        #expect(sent <= looks + 2 && wakes.count <= 2)
    }

    @Test func `newcomers, whose looks find nothing, throttle nobody's message`() {
        bench.park(3)
        for number in 4...20 {
            #expect(bench.join(number).looks == [1])
            #expect(bench.answer(1, .nothing).isEmpty)
        }
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
    }

    @Test func `a burst that ends with empty looks does not throttle the next message`() {
        bench.park(20)
        #expect(bench.send(.nudged(HomeBench.key)).looks == [1])
        for number in 1...4 { _ = bench.answer(number, .found(full: true)) }
        #expect(bench.answer(5, .found(full: true)).looks == [6, 7, 8, 9])
        for number in 6...9 { _ = bench.answer(number, .nothing) }
        #expect(bench.send(.nudged(HomeBench.key)).looks == [6], "That was one empty batch, not four.")
    }

    @Test func `where Redis refuses tracking every group is polled`() {
        var settings = WaitHome.Settings()
        settings.isTracking = false
        let bench = HomeBench(settings: settings)
        #expect(bench.join(1).looks == [1])
        for _ in 1...5 {
            #expect(bench.answer(1, .nothing) == [.wake(HomeBench.key, at: bench.now + .milliseconds(100))])
            bench.now += .milliseconds(100)
            #expect(bench.send(.timer(HomeBench.key)).looks == [1])
        }
    }

    @Test func `polling goes on after a newcomer without a group that left before its look`() {
        var settings = WaitHome.Settings()
        settings.isTracking = false
        let bench = HomeBench(settings: settings)
        for _ in 1...4 {  // Three empty ones after the newcomer's own: the next newcomer's look is put off.
            bench.now += .milliseconds(100)
            let asked = bench.home.waiterCount == 0 ? bench.join(1, HomeBench.tail) : bench.send(.timer(HomeBench.tail))
            #expect(asked.looks == [1])
            if bench.home.looksStarted < 4 { _ = bench.answer(1, .nothing) }
        }
        #expect(bench.join(2, HomeBench.tail).isEmpty)
        #expect(bench.answer(1, .nothing) == [.wake(HomeBench.tail, at: bench.now + .milliseconds(5))])
        #expect(bench.send(.leave(waiter(2))).isEmpty)
        bench.now += .milliseconds(5)
        #expect(bench.send(.timer(HomeBench.tail)) == [.wake(HomeBench.tail, at: bench.now + .milliseconds(100))])
    }

    // MARK: The slow walk

    @Test func `the slow walk looks once a second, and not where somebody has just looked`() {
        bench.park(1)
        var looks = 0
        for _ in 0..<50 {
            bench.now += .milliseconds(100)
            for one in bench.send(.slowTick).looks {
                looks += 1
                _ = bench.answer(one, .nothing)
            }
        }
        #expect((4...5).contains(looks))
    }

    @Test func `the slow walk keeps to its budget`() {
        for number in 1...2_000 {
            let key = WaitKey(stream: HomeBench.orders, group: GroupName("g\(number)"))
            bench.settle(bench.join(number, key)) { _ in .nothing }
        }
        bench.now += .seconds(5)
        #expect(walk(bench, ticks: 10) <= 500)
        #expect(walk(bench, ticks: 30) >= 1_490)
    }

    @Test func `the slow walk counts every reader without a group`() {
        bench.park(2_000, HomeBench.tail)
        #expect(walk(bench, ticks: 100) <= 2_000 + 10 * 500)
        #expect(walk(bench, ticks: 100) >= 4_000)
    }

    private func walk(_ bench: HomeBench, ticks: Int) -> Int {
        var looks = 0
        for _ in 0..<ticks {
            bench.now += .milliseconds(100)
            let asked = bench.send(.slowTick).looks
            looks += asked.count
            for one in asked { _ = bench.answer(one, .nothing) }
        }
        return looks
    }

    // MARK: Due messages

    @Test func `an unowned message is looked for when it falls due`() {
        bench.park(1)
        _ = bench.send(.nudged(HomeBench.key))
        let due = bench.now + .seconds(3)
        #expect(bench.answer(1, .nothing, unownedDue: due) == [.wake(HomeBench.key, at: due)])
        bench.now += .seconds(1)
        #expect(bench.send(.timer(HomeBench.key)).looks.isEmpty, "A stray timer is not due.")
        bench.now = due
        #expect(bench.send(.timer(HomeBench.key)).looks == [1])
    }

    @Test func `a message that is due in hours leaves no timer behind with every waiter`() {
        let due = bench.now + .seconds(12 * 3600)
        var pending: [Duration] = []
        func keep(_ actions: [WaitHome.Action]) { pending += actions.wakes }
        for number in 1...1_000 {  // A waiter a second, gone a second later.
            bench.now += .seconds(1)
            let fired = pending.filter { $0 <= bench.now }.count
            pending.removeAll { $0 <= bench.now }
            for _ in 0..<fired { keep(bench.send(.timer(HomeBench.key))) }
            let asked = bench.join(number)
            keep(asked)
            for one in (asked + bench.track(asked)).looks { keep(bench.answer(one, .nothing, unownedDue: due)) }
            keep(bench.send(.leave(waiter(number))))
        }
        #expect(pending.count <= 20)
    }

    // MARK: Bounds

    @Test func `nothing grows while the key cannot be tracked`() {
        let bench = HomeBench()
        var actions = bench.join(0)
        for number in 1...1_000 {
            actions += bench.join(number)
            actions = bench.track(actions, false)
            _ = bench.send(.leave(waiter(number)))
        }
        #expect(bench.home.waiterCount == 1)
        #expect(bench.home.restlessCount <= 1)
    }
}
