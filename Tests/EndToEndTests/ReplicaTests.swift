// min_replicas: an add is answered when replicas have it, or says that too few do; beside real replicas.

import Support
import Testing

@Suite(.blocking, .serialized) struct ReplicaTests {
    private let master: RedisServerProcess
    private let port: UInt16
    private let gateway: GatewayProcess
    private let client: TestClient

    init() throws {
        master = try RedisServerProcess(onPort: true)
        port = try #require(master.port)
        gateway = try GatewayProcess(["--redis", "redis://127.0.0.1:\(port)", "--loops", "1"])
        client = TestClient(port: gateway.port)
        try ReplicaTests.waitUntilReady(client)
    }

    private static func waitUntilReady(_ client: TestClient) throws {
        try waitUntil("the gateway reaches Redis") { try client.get("/readyz").status == 200 }
    }

    private func newReplica() throws -> RedisServerProcess {
        let before = try onlineReplicas()
        let replica = try RedisServerProcess(options: ["--replicaof", "127.0.0.1", "\(port)", "--repl-diskless-sync-delay", "0"])
        try waitUntil("it follows") { try onlineReplicas() == before + 1 }
        return replica
    }

    private func onlineReplicas() throws -> Int {
        try master.info("replication").values.filter { $0.contains("state=online") }.count
    }

    private func add(_ query: String, _ body: String = #"{"fields":{"n":"1"}}"#, key: String? = nil, on other: TestClient? = nil) throws -> Reply {
        try (other ?? client).post("/v1/streams/s/messages?\(query)", json: body, headers: key.map { ["Idempotency-Key": $0] } ?? [:])
    }

    /// As Redis writes it.
    private func length() throws -> String { String(try master.run("XLEN", "s").prefix { !$0.isNewline }) }

    @Test func `a replica that follows confirms, for one message and for many`() throws {
        let replica = try newReplica()
        let id = try #require(try add("min_replicas=1&replica_timeout_ms=30000").expect(201).json["id"].string)
        #expect(try replica.run("XRANGE", "s", id, id).hasPrefix("*1"))
        let lines = (0..<1500).map { "{\"fields\":{\"n\":\"\($0)\"}}\n" }.joined()
        let batch = try client.begin(
            "POST", "/v1/streams/s/messages?min_replicas=1&replica_timeout_ms=30000", body: Array(lines.utf8),
            headers: ["Content-Type": "application/x-ndjson"]).wait().expect(201)
        #expect(batch.json["results"].array.count == 1500)
        #expect(try replica.run("XLEN", "s").hasPrefix(":1501"))
        let calls = (0..<50).map { _ in
            client.begin("POST", "/v1/streams/s/messages?min_replicas=1&replica_timeout_ms=30000", body: Array("n=1".utf8))
        }
        for call in calls { #expect(try call.wait().status == 201) }
    }

    @Test func `too few replicas is told with the ID, and what was added stays`() throws {
        let none = try add("min_replicas=1&replica_timeout_ms=20").expect(504)
        #expect(none.code == "REPLICATION_TIMEOUT" && none.json["retryable"] == false && none.json["replicas"] == 0, "\(none.text)")
        #expect(try master.run("XRANGE", "s", none.json["id"].string ?? "", "+").hasPrefix("*1"))
        let replica = try newReplica()
        try add("min_replicas=1&replica_timeout_ms=30000").expect(201)
        let one = try add("min_replicas=2&replica_timeout_ms=3500").expect(504)
        #expect(one.json["replicas"] == 1 && one.json["id"].string != nil)
        replica.freeze()
        let batch = try add("min_replicas=1&replica_timeout_ms=100", #"{"messages":[{"fields":{"n":"1"}},{"fields":{"n":"2"},"id":"1-1"}]}"#).expect(504)
        #expect(batch.code == "REPLICATION_TIMEOUT" && batch.json["replicas"] == 0)
        #expect(batch.json["results"][0]["id"].string != nil && batch.json["results"][1]["error"]["code"] == "ID_TOO_SMALL")
        #expect(try length() == ":4")
        replica.thaw()
    }

    @Test func `a replay waits for replicas again, also through a gateway that did not add`() throws {
        let replica = try newReplica()
        let other = try GatewayProcess(["--redis", "redis://127.0.0.1:\(port)"])
        let second = TestClient(port: other.port)
        try Self.waitUntilReady(second)
        replica.freeze()
        let first = try add("min_replicas=1&replica_timeout_ms=50", key: "k").expect(504)
        for gateway in [client, second] {
            let again = try add("min_replicas=1&replica_timeout_ms=50", key: "k", on: gateway).expect(504)
            #expect(again.code == "REPLICATION_TIMEOUT" && again.json["id"] == first.json["id"])
            #expect(again.json["detail"].string?.contains("adds nothing twice") == true, "\(again.text)")
        }
        replica.thaw()
        for gateway in [client, second] {
            let confirmed = try add("min_replicas=1&replica_timeout_ms=30000", key: "k", on: gateway).expect(200)
            #expect(confirmed.headers["idempotent-replayed"] == "true" && confirmed.json == ["id": first.json["id"]])
        }
        #expect(try length() == ":1")
    }

    @Test func `nobody else waits for the replicas of others`() throws {
        let replica = try newReplica()
        replica.freeze()
        let patient = client.begin("POST", "/v1/streams/s/messages?min_replicas=1&replica_timeout_ms=20000", body: Array("n=0".utf8))
        try waitUntil("it is added") { try length() == ":1" }
        try add("").expect(201)
        // Another who waits is served in between, and ends in its own time.
        #expect(try add("min_replicas=1&replica_timeout_ms=10").expect(504).json["replicas"] == 0)
        #expect(!patient.isDone)
        #expect(try length() == ":3")
        replica.thaw()
        #expect(try patient.wait().status == 201)
    }

    @Test func `a connection that breaks while replicas are waited for leaves them unknown`() throws {
        try add("min_replicas=1&replica_timeout_ms=10").expect(504)
        let patient = client.begin("POST", "/v1/streams/s/messages?min_replicas=1&replica_timeout_ms=20000", body: Array("n=0".utf8))
        try waitUntil("it is added") { try length() == ":2" }
        for line in try master.run("CLIENT", "LIST").split(separator: "\n") where line.contains("name=sluice-replicated") {
            let id = line.split(separator: " ").first { $0.hasPrefix("id=") }?.dropFirst(3)
            try master.run("CLIENT", "KILL", "ID", String(id ?? ""))
        }
        let reply = try patient.wait().expect(504)
        #expect(reply.code == "REPLICATION_TIMEOUT" && reply.json["replicas"] == 0 && reply.json["id"].string != nil, "\(reply.text)")
        let replica = try newReplica()
        try add("min_replicas=1&replica_timeout_ms=30000").expect(201)
        #expect(try replica.run("XLEN", "s").hasPrefix(":3"))
    }

    @Test func `Redis going away while replicas are waited for is told, and comes back`() throws {
        let patient = client.begin("POST", "/v1/streams/s/messages?min_replicas=1&replica_timeout_ms=20000", body: Array("n=0".utf8))
        try waitUntil("it is added") { try length() == ":1" }
        master.end()
        #expect(try patient.wait().expect(504).code == "REPLICATION_TIMEOUT")
        #expect(try add("min_replicas=1").expect(503).code == "REDIS_UNAVAILABLE")
        try master.start()
        try Self.waitUntilReady(client)
        #expect(try add("min_replicas=1&replica_timeout_ms=10").expect(504).json["id"].string != nil)
    }

    @Test(arguments: [
        "min_replicas=0", "min_replicas=x", "min_replicas=1001", "min_replicas=1&min_replicas=1", "replica_timeout_ms=5",
        "min_replicas=1&replica_timeout_ms=0", "min_replicas=1&replica_timeout_ms=60001", "min_replica=1",
    ]) func `what can't be meant is refused`(query: String) throws {
        let reply = try add(query)
        #expect(reply.status == 400 && reply.code == "INVALID_PARAMETER", "\(reply.text)")
    }
}
