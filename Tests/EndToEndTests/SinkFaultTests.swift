// Redis and the receiver come and go under a sink; and a run in which everything does, by a seed.

import Glibc
import Support
import Testing

@Suite(.blocking) struct SinkFaultTests {
    @Test func `Redis is killed and comes back under a running sink, and nothing is lost`() throws {
        let rig = try SinkRig(SinkRig.steady(), isHasty: true, redisOptions: RedisServerProcess.lasting) {
            $0.json["fields"]["do"] == "held" && $0.number == 1 ? .hold : .status($0.number == 1 ? 500 : 200)
        }
        let gateway = try rig.newGateway()
        try rig.warmUp()
        var ids = try rig.add(count: 10)
        for _ in 0..<3 { ids.append(try rig.add("held")) }
        try rig.wait("all are in flight, or wait") { rig.receiver.deliveries.count >= 13 }
        rig.redis.end()
        rig.receiver.release()  // Their acknowledgements have nowhere to go.
        try rig.wait("the gateway notices") { try TestClient(port: gateway.port).get("/readyz").status == 503 }
        try rig.redis.start()
        ids += try rig.add(count: 10)
        try rig.waitUntilSettled()
        try rig.expectPromise(ids, gateway)
        #expect(try rig.deadLetters(gateway).isEmpty)
    }

    @Test func `after FLUSHALL the group is created again, and what is added then is delivered`() throws {
        let rig = try SinkRig()
        let gateway = try rig.newGateway()
        var ids = try rig.add(count: 3)
        try rig.waitUntilSettled()
        try rig.redis.run("FLUSHALL")
        ids = try rig.add(count: 3)
        try rig.waitUntilSettled()
        #expect(try rig.metric("sluice_sink_groups_created_again_total", gateway) == 1)
        try rig.expectPromise(ids, gateway)
        // The group alone: nothing is delivered twice, and nothing left out.
        try rig.redis.transaction([["XGROUP", "DESTROY", SinkRig.stream, SinkRig.group], ["XADD", SinkRig.stream, "*", "do", "200"]])
        ids += try rig.add(count: 1)
        try rig.wait("all are delivered") { rig.receiver.deliveries.count == 3 + 3 + 2 }
        try rig.waitUntilSettled()
        try rig.expectPromise(ids, gateway)
    }

    @Test(arguments: [false, true]) func `what is trimmed while it waits is a dead letter without data`(afterCrash: Bool) throws {
        // It is found where it is looked after, long before its retry.
        let rig = try SinkRig(["retry": "{base_ms: 300000, jitter: 0}"], isHasty: true) { _ in .status(500) }
        var gateway = try rig.newGateway()
        let id = try rig.add()
        try rig.wait("its retry is written down") { try rig.isScheduled(id) }
        if afterCrash { gateway.kill() }
        try rig.redis.run("XTRIM", SinkRig.stream, "MAXLEN", "0")
        if afterCrash { gateway = try rig.newGateway() }
        try rig.wait("it is a dead letter") { try rig.deadLetters(gateway)[id] != nil }
        let letter = try rig.deadLetters(gateway)[id] ?? .null
        #expect(letter["reason"].string == "trimmed" && letter["original_data"].string == "null", "\(letter)")
        #expect(letter["original_id"].string == id && letter["attempts"].string == "1" && letter.members.count == 10)
        #expect(try rig.pending() == 0)
        #expect(rig.receiver.deliveries.count == 1)
    }

    @Test func `a receiver that is away for a while gets everything`() throws {
        let rig = try SinkRig(["retry": "{base_ms: 100, factor: 1.5, max_ms: 300, max_deliveries: 100}"], isHasty: true)
        let gateway = try rig.newGateway()
        var ids = try rig.add(count: 5)
        try rig.waitUntilSettled()
        rig.receiver.stop()
        ids += try rig.add(count: 30)
        // The breaker opens after 20 of them: from then on they are few.
        try rig.wait("attempts fail") { try rig.metric("sluice_sink_retries_total", gateway) > 25 }
        #expect(try rig.pending() > 0)
        try rig.receiver.start()
        try rig.waitUntilSettled()
        try rig.expectPromise(ids, gateway)
        #expect(try rig.deadLetters(gateway).isEmpty)
    }

    @Test func `what Redis gives after the deadline of a read is delivered, and waits for no lease`() throws {
        var times: [Duration] = []
        for _ in 0..<5 where times.allSatisfy({ $0 >= .seconds(2) }) {  // A busy machine may take longer.
            let rig = try SinkRig(["lease_ms": "2500"], isHasty: true)
            let gateway = try rig.newGateway()
            let early = try rig.add()
            try rig.wait("it is at work") { try rig.receiver.confirmed.contains(early) && rig.pending() == 0 }
            let id = "9999999999999-0"
            try rig.redis.transaction([
                ["XADD", SinkRig.stream, id, "do", "200"],
                ["XREADGROUP", "GROUP", SinkRig.group, "gone", "STREAMS", SinkRig.stream, ">"],
            ])
            rig.redis.freeze()
            poll(nil, 0, 2700)  // The lease ends meanwhile, and looks for what it leaves are given up, one after the other.
            rig.redis.thaw()
            let begin = ContinuousClock.now
            try rig.wait("it is delivered") { rig.receiver.confirmed.contains(id) }
            // Else it did not come late: its lease was over before Redis stood still, or its connection was.
            if gateway.log.contains("messages came late") { times.append(ContinuousClock.now - begin) }
            try rig.waitUntilSettled()
            try rig.expectPromise([id, early], gateway)
        }
        #expect(times.contains { $0 < .seconds(2) }, "\(times)")
    }
}
