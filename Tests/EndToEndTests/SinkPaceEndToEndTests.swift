// A sink finds its endpoint's pace: the breaker, the window and the rate, seen from outside.

import Support
import Testing

@Suite(.blocking) struct SinkPaceEndToEndTests {
    @Test func `an endpoint that is away is tried one message at a time, and gets everything when it is back`() throws {
        let rig = try SinkRig([
            "breaker_failures": "5", "concurrency": "8", "retry": "{base_ms: 50, factor: 2, max_ms: 400, max_deliveries: 8}",
        ])
        let gateway = try rig.newGateway()
        try rig.warmUp()
        rig.receiver.stop()
        let ids = try rig.add(count: 200)
        try rig.wait("it is failing") { try rig.metric("sluice_sink_state", gateway, "\"failing\"") == 1 }
        let began = try rig.metric("sluice_sink_attempts_total", gateway, "retry")
        try rig.wait("probes are sent") { try rig.metric("sluice_sink_attempts_total", gateway, "retry") >= began + 10 }
        // The backlog waits in Redis: but for what was read before, and every second probe, nothing is held.
        #expect(try rig.metric("sluice_sink_held", gateway) < 50)
        let client = TestClient(port: gateway.port)
        try rig.wait("it is shown") { try client.get("/v1/sinks/payments").json["state"] == "failing" }
        let reasons = try client.get("/v1/sinks/payments").json["reasons"].array.compactMap { $0["code"].string }
        #expect(reasons.contains("failing") && reasons.contains("unreachable") && !reasons.contains("backing_off"), "\(reasons)")
        #expect(gateway.log.contains("one probe at a time"))
        try rig.receiver.start()
        try rig.waitUntilSettled()
        try rig.expectPromise(ids, gateway)
        #expect(try rig.deadLetters(gateway).isEmpty)
        #expect(try rig.metric("sluice_sink_state", gateway, "\"running\"") == 1)
        #expect(gateway.log.contains("takes messages again"))
    }

    @Test func `no more requests a second than rate_per_s are sent`() throws {
        let rig = try SinkRig(["rate_per_s": "20"])
        _ = try rig.newGateway()
        _ = try rig.add(count: 30)
        try rig.waitUntilSettled()
        let times = rig.receiver.deliveries.map(\.time)
        #expect(times.count == 30 && times[29] - times[0] >= .milliseconds(1300))  // But for the first two, 50 ms each.
    }
}
