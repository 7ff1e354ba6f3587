// Sinks that keep the order of a key or of a stream (`order_by`), from outside: retries, dead letters, replicas that stand
// by, and those that take over.

import Glibc
import Support
import Testing

@Suite(.blocking) struct SinkOrderTests {
    @Test func `messages of a key go one after the other, through retries, and others go past`() throws {
        let rig = try SinkRig(SinkRig.ordered()) {
            $0.json["fields"]["do"] == "once" && $0.number == 1 ? .status(500) : $0.json["fields"]["do"] == "never" ? .status(500) : .slow(.milliseconds(2))
        }
        let gateway = try rig.newGateway()
        var ids: [String] = []
        for number in 0..<60 { ids.append(try rig.add(number % 9 == 4 ? "once" : number == 20 ? "never" : "200", key: "\(number % 4)")) }
        let free = try (0..<10).map { _ in try rig.add("once", key: nil) }
        try rig.waitUntilSettled()
        rig.expectOrder()
        let letters = try rig.deadLetters(gateway)
        #expect(Set(letters.keys) == [ids[20]])
        try rig.expectPromise(ids + free, gateway)
        #expect(rig.receiver.deliveries.allSatisfy { $0.attempt == $0.number })
        // Another key's retry held nobody up: its successors came between its first attempt and its second.
        let messages = rig.receiver.deliveries.map(\.message)
        let (first, last) = (try #require(messages.firstIndex(of: ids[20])), try #require(messages.lastIndex(of: ids[20])))
        #expect(Set(messages[first...last]).count > 1)
        // The dead letter is put back, and comes as what is pending does.
        let redrive = try TestClient(port: gateway.port).post("/v1/streams/\(SinkRig.dead)/redrive?all=true")
        #expect(redrive.json["redriven"] == 1, "\(redrive.text)")
        try rig.wait("it was tried again") { rig.receiver.deliveries(of: ids[20]).count == 6 }
        let more = try rig.add(count: 8, keys: 4)
        try rig.waitUntilSettled()
        rig.expectOrder(except: [ids[20]])
        try rig.expectPromise(more, gateway)
    }

    @Test func `a stream's order holds back all of it, and no other stream`() throws {
        let rig = try SinkRig(SinkRig.ordered(["order_by": "stream", "streams": "[\(SinkRig.stream), other]"])) {
            $0.json["fields"]["do"] == "hold" && $0.attempt == 1 ? .hold : .status($0.number == 1 && $0.json["fields"]["do"] == "once" ? 500 : 200)
        }
        let gateway = try rig.newGateway()
        var ids = [try rig.add("once", key: nil), try rig.add("hold", key: nil)]
        ids += try rig.add(count: 20, keys: 3)
        let other = "5-1"
        try rig.redis.run("XADD", "other", other, "do", "200")
        try rig.wait("the other stream goes on") { rig.receiver.confirmed.contains(other) && rig.receiver.deliveries(of: ids[1]).count == 1 }
        #expect(rig.receiver.deliveries.count { $0.json["stream"].string == SinkRig.stream } == 3)
        rig.receiver.release()
        try rig.waitUntilSettled()
        rig.expectOrder(wholeStream: true, except: [other])
        try rig.expectPromise(ids + [other], gateway)
    }

    @Test func `one replica delivers, the other stands by and says so, and takes over at once when the first ends`() throws {
        let rig = try SinkRig(SinkRig.ordered(["lease_ms": "60000"])) { $0.json["fields"]["do"] == "once" && $0.number == 1 ? .status(500) : .status(200) }
        let gateways = [try rig.newGateway(), try rig.newGateway()]
        var ids = try rig.add(count: 20, keys: 3)
        try rig.waitUntilSettled()
        let (leader, others) = try rig.leader(of: gateways)
        #expect(try rig.metric("sluice_sink_delivered_total", leader) == 20)
        #expect(try rig.metric("sluice_sink_attempts_total", others[0]) == 0)
        let client = TestClient(port: others[0].port)
        var shown = JSON.null
        try rig.wait("both are shown") {
            shown = try client.get("/v1/sinks/payments").expect(200).json
            return Set(shown["replicas"].array.map { $0["state"].string }) == ["running", "standby"]
        }
        #expect(shown["state"] == "running" && shown["reasons"].array.map { $0["code"] } == ["idle", "standby"], "\(shown)")
        let running = shown["replicas"].array.first { $0["state"] == "running" }?["consumer"]
        #expect(shown["streams"][0]["leader"] == running && shown["streams"][0]["lease"] != .null)
        #expect(shown["reasons"][1]["detail"].string?.contains(running?.string ?? "?") == true)
        #expect(try client.get("/metrics").text.contains(#"sluice_sink_state{sink="payments",stream="orders:payments",state="standby"} 1"#))
        // In the middle of its work, with one that waits for a retry.
        ids += [try rig.add("once", key: "0")]
        ids += try rig.add(count: 30, keys: 3)
        leader.send(SIGTERM)
        #expect(leader.waitForEnd() == 0, "\(leader.log)")
        let begin = ContinuousClock.now
        ids += try rig.add(count: 10, keys: 3)
        try rig.waitUntilSettled()
        #expect(ContinuousClock.now - begin < .seconds(35))  // And not after the lease.
        rig.expectOrder()
        try rig.expectPromise(ids, others[0])
        #expect(rig.receiver.deliveries.allSatisfy { $0.attempt == $0.number })
    }

    @Test func `a replica that is killed leaves the order to the next, and spends no attempts on what waits`() throws {
        let times = ["timeout_ms": "5000", "connect_timeout_ms": "400", "lease_ms": "12000"]
        let retry = ["retry": "{base_ms: 100, max_ms: 200, max_deliveries: 2}"]
        let rig = try SinkRig(SinkRig.ordered(times.merging(retry) { _, own in own })) {
            $0.json["fields"]["do"] == "hold" && $0.number == 1 ? .stuckBody : .status(200)
        }
        var gateways = [try rig.newGateway(), try rig.newGateway()]
        var ids: [String] = []
        for _ in 0..<2 {
            let (leader, others) = try rig.leader(of: gateways)
            ids += try rig.add(count: 4, keys: 2)  // A window begins at one.
            try rig.waitUntilSettled()
            let first = try rig.add("hold", key: "0")
            ids += [first] + (try rig.add(count: 12, keys: 2))
            try rig.wait("one is in flight, and others wait behind it") {
                // Nothing else is on its way.
                try rig.receiver.deliveries(of: first).count == 1 && rig.metric("sluice_sink_blocked", leader) == 6
                    && rig.metric("sluice_sink_held", leader) == 7
            }
            leader.kill()
            gateways = others + [try rig.newGateway()]
        }
        try rig.waitUntilSettled()
        rig.expectOrder()
        #expect(try rig.deadLetters(gateways[1]).isEmpty)
        #expect(rig.receiver.deliveries.allSatisfy { $0.attempt == $0.number })
        try rig.expectPromise(ids, gateways[1])
    }

    @Test func `who was stopped beyond the lease and goes on sends nothing of what it held`() throws {
        // Nobody but who is stopped goes without a confirmation for longer than nine seconds, and so loses the lease.
        let times = ["timeout_ms": "3000", "connect_timeout_ms": "500", "lease_ms": "12000"]
        let retry = ["retry": "{base_ms: 12000, jitter: 0, max_ms: 12000, max_deliveries: 9}"]  // Over when the lease is.
        let rig = try SinkRig(SinkRig.ordered(times.merging(retry) { _, own in own })) {
            $0.json["fields"]["do"] == "500" && $0.number == 1 ? .status(500) : .status(200)
        }
        let gateways = [try rig.newGateway(), try rig.newGateway()]
        let (first, others) = try rig.leader(of: gateways)
        for round in 0..<2 {
            let (leader, next) = try rig.leader(of: gateways)
            let waiting = try (0..<3).map { try rig.add("500", key: "\($0)") }
            var ids = waiting + (try rig.add(count: 12, keys: 3))
            try rig.wait("all wait for three retries") { try waiting.allSatisfy { try rig.isScheduled($0) } }
            leader.send(SIGSTOP)
            try rig.wait("the other has delivered all") { Set(ids).isSubset(of: rig.receiver.confirmed) }
            let before = rig.receiver.deliveries.count
            leader.send(SIGCONT)
            try rig.wait("it knows") { try rig.metric("sluice_sink_lease", leader) == 0 && rig.metric("sluice_sink_held", leader) == 0 }
            #expect(rig.receiver.deliveries.count == before, "round \(round)")
            ids += try rig.add(count: 9, keys: 3)
            try rig.waitUntilSettled()
            rig.expectOrder("round \(round)")
            try rig.expectPromise(ids, next[0])
        }
        #expect(try rig.metric("sluice_sink_leases_lost_total", first) + rig.metric("sluice_sink_leases_lost_total", others[0]) == 2)
    }

    @Test func `a key that waits has room for max_held behind it, and then all wait`() throws {
        let rig = try SinkRig(SinkRig.ordered(["max_held": "20", "concurrency": "4", "timeout_ms": "60000", "lease_ms": "120000"])) { $0.json["fields"]["key"] == "slow" && $0.attempt == 1 ? .hold : .status(200) }
        let gateway = try rig.newGateway()
        try rig.warmUp()
        var ids = [try rig.add(key: "slow")]
        for _ in 0..<30 { ids.append(try rig.add(key: "slow")) }
        ids += try rig.add(count: 5, keys: 5)
        try rig.wait("no more is held") { try rig.metric("sluice_sink_blocked", gateway) == 19 && rig.metric("sluice_sink_held", gateway) == 20 }
        let client = TestClient(port: gateway.port)
        try rig.wait("that is told") { try client.get("/v1/sinks/payments").json["reasons"].array.contains { $0["code"] == "full" } }
        rig.receiver.release()
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.allSatisfy { $0.attempt == 1 })
        rig.expectOrder()
        try rig.expectPromise(ids, gateway)
    }

    @Test func `a batch has one message of a key, and those that fail in it hold back their own key alone`() throws {
        let rig = try SinkRig(SinkRig.ordered(["batch": "{max_messages: 5, linger_ms: 20}"])) { delivery in
            let rows = delivery.json.array
            let failed = rows.filter { $0["fields"]["do"] == "once" && $0["delivery_count"] == 1 }.compactMap { $0["id"].string }
            let items = failed.map { #"{"itemIdentifier":"\#($0)"}"# }.joined(separator: ",")
            return .status(200, body: #"{"batchItemFailures":[\#(items)]}"#)
        }
        let gateway = try rig.newGateway()
        for number in 0..<50 { try rig.add(number % 8 == 3 ? "once" : "200", key: "\(number % 6)") }
        try rig.waitUntilSettled()
        var latest: [String: String] = [:]
        for delivery in rig.receiver.deliveries {
            let rows = delivery.json.array
            let keys = rows.compactMap { $0["fields"]["key"].string }
            #expect(Set(keys).count == keys.count && rows.count == keys.count && keys.count <= 5)
            for (key, row) in zip(keys, rows) {
                let id = row["id"].string ?? ""
                #expect(id >= latest[key] ?? "" || id.count != latest[key]?.count, "key \(key): \(id) came after \(latest[key] ?? "")")
                latest[key] = id
            }
        }
        #expect(rig.receiver.deliveries.contains { $0.json.array.count > 1 })
        #expect(try rig.deadLetters(gateway).isEmpty)
    }
}
