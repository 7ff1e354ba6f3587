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
        let waiter = try longPoll.park(HomeBench.key, claims: nil, until: nil)
        let later = longPoll.beginLook(HomeBench.key)
        longPoll.endLook(HomeBench.key, round: other)
        #expect(tracked == 0, "the first look may still find it should queue up before")
        longPoll.endLook(HomeBench.key, round: first)
        #expect(tracked == 1, "it has queued up")
        longPoll.endLook(HomeBench.key, round: later)
        longPoll.leave(waiter)
        #expect(!longPoll.isWaitedFor(HomeBench.key))
    }
}
