// Live tails of a consumer (API.md §5): what is pushed, how much of it, and to whom it goes when the client has gone.

import Glibc
import Support
import Testing

@Suite(.gateway("--tail-comment-ms", "1000"), .serialized) struct GroupTailTests {
    let rig = Rig.current

    @Test func `messages are pushed as they come, the consumer's own pending ones first`() throws {
        let stream = try rig.newGroup("push")
        let old = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=2").ids == Array(old[..<2]))
        let tail = try rig.push(stream, "c")
        #expect(try tail.messages(3) == old)
        let new = try rig.add(4, to: stream)
        #expect(try tail.messages(4) == old + [new])
        let events = try tail.stream().events
        #expect(events[3].data == ["id": .string(new), "fields": ["n": "4"], "delivery_count": 1])
        #expect(try rig.pending(stream).mapValues(\.consumer) == Dictionary(uniqueKeysWithValues: (old + [new]).map { ($0, "c") }))
        #expect(tail.socket.text.contains("X-Accel-Buffering: no\r\n"))
        // A browser's way.
        let other = try rig.newGroup("push")
        let browser = try EventReader(port: rig.port, rig.pushPath(other, "c", "fields=pairs", end: "messages"))
        try browser.socket.expect("\n:\n\n")
        try rig.add(1, to: other)
        try browser.messages(1)
        #expect(try browser.stream().events[0].data["fields"].array.first?.array.map(\.string) == ["n", "1"])
    }

    @Test func `never more than max_pending are unacknowledged, whoever is told of it and however`() throws {
        let stream = try rig.newGroup("bound")
        let second = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock", "--loops", "1"])
        let other = TestClient(port: second.port)
        let ids = try (1...60).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=12").ids.count == 12)
        let tail = try rig.push(stream, "c", "max_pending=5")
        var (done, round) = (0, 0)
        while done < 60 {
            let seen = try tail.messages(min(done + 5, 60))
            #expect(seen == Array(ids[..<min(done + 5, 60)]), "never one more")
            let now = Array(seen[done..<min(done + 3, seen.count)])
            switch round % 5 {
            case 0: try rig.ack(stream, now)
            case 1: try rig.ack(stream, now, by: other)
            case 2: try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/c/settle", json: #"{"ack":[\#(now.quotedList)]}"#).expect(200)
            case 3: try rig.redis.run(["XACK", stream, "g"] + now)
            default: try rig.redis.run(["XCLAIM", stream, "g", "somebody", "0"] + now)
            }
            (done, round) = (done + now.count, round + 1)
        }
        #expect(try rig.pending(stream).values.allSatisfy { $0.consumer == "somebody" })
    }

    @Test func `a full tail goes on in portions, and with less when no more is acknowledged`() throws {
        let stream = try rig.newGroup("portions")
        let ids = try (1...80).map { try rig.add($0, to: stream) }
        let tail = try rig.push(stream, "c", "max_pending=40")
        #expect(try tail.messages(40) == Array(ids[..<40]))
        try rig.ack(stream, Array(ids[..<3]))
        #expect(try tail.messages(43) == Array(ids[..<43]))
        try rig.ack(stream, Array(ids[3..<40]))
        #expect(try tail.messages(80) == ids)
    }

    @Test(arguments: [true, false]) func `what a tail that has gone was sent goes to the next reader, and what it acknowledged does not`(isTail: Bool) throws {
        let stream = try rig.newGroup("gone")
        let tail = try rig.push(stream, "c")
        let ids = try (1...6).map { try rig.add($0, to: stream) }
        try tail.messages(6)
        try rig.ack(stream, Array(ids[..<2]))
        if isTail {
            let next = try rig.push(stream, "d")
            tail.socket.reset()
            #expect(try next.messages(4) == Array(ids[2...]))
            #expect(try rig.pending(stream).values.allSatisfy { $0.consumer == "d" })
            #expect(try next.stream().events.allSatisfy { $0.data["delivery_count"] == 2 && $0.data["consumer"] == "unowned" })
        } else {
            let next = rig.client.begin("POST", rig.readPath(stream, "d", "block_ms=0&count=10"))
            tail.socket.reset()
            let reply = try next.wait()
            #expect(reply.ids == Array(ids[2...]))
            #expect(reply.json["messages"].array.allSatisfy { $0["delivery_count"] == 2 })
            #expect(try rig.pending(stream).values.allSatisfy { $0.consumer == "d" })
        }
    }

    @Test func `of two tails of one consumer each gets what is pending, and what the other leaves`() throws {
        let stream = try rig.newGroup("twice")
        let first = try rig.push(stream, "c")
        let old = try (1...3).map { try rig.add($0, to: stream) }
        try first.messages(3)
        // A client that was cut off and came back before anybody noticed.
        let second = try rig.push(stream, "c")
        #expect(try second.messages(3) == old)
        let new = try (4...20).map { try rig.add($0, to: stream) }
        var (here, there): ([String], [String]) = ([], [])
        try waitUntil("each new one is at one of them") {
            here = Array(try first.messages(3).dropFirst(3))
            there = Array(try second.messages(3).dropFirst(3))
            return here.count + there.count == new.count
        }
        #expect((here + there).sorted() == new.sorted() && !here.isEmpty && !there.isEmpty)
        try rig.ack(stream, [old[0]])
        first.socket.reset()
        // But not those of before, which the other has, too.
        let all = try second.messages(3 + new.count)
        #expect(Set(all) == Set(old + new) && all.count == 3 + new.count)
        let last = try rig.add(21, to: stream)
        #expect(try second.messages(3 + new.count + 1).dropFirst(3 + new.count) == [last])
        try rig.ack(stream, Array(old[1...]) + new + [last])
        #expect(try rig.pending(stream).isEmpty)
    }

    @Test func `a tail and a parked read get their turns`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("turns")
        let tail = try rig.push(stream, "tail", "max_pending=1000")
        var (pushed, read) = (0, 0)
        for round in 0..<10 {
            let pending = try rig.park(stream, "reader", "block_ms=0&count=1", asNumber: 2)
            for number in 1...40 { try rig.add(round * 40 + number, to: stream) }
            read += try pending.wait().ids.count
            pushed = try tail.messages(round * 39 + 39).count
        }
        #expect(read == 10 && pushed == 390)
    }

    @Test(arguments: ["DELETE", "XGROUP", "DEL", "SET"]) func `the end of its group or its stream ends a tail with an error`(way: String) throws {
        let stream = try rig.newGroup("end")
        // One that waits, and one that has no room and is not queued up.
        let tail = try rig.push(stream, "c")
        let full = try rig.push(stream, "d", "max_pending=1")
        var next = 1
        while try full.stream().events.isEmpty {
            try rig.add(next, to: stream)
            next += 1
        }
        switch way {
        case "DELETE": _ = try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g").expect(200)
        case "XGROUP": try rig.redis.run("XGROUP", "DESTROY", stream, "g")
        case "DEL": try rig.redis.run("DEL", stream)
        default: try rig.redis.run("SET", stream, "x")
        }
        for reader in [tail, full] {
            let code = try reader.wait(for: "error").data["code"].string
            switch way {
            case "SET": #expect(code == "NOT_A_STREAM")
            case "DEL": #expect(code == "STREAM_NOT_FOUND")
            default: #expect(code == "GROUP_NOT_FOUND")
            }
            #expect(try reader.socket.readToEnd().hasSuffix("0\r\n\r\n"))
        }
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
            "HEAD \(rig.pushPath(group, "c", end: "messages")) HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n")
        #expect(try socket.readToEnd().hasPrefix("HTTP/1.1 200 OK\r\n"))
        #expect(try rig.pending(group).isEmpty)
    }
}

extension Rig {
    func pushPath(_ stream: String, _ consumer: String, _ query: String = "", end: String = "stream") -> String {
        "/v1/streams/\(stream)/groups/g/consumers/\(consumer)/\(end)" + (query.isEmpty ? "" : "?\(query)")
    }

    /// A live tail of a consumer, which has begun.
    func push(_ stream: String, _ consumer: String, _ query: String = "", receiveBuffer: Int32? = nil) throws -> EventReader {
        let reader = try EventReader(port: port, pushPath(stream, consumer, query), method: "POST", receiveBuffer: receiveBuffer)
        try reader.socket.expect("\n:\n\n")
        return reader
    }

    func ack(_ stream: String, _ ids: [String], by other: TestClient? = nil) throws {
        let query = ids.map { "id=\($0)" }.joined(separator: "&")
        let reply = try (other ?? client).post("/v1/streams/\(stream)/groups/g/ack?\(query)").expect(200)
        #expect(reply.json["acked"].integer == ids.count)
    }
}
