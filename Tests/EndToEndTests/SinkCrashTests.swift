// Gateways that die, stop and leave in the middle of a sink's work (SINKS.md §3): what they held ends all the same,
// with the same webhook-id, its attempts counted and its backoff kept.

import Glibc
import Support
import Testing

@Suite(.blocking) struct SinkCrashTests {
    @Test func `a 2xx that no acknowledgement followed is delivered again, under the same webhook-id`() throws {
        let rig = try SinkRig(SinkRig.steady()) { $0.number == 1 ? .hold : .status(200) }
        let first = try rig.newGateway()
        let id = try rig.add()
        try rig.wait("it is in flight") { rig.receiver.deliveries.count == 1 }
        first.send(SIGSTOP)  // It does not see the answer.
        rig.receiver.release()
        try rig.wait("the receiver has answered") { rig.receiver.confirmed.contains(id) }
        first.kill()
        #expect(try rig.pending() == 1)
        let second = try rig.newGateway()
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.map(\.attempt) == [1, 2])
        #expect(try rig.metric("sluice_sink_takeovers_total", second) == 1)
        try rig.expectPromise([id], second)
    }

    @Test func `a kill -9 at any moment around a dead letter leaves exactly one, and nothing pending`() throws {
        let rig = try SinkRig(["retry": "{base_ms: 20, max_ms: 20, max_deliveries: 2}"], isHasty: true) {
            .status($0.json["fields"]["do"] == "400" ? 400 : 500)
        }
        var random = SeededRandom()
        var ids: [String] = []
        for _ in 0..<8 {
            let gateway = try rig.newGateway()
            let before = rig.receiver.deliveries.count
            for _ in 0..<6 { ids.append(try rig.add(Bool.random(using: &random) ? "400" : "500")) }
            try rig.wait("it is at work") { rig.receiver.deliveries.count > before }
            poll(nil, 0, Int32.random(in: 0...40, using: &random))  // A moment by the seed.
            gateway.kill()
        }
        let last = try rig.newGateway()
        try rig.waitUntilSettled()
        let letters = try rig.deadLetters(last)  // Fails where there are two of one.
        #expect(Set(letters.keys) == Set(ids), "\(random.note)")
        #expect(rig.receiver.deliveries.allSatisfy { $0.attempt <= 2 }, "\(random.note)")
        try rig.expectPromise(ids, last, random.note)
    }

    @Test func `another replica takes over within the lease`() throws {
        // The lease, a quarter of it (with its jitter) until somebody looks, and room for a busy machine.
        let most = Duration.milliseconds(1000 + 300 + 4000)
        var times: [Duration] = []
        for _ in 0..<6 where times.allSatisfy({ $0 >= most }) {
            let rig = try SinkRig(isHasty: true) { $0.attempt == 1 ? .hold : .status(200) }
            let first = try rig.newGateway()
            try rig.warmUp()
            let second = try rig.newBystander()
            let ids = try rig.add(count: 5)
            try rig.wait("all are in flight") { rig.receiver.deliveries.count >= 5 }
            let killed = ContinuousClock.now
            first.kill()
            second.send(SIGCONT)
            let flights = rig.receiver.deliveries
            let begun = try #require(flights.map(\.time).min())
            let isInTime = ContinuousClock.now - begun < .milliseconds(400) && flights.allSatisfy { !$0.isAbandoned }
            try rig.waitUntilSettled()
            let time = ContinuousClock.now - killed
            try rig.expectPromise(ids, second)
            guard isInTime else { continue }  // Else the first had given them up itself.
            times.append(time)
            // But for what the second, too, has given up in the meantime.
            let isAgain = try rig.metric("sluice_sink_attempts_total", second, "retry") > 0
            for id in ids {
                let attempts = rig.receiver.deliveries(of: id).map(\.attempt)
                #expect(attempts == [1, 2] || isAgain && attempts.starts(with: [1, 2]), "\(attempts)")
            }
        }
        #expect(times.contains { $0 < most }, "\(times)")
    }

    @Test func `a crash neither resets nor skips a backoff`() throws {
        var delays: [Duration] = []
        for _ in 0..<5 where delays.allSatisfy({ $0 >= .milliseconds(7000) }) {  // A busy machine may take longer.
            let rig = try SinkRig(["retry": "{base_ms: 2500, jitter: 0, max_deliveries: 3}"], isHasty: true) { .status($0.number == 1 ? 500 : 200) }
            let first = try rig.newGateway()
            try rig.warmUp()
            let second = try rig.newBystander()
            let id = try rig.add()
            try rig.wait("its retry is written down") { try rig.isScheduled(id) || rig.receiver.deliveries.count > 1 }
            first.kill()
            let isWaiting = rig.receiver.deliveries.count == 1
            second.send(SIGCONT)
            try rig.wait("it is tried again") { rig.receiver.deliveries.count >= 2 }
            let deliveries = rig.receiver.deliveries.prefix(2)
            try rig.waitUntilSettled()
            try rig.expectPromise([id], second)
            guard isWaiting, !deliveries[0].isAbandoned else { continue }  // Else the first had tried it again, or given it up, itself.
            let delay = deliveries[1].time - deliveries[0].time
            #expect(delay >= .milliseconds(2500) && deliveries.map(\.attempt) == [1, 2], "\(delay)")
            delays.append(delay)
        }
        #expect(delays.contains { $0 < .milliseconds(7000) }, "\(delays)")
    }

    @Test func `SIGTERM lets land what is in flight, hands the rest back, and ends with 0`() throws {
        // Every second message is never answered.
        let rig = try SinkRig(["concurrency": "10", "timeout_ms": "5000", "lease_ms": "60000", "retry": "{base_ms: 1000}"]) {
            $0.attempt > 1 ? .status(200) : $0.json["fields"]["do"] == "stuck" ? .stuckBody : .hold
        }
        let gateway = try rig.newGateway()
        try rig.warmUp()
        let landing = try rig.add(count: 5)
        let stuck = try (0..<5).map { _ in try rig.add("stuck") }
        try rig.wait("all are in flight") { rig.receiver.deliveries.count == 10 }
        let begin = ContinuousClock.now
        gateway.send(SIGTERM)
        let later = try rig.add(count: 2)
        try rig.wait("it drains") { gateway.log.contains("Shutting down") }
        rig.receiver.release()
        #expect(gateway.waitForEnd(atMost: .seconds(60)) == 0, "\(gateway.log)")
        #expect(ContinuousClock.now - begin < .seconds(20))
        #expect(Set(landing).isSubset(of: rig.receiver.confirmed))
        #expect(try rig.pending() == 5, "\(gateway.log)")
        for id in stuck {
            let holder = try rig.holder(of: id)
            #expect(holder?.consumer == "unowned" && holder?.deliveries == 1)
        }
        #expect(later.allSatisfy { rig.receiver.deliveries(of: $0).isEmpty })
        // What was handed back waits for no lease, only for its own backoff.
        let next = try rig.newGateway()
        try rig.waitUntilSettled()
        #expect(stuck.allSatisfy { rig.receiver.deliveries(of: $0).map(\.attempt) == [1, 2] })
        try rig.expectPromise(landing + stuck + later, next)
    }

    @Test func `what a stopped gateway finds taken over when it goes on, it leaves alone`() throws {
        let retry = ["retry": "{base_ms: 4000, jitter: 0, max_deliveries: 9}"]
        let rig = try SinkRig(SinkRig.steady(retry)) {
            $0.json["fields"]["do"] == "500" && $0.number == 1 ? .status(500) : $0.attempt == 1 ? .hold : .status(200)
        }
        let first = try rig.newGateway()
        try rig.warmUp()
        // Fewer than fit into the window, however much the failures narrow it.
        let flying = try rig.add(count: 2)
        let waiting = try (0..<2).map { _ in try rig.add("500") }
        try rig.wait("half is in flight, half waits") {
            try rig.receiver.deliveries.count == 4 && waiting.allSatisfy { try rig.isScheduled($0) }
        }
        first.send(SIGSTOP)
        let second = try rig.newGateway()
        try rig.wait("the second has delivered all") { Set(flying + waiting).isSubset(of: rig.receiver.confirmed) }
        try rig.waitUntilSettled()
        first.send(SIGCONT)
        let last = try rig.add(count: 20)  // Both are at work again.
        try rig.wait("the first knows") { try rig.metric("sluice_sink_held", first) == 0 }
        try rig.waitUntilSettled()
        for id in flying + waiting {
            let deliveries = rig.receiver.deliveries(of: id)
            #expect(deliveries.count <= 3 && deliveries.allSatisfy { $0.attempt <= 2 }, "\(deliveries.map(\.attempt))")
        }
        #expect(try rig.deadLetters(second).isEmpty)
        try rig.expectPromise(flying + waiting + last, second)
    }

    @Test func `a stopped gateway's late failure neither steals a message nor counts for one that another holds`() throws {
        let retry = ["retry": "{base_ms: 60000, max_ms: 60000, jitter: 0, max_deliveries: 9}"]
        let rig = try SinkRig(SinkRig.steady(retry)) {
            $0.number == 1 ? .stuckBody : .status(500)
        }
        let first = try rig.newGateway()
        let id = try rig.add()
        try rig.wait("it is in flight") { rig.receiver.deliveries.count == 1 }
        first.send(SIGSTOP)
        let second = try rig.newGateway()
        try rig.wait("the second has tried it, and written down when it tries again") { try rig.isScheduled(id) }
        let holder = try #require(try rig.holder(of: id))
        #expect(holder.deliveries == 2)
        first.send(SIGCONT)  // Its attempt has timed out meanwhile.
        try rig.wait("the first has let go of it") {
            try rig.metric("sluice_sink_attempts_total", first, "retry") == 1 && rig.metric("sluice_sink_held", first) == 0
        }
        let still = try #require(try rig.holder(of: id))
        #expect(still.consumer == holder.consumer && still.deliveries == 2)
        #expect(try rig.metric("sluice_sink_lost_total", first) == 1)
        #expect(try rig.metric("sluice_sink_held", second) == 1)
    }
}
