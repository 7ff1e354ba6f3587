// Idempotency-Key (API.md §2): what is repeated is not added again, and what was told is told again.

import Support
import Testing

@Suite(.gateway()) struct IdempotencyTests {
    let rig = Rig.current

    private func post(
        _ stream: String, _ body: String, key: String?, query: String = "", type: String = "application/json", on client: TestClient? = nil
    ) throws -> Reply {
        var headers = ["Content-Type": type]
        headers["Idempotency-Key"] = key
        let path = "/v1/streams/\(stream)/messages\(query)"
        return try (client ?? rig.client).begin("POST", path, body: Array(body.utf8), headers: headers).wait()
    }

    private func numbers(_ stream: String) throws -> [String] {
        try rig.client.get("/v1/streams/\(stream)/messages?count=10000").numbers
    }

    @Test func `a repeated call answers the first ID, whatever the body's form`() throws {
        let stream = rig.newStream("replay")
        let first = try post(stream, #"{"fields":{"n":"1","x":"é"}}"#, key: "k!~").expect(201)
        let id = try #require(first.json["id"].string)
        #expect(first.headers["idempotent-replayed"] == nil)
        for (body, type) in [
            (#"{"fields":{"n":"1","x":"é"}}"#, "application/json"), (#" {"fields":[["n",1],["x","\u00e9"]]}"#, "application/json"),
            ("n=1&x=%C3%A9", "application/x-www-form-urlencoded"),
            (#"{"encoding":"base64","fields":{"bg==":"MQ==","eA==":"w6k="}}"#, "application/json"),
        ] {
            let again = try post(stream, body, key: "k!~", type: type).expect(200)
            #expect(again.headers["idempotent-replayed"] == "true")
            #expect(again.text == "{\"id\":\"\(id)\"}\n")
        }
        // Options of the call are not part of the message.
        #expect(try post(stream, "n=1&x=%C3%A9", key: "k!~", query: "?maxlen=1&approx=false&id=*", type: "application/x-www-form-urlencoded").status == 200)
        #expect(try numbers(stream) == ["1"])
    }

    @Test func `another message under the same key is refused, and another stream has keys of its own`() throws {
        let stream = rig.newStream("mismatch")
        try post(stream, #"{"fields":{"n":"1"}}"#, key: "k").expect(201)
        for body in [
            #"{"fields":{"n":"2"}}"#, #"{"fields":{"n":"1","m":""}}"#, #"{"fields":{"n":"1"},"id":"99999999999999-1"}"#,
            #"{"fields":{"m":"1"}}"#, #"{"fields":[["n","1"],["n","1"]]}"#,
        ] {
            let reply = try post(stream, body, key: "k")
            #expect(reply.status == 422 && reply.code == "IDEMPOTENCY_MISMATCH" && reply.json["retryable"] == false, "\(reply.text)")
        }
        #expect(try numbers(stream) == ["1"])
        try post(rig.newStream("other"), #"{"fields":{"n":"2"}}"#, key: "k").expect(201)
        let named = rig.newStream("named")
        try post(named, #"{"fields":{"n":"1"},"id":"5"}"#, key: "k").expect(201)
        try post(named, "n=1", key: "k", query: "?id=5-0", type: "application/x-www-form-urlencoded").expect(200)
    }

    @Test func `a failed add is not remembered, and keeps its answer`() throws {
        let stream = rig.newStream("failed")
        #expect(try post(stream, #"{"fields":{"n":"1"}}"#, key: "k", query: "?nomkstream").expect(404).code == "STREAM_NOT_FOUND")
        try post(stream, #"{"fields":{"n":"0"},"id":"9-1"}"#, key: nil).expect(201)
        let small = try post(stream, #"{"fields":{"n":"1"},"id":"5-1"}"#, key: "k").expect(409)
        #expect(small.code == "ID_TOO_SMALL" && small.json["last_id"] == "9-1", "\(small.text)")
        try post(stream, #"{"fields":{"n":"1"},"id":"9-2"}"#, key: "k").expect(201)
        try rig.redis.run("SET", "\(stream)-text", "x")
        #expect(try post("\(stream)-text", #"{"fields":{"n":"1"}}"#, key: "k").expect(409).code == "NOT_A_STREAM")
        try post(stream, #"{"fields":{"n":"2"}}"#, key: "l", query: "?maxlen=1&approx=false").expect(201)
        #expect(try numbers(stream) == ["2"])
        // What was trimmed since was added all the same.
        #expect(try post(stream, #"{"fields":{"n":"1"},"id":"9-2"}"#, key: "k").expect(200).json["id"] == "9-2")
    }

    @Test(arguments: ["", "a b", "é", String(repeating: "k", count: 256)]) func `a key is visible ASCII of 1 to 255 bytes`(key: String) throws {
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", "/v1/streams/keys/messages", headers: "Idempotency-Key: \(key)\r\n", body: #"{"fields":{"n":"1"}}"#)
        let reply = try socket.reply()
        #expect(reply.status == 400 && reply.code == "INVALID_PARAMETER")
        #expect(reply.json["detail"].string?.hasPrefix("Idempotency-Key: ") == true)
    }

    @Test func `the longest key is taken, and two keys are refused`() throws {
        try post(rig.newStream("long"), #"{"fields":{"n":"1"}}"#, key: String(repeating: "k", count: 255)).expect(201)
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", "/v1/streams/keys/messages", headers: "Idempotency-Key: a\r\nIdempotency-Key: a\r\n", body: #"{"fields":{"n":"1"}}"#)
        #expect(try socket.reply().code == "INVALID_PARAMETER")
    }

    @Test func `in a batch each message has a key of its own`() throws {
        let stream = rig.newStream("batch")
        let body = #"{"messages":[{"fields":{"n":"1"}},{"fields":{"n":"2"}}]}"#
        let first = try post(stream, body, key: "k").expect(201)
        #expect(first.headers["idempotent-replayed"] == nil)
        let ids = first.json["results"].array.map { $0["id"] }
        let again = try post(stream, body, key: "k").expect(200)
        #expect(again.headers["idempotent-replayed"] == "true")
        #expect(again.json == ["results": .array(ids.map { ["id": $0, "replayed": true] })])
        // Its messages one by one are the same, and a longer batch goes on behind them.
        #expect(try post(stream, #"{"fields":{"n":"2"}}"#, key: "k#1").expect(200).json["id"] == ids[1])
        let lines = "{\"fields\":{\"n\":\"1\"}}\n\n{\"fields\":{\"n\":\"2\"}}\nnope\n{\"fields\":{\"n\":\"4\"}}\n"
        let mixed = try post(stream, lines, key: "k", type: "application/x-ndjson").expect(207)
        #expect(mixed.json["results"].array.map { $0["replayed"] } == [true, true, nil, nil])
        #expect(mixed.json["results"][2]["error"]["code"] == "INVALID_JSON")
        #expect(mixed.headers["idempotent-replayed"] == nil)
        let longer = try post(stream, #"{"messages":[{"fields":{"n":"1"}},{"fields":{"n":"2"}},{"fields":{"n":"3"}},{"fields":{"n":"4"}}]}"#, key: "k").expect(201)
        #expect(longer.json["results"].array.map { $0["replayed"] } == [true, true, nil, true])
        let other = try post(stream, #"{"messages":[{"fields":{"n":"1"}},{"fields":{"n":"9"}}]}"#, key: "k").expect(207)
        #expect(other.json["results"][1]["error"]["code"] == "IDEMPOTENCY_MISMATCH")
        #expect(try post(stream, #"{"messages":[{"fields":{"n":"8"}},{"fields":{"n":"9"}}]}"#, key: "k").expect(422).json["results"].array.count == 2)
        #expect(try numbers(stream) == ["1", "2", "4", "3"])
    }

    @Test func `a large batch of lines is repeated without a double`() throws {
        let stream = rig.newStream("lines")
        let lines = (0..<2000).map { "{\"fields\":{\"n\":\"\($0)\"}}\n" }.joined()
        let first = try post(stream, lines, key: "k", type: "application/x-ndjson").expect(201)
        let again = try post(stream, lines, key: "k", type: "application/x-ndjson").expect(200)
        #expect(first.json["results"].array.map { $0["id"] } == again.json["results"].array.map { $0["id"] })
        #expect(try numbers(stream) == (0..<2000).map(String.init))
    }

    @Test func `the gateway forgets a key after its time, of which Redis keeps the clock`() throws {
        let stream = rig.newStream("ttl")
        try post(stream, #"{"fields":{"n":"1"}}"#, key: "k").expect(201)
        let key = try #require(try rig.redis.run("KEYS", "sluice:*:idem:\(stream.utf8.count):\(stream):k").split(separator: "\r\n").last.map(String.init))
        let left = try #require(Int(try rig.redis.run("PTTL", key).dropFirst().trimmingSuffix("\r\n")))
        #expect(left > 3_500_000 && left <= 3_600_000)
        try post(stream, #"{"fields":{"n":"1"}}"#, key: "k").expect(200)
        try rig.redis.run("PEXPIRE", key, "0")
        try post(stream, #"{"fields":{"n":"1"}}"#, key: "k").expect(201)
        #expect(try numbers(stream) == ["1", "1"])
    }

    @Test func `one key raced through two gateways by many clients adds once`() throws {
        let other = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock"])
        let clients = [rig.client, TestClient(port: other.port)]
        try waitUntil("the other gateway reaches Redis") { try clients[1].get("/readyz").status == 200 }
        let stream = rig.newStream("race")
        for key in 0..<10 {
            let calls = (0..<20).map { index in
                clients[index % 2].begin(
                    "POST", "/v1/streams/\(stream)/messages", body: Array("{\"fields\":{\"n\":\"\(key)\"}}".utf8),
                    headers: ["Content-Type": "application/json", "Idempotency-Key": "k\(key)"])
            }
            let replies = try calls.map { try $0.wait() }
            #expect(replies.map(\.status).sorted() == Array(repeating: 200, count: 19) + [201])
            #expect(Set(replies.map { $0.json["id"].string ?? "" }).count == 1)
        }
        #expect(try numbers(stream) == (0..<10).map(String.init))
    }

    @Test func `a message of the most fields is taken under a key`() throws {
        let stream = rig.newStream("fields")
        let fields = (0..<1000).map { "\"f\($0)\":\"\($0)\"" }.joined(separator: ",")
        for status in [201, 200] { try post(stream, "{\"fields\":{\(fields)}}", key: "k").expect(status) }
        let rig = try Rig(["--max-fields", "20000"])
        func message(_ count: Int) -> String { "{\"fields\":{" + (0..<count).map { "\"f\($0)\":\"\($0)\"" }.joined(separator: ",") + "}}" }
        for status in [201, 200] { try post("s", message(3500), key: "k", on: rig.client).expect(status) }
        #expect(try post("s", message(3501), key: "l", on: rig.client).expect(413).code == "TOO_LARGE")
        try post("s", message(3501), key: nil, on: rig.client).expect(201)
    }
}

extension Substring {
    fileprivate func trimmingSuffix(_ suffix: String) -> Substring { hasSuffix(suffix) ? dropLast(1) : self }
}
