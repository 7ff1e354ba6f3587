// The queue of what is to be handed back: how much at a time, what Redis does not take, and what is too much.

import Net
import Redis
import Support
import Testing

@testable import Gateway

struct HandBacksTests {
    private final class Bench {
        let loop: EventLoop
        let clock = ManualClock()
        let queue: HandBacks
        /// Workers that were started and have not asked yet.
        var started = 0

        init(limit: Int = 1000) throws {
            loop = try EventLoop(clock: clock)
            loop.adoptCurrentThread()
            queue = HandBacks(loop: loop, limit: limit)
            queue.startWorker = { [unowned self] in started += 1 }
        }

        func add(_ messages: Int) {
            let deliveries = (0..<messages).map { Delivery(id: StreamID(UInt64($0 + 1), 0), count: 1) }
            queue.add(
                HandBacks.Item(stream: StreamName("s"), group: GroupName("g"), consumer: ConsumerName("c"), deliveries: deliveries, since: loop.now))
        }

        func take() -> HandBacks.Item? {
            started -= 1
            return queue.take()
        }
    }

    @Test func `few are under way at a time, and each that is done makes room for the next`() throws {
        let bench = try Bench()
        for _ in 0..<100 { bench.add(1) }
        #expect(bench.started == Limits.handBackCalls && bench.queue.counters.messages == 100)
        var done = 0
        while bench.started > 0 {
            var item = bench.take()
            while let one = item {
                bench.queue.finished(one)
                done += 1
                item = bench.queue.take()
            }
            #expect(bench.started <= Limits.handBackCalls)
        }
        #expect(done == 100 && bench.queue.isEmpty)
        bench.add(1)
        #expect(bench.started == 1)
    }

    @Test func `what Redis does not take waits longer and longer, and goes at once when it is back`() throws {
        let bench = try Bench()
        for _ in 0..<3 { bench.add(1) }
        var pauses: [Duration] = []
        for round in 0..<8 {
            let before = bench.loop.now
            let item = try #require(bench.take())
            #expect(bench.queue.postpone(item) == (round == 0), "it is told once")
            while bench.started > 0 { #expect(bench.take() == nil, "nobody tries meanwhile") }
            #expect(bench.queue.take() == nil)
            while bench.started == 0 {
                bench.clock.advance(by: .milliseconds(50))
                bench.loop.runUntilIdle()
            }
            #expect(bench.started == 1)
            pauses.append(bench.loop.now - before)
        }
        #expect(pauses == [100, 200, 400, 800, 1600, 3200, 5000, 5000].map { .milliseconds($0) })
        let item = try #require(bench.take())
        #expect(!bench.queue.postpone(item) && bench.queue.take() == nil && bench.started == 0)
        bench.queue.resume()
        #expect(bench.started == 1 && bench.queue.counters.messages == 3)
        bench.queue.finished(try #require(bench.take()))
        #expect(bench.started == 1)
    }

    @Test func `past its bound the newest stay where they are, and are counted`() throws {
        let bench = try Bench(limit: 10)
        bench.add(6)
        bench.add(5)
        bench.add(4)
        bench.add(0)
        #expect(bench.queue.counters.messages == 10 && bench.queue.counters.dropped == 5)
        bench.queue.drop(try #require(bench.take()))
        #expect(bench.queue.counters.messages == 4 && bench.queue.counters.dropped == 11)
    }
}
