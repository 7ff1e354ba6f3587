// Sinks over HTTP (API.md §6): what one replica is told holds on all of them, at once.

import Glibc
import Support
import Synchronization
import Testing

@Suite(.blocking) struct SinkManagementTests {
    @Test func `a sink made on one replica runs on all, is replaced on another, and deleted on the first`() throws {
        let fleet = try SinkFleet()
        let before = try fleet.add()
        let created = try fleet.put("hook", fleet.definition(#""secrets":["\#(SinkFleet.secret)"],"headers":{"X-Key":"hush"}"#)).expect(201)
        #expect(created.json["url"] == .string(fleet.receiver.url) && created.json["group"] == "sink:hook" && created.json["max_held"] == 1000)
        #expect(created.json["secrets"] == ["••••"] && created.json["headers"] == ["X-Key": "••••"])
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(before) }
        #expect(fleet.receiver.deliveries[0].isSigned(with: SinkFleet.secret) && fleet.receiver.deliveries[0].headers["x-key"] == "hush")
        try waitUntil("both replicas tell of it") { try fleet.show("hook", on: 1)["replicas"].array.count == 2 }
        #expect(try fleet.show("hook", on: 1)["definition"] == created.json)
        let other = try Receiver()
        defer { other.stop() }
        let replaced = try fleet.put("hook", fleet.definition(url: other.url), on: 1).expect(200)
        #expect(replaced.json["url"] == .string(other.url) && replaced.json["secrets"] == [])
        #expect(try fleet.show("hook")["definition"] == replaced.json)
        // Both have the new one when neither delivers to the old any more.
        try waitUntil("it goes to the new URL alone") {
            let (count, id) = (fleet.receiver.deliveries.count, try fleet.add())
            try waitUntil("it is delivered") { other.confirmed.contains(id) || fleet.receiver.confirmed.contains(id) }
            return fleet.receiver.deliveries.count == count
        }
        #expect(try fleet.client(0).call("DELETE", "/v1/sinks/hook").expect(200).json == ["deleted": true])
        #expect(try fleet.client(1).get("/v1/sinks/hook").code == "SINK_NOT_FOUND")
        for index in 0...1 {
            try waitUntil("it has stopped") { try !fleet.client(index).get("/metrics").text.contains("sink=\"hook\"") }
        }
        let (count, late) = (other.deliveries.count, try fleet.add())
        // The group stays, and nobody reads it.
        #expect(try fleet.redis.run("XINFO", "GROUPS", "orders").contains("sink:hook"))
        try waitUntil("nothing is told of it any more") {
            try fleet.keys("sluice:*").allSatisfy { key in
                try !key.contains("hook") && !(key.contains(":reports:") && fleet.redis.run("HKEYS", key).contains("hook"))
            }
        }
        #expect(try fleet.redis.run("HEXISTS", "sluice:{sinks}", "hook") == ":0\r\n")
        #expect(other.deliveries.count == count && fleet.receiver.deliveries(of: late).isEmpty)
        try fleet.put("hook").expect(201)
        try waitUntil("a new one goes on where the old one ended") { fleet.receiver.confirmed.contains(late) }
    }

    @Test func `a sink of the configuration is shown, can't be changed, and can be paused`() throws {
        let fleet = try SinkFleet()
        let shown = try fleet.show("fixed", on: 1)
        #expect(shown["source"] == "configuration" && shown["read_only"] == true && shown["definition"]["headers"] == ["Authorization": "••••"])
        for call in ["PUT", "DELETE"] {
            let reply = try fleet.client(0).call(call, "/v1/sinks/fixed", json: call == "PUT" ? fleet.definition() : nil)
            #expect(reply.status == 409 && reply.code == "SINK_IN_CONFIG", "\(reply.text)")
        }
        #expect(try fleet.client(0).post("/v1/sinks/fixed/pause").expect(200).json == ["name": "fixed", "state": "paused"])
        for index in 0...1 { #expect(try fleet.show("fixed", on: index)["state"] == "paused") }
        try waitUntil("both hold") { try fleet.show("fixed")["replicas"].array.map { $0["state"] } == ["paused", "paused"] }
        #expect(try fleet.client(1).post("/v1/sinks/fixed/resume").expect(200).json == ["name": "fixed", "state": "running"])
        #expect(try fleet.show("fixed")["state"] == "running")
        let list = try fleet.client(1).get("/v1/sinks").expect(200)
        #expect(list.json["sinks"].array.map { $0["name"] } == ["fixed"])
        #expect(!list.text.contains("hush") && !list.text.contains("MfKQ"))
    }

    @Test func `a paused sink holds on every replica, over a restart too, and loses nothing`() throws {
        let fleet = try SinkFleet()
        try fleet.put("hook").expect(201)
        let first = try fleet.add()
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(first) }
        try fleet.client(1).post("/v1/sinks/hook/pause").expect(200)
        try waitUntil("both hold") { try fleet.show("hook")["replicas"].array.map { $0["state"] } == ["paused", "paused"] }
        let later = try (0..<5).map { _ in try fleet.add() }
        let third = try fleet.addGateway()
        try waitUntil("the new one holds too") { try fleet.show("hook", on: 2)["replicas"].array.map { $0["state"] } == ["paused", "paused", "paused"] }
        #expect(fleet.receiver.deliveries.count == 1)
        let shown = try fleet.show("hook", on: 2)
        #expect(shown["state"] == "paused" && shown["since_ms"].integer ?? 0 > 1_700_000_000_000)
        #expect(try fleet.reasons("hook", on: 2).first == "paused")
        if shown["lag"] != .null { #expect(shown["lag"] == 5) }
        #expect(shown["oldest_undelivered_ms"].integer != nil)
        try fleet.put("hook", fleet.definition(#""concurrency":2"#)).expect(200)  // What it is has nothing to do with whether it runs.
        #expect(try fleet.show("hook")["state"] == "paused")
        try fleet.client(0).post("/v1/sinks/hook/resume").expect(200)
        try waitUntil("all are delivered") { Set(later).isSubset(of: fleet.receiver.confirmed) }
        try fleet.client(0).post("/v1/sinks/hook/resume").expect(200)
        third.send(SIGTERM)
        #expect(third.waitForEnd() == 0)
        try waitUntil("who has ended tells nothing") { try fleet.show("hook")["replicas"].array.count == 2 }
    }

    @Test func `the receiver's 410 disables the sink on every replica until it is resumed or replaced`() throws {
        // Gone for all of them: what one hands back the other may try before it hears of the stop.
        final class Receiving: Sendable { let isBack = Mutex(false) }
        let receiving = Receiving()
        let fleet = try SinkFleet { _ in .status(receiving.isBack.withLock { $0 } ? 200 : 410) }
        try fleet.put("hook").expect(201)
        let id = try fleet.add("gone")
        for index in 0...1 { try waitUntil("it is disabled") { try fleet.show("hook", on: index)["state"] == "disabled" } }
        #expect(try fleet.show("hook")["reasons"][0]["detail"].string?.contains("410") == true)
        try waitUntil("both have stopped") { try fleet.show("hook")["replicas"].array.map { $0["state"] } == ["disabled", "disabled"] }
        #expect(!fleet.receiver.confirmed.contains(id))
        try waitUntil("the attempt is told") { try fleet.client(1).get("/v1/sinks/hook/deliveries?status=410").json["deliveries"].array.count >= 1 }
        receiving.isBack.withLock { $0 = true }
        try fleet.client(1).post("/v1/sinks/hook/resume").expect(200)
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
    }

    @Test func `replacing a sink whose receiver was gone enables it`() throws {
        let fleet = try SinkFleet { $0.number == 1 ? .status(410) : .status(200) }
        try fleet.put("hook").expect(201)
        let id = try fleet.add()
        try waitUntil("it is disabled") { try fleet.show("hook")["state"] == "disabled" }
        try fleet.put("hook", fleet.definition(#""concurrency":3"#), on: 1).expect(200)
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
        #expect(try fleet.show("hook")["state"] == "running")
    }

    @Test func `a test sends one signed sample and tells what came back`() throws {
        let fleet = try SinkFleet(gateways: 1) { $0.headers["x-mode"] == "slow" ? .hold : .status(503, headers: "Retry-After: 1\r\n", body: "not \"now\"") }
        try fleet.put("hook", fleet.definition(#""secrets":["\#(SinkFleet.secret)"],"headers":{"X-To":"{stream}/{field:a}"}"#)).expect(201)
        try fleet.client(0).post("/v1/sinks/hook/pause").expect(200)
        let reply = try fleet.client(0).post("/v1/sinks/hook/test").expect(200)
        let sample = try #require(fleet.receiver.deliveries.first)
        #expect(sample.isSigned(with: SinkFleet.secret) && sample.headers["sluice-test"] == "true" && sample.headers["x-to"] == "orders/")
        #expect(sample.json["fields"] == ["sluice": "test"] && sample.json["stream"] == "orders")
        #expect(reply.json["status"] == 503 && reply.json["outcome"] == "throttled" && reply.json["body"] == "not \"now\"")
        #expect(reply.json["webhook_id"] == .string(sample.id) && reply.json["error"] == "status 503")
        #expect(try fleet.redis.run("XLEN", "orders") == ":0\r\n")
        fleet.receiver.stop()
        let refused = try fleet.client(0).post("/v1/sinks/hook/test").expect(200).json
        #expect(refused["outcome"] == "retry" && refused["status"] == nil && refused["error"].string?.isEmpty == false)
        let guarded = fleet.definition().replacing(#""allow_networks":["127.0.0.0/8"],"#, with: "")
        try fleet.put("guarded", guarded).expect(201)
        let kept = try fleet.client(0).post("/v1/sinks/guarded/test").expect(200).json
        #expect(kept["error"].string?.contains("127.0.0.1") == true, "\(kept)")
    }

    @Test func `recent deliveries tell of failures with their next attempt, and can be filtered`() throws {
        let fleet = try SinkFleet { $0.json["fields"]["do"] == "bad" && $0.number == 1 ? .status(500) : .status(201) }
        try fleet.put("hook", fleet.definition().replacing(#""base_ms":100,"max_ms":400"#, with: #""base_ms":1500,"max_ms":1500"#)).expect(201)
        let (bad, good) = (try fleet.add("bad"), try fleet.add("good"))
        func rows(_ query: String = "", on index: Int = 1) throws -> [JSON] {
            try fleet.client(index).get("/v1/sinks/hook/deliveries\(query)").expect(200).json["deliveries"].array
        }
        try waitUntil("three attempts are told") { try rows().count == 3 }
        let failed = try rows("?status=failed")
        #expect(failed.count == 1 && failed[0]["id"] == .string(bad) && failed[0]["attempt"] == 1 && failed[0]["status"] == 500)
        #expect(failed[0]["error"] == "status 500" && failed[0]["ms"].integer != nil)
        let (at, next) = (failed[0]["at_ms"].integer ?? 0, failed[0]["next_attempt_ms"].integer ?? 0)
        // An attempt on a busy machine may take its time.
        #expect(next >= at + 1500 && next < at + (failed[0]["ms"].integer ?? 0) + 4000)
        #expect(try rows("?status=500") == failed && rows("?status=5xx") == failed && rows("?status=none") == [])
        let others = try rows("?status=2xx")
        #expect(Set(others.compactMap { $0["id"].string }) == [bad, good] && others.allSatisfy { $0["outcome"] == "success" && $0["next_attempt_ms"] == nil })
        #expect(try rows("?count=1") == Array(rows().prefix(1)) && rows()[0]["attempt"] == 2)
        for index in 0..<300 { try fleet.add(index % 2 == 0 ? "bad" : "good") }
        try waitUntil("there is never more than the bound") { try fleet.redis.run("LLEN", "sluice:{sinks}:failures:hook") == ":100\r\n" }
        #expect(try rows("?status=failed&count=200").count == 100)
    }
}
