// The shell around a home, by itself: in which order it lets waiters in.

import Net
import Testing

@testable import Gateway

struct LongPollTests {
    @Test func `who comes during a look waits for that look, and not for those that begin later`() throws {
        let loop = try EventLoop(clock: ManualClock())
        let longPoll = LongPoll(
            loop: loop, index: 0, loopCount: 1, count: WaiterCount(limit: 10), settings: WaitHome.Settings())
        var tracked = 0
        longPoll.links = LongPoll.Links(post: { _, _ in }, track: { _, _ in tracked += 1 }, ask: { _ in })
        let first = longPoll.beginLook(HomeBench.key)
        let other = longPoll.beginLook(HomeBench.key)
        let waiter = longPoll.park(HomeBench.key, until: nil)
        let later = longPoll.beginLook(HomeBench.key)
        longPoll.endLook(HomeBench.key, round: other)
        #expect(tracked == 0, "the first look may still find it should queue up before")
        longPoll.endLook(HomeBench.key, round: first)
        #expect(tracked == 1, "it has queued up")
        longPoll.endLook(HomeBench.key, round: later)
        longPoll.leave(waiter)
        #expect(!longPoll.isWaitedFor(HomeBench.key))
    }

    /// Leaves as soon as it is told to look, as a call does whose client has gone.
    private final class Leaver: WaiterOwner {
        let longPoll: LongPoll
        let waiter: Waiter
        init(_ longPoll: LongPoll, _ waiter: Waiter) { (self.longPoll, self.waiter) = (longPoll, waiter) }
        func signalled(_ signal: Waiter.Signal) { longPoll.leave(waiter) }
    }

    @Test func `a crowd whose clients have gone leaves one after the other, not within one another`() throws {
        let loop = try EventLoop(clock: ManualClock())
        let longPoll = LongPoll(
            loop: loop, index: 0, loopCount: 1, count: WaiterCount(limit: 100_000), settings: WaitHome.Settings())
        var tracked: [WaitHome.Event] = []
        longPoll.links = LongPoll.Links(post: { _, _ in }, track: { tracked.append(.tracked($0, $1, true)) }, ask: { _ in })
        for _ in 0..<100_000 {
            let waiter = longPoll.park(HomeBench.key, until: nil)
            waiter.owner = Leaver(longPoll, waiter)
        }
        for event in tracked { longPoll.receive(.event(event)) }
        #expect(!longPoll.isWaitedFor(HomeBench.key) && longPoll.counters.looks == 100_000)
    }

    /// The home may have had a waiter look before the waiter's loop knew what for.
    @Test func `a loop with waiters brings what it hears of their group to their home, and no other does`() throws {
        var posted: [(loop: Int, message: LongPollMessage)] = []
        let loops = try (0..<2).map { index in
            let longPoll = LongPoll(
                loop: try EventLoop(clock: ManualClock()), index: index, loopCount: 2, count: WaiterCount(limit: 10), settings: WaitHome.Settings())
            longPoll.links = LongPoll.Links(post: { posted.append(($0, $1)) }, track: { _, _ in }, ask: { _ in })
            return longPoll
        }
        let home = loops[0].homeIndex(HomeBench.key.stream)
        let away = loops[1 - home]
        away.nudged(HomeBench.key)
        #expect(posted.isEmpty)
        let waiter = away.park(HomeBench.key, until: nil)
        away.nudged(HomeBench.key)
        #expect(posted.count == 2 && posted.allSatisfy { $0.loop == home })
        guard case .event(.join) = posted[0].message, case .event(.nudged(HomeBench.key)) = posted[1].message else {
            Issue.record("\(posted)")
            return
        }
        away.leave(waiter)
        away.nudged(HomeBench.key)
        #expect(posted.count == 3)
    }

    @Test func `nobody is told to look once all are sent away`() throws {
        let loop = try EventLoop(clock: ManualClock())
        let longPoll = LongPoll(
            loop: loop, index: 0, loopCount: 1, count: WaiterCount(limit: 100), settings: WaitHome.Settings())
        var tracked: [WaitHome.Event] = []
        longPoll.links = LongPoll.Links(post: { _, _ in }, track: { tracked.append(.tracked($0, $1, true)) }, ask: { _ in })
        final class Reader: WaiterOwner {
            var signals: [Waiter.Signal] = []
            var leave: () -> Void = {}
            func signalled(_ signal: Waiter.Signal) {
                signals.append(signal)
                if signal == .draining { leave() }
            }
        }
        let readers = (0..<50).map { _ in
            let (reader, waiter) = (Reader(), longPoll.park(HomeBench.key, until: nil))
            reader.leave = { longPoll.leave(waiter) }
            waiter.owner = reader
            return reader
        }
        for event in tracked { longPoll.receive(.event(event)) }
        #expect(readers.filter { $0.signals == [.look] }.count == 1, "the first one looks")
        longPoll.drain()
        #expect(readers.filter { $0.signals.contains(.look) }.count == 1 && readers.allSatisfy { $0.signals.contains(.draining) })
    }
}
