// What the tests of recovery policies and of redriving do again and again.

import Support
import Testing

extension Rig {
    func policyPath(_ stream: String) -> String { "/v1/streams/\(stream)/groups/g/recovery" }

    @discardableResult
    func putPolicy(_ stream: String, _ json: String, by client: TestClient? = nil) throws -> Reply {
        try (client ?? self.client).call("PUT", policyPath(stream), json: json)
    }

    /// The message was delivered `deliveries` times, and its consumer has left it idle for an hour.
    func leave(_ id: String, of stream: String, with consumer: String = "crashed", deliveries: Int) throws {
        try redis.run("XCLAIM", stream, "g", consumer, "0", id, "IDLE", "3600000", "RETRYCOUNT", "\(deliveries)", "FORCE", "JUSTID")
        if consumer == "unowned" { try redis.run("PUBLISH", "sluice:nudge", "u\(stream.utf8.count):\(stream)g") }
    }

    /// The fields of the stream's dead letters, in their order.
    func deadLetters(_ stream: String) throws -> [JSON] {
        try client.get("/v1/streams/\(stream):dlq/messages?count=10000").json["messages"].array.map { $0["fields"] }
    }

    /// The original ids of the stream's dead letters; each once, or the test fails.
    func deadIDs(_ stream: String, _ note: String = "") throws -> Set<String> {
        let ids = try deadLetters(stream).compactMap { $0["original_id"].string }
        #expect(Set(ids).count == ids.count, "a dead letter is there twice \(note)")
        return Set(ids)
    }

    /// XLEN.
    func length(_ stream: String) throws -> Int {
        Int(try redis.run("XLEN", stream).dropFirst().prefix { $0.isNumber }) ?? -1
    }

    func pendingCount(_ stream: String) throws -> Int {
        try client.get("/v1/streams/\(stream)/groups/g/pending").json["pending"].integer ?? -1
    }

    /// Another gateway in front of the same Redis.
    func newGateway(_ arguments: String...) throws -> GatewayProcess {
        let gateway = try GatewayProcess(["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "2"] + arguments)
        let client = TestClient(port: gateway.port)
        try waitUntil("the other gateway reaches Redis") {
            try client.get("/metrics").text.contains("sluice_redis_connected 2\n")
        }
        return gateway
    }
}
