// What a sink makes of its receiver's answers (SINKS.md §2), what it puts on the wire (§4), and what is refused
// before it runs.

import Support
import Testing

@Suite(.blocking) struct SinkAnswerTests {
    /// Answers by the message's field `do`: words, one an attempt, the last for all that follow.
    @Sendable private static func obey(_ delivery: Receiver.Delivery) -> Receiver.Answer {
        let words = (delivery.json["fields"]["do"].string ?? "").split(separator: " ")
        let word = words.isEmpty ? "200" : words[min(delivery.number, words.count) - 1]
        switch word {
        case "reset": return .reset
        case "close": return .close
        case "cut": return .cutHead
        case "slow": return .slow(.seconds(8))
        case "stuck": return .stuckBody
        case "endless": return .endless
        case "302": return .status(302, headers: "Location: /elsewhere\r\n")
        default: return .status(Int(word) ?? 200)
        }
    }

    struct Course: Sendable {
        let script: String
        /// `Sluice-Delivery-Count` of each attempt.
        let attempts: [Int]
        /// Of its dead letter, with `last_status`.
        var reason: String?
        var status = ""
    }

    private static let courses = [
        Course(script: "200", attempts: [1]), Course(script: "204", attempts: [1]), Course(script: "500 200", attempts: [1, 2]),
        Course(script: "500 404 201", attempts: [1, 2, 3]), Course(script: "reset 200", attempts: [1, 2]),
        Course(script: "close 200", attempts: [1, 2]), Course(script: "cut 200", attempts: [1, 2]),
        Course(script: "slow 200", attempts: [1, 2]), Course(script: "stuck 200", attempts: [1, 2]),
        Course(script: "302 200", attempts: [1, 2]), Course(script: "endless", attempts: [1]),
        Course(script: "400", attempts: [1], reason: "rejected", status: "400"),
        Course(script: "500 422", attempts: [1, 2], reason: "rejected", status: "422"),
        Course(script: "500", attempts: [1, 2, 3], reason: "max_retries_exceeded", status: "500"),
        Course(script: "302", attempts: [1, 2, 3], reason: "max_retries_exceeded", status: "302"),
        Course(script: "cut", attempts: [1, 2, 3], reason: "max_retries_exceeded"),
        Course(script: "500 reset", attempts: [1, 2, 3], reason: "max_retries_exceeded"),
    ]

    @Test func `every message ends in a 2xx or in exactly one dead letter, whatever the receiver answers`() throws {
        // Long enough for an endless answer to reach the cap on a machine that has much else to do.
        let rig = try SinkRig(["timeout_ms": "4500"], SinkAnswerTests.obey)
        let gateway = try rig.newGateway()
        let ids = try SinkAnswerTests.courses.map { try rig.add($0.script) }
        try rig.waitUntilSettled()
        let letters = try rig.deadLetters(gateway)
        for (course, id) in zip(SinkAnswerTests.courses, ids) {
            let deliveries = rig.receiver.deliveries(of: id)
            // libcurl itself sends again what a reused connection lost before a byte came back (SINKS.md §5).
            var attempts: [Int] = []
            for delivery in deliveries where attempts.last != delivery.attempt { attempts.append(delivery.attempt) }
            let isResent = course.script.contains("reset") || course.script.contains("close")
            #expect(attempts == course.attempts || isResent && Set(attempts).isSubset(of: [1, 2, 3]), "\(course.script): \(attempts)")
            #expect(deliveries.allSatisfy { $0.json["delivery_count"].integer == $0.attempt })
            for secret in SinkRig.secrets { #expect(deliveries.allSatisfy { $0.isSigned(with: secret) }) }
            guard let reason = course.reason else {
                #expect(letters[id] == nil && rig.receiver.confirmed.contains(id), "\(course.script)")
                continue
            }
            let letter = letters[id] ?? .null
            #expect(letter["reason"].string == reason && letter["last_status"].string == course.status, "\(course.script): \(letter)")
            #expect(letter["original_stream"].string == SinkRig.stream && letter["group"].string == SinkRig.group)
            #expect(letter["original_data"].string == #"{"fields":{"do":"\#(course.script)"}}"#)
            #expect(letter["attempts"].string == "\(course.attempts.count)" && letter["last_error"].string?.isEmpty == false)
            #expect(letter["last_consumer"].string?.hasPrefix("sink:payments:") == true)
            #expect((letter["failed_at_ms"].string.flatMap { Int($0) } ?? 0) > 1_700_000_000_000)
            #expect(letter.members.count == 10)
        }
        try rig.expectPromise(ids, gateway)
    }

    @Test func `a message is acknowledged after its 2xx and not before; retries keep their distance`() throws {
        let rig = try SinkRig(["retry": "{base_ms: 300, factor: 2, max_deliveries: 5}"]) { $0.number < 3 ? .status(500) : .hold }
        let gateway = try rig.newGateway()
        let id = try rig.add()
        try rig.wait("the third attempt is there") { rig.receiver.deliveries.count == 3 }
        #expect(try rig.pending() == 1)
        let times = rig.receiver.deliveries.map(\.time)
        #expect(times[1] - times[0] >= .milliseconds(300) && times[2] - times[1] >= .milliseconds(600))
        rig.receiver.release()
        try rig.waitUntilSettled()
        #expect(try rig.metric("sluice_sink_delivered_total", gateway) == 1)
        try rig.expectPromise([id], gateway)
    }

    @Test(arguments: [429, 503]) func `Retry-After holds the whole endpoint back and spends no attempt`(status: Int) throws {
        let rig = try SinkRig(["retry": "{base_ms: 100, max_ms: 200, max_deliveries: 1}"]) {
            $0.number == 1 && $0.json["fields"]["do"] == "wait" ? .status(status, headers: "Retry-After: 1\r\n") : .status(200)
        }
        let gateway = try rig.newGateway()
        let first = try rig.add("wait")
        try rig.wait("it was asked to wait") { gateway.log.contains("attempt failed") }
        let others = try rig.add(count: 3)
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries
        #expect(deliveries.count == 5)
        #expect(deliveries.dropFirst().allSatisfy { $0.time - deliveries[0].time >= .seconds(1) })
        #expect(deliveries.allSatisfy { $0.attempt == 1 })
        try rig.expectPromise([first] + others, gateway)
    }

    @Test func `410 disables the sink, and nothing is acknowledged for it`() throws {
        let rig = try SinkRig { $0.json["fields"]["do"] == "gone" ? .status(410) : .status(200) }
        let gateway = try rig.newGateway()
        try rig.add()
        try rig.waitUntilSettled()
        let id = try rig.add("gone")
        try rig.wait("it is disabled") { try rig.metric("sluice_sink_state", gateway, "disabled") == 1 }
        try rig.wait("the message is handed back") { try rig.holder(of: id)?.consumer == "unowned" }
        #expect(try rig.holder(of: id)?.deliveries == 0)
        let later = try rig.add()
        #expect(gateway.log.contains("410"))
        gateway.send(15)
        #expect(gateway.waitForEnd() == 0)
        #expect(rig.receiver.deliveries(of: later).isEmpty && rig.receiver.deliveries.count == 2)
        #expect(try rig.pending() == 1)
    }

    @Test func `a network that is not allowed is not reached`() throws {
        let rig = try SinkRig(["allow_networks": "[10.0.0.0/8]", "retry": "{base_ms: 10, max_ms: 10, max_deliveries: 2}"])
        let gateway = try rig.newGateway()
        let id = try rig.add()
        try rig.wait("it is a dead letter") { try rig.deadLetters(gateway)[id] != nil }
        let letter = try rig.deadLetters(gateway)[id] ?? .null
        #expect(letter["reason"].string == "max_retries_exceeded" && letter["last_status"].string == "")
        #expect(letter["last_error"].string?.contains("127.0.0.1") == true, "\(letter)")
        #expect(rig.receiver.deliveries.isEmpty)
    }

    @Test(arguments: [
        ("lease_ms: 1200, timeout_ms: 1000, connect_timeout_ms: 200", "lease_ms: must be above timeout_ms + connect_timeout_ms"),
        ("conurrency: 4", "did you mean \"concurrency\"?"), ("order_by: Stream", "order_by"), ("retry: {base: 1}", "base"),
        ("secrets: [whsec_AAAA]", "secrets"), ("secrets: ['env:SLUICE_TEST_UNSET']", "SLUICE_TEST_UNSET"),
        ("dead_letter: s", "dead_letter"), ("allow_networks: [10.0.0.0/33]", "allow_networks"),
    ]) func `a definition that cannot be kept is refused with a sentence`(keys: String, says: String) throws {
        let configuration = "sinks:\n  a: {streams: [s], url: 'http://127.0.0.1:1/', \(keys)}\n"
        let refused = try GatewayProcess.run(["--port", "0", "--redis", "redis://127.0.0.1:1"], configuration: configuration)
        #expect(refused.code == 2 && refused.log.contains(says), "\(refused.log)")
    }
}
