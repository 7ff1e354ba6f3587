// What becomes of a message that was delivered (`on_success`), and what a receiver may say in a 2xx (`reply_status`).

import Support
import Testing

@Suite(.blocking) struct SinkSuccessTests {
    private func length(_ rig: SinkRig) throws -> Int {
        Int(try rig.redis.run("XLEN", SinkRig.stream).trimmed.dropFirst()) ?? -1
    }

    @Test func `delivered messages are deleted where the sink is told to, and dead letters' originals stay`() throws {
        let rig = try SinkRig(["on_success": "delete"]) { $0.json["fields"]["do"] == "no" ? .status(400) : .status(200) }
        let gateway = try rig.newGateway()
        let ids = try rig.add(count: 30) + [try rig.add("no")]
        try rig.waitUntilSettled()
        try rig.wait("what was delivered is gone") { try length(rig) == 1 }
        try rig.wait("they are counted") { try rig.metric("sluice_sink_delivered_total", gateway) == 30 }
        #expect(try rig.deadLetters(gateway).keys.first == ids.last)
        try rig.expectPromise(ids, gateway)
    }

    @Test func `a message is deleted when the last group has acknowledged it, and not before`() throws {
        let rig = try SinkRig(["on_success": "delete_when_acked"])
        try rig.redis.run("XGROUP", "CREATE", SinkRig.stream, "others", "0", "MKSTREAM")
        let gateway = try rig.newGateway()
        let ids = try rig.add(count: 2)
        try rig.wait("both are delivered") { try rig.metric("sluice_sink_delivered_total", gateway) == 2 }
        #expect(try length(rig) == 2)
        // The others are done with what comes before the sink has seen it.
        try rig.redis.run("XGROUP", "SETID", SinkRig.stream, "others", "9999999999999-0")
        try rig.redis.run("XADD", SinkRig.stream, "9999999999998-0", "do", "200")
        try rig.wait("the third is delivered and gone") { try length(rig) == 2 && rig.receiver.deliveries.count == 3 }
        try rig.wait("it is acknowledged") { try rig.pending() == 0 }
        #expect(Set(ids) == Set(try TestClient(port: gateway.port).get("/v1/streams/\(SinkRig.stream)/messages").ids))
    }

    @Test func `a stream that goes while its messages are delivered holds nothing up`() throws {
        let rig = try SinkRig(["on_success": "delete"]) { $0.json["fields"]["do"] == "hold" ? .hold : .status(200) }
        let gateway = try rig.newGateway()
        try rig.add("hold")
        try rig.wait("it is in flight") { rig.receiver.deliveries.count == 1 }
        try rig.redis.run("DEL", SinkRig.stream)
        rig.receiver.release()
        try rig.wait("it counts as delivered") { try rig.metric("sluice_sink_delivered_total", gateway) == 1 }
        try rig.add()
        try rig.wait("and what comes then too") { try rig.metric("sluice_sink_delivered_total", gateway) == 2 }
    }

    private static func say(_ delivery: Receiver.Delivery) -> Receiver.Answer {
        let words = (delivery.json["fields"]["do"].string ?? "").split(separator: " ")
        return .status(200, body: "{\"status\":\"\(words[min(delivery.number, words.count) - 1])\"}")
    }

    @Test(arguments: [true, false]) func `a 2xx that says RETRY or DROP is one, where that is honoured`(honours: Bool) throws {
        let rig = try SinkRig(["reply_status": "\(honours)"], SinkSuccessTests.say)
        let gateway = try rig.newGateway()
        let ids = try ["SUCCESS", "RETRY SUCCESS", "DROP", "RETRY", "else"].map { try rig.add($0) }
        try rig.waitUntilSettled()
        let letters = try rig.deadLetters(gateway)
        let attempts = ids.map { rig.receiver.deliveries(of: $0).count }
        guard honours else {
            #expect(letters.isEmpty && attempts == [1, 1, 1, 1, 1])
            return
        }
        #expect(attempts == [1, 2, 1, 3, 1])
        #expect(letters[ids[2]]?["reason"] == "dropped" && letters[ids[2]]?["last_status"] == "200" && letters[ids[2]]?["attempts"] == "1")
        #expect(letters[ids[3]]?["reason"] == "max_retries_exceeded" && letters[ids[3]]?["last_error"].string?.contains("RETRY") == true)
        #expect(letters.count == 2)
        #expect(try rig.metric("sluice_sink_dead_letters_total", gateway, "dropped") == 1)
    }

    @Test func `without a dead-letter stream a message that is dropped is acknowledged`() throws {
        let rig = try SinkRig(["reply_status": "true", "dead_letter": "null"], SinkSuccessTests.say)
        let gateway = try rig.newGateway()
        try rig.add("DROP")
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.count == 1)
        #expect(try rig.deadLetters(gateway).isEmpty)
    }
}

extension String {
    fileprivate var trimmed: Substring { split(whereSeparator: \.isNewline).last ?? "" }
}
