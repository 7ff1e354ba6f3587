// Why is nothing arriving? `GET /v1/sinks/{name}` says it by itself, whichever replica is asked.

import Glibc
import Support
import Testing

@Suite(.blocking) struct SinkReasonTests {
    @Test func `a receiver that does not take our credentials, and one that is not there`() throws {
        let fleet = try SinkFleet { _ in .status(401) }
        // On a busy machine its attempts would be spent before anybody has looked.
        try fleet.put("hook", fleet.definition(#""dead_letter":null"#)).expect(201)
        try fleet.add()
        for index in 0...1 { try fleet.waitForReason("unauthorized", of: "hook", on: index) }
        let shown = try fleet.show("hook")
        let row = try #require(shown["replicas"].array.first { $0["failures_in_a_row"] != 0 })
        #expect(row["last_failure"]["status"] == 401 && row["last_failure"]["stream"] == "orders")
        try fleet.waitForReason("waiting_for_retries", of: "hook")
        #expect(shown["pending"] == 1 && shown["streams"][0]["pending"] == 1)
        fleet.receiver.stop()
        try fleet.waitForReason("unreachable", of: "hook", on: 1)
    }

    @Test func `a target that the guard refuses`() throws {
        let fleet = try SinkFleet(gateways: 1)
        try fleet.put("hook", fleet.definition().replacing(#""allow_networks":["127.0.0.0/8"],"#, with: "")).expect(201)
        try fleet.add()
        try fleet.waitForReason("target_refused", of: "hook")
        #expect(fleet.receiver.deliveries.isEmpty)
    }

    @Test func `an endpoint that asked for patience, and a key of another type`() throws {
        let fleet = try SinkFleet(gateways: 1) { _ in .status(429, headers: "Retry-After: 30\r\n") }
        try fleet.put("hook", fleet.definition(streams: #"["orders","text"]"#)).expect(201)
        try fleet.add()
        try fleet.waitForReason("backing_off", of: "hook")
        #expect(try fleet.show("hook")["state"] == "backing_off")
        try fleet.redis.run("DEL", "text")
        try fleet.redis.run("SET", "text", "x")
        try fleet.waitForReason("not_a_stream", of: "hook")
    }

    @Test func `nothing to deliver, and a group that begins at the end`() throws {
        let fleet = try SinkFleet(gateways: 1)
        try fleet.add()
        try fleet.put("hook", fleet.definition().replacing(#""start":"earliest","#, with: "")).expect(201)
        try fleet.waitForReason("idle", of: "hook")
        #expect(try fleet.show("hook")["oldest_undelivered_ms"] == nil)
    }

    @Test func `messages held by a replica that was killed, until the lease is over`() throws {
        let fleet = try SinkFleet(gateways: 1) { $0.number == 1 ? .hold : .status(200) }
        try fleet.put("hook", fleet.definition(times: #""timeout_ms":8000,"connect_timeout_ms":3000,"lease_ms":20000"#)).expect(201)
        let id = try fleet.add()
        try waitUntil("it is in flight") { fleet.receiver.deliveries.count == 1 }
        try waitUntil("it is told") { try fleet.show("hook")["replicas"][0]["in_flight"] == 1 }
        fleet.gateways[0].kill()
        try fleet.addGateway()
        fleet.receiver.release()
        try fleet.redis.run(["DEL"] + fleet.keys("sluice:{sinks}:reports:*"))  // As it is some seconds later.
        try fleet.waitForReason("held_elsewhere", of: "hook", on: 1)
        try waitUntil("it is taken over") { fleet.receiver.deliveries(of: id).map(\.attempt) == [1, 2] }
        try waitUntil("nothing is pending") { try fleet.show("hook", on: 1)["pending"] == 0 }
    }

    @Test func `a sink that no replica can run`() throws {
        let fleet = try SinkFleet(gateways: 1)
        // As a later version might write it.
        try fleet.redis.run("HSET", "sluice:{sinks}", "new", #"{"streams":["a"],"url":"http://h/","colour":"red"}"#)
        try fleet.redis.run("INCR", "sluice:{sinks}:version")
        try fleet.redis.run("PUBLISH", "sluice:nudge", "snew")
        try fleet.waitForReason("refused", of: "new")
        let shown = try fleet.show("new")
        #expect(shown["state"] == "disabled" && shown["definition"] == .null && shown["reasons"][0]["detail"].string?.contains("colour") == true)
    }
}
