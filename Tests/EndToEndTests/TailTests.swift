// Live tails of a stream (API.md §5): what they are sent, from where, and what they are told where something is gone.

import Foundation
import Glibc
import Net
import Support
import Testing

@Suite(.gateway("--tail-comment-ms", "300")) struct TailTests {
    let rig = Rig.current

    @Test func `curl -N shows each message when it is added`() throws {
        let stream = rig.newStream("curl")
        let directory = try TemporaryDirectory()
        let output = "\(directory.path)/output"
        let curl = try ProcessDescriptor.spawn(
            "/usr/bin/env",
            ["curl", "-sN", "-D", "\(directory.path)/head", "-H", "Accept: text/event-stream", "http://127.0.0.1:\(rig.port)\(rig.tailPath(stream))"],
            output: output)
        defer {
            curl.send(SIGKILL)
            _ = curl.waitForEnd(atMost: .seconds(10))
            _ = curl.reap()
        }
        func seen() throws -> String { try String(contentsOfFile: output, encoding: .utf8) }
        try waitUntil("it has begun") { try seen().hasPrefix("id: 0-0\n\n") }
        for number in 1...3 {
            let id = try rig.add(number, to: stream)
            try waitUntil("message \(number)") {
                try seen().contains("id: \(id)\ndata: {\"id\":\"\(id)\",\"fields\":{\"n\":\"\(number)\"}}\n\n")
            }
        }
        let head = try String(contentsOfFile: "\(directory.path)/head", encoding: .utf8)
        #expect(head.hasPrefix("HTTP/1.1 200 OK\r\n"))
        for line in ["Content-Type: text/event-stream", "X-Accel-Buffering: no", "Cache-Control: no-store"] {
            #expect(head.contains("\(line)\r\n"), "\(head)")
        }
    }

    @Test func `a tail begins after Last-Event-ID, else after the ID it names, else with what is new`() throws {
        let stream = rig.newStream("begin")
        let ids = try (1...250).map { try rig.add($0, to: stream) }
        #expect(try rig.tail(stream, "after=\(ids[9])", last: ids[239]).messages(10) == Array(ids[240...]))
        #expect(try rig.tail(stream, "after=\(ids[9])").messages(240) == Array(ids[10...]))
        #expect(try rig.tail(stream, "after=earliest").messages(250) == ids)
        #expect(try rig.tail(stream, last: "0-0").messages(250) == ids)
        let latest = [try rig.tail(stream), try rig.tail(stream, "after=latest"), try rig.tail(stream, "after=\(ids[249])")]
        let next = try rig.add(251, to: stream)
        for tail in latest {
            #expect(try tail.messages(1) == [next])
            // Who is cut off before the first message knows where to go on.
            #expect(tail.socket.text.contains("id: \(ids[249])\n\n"))
        }
    }

    @Test func `a tail of a stream that is not there waits for it, and goes on when it is another type for a while`() throws {
        let stream = rig.newStream("later")
        let tails = [try rig.tail(stream), try rig.tail(stream, "after=earliest"), try rig.tail(stream, "after=5-0")]
        let first = try rig.add(1, to: stream)
        for tail in tails { #expect(try tail.messages(1) == [first]) }
        try rig.redis.run("DEL", stream)
        try rig.redis.run("SET", stream, "x")
        try rig.redis.run("DEL", stream)
        let second = try rig.add(2, to: stream)
        for tail in tails {
            #expect(try tail.messages(2) == [first, second])
            #expect(try tail.stream().events.allSatisfy { $0.name == "message" })
        }
    }

    @Test func `fields=pairs, bytes that are no text, and an HTTP 1.0 client`() throws {
        let stream = rig.newStream("forms")
        let old = try EventReader(port: rig.port, rig.tailPath(stream), version: "1.0")
        try old.waitForBeginning()
        #expect(!old.socket.text.lowercased().contains("transfer-encoding"))
        let (plain, pairs) = (try rig.tail(stream), try rig.tail(stream, "fields=pairs"))
        try rig.redis.ask(bytes: [Array("XADD".utf8), Array(stream.utf8), Array("1-1".utf8), Array("a".utf8), [0xFF]])
        try rig.redis.run("XADD", stream, "1-2", "b", "line\nend")
        for tail in [old, plain, pairs] { #expect(try tail.messages(2) == ["1-1", "1-2"]) }
        #expect(try plain.stream().events.map(\.data) == old.stream().events.map(\.data))
        #expect(try plain.stream().events[0].data == ["id": "1-1", "fields": ["YQ==": "/w=="], "encoding": "base64"])
        #expect(try plain.stream().events[1].data == ["id": "1-2", "fields": ["b": "line\nend"]])
        #expect(try pairs.stream().events[1].data["fields"].array.first?.array.map(\.string) == ["b", "line\nend"])
    }

    @Test func `a silent stream has a comment now and then`() throws {
        let tail = try rig.tail(rig.newStream("silent"))
        try waitUntil("three comments") { try tail.stream().comments >= 3 }
    }

    @Test func `what was trimmed while nobody looked is told as a gap, before what is left`() throws {
        let stream = rig.newStream("gap")
        let ids = try (1...6).map { try rig.add($0, to: stream) }
        try rig.redis.run("XTRIM", stream, "MAXLEN", "2")
        let tail = try rig.tail(stream, last: ids[1])
        #expect(try tail.messages(2) == [ids[4], ids[5]])
        let gap = try tail.stream().events[0]
        #expect(gap.name == "gap" && gap.data == ["after": .string(ids[1]), "first": .string(ids[4])])
        #expect(gap.id == ids[1], "who is cut off here is told again")
        // From the beginning nothing is missed, and neither is it by one whose entry is there.
        for start in ["earliest", ids[4]] {
            let other = try rig.tail(stream, "after=\(start)")
            try other.messages(start == "earliest" ? 2 : 1)
            #expect(try other.stream().events.allSatisfy { $0.name == "message" })
        }
        // Nothing is left, and the gap is told when something comes.
        try rig.redis.run("XTRIM", stream, "MAXLEN", "0")
        let late = try rig.tail(stream, last: ids[1])
        let next = try rig.add(7, to: stream)
        #expect(try late.messages(1) == [next])
        #expect(try late.stream().events.map(\.name) == ["gap", "message"])
        #expect(try late.stream().events[0].data == ["after": .string(ids[1]), "first": .string(next)])
        #expect(try tail.messages(3) == [ids[4], ids[5], next])
    }

    @Test func `a stream that was made anew, or set back, is told from its beginning after a reset`() throws {
        let stream = rig.newStream("reset")
        let first = try rig.add(1, to: stream)
        let tails = [try rig.tail(stream, "after=earliest"), try rig.tail(stream)]
        try tails[0].messages(1)
        let second = try rig.add(2, to: stream)
        #expect(try tails[0].messages(2) == [first, second])
        #expect(try tails[1].messages(1) == [second])
        try rig.redis.run("DEL", stream)
        try rig.redis.run("XADD", stream, "1-1", "n", "3")
        for tail in tails {
            let reset = try tail.wait(for: "reset")
            #expect(reset.data == ["after": .string(second), "last_id": "1-1"] && reset.id == "0-0")
            try rig.redis.run("XADD", stream, "*", "n", "4")
            try waitUntil("it goes on") { try tail.stream().events.contains { $0.id == "1-1" } }
        }
        // One that was away meanwhile.
        let other = rig.newStream("reset")
        try rig.redis.run("XADD", other, "1-1", "n", "1")
        let late = try rig.tail(other, last: "9-9")
        #expect(try late.messages(1) == ["1-1"])
        #expect(try late.stream().events.map(\.name) == ["reset", "message"])
        // And one whose stream is made anew after it has come.
        let third = rig.newStream("reset")
        let waiting = try rig.tail(third, last: "9-9")
        try rig.redis.run("XADD", third, "1-1", "n", "1")
        #expect(try waiting.messages(1) == ["1-1"])
        #expect(try waiting.stream().events.map(\.name) == ["reset", "message"])
    }

    @Test func `calls that are refused`() throws {
        let events = ["Accept": "text/event-stream"]
        try rig.refuse([
            BadCall("GET", "/v1/streams/S/messages?count=1", headers: events, 400, "INVALID_PARAMETER", says: "neither a range nor an end"),
            BadCall("GET", "/v1/streams/S/messages?block_ms=1", headers: events, 400, "INVALID_PARAMETER", says: "block_ms"),
            BadCall("GET", "/v1/streams/S/messages?start=1-1", headers: events, 400, "INVALID_PARAMETER", says: "start"),
            BadCall("GET", "/v1/streams/S/messages?end=1-1", headers: events, 400, "INVALID_PARAMETER", says: "end"),
            BadCall("GET", "/v1/streams/S/messages?order=asc", headers: events, 400, "INVALID_PARAMETER", says: "order"),
            BadCall("GET", "/v1/streams/S/messages?aftr=1", headers: events, 400, "INVALID_PARAMETER", says: "after"),
            BadCall("GET", "/v1/streams/S/messages?after=x", headers: events, 400, "INVALID_ID"),
            BadCall("GET", "/v1/streams/S/messages?fields=x", headers: events, 400, "INVALID_PARAMETER"),
            BadCall(
                "GET", "/v1/streams/S/messages", headers: ["Accept": "text/event-stream", "Last-Event-ID": "latest"], 400, "INVALID_ID",
                says: "Last-Event-ID"),
            BadCall("GET", "/v1/streams/T/messages", headers: events, 409, "NOT_A_STREAM"),
            BadCall("GET", "/v1/streams/T/messages?after=1-1", headers: events, 409, "NOT_A_STREAM"),
            BadCall("GET", "/v1/streams/sluice:x/messages", headers: events, 403, "RESERVED_NAME"),
            BadCall("GET", "/v1/streams/S/messages", headers: ["Accept": "text/plain"], 406, "NOT_ACCEPTABLE"),
            BadCall("GET", "/v1/streams/S/groups", headers: events, 406, "NOT_ACCEPTABLE"),
            BadCall("GET", "/v1/streams/S/messages", headers: ["Accept": "text/event-stream;q=0"], 406, "NOT_ACCEPTABLE"),
        ])
    }

    @Test func `HEAD opens nothing, and who takes JSON too gets JSON`() throws {
        let stream = rig.newStream("head")
        try rig.add(1, to: stream)
        let before = try rig.metric("sluice_tails_opened_total")
        let socket = try ClientSocket(port: rig.port)
        try socket.send("HEAD \(rig.tailPath(stream)) HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n")
        let head = try socket.readToEnd()
        #expect(head.contains("Content-Type: text/event-stream\r\n") && head.hasSuffix("\r\n\r\n"), "\(head)")
        for accept in ["application/json, text/event-stream", "*/*", "application/json"] {
            #expect(try rig.client.get(rig.tailPath(stream), headers: ["Accept": accept]).expect(200).ids.count == 1, "\(accept)")
        }
        #expect(try rig.metric("sluice_tails_opened_total") >= before)
        // A browser's, and one that would take anything else as well.
        for accept in ["text/event-stream", "text/event-stream, */*;q=0.1"] {
            let tail = try ClientSocket(port: rig.port)
            try tail.send("GET \(rig.tailPath(stream)) HTTP/1.1\r\nHost: localhost\r\nAccept: \(accept)\r\n\r\n")
            try tail.expect("Content-Type: text/event-stream\r\n")
        }
    }
}
