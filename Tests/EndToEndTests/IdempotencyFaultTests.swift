// Gateways and Redis end in the middle of adding: under a key nothing is doubled and nothing lost by repeating, and
// without one the results say what is known.

import Support
import Testing

@Suite(.blocking, .serialized) struct IdempotencyFaultTests {
    private static let linesType = ["Content-Type": "application/x-ndjson"]

    private func newRig(timeout: String = "10000") throws -> Rig {
        try Rig(["--redis-timeout-ms", timeout], redisOptions: RedisServerProcess.lasting)
    }

    private func lines(_ numbers: Range<Int>) -> [UInt8] {
        Array(numbers.map { "{\"fields\":{\"n\":\"\($0)\"}}\n" }.joined().utf8)
    }

    /// ID → `n` of the whole stream.
    private func entries(_ rig: Rig, _ stream: String) throws -> [(id: String, number: String)] {
        var found: [(String, String)] = []
        var start = "earliest"
        while true {
            let page = try rig.client.get("/v1/streams/\(stream)/messages?count=10000&start=\(start)").expect(200)
            found += zip(page.ids, page.numbers)
            guard let next = page.json["next"].string else { return found }
            start = next
        }
    }

    private func length(_ rig: Rig, _ stream: String) throws -> Int {
        let text = try rig.redis.run("XLEN", stream)
        return text.hasPrefix(":") ? Int(text.dropFirst().prefix { $0.isNumber }) ?? 0 : 0
    }

    @Test func `a replay is known after a restart of the gateway, and of Redis`() throws {
        let rig = try newRig()
        let body = #"{"fields":{"n":"1"}}"#
        let headers = ["Idempotency-Key": "k"]
        let id = try rig.client.post("/v1/streams/s/messages", json: body, headers: headers).expect(201).json["id"]
        rig.gateway.kill()
        let gateway = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock"])
        let client = TestClient(port: gateway.port)
        try waitUntil("it reaches Redis") { try client.get("/readyz").status == 200 }
        #expect(try client.post("/v1/streams/s/messages", json: body, headers: headers).expect(200).json["id"] == id)
        rig.redis.end()
        try rig.redis.start()
        try waitUntil("it reaches Redis again") { try client.get("/readyz").status == 200 }
        // The script is gone with the process; a batch finds that out too.
        #expect(try client.post("/v1/streams/s/messages", json: body, headers: headers).expect(200).json["id"] == id)
        try rig.redis.run("SCRIPT", "FLUSH")
        let batch = #"{"messages":[{"fields":{"n":"2"}},{"fields":{"n":"3"}}]}"#
        try client.post("/v1/streams/s/messages", json: batch, headers: headers).expect(201)
        #expect(try client.get("/v1/streams/s/messages").numbers == ["1", "2", "3"])
    }

    @Test func `a Redis that takes no writes is told as without a key, and nothing is remembered`() throws {
        let rig = try newRig()
        func add(_ key: String = "k") throws -> Reply {
            try rig.client.post("/v1/streams/s/messages", json: #"{"fields":{"n":"1"}}"#, headers: ["Idempotency-Key": key])
        }
        try rig.redis.run("CONFIG", "SET", "maxmemory", "1")
        #expect(try add().expect(507).code == "REDIS_OUT_OF_MEMORY")
        try rig.redis.run("CONFIG", "SET", "maxmemory", "0")
        try rig.redis.run("CONFIG", "SET", "min-replicas-to-write", "1")
        // Before 7.0 Redis lets scripts write all the same (the README says so).
        let isTold = try rig.redis.run("EVAL", "return redis.call('SET', KEYS[1], '')", "1", "probe").hasPrefix("-NOREPLICAS")
        #expect(try add("few").status == (isTold ? 503 : 201))
        if isTold { #expect(try add("few").code == "REDIS_UNAVAILABLE") }
        try rig.redis.run("CONFIG", "SET", "min-replicas-to-write", "0")
        try rig.redis.run("REPLICAOF", "127.0.0.1", "1")
        #expect(try add().expect(503).code == "REDIS_UNAVAILABLE")
        try rig.redis.run("REPLICAOF", "NO", "ONE")
        try waitUntil("it takes writes again") { try add().status == 201 }
        try add().expect(200)
    }

    @Test func `an add under a key is repeated by the gateway when the connection breaks`() throws {
        let rig = try newRig()
        try rig.client.post("/v1/streams/s/messages", json: #"{"fields":{"n":"0"}}"#, headers: ["Idempotency-Key": "zero"]).expect(201)
        func sent() throws -> Int { try rig.metric("sluice_redis_commands_total") }  // PINGs are not among them.
        let before = try sent()
        rig.redis.freeze()
        let single = rig.client.begin("POST", "/v1/streams/s/messages", body: Array("n=1".utf8), headers: ["Idempotency-Key": "one"])
        let batch = rig.client.begin(
            "POST", "/v1/streams/s/messages", body: Array(#"{"messages":[{"fields":{"n":"2"}},{"fields":{"n":"3"}}]}"#.utf8),
            headers: ["Idempotency-Key": "two"])
        let plain = rig.client.begin("POST", "/v1/streams/s/messages", body: Array("n=4".utf8))
        try waitUntil("they are in flight") { try sent() - before == 4 }
        rig.redis.end()
        try rig.redis.start()
        let (one, two) = (try single.wait(), try batch.wait())
        #expect(one.status == 201, "\(one.text)")
        #expect(two.status == 201, "\(two.text)")
        let unknown = try plain.wait()
        #expect(unknown.code == "OUTCOME_UNKNOWN" && unknown.json["retryable"] == false, "\(unknown.text)")
        #expect(try entries(rig, "s").map(\.number).sorted() == ["0", "1", "2", "3"])
    }

    @Test func `without an answer in time the outcome is unknown, and repeating is safe`() throws {
        let rig = try newRig(timeout: "2500")
        // Redis has the script.
        try rig.client.post("/v1/streams/other/messages", json: #"{"fields":{"n":"0"}}"#, headers: ["Idempotency-Key": "k"]).expect(201)
        rig.redis.freeze()
        let call = rig.client.begin("POST", "/v1/streams/s/messages", body: Array("n=1".utf8), headers: ["Idempotency-Key": "k"])
        let reply = try call.wait()
        #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
        rig.redis.thaw()
        try rig.waitUntilConnected()
        // Redis executes what it had when it slept.
        try waitUntil("it was executed") { try length(rig, "s") == 1 }
        let again = try rig.client.begin("POST", "/v1/streams/s/messages", body: Array("n=1".utf8), headers: ["Idempotency-Key": "k"]).wait()
        #expect(again.status == 200)
        #expect(try length(rig, "s") == 1)
    }

    @Test(arguments: 0..<3) func `Redis dies in the middle of a batch, the client repeats: nothing doubled, nothing lost`(round: Int) throws {
        let rig = try newRig()
        var random = SeededRandom()
        let count = 20_000
        let headers = Self.linesType.merging(["Idempotency-Key": "k"]) { $1 }
        let killAt = Int.random(in: 1..<count, using: &random)
        var call = rig.client.begin("POST", "/v1/streams/s/messages", body: lines(0..<count), headers: headers)
        try waitUntil("some are there") { try length(rig, "s") >= killAt || call.isDone }
        rig.redis.end()
        try rig.redis.start()
        var repeats = 0
        while true {
            let reply = try call.wait()
            if reply.status == 200 || reply.status == 201 {
                let told = reply.json["results"].array.map { $0["id"].string ?? "" }
                let there = try entries(rig, "s")
                let different = Set(there.map(\.number)).count
                #expect(there.count == count && different == count, "\(there.count), \(different)\(random.note)")
                let byID = Dictionary(uniqueKeysWithValues: there)
                #expect(told.indices.allSatisfy { byID[told[$0]] == "\($0)" })
                return
            }
            repeats += 1
            try #require(repeats < 20, "\(reply.text.prefix(500))\(random.note)")
            try rig.waitUntilConnected()
            call = rig.client.begin("POST", "/v1/streams/s/messages", body: lines(0..<count), headers: headers)
        }
    }

    @Test func `what a half-done batch tells is true`() throws {
        let rig = try newRig()
        let socket = try ClientSocket(port: rig.port)
        try socket.send("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        func send(_ numbers: Range<Int>) throws {
            let bytes = lines(numbers)
            try socket.send(String(bytes.count, radix: 16) + "\r\n" + String(decoding: bytes, as: UTF8.self) + "\r\n")
        }
        try send(0..<1500)
        try waitUntil("the first are there") { try length(rig, "s") == 1500 }
        try waitUntil("and answered, but for a PING") { try rig.metric("sluice_redis_in_flight") <= 2 }
        rig.redis.freeze()
        try send(1500..<1600)
        try waitUntil("they are in flight") { try rig.metric("sluice_redis_in_flight") >= 100 }
        rig.redis.end()
        try waitUntil("it is noticed") { try rig.client.get("/v1/info").json["redis"]["connected"] == false }
        try send(1600..<1700)
        try waitUntil("they are refused") { try rig.metric("sluice_http_received_bytes_total") > 0 }
        try rig.redis.start()
        try rig.waitUntilConnected()
        try send(1700..<1800)
        try socket.send("0\r\n\r\n")
        let reply = try socket.reply()
        #expect(reply.status == 207)
        let results = reply.json["results"].array
        #expect(results.count == 1800)
        let there = try entries(rig, "s")
        let byID = Dictionary(uniqueKeysWithValues: there)
        let numbers = Set(there.map(\.number))
        for (index, result) in results.enumerated() {
            if let id = result["id"].string {
                #expect(byID[id] == "\(index)")
            } else if result["error"]["code"] == "REDIS_UNAVAILABLE" {
                #expect(!numbers.contains("\(index)") && result["error"]["retryable"] == true)
            } else {
                #expect(result["error"]["code"] == "OUTCOME_UNKNOWN" && result["error"]["retryable"] == false)
            }
        }
        #expect(results[..<1500].allSatisfy { $0["id"] != nil })
        #expect(results[1500..<1600].allSatisfy { $0["error"]["code"] == "OUTCOME_UNKNOWN" })
        #expect(results[1700...].allSatisfy { $0["id"] != nil })
    }
}
