// Ordered sinks (`order_by`) while Redis comes and goes, definitions change, and everything happens at once.

import Glibc
import Support
import Testing

@Suite(.blocking) struct SinkOrderFaultTests {
    @Test func `Redis is killed and comes back, and the order holds`() throws {
        let rig = try SinkRig(SinkRig.ordered(SinkRig.steady()), isHasty: true, redisOptions: RedisServerProcess.lasting) {
            $0.json["fields"]["do"] == "held" && $0.number == 1 ? .hold : .status($0.number == 1 && $0.json["fields"]["do"] == "once" ? 500 : 200)
        }
        let gateways = [try rig.newGateway(), try rig.newGateway()]
        let (leader, _) = try rig.leader(of: gateways)
        var ids = try rig.add(count: 10, keys: 3)
        ids += [try rig.add("held", key: "0"), try rig.add("once", key: "1")]
        ids += try rig.add(count: 10, keys: 3)
        try rig.wait("one is in flight") { rig.receiver.deliveries(of: ids[10]).count == 1 }
        rig.redis.end()
        rig.receiver.release()  // Its acknowledgement has nowhere to go: its key goes no further.
        try rig.wait("the gateway notices") { try TestClient(port: leader.port).get("/readyz").status == 503 }
        try rig.redis.start()
        ids += try rig.add(count: 10, keys: 3)
        try rig.waitUntilSettled()
        rig.expectOrder()
        try rig.expectPromise(ids, gateways[0])
        #expect(try rig.deadLetters(gateways[0]).isEmpty)
    }

    @Test func `Redis that hangs for longer than the lease changes no order`() throws {
        let rig = try SinkRig(SinkRig.ordered(SinkRig.brief()), isHasty: true) { _ in .slow(.milliseconds(3)) }
        let gateways = [try rig.newGateway(), try rig.newGateway()]
        _ = try rig.leader(of: gateways)
        var ids: [String] = []
        for _ in 0..<2 {
            ids += try rig.add(count: 100, keys: 5)
            try rig.wait("it is at work") { rig.receiver.confirmed.contains(ids[ids.count - 100]) }
            rig.redis.freeze()
            poll(nil, 0, 2200)  // The lease, and more than a command's time.
            rig.redis.thaw()
        }
        try rig.waitUntilSettled()
        rig.expectOrder()
        try rig.expectPromise(ids, gateways[0])
    }

    @Test func `after FLUSHALL the lease is taken again, and what is added then is delivered in order`() throws {
        let rig = try SinkRig(SinkRig.ordered(SinkRig.brief()), isHasty: true)
        let gateways = [try rig.newGateway(), try rig.newGateway()]
        _ = try rig.add(count: 10, keys: 3)
        try rig.waitUntilSettled()
        try rig.redis.run("FLUSHALL")
        rig.receiver.forget()
        let ids = try rig.add(count: 20, keys: 3)
        try rig.waitUntilSettled()
        rig.expectOrder()
        try rig.expectPromise(ids, gateways[0])
        // The group alone.
        try rig.redis.transaction([["XGROUP", "DESTROY", SinkRig.stream, SinkRig.group], ["XADD", SinkRig.stream, "*", "do", "200", "key", "0"]])
        let more = try rig.add(count: 6, keys: 3)
        try rig.waitUntilSettled()
        try rig.expectPromise(more, gateways[0])
        #expect(Set(rig.receiver.deliveries.map(\.message)).count == 27)
    }

    @Test func `a sink that is replaced waits for what the old one has in flight`() throws {
        let fleet = try SinkFleet { $0.json["fields"]["do"] == "hold" && $0.number == 1 ? .hold : .status(200) }
        // Without an order at first: it waits for the run from before, too.
        try fleet.put("hook", fleet.definition()).expect(201)
        var ids: [String] = []
        for order in [#""order_by":"do""#, #""order_by":"stream""#, #""order_by":"stream","concurrency":3"#] {
            fleet.receiver.holdAgain()
            ids.append(try fleet.add("hold"))
            try waitUntil("it is in flight") { fleet.receiver.deliveries(of: ids.last ?? "").count == 1 }
            try fleet.put("hook", fleet.definition(order)).expect(200)
            try fleet.waitForReason("standby", of: "hook")  // Both have heard of it.
            ids.append(try fleet.add("hold"))
            for _ in 0..<100 { _ = try fleet.show("hook") }  // As many turns of the loops, and answers of Redis.
            #expect(fleet.receiver.deliveries(of: ids.last ?? "").isEmpty)
            fleet.receiver.release()
            try waitUntil("both are delivered") { Set(ids).isSubset(of: fleet.receiver.confirmed) }
        }
        #expect(fleet.receiver.deliveries.map(\.message) == ids)
        // And back again: nobody needs a lease.
        try fleet.put("hook", fleet.definition(#""order_by":"none""#)).expect(200)
        ids.append(try fleet.add())
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(ids.last ?? "") }
        #expect(try fleet.show("hook")["definition"]["order_by"] == "none")
    }

    @Test func `a leader of whom nothing is heard is named until its lease has run out`() throws {
        let fleet = try SinkFleet(gateways: 1) { $0.number == 1 ? .hold : .status(200) }
        try fleet.put("hook", fleet.definition(#""order_by":"stream""#, times: #""timeout_ms":8000,"connect_timeout_ms":3000,"lease_ms":20000"#)).expect(201)
        let id = try fleet.add()
        try waitUntil("it is in flight") { fleet.receiver.deliveries.count == 1 }
        fleet.gateways[0].kill()
        try fleet.addGateway()
        fleet.receiver.release()
        try fleet.redis.run(["DEL"] + fleet.keys("sluice:{sinks}:reports:*"))  // As it is some seconds later.
        try fleet.waitForReason("no_leader", of: "hook", on: 1)
        try waitUntil("it is taken over") { fleet.receiver.deliveries(of: id).map(\.attempt) == [1, 2] }
        try waitUntil("nothing is pending") { try fleet.show("hook", on: 1)["pending"] == 0 }
    }

    /// Eight seconds of it: replicas that are killed, stopped, ended and started again, a Redis that is killed, a receiver
    /// that answers anything. Then all calms down, and the order is read off the receiver's list.
    @Test func `whatever happens, the messages of a key come in their order`() throws {
        let seed = SeededRandom()
        let keys = ["concurrency": "8", "retry": "{base_ms: 30, max_ms: 200, max_deliveries: 4}"]
        let rig = try SinkRig(
            SinkRig.ordered(SinkRig.brief(keys)),
            isHasty: true, redisOptions: RedisServerProcess.lasting
        ) { delivery in
            // The list of what came has its own order: an answer must not overtake what was written down.
            var random = SeededRandom(seed: seed.seed ^ UInt64(delivery.number) &* 0x1000_0000_01B3 ^ UInt64(delivery.body.count))
            return [.status(500), .status(429), .reset, .close, .slow(.milliseconds(50)), .status(400)].randomElement(using: &random).flatMap {
                Int.random(in: 0..<3, using: &random) == 0 ? $0 : nil
            } ?? .status(200)
        }
        var random = seed
        var gateways = [try rig.newGateway(), try rig.newGateway()]
        var ids: [String] = []
        let end = ContinuousClock.now + .seconds(8)
        while ContinuousClock.now < end {
            ids += try rig.add(count: Int.random(in: 1...8, using: &random), keys: 4)
            poll(nil, 0, Int32.random(in: 0...80, using: &random))  // A moment by the seed.
            let place = Int.random(in: 0...1, using: &random)
            switch Int.random(in: 0..<24, using: &random) {
            case 0, 1:
                gateways[place].kill()
                gateways[place] = try rig.newGateway()
            case 2:
                gateways[place].send(SIGSTOP)
                poll(nil, 0, Int32.random(in: 100...2500, using: &random))
                gateways[place].send(SIGCONT)
            case 3:
                gateways[place].send(SIGTERM)
                #expect(gateways[place].waitForEnd(atMost: .seconds(30)) == 0, "\(seed.note)")
                gateways[place] = try rig.newGateway()
            case 4:
                rig.redis.end()
                try rig.redis.start()
            default: break
            }
        }
        try rig.waitUntilSettled()
        rig.expectOrder(seed.note)
        try rig.expectPromise(ids, gateways[0], seed.note)
        print("\(ids.count) messages, \(rig.receiver.deliveries.count) deliveries, \(try rig.deadLetters(gateways[0]).count) dead letters")
    }
}
