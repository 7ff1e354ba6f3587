// What a loop knows of policies, and when it carries them out: both are plain values, tested with plain times.

import Support
import Testing

@testable import Gateway

struct RecoveryStateTests {
    private let key = WaitKey(stream: StreamName("s"), group: GroupName("g"))
    private let policy = RecoveryPolicy(maxIdle: .milliseconds(400), deadLetter: StreamName("s:dlq"))

    // MARK: The index

    @Test func `a group is quiet until its first message is idle for long enough, at most a second`() {
        var index = RecoveryIndex()
        #expect(!index.mayHaveIdle(key, now: .zero))
        let isNews = index.set(key, policy)
        #expect(isNews && index.mayHaveIdle(key, now: .zero))
        index.looked(key, left: .milliseconds(100), now: .seconds(5))
        #expect(!index.mayHaveIdle(key, now: .milliseconds(5099)) && index.mayHaveIdle(key, now: .milliseconds(5100)))
        #expect(index.due(key) == .milliseconds(5100))
        // Nothing is pending: what is delivered in this moment has the whole time.
        index.looked(key, left: nil, now: .seconds(6))
        #expect(index.due(key) == .milliseconds(6400))
        _ = index.set(key, RecoveryPolicy(maxIdle: .seconds(60), deadLetter: StreamName("s:dlq")))
        #expect(index.mayHaveIdle(key, now: .seconds(6)), "another policy, another look")
        index.looked(key, left: .seconds(30), now: .seconds(10))
        #expect(index.due(key) == .seconds(40) && index.mayHaveIdle(key, now: .seconds(11)))
    }

    @Test func `the same policy is no news, and a deleted one is forgotten`() {
        var index = RecoveryIndex()
        #expect(index.set(key, policy) == true)
        #expect(index.set(key, policy) == false)
        #expect(index.set(key, nil) == true)
        #expect(index.policy(key) == nil && index.count == 0)
        index.looked(key, left: nil, now: .zero)
        #expect(index.count == 0)
    }

    // MARK: The schedule

    private func key(_ number: Int) -> WaitKey { WaitKey(stream: StreamName("s\(number)"), group: GroupName("g")) }

    @Test func `a policy runs when it is due, once at a time, and again when it is told to`() {
        var schedule = RecoverySchedule()
        schedule.add(key, at: .seconds(2))
        schedule.add(key, at: .seconds(1))
        schedule.add(key, at: .seconds(3))
        #expect(schedule.next == .seconds(1) && schedule.popDue(.milliseconds(999)) == nil)
        #expect(schedule.popDue(.seconds(1)) == key)
        #expect(schedule.popDue(.seconds(9)) == nil)
        schedule.add(key, at: .seconds(9))
        #expect(schedule.popDue(.seconds(9)) == nil, "it is running")
        schedule.ended(key, next: .seconds(12))
        #expect(schedule.popDue(.seconds(11)) == nil && schedule.popDue(.seconds(12)) == key)
        schedule.remove(key)
        schedule.ended(key, next: .seconds(13))
        #expect(schedule.popDue(.seconds(20)) == nil, "removed while it ran")
    }

    @Test func `no more than a few run at once, and after a stop none`() {
        var schedule = RecoverySchedule()
        for number in 0..<10 { schedule.add(key(number), at: .seconds(number)) }
        let first = (0..<10).compactMap { _ in schedule.popDue(.seconds(100)) }
        #expect(first == (0..<RecoverySchedule.width).map { key($0) } && schedule.next == nil)
        schedule.ended(first[1], next: .seconds(200))
        #expect(schedule.popDue(.seconds(100)) == key(RecoverySchedule.width))
        schedule.ended(first[0], next: .seconds(200))
        schedule.stop()
        #expect(schedule.popDue(.seconds(300)) == nil && schedule.next == nil)
    }

    @Test func `the walks' pace goes by the policy, within bounds`() {
        for (idle, interval) in [(1, 200), (800, 200), (4000, 1000), (40_000, 10_000), (86_400_000, 10_000)] {
            let policy = RecoveryPolicy(maxIdle: .milliseconds(idle), deadLetter: StreamName("d"))
            #expect(policy.interval == .milliseconds(interval))
        }
    }

    // MARK: Keys and nudges

    @Test func `a packed group is read back, and nothing else is`() {
        for (stream, group) in [("s", "g"), ("a:b", "1:x"), ("{x}", "sluice:")] {
            let packed = Nudge.pack(StreamName(stream), GroupName(group))
            let read = packed.withUnsafeBytes { Nudge.unpack($0) }
            #expect(read?.0 == StreamName(stream) && read?.1 == GroupName(group))
            let nudge = Nudge(.policy, StreamName(stream), GroupName(group))
            #expect(nudge.payload.withUnsafeBytes { Nudge(payload: $0) } == nudge)
        }
        for text in ["", ":", "1:", "1:s", "x:sg", "9:sg", "-1:sg"] {
            #expect(Array(text.utf8).withUnsafeBytes { Nudge.unpack($0) } == nil, "\(text)")
        }
    }
}
