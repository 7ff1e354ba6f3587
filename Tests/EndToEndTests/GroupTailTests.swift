// Live tails of a consumer (API.md §5): what is pushed, how much of it, and to whom it goes when the client has gone.

import Glibc
import Support
import Testing

@Suite(.gateway("--tail-comment-ms", "1000")) struct GroupTailTests {
    let rig = Rig.current

    private func path(_ stream: String, _ consumer: String, _ query: String = "", end: String = "stream") -> String {
        "/v1/streams/\(stream)/groups/g/consumers/\(consumer)/\(end)" + (query.isEmpty ? "" : "?\(query)")
    }

    private func push(_ stream: String, _ consumer: String, _ query: String = "", on other: UInt16? = nil) throws -> EventReader {
        let reader = try EventReader(port: other ?? rig.port, path(stream, consumer, query), method: "POST")
        try reader.socket.expect("\n:\n\n")
        return reader
    }

    private func ack(_ stream: String, _ ids: [String], by client: TestClient? = nil) throws {
        let query = ids.map { "id=\($0)" }.joined(separator: "&")
        let reply = try (client ?? rig.client).post("/v1/streams/\(stream)/groups/g/ack?\(query)").expect(200)
        #expect(reply.json["acked"].integer == ids.count)
    }

    @Test func `messages are pushed as they come, the consumer's own pending ones first`() throws {
        let stream = try rig.newGroup("push")
        let old = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=2").ids == Array(old[..<2]))
        let tail = try push(stream, "c")
        #expect(try tail.messages(3) == old)
        let new = try rig.add(4, to: stream)
        #expect(try tail.messages(4) == old + [new])
        let events = try tail.stream().events
        #expect(events[3].data == ["id": .string(new), "fields": ["n": "4"], "delivery_count": 1])
        #expect(try rig.pending(stream).mapValues(\.consumer) == Dictionary(uniqueKeysWithValues: (old + [new]).map { ($0, "c") }))
        #expect(tail.socket.text.contains("X-Accel-Buffering: no\r\n"))
        // A browser's way.
        let other = try rig.newGroup("push")
        let browser = try EventReader(port: rig.port, path(other, "c", "fields=pairs", end: "messages"))
        try browser.socket.expect("\n:\n\n")
        try rig.add(1, to: other)
        try browser.messages(1)
        #expect(try browser.stream().events[0].data["fields"].array.first?.array.map(\.string) == ["n", "1"])
    }

    @Test func `never more than max_pending are unacknowledged, whichever gateway is told of it`() throws {
        let stream = try rig.newGroup("bound")
        let second = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock", "--loops", "1"])
        let other = TestClient(port: second.port)
        let ids = try (1...40).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=12").ids.count == 12)
        let tail = try push(stream, "c", "max_pending=5")
        var acked = 0
        while acked < 40 {
            let seen = try tail.messages(min(acked + 5, 40))
            #expect(seen == Array(ids[..<min(acked + 5, 40)]), "never one more")
            let now = Array(seen[acked..<min(acked + 3, seen.count)])
            try ack(stream, now, by: acked % 2 == 0 ? rig.client : other)
            acked += now.count
        }
        #expect(try rig.pending(stream).isEmpty)
    }

    @Test func `what a tail that has gone was sent goes to the next reader, and what it acknowledged does not`() throws {
        let stream = try rig.newGroup("gone")
        let tail = try push(stream, "c")
        let ids = try (1...6).map { try rig.add($0, to: stream) }
        try tail.messages(6)
        try ack(stream, Array(ids[..<2]))
        let next = rig.client.begin("POST", rig.readPath(stream, "d", "block_ms=0&count=10"))
        tail.socket.reset()
        let reply = try next.wait()
        #expect(reply.ids == Array(ids[2...]))
        #expect(reply.json["messages"].array.allSatisfy { $0["delivery_count"] == 2 })
    }

    @Test func `a tail and a parked read get their turns`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("turns")
        let tail = try push(stream, "tail", "max_pending=1000", on: rig.port)
        var (pushed, read) = (0, 0)
        for round in 0..<10 {
            let pending = try rig.park(stream, "reader", "block_ms=0&count=1", asNumber: 2)
            for number in 1...40 { try rig.add(round * 40 + number, to: stream) }
            read += try pending.wait().ids.count
            pushed = try tail.messages(round * 39 + 39).count
        }
        #expect(read == 10 && pushed == 390)
    }

    @Test func `a group's end ends its tails with an error`() throws {
        let stream = try rig.newGroup("end")
        let tail = try push(stream, "c")
        _ = try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g").expect(200)
        #expect(try tail.wait(for: "error").data["code"] == "GROUP_NOT_FOUND")
        #expect(try tail.socket.readToEnd().hasSuffix("0\r\n\r\n"))
        // Also one that has no room, and is not queued up.
        let other = try rig.newGroup("end")
        let full = try push(other, "c", "max_pending=1")
        try rig.add(1, to: other)
        try full.messages(1)
        try rig.redis.run("DEL", other)
        #expect(try full.wait(for: "error").data["code"] == "GROUP_NOT_FOUND")
    }

    @Test func `crashing consumers at random: every message is acknowledged, and none waits for a lease`() throws {
        var random = SeededRandom()
        let stream = try rig.newGroup("crash")
        var tails = try (0..<6).map { try push(stream, "c\($0)", "max_pending=20") }
        var seen = [Int](repeating: 0, count: tails.count)
        var acked: Set<String> = []
        var added = 0
        func step() throws {
            for index in tails.indices {
                let events = try tails[index].stream().events
                let new = events.dropFirst(seen[index]).map(\.id).filter { !acked.contains($0) }
                seen[index] = events.count
                if Int.random(in: 0..<8, using: &random) == 0 {
                    tails[index].socket.reset()
                    tails[index] = try push(stream, "c\(index)", "max_pending=20")
                    seen[index] = 0
                } else if !new.isEmpty {
                    let query = new.map { "id=\($0)" }.joined(separator: "&")
                    _ = try rig.client.post("/v1/streams/\(stream)/groups/g/ack?\(query)").expect(200)
                    acked.formUnion(new)
                }
            }
        }
        for _ in 0..<30 {
            for _ in 0..<Int.random(in: 0...15, using: &random) {
                added += 1
                try rig.add(added, to: stream)
            }
            try step()
        }
        try waitUntil("all is acknowledged\(random.note)") {
            try step()
            return acked.count == added
        }
        #expect(try rig.pending(stream).isEmpty, "\(random.note)")
    }

    @Test func `calls that are refused`() throws {
        let (stream, follow) = ("/v1/streams/S/groups/g/consumers/c/stream", "/v1/streams/S/groups/g/consumers/c/messages")
        let events = ["Accept": "text/event-stream"]
        try rig.refuse([
            BadCall("POST", "\(stream)?max_pending=0", 400, "INVALID_PARAMETER", says: "1000"),
            BadCall("POST", "\(stream)?max_pending=1001", 400, "INVALID_PARAMETER", says: "1000"),
            BadCall("POST", "\(stream)?max_pendin=5", 400, "INVALID_PARAMETER", says: "max_pending"),
            BadCall("POST", "\(stream)?count=5", 400, "INVALID_PARAMETER"),
            BadCall("POST", "\(stream)?fields=x", 400, "INVALID_PARAMETER"),
            BadCall("POST", stream, "{}", 400, "INVALID_REQUEST"),
            BadCall("POST", stream, headers: ["Accept": "application/json"], 406, "NOT_ACCEPTABLE", says: "text/event-stream"),
            BadCall("POST", "/v1/streams/S/groups/x/consumers/c/stream", 404, "GROUP_NOT_FOUND"),
            BadCall("POST", "/v1/streams/N/groups/g/consumers/c/stream", 404, "STREAM_NOT_FOUND"),
            BadCall("POST", "/v1/streams/T/groups/g/consumers/c/stream", 409, "NOT_A_STREAM"),
            BadCall("POST", "/v1/streams/S/groups/g/consumers/unowned/stream", 403, "RESERVED_NAME"),
            BadCall("GET", follow, headers: ["Accept": "*/*"], 406, "NOT_ACCEPTABLE", says: "exactly"),
            BadCall("GET", follow, headers: ["Accept": "text/*"], 406, "NOT_ACCEPTABLE", says: "exactly"),
            BadCall("GET", follow, headers: ["Accept": "text/event-stream, */*"], 406, "NOT_ACCEPTABLE", says: "exactly"),
            BadCall("GET", follow, headers: ["Accept": "application/json"], 406, "NOT_ACCEPTABLE"),
            BadCall("GET", "\(follow)?max_pending=x", headers: events, 400, "INVALID_PARAMETER"),
            BadCall("GET", "/v1/streams/S/groups/x/consumers/c/messages", headers: events, 404, "GROUP_NOT_FOUND"),
        ])
        // HEAD reads nothing.
        let group = try rig.newGroup("head")
        try rig.add(1, to: group)
        let socket = try ClientSocket(port: rig.port)
        try socket.send(
            "HEAD \(path(group, "c", end: "messages")) HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n")
        #expect(try socket.readToEnd().hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(try rig.pending(group).isEmpty)
    }
}
