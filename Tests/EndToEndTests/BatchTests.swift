// Batches at their limits: how many, how deep, how wide, and how little of them is held.

import Support
import Testing

@Suite(.serialized, .gateway()) struct BatchTests {
    let rig = Rig.current

    private func post(_ stream: String, _ body: String, _ type: String = "application/json") throws -> Reply {
        try rig.client.begin("POST", "/v1/streams/\(stream)/messages", body: Array(body.utf8), headers: ["Content-Type": type]).wait(atMost: .seconds(300))
    }

    private func length(_ stream: String) throws -> Int {
        Int(try rig.redis.run("XLEN", stream).dropFirst().prefix { $0.isNumber }) ?? -1
    }

    @Test func `ten thousand messages are a batch, and one more is too large before any is added`() throws {
        let stream = rig.newStream("batch")
        func batch(_ count: Int) -> String { "{\"messages\":[" + repeatElement(#"{"fields":{"n":"1"}}"#, count: count).joined(separator: ",") + "]}" }
        #expect(try post(stream, batch(10_001)).expect(413).code == "TOO_LARGE")
        #expect(try length(stream) == 0)
        #expect(try post(stream, batch(10_000)).expect(201).json["results"].array.count == 10_000)
        #expect(try length(stream) == 10_000)
    }

    @Test func `a million lines are taken, and one more is refused when those before are there`() throws {
        let stream = rig.newStream("million")
        let line = "{\"fields\":{\"n\":1}}\n"
        let lines = String(repeating: line, count: 1_000_001)
        let reply = try post(stream, lines, "application/x-ndjson").expect(413)
        #expect(reply.code == "TOO_LARGE" && reply.json["added"] == 1_000_000, "\(reply.text)")
        #expect(try length(stream) == 1_000_000)
        try rig.redis.run("DEL", stream)
    }

    @Test func `a thousand fields are a message, and one more is that message's error`() throws {
        func message(_ count: Int, _ pairs: Bool) -> String {
            let fields = (0..<count).map { pairs ? "[\"f\($0)\",\"\"]" : "\"f\($0)\":\"\"" }.joined(separator: ",")
            return "{\"fields\":" + (pairs ? "[\(fields)]" : "{\(fields)}") + "}"
        }
        let stream = rig.newStream("fields")
        for pairs in [true, false] {
            try post(stream, message(1000, pairs)).expect(201)
            #expect(try post(stream, message(1001, pairs)).expect(413).code == "TOO_LARGE")
            let lines = try post(stream, message(1001, pairs) + "\n" + message(1000, pairs), "application/x-ndjson").expect(207)
            #expect(lines.json["results"][0]["error"]["code"] == "TOO_LARGE" && lines.json["results"][0]["error"]["status"] == 413)
        }
        let form = (0..<1001).map { "f\($0)=1" }.joined(separator: "&")
        #expect(try post(stream, form, "application/x-www-form-urlencoded").expect(413).code == "TOO_LARGE")
        #expect(try length(stream) == 4)
    }

    @Test func `64 levels are read, and one more is invalid`() throws {
        func nested(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        let stream = rig.newStream("depth")
        try post(stream, "{\"fields\":{\"a\":\(nested(62))}}").expect(201)
        #expect(try post(stream, "{\"fields\":{\"a\":\(nested(63))}}").expect(400).code == "INVALID_JSON")
        let lines = try post(stream, "{\"fields\":{\"a\":\(nested(63))}}\n{\"fields\":{\"a\":\(nested(62))}}", "application/x-ndjson").expect(207)
        #expect(lines.json["results"].array.map { $0["error"]["code"] } == ["INVALID_JSON", nil])
        try post(stream, "{\"messages\":[{\"fields\":{\"a\":\(nested(60))}}]}").expect(201)
        #expect(try post(stream, "{\"messages\":[{\"fields\":{\"a\":\(nested(61))}}]}").expect(400).code == "INVALID_JSON")
    }

    @Test func `a line that is too long ends the call, and those before it are there`() throws {
        let rig = try Rig(["--max-body-bytes", "2000"])
        let line = "{\"fields\":{\"n\":\"\(String(repeating: "x", count: 1900))\"}}\n"
        let long = "{\"fields\":{\"n\":\"\(String(repeating: "x", count: 2100))\"}}\n"
        let reply = try rig.client.begin(
            "POST", "/v1/streams/s/messages", body: Array((line + line + long + line).utf8), headers: ["Content-Type": "application/x-ndjson"]).wait().expect(413)
        #expect(reply.code == "TOO_LARGE" && reply.json["added"] == 2, "\(reply.text)")
    }

    @Test func `the same error of many messages costs one look at Redis`() throws {
        let stream = rig.newStream("small")
        try rig.redis.run("XADD", stream, "9-9", "n", "0")
        let before = try rig.redis.commandCount()
        let lines = String(repeating: "{\"fields\":{\"n\":\"1\"},\"id\":\"1-1\"}\n", count: 300)
        let reply = try post(stream, lines, "application/x-ndjson").expect(409)
        #expect(reply.json["results"].array.allSatisfy { $0["error"]["last_id"] == "9-9" })
        #expect(try rig.redis.commandCount() - before < 320)
    }

    @Test func `a body of 64 MiB is added as it comes, and not held`() throws {
        let stream = rig.newStream("long")
        let value = String(repeating: "x", count: 16_000)
        let lines = (0..<64).map { "{\"fields\":{\"n\":\"\($0)\",\"v\":\"\(value)\"},\"id\":\"ID-\($0)\"}\n" }.joined()
        let socket = try ClientSocket(port: rig.port)
        try socket.send("POST /v1/streams/\(stream)/messages?maxlen=100 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        func send(_ round: Int) throws {
            let part = lines.replacing("ID-", with: "\(round + 1)-")
            try socket.send(String(part.utf8.count, radix: 16) + "\r\n" + part + "\r\n")
        }
        for round in 0..<4 { try send(round) }
        try waitUntil("half is there before the rest was sent") { try rig.redis.run("XRANGE", stream, "4-63", "4-63").hasPrefix("*1") }
        let before = rig.gateway.memory
        var most = 0
        for round in 4..<64 {
            try send(round)
            if round % 8 == 0 { most = max(most, rig.gateway.memory - before) }
        }
        try socket.send("0\r\n\r\n")
        let reply = try socket.reply().expect(201)
        #expect(reply.json["results"].array.count == 64 * 64)
        #expect(most < 8 << 20, "\(most >> 10) KiB more")
    }

    @Test func `a client that goes in the middle leaves what it sent`() throws {
        let stream = rig.newStream("gone")
        let socket = try ClientSocket(port: rig.port)
        try socket.send("POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n")
        let lines = String(repeating: "{\"fields\":{\"n\":\"1\"}}\n", count: 1000)
        try socket.send(String(lines.utf8.count + 5, radix: 16) + "\r\n" + lines + "{\"fie")
        try waitUntil("they are there") { try length(stream) == 1000 }
        socket.reset()
        try post(stream, #"{"fields":{"n":"2"}}"#).expect(201)
        #expect(try length(stream) == 1001)
    }
}
