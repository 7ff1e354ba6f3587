// A sink with `batch`: what a receiver gets, what it may say of it, and what it costs Redis.

import Crypto
import Support
import Testing

@Suite(.blocking) struct SinkBatchEndToEndTests {
    private static func ids(_ delivery: Receiver.Delivery) -> [String] { delivery.json.array.compactMap { $0["id"].string } }

    @Test func `messages come together, signed as one; those that the receiver names are sent again, and no others`() throws {
        let rig = try SinkRig(["batch": "{max_messages: 10, linger_ms: 100}"]) { delivery in
            let named = delivery.json.array.filter { $0["fields"]["do"] == "named" && $0["delivery_count"].integer ?? 9 < 2 }.compactMap { $0["id"].string }
            return .status(200, body: "{\"batchItemFailures\":[\(named.map { "{\"itemIdentifier\":\"\($0)\"}" }.joined(separator: ","))]}")
        }
        let ids = try (0..<25).map { try rig.add($0 == 7 ? "named" : "200") }
        let gateway = try rig.newGateway()
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries
        #expect(deliveries.allSatisfy { $0.json.array.count <= 10 && $0.isSigned(with: SinkRig.secrets[0]) && $0.headers["content-type"] == "application/json" })
        let counts = deliveries.flatMap(SinkBatchEndToEndTests.ids).reduce(into: [String: Int]()) { $0[$1, default: 0] += 1 }
        #expect(counts.count == 25 && counts.allSatisfy { $0.value == ($0.key == ids[7] ? 2 : 1) })
        #expect(deliveries.contains { $0.json.array.count == 10 } && deliveries.last { SinkBatchEndToEndTests.ids($0).contains(ids[7]) }?.attempt == 2)
        #expect(try rig.metric("sluice_sink_delivered_total", gateway) == 25)
        // SINKS.md §4, the IDs joined by NUL too.
        for delivery in deliveries {
            let text = (["payments", SinkRig.stream, SinkRig.group] + SinkBatchEndToEndTests.ids(delivery)).joined(separator: "\0")
            #expect(delivery.id == "msg_" + Base32.encode(Digest.sha256(Array(text.utf8))).prefix(26))
        }
    }

    @Test func `the poison alone becomes a dead letter, its attempts told`() throws {
        let rig = try SinkRig(["batch": "{max_messages: 16}", "retry": "{base_ms: 30, max_ms: 60, max_deliveries: 6}"]) { delivery in
            .status(delivery.json.array.contains { $0["fields"]["do"] == "poison" } ? 422 : 200)
        }
        let ids = try (0..<16).map { try rig.add($0 == 5 ? "poison" : "200") }
        let gateway = try rig.newGateway()
        try rig.waitUntilSettled()
        let letters = try rig.deadLetters(gateway)
        let sent = rig.receiver.deliveries.filter { SinkBatchEndToEndTests.ids($0).contains(ids[5]) }
        #expect(Array(letters.keys) == [ids[5]] && letters[ids[5]]?["reason"] == "rejected" && letters[ids[5]]?["last_status"] == "422")
        #expect(letters[ids[5]]?["attempts"].string == "\(sent.count)" && sent.last?.json.array.count == 1)
        #expect(try rig.metric("sluice_sink_delivered_total", gateway) == 15)
    }

    @Test(arguments: [
        ("ndjson", "application/x-ndjson"), ("cloudevents", "application/cloudevents-batch+json"),
    ]) func `lines, and batches of events`(format: String, type: String) throws {
        let rig = try SinkRig(["batch": "{max_messages: 5, linger_ms: 200}", "format": format])
        let ids = try rig.add(count: 10)
        _ = try rig.newGateway()
        try rig.waitUntilSettled()
        var seen: [String] = []
        for delivery in rig.receiver.deliveries {
            #expect(delivery.headers["content-type"] == type)
            let text = String(decoding: delivery.body, as: UTF8.self)
            if format == "ndjson" {
                #expect(text.hasSuffix("}\n"))
                seen += try text.split(separator: "\n").map { try JSON(parsing: Array($0.utf8))["id"].string ?? "" }
            } else {
                #expect(delivery.json.array.allSatisfy { $0["specversion"] == "1.0" && $0["type"] == "sluice.message" })
                seen += SinkBatchEndToEndTests.ids(delivery)
            }
        }
        #expect(seen.sorted() == ids.sorted())
    }

    @Test func `a delivered message costs Redis at most a tenth of a command in batches of 100`() throws {
        // Times as by default: what is tried again, since the machine is busy, costs more.
        let times = ["timeout_ms": "15000", "connect_timeout_ms": "5000", "lease_ms": "60000"]
        let rig = try SinkRig(["batch": "{max_messages: 100}", "concurrency": "8", "max_held": "1000"].merging(times) { own, _ in own })
        for _ in 0..<50 {
            try rig.redis.transaction((0..<100).map { _ in ["XADD", SinkRig.stream, "*", "do", "200"] })
        }
        let gateway = try rig.newGateway()
        func commands() throws -> Int {
            let page = try TestClient(port: gateway.port).get("/metrics").text
            return Int(page.firstMatch(of: /\nsluice_redis_commands_total (\d+)/)?.output.1 ?? "") ?? 0
        }
        try rig.waitUntilSettled()
        try rig.wait("all are told") { try rig.metric("sluice_sink_delivered_total", gateway) == 5000 }
        let count = try commands()
        #expect(count > 0 && count <= 500, "\(count) commands, the start of the gateway and its reports among them")
    }

    @Test func `batches of a gateway that is killed are delivered by the next, smaller`() throws {
        let rig = try SinkRig(SinkRig.steady(["batch": "{max_messages: 8}"])) { $0.attempt == 1 ? .hold : .status(200) }
        let ids = try rig.add(count: 8)
        let first = try rig.newGateway()
        try rig.wait("they are in flight") { rig.receiver.deliveries.count == 1 }
        first.kill()
        let second = try rig.newGateway()
        try rig.waitUntilSettled()
        let again = rig.receiver.deliveries.dropFirst()
        #expect(again.allSatisfy { $0.attempt == 2 && $0.json.array.count <= 4 })
        #expect(again.flatMap(SinkBatchEndToEndTests.ids).sorted() == ids.sorted())
        #expect(try rig.deadLetters(second).isEmpty)
    }
}
