// Reads of ten thousand messages: they go out as they are read, no faster than the client takes them, and what the
// client did not take belongs to nobody.

import Glibc
import Support
import Testing

@Suite(.gateway(), .serialized) struct LongReplyTests {
    let rig = Rig.current

    /// A stream of `count` messages 1-0, 2-0, … of about `size` bytes, with the group `g`.
    private func fill(_ rig: Rig, _ count: Int = 10_000, size: Int) throws -> (stream: String, ids: [String]) {
        let stream = try rig.newGroup("long")
        try add(rig, stream, 1...count, size: size)
        return (stream, (1...count).map { "\($0)-0" })
    }

    private func add(_ rig: Rig, _ stream: String, _ numbers: ClosedRange<Int>, size: Int) throws {
        try rig.redis.run(
            "EVAL", "for n = ARGV[1], ARGV[2] do redis.call('XADD', KEYS[1], n .. '-0', 'n', n, 'p', ARGV[3]) end", "1", stream,
            "\(numbers.lowerBound)", "\(numbers.upperBound)", String(repeating: "x", count: size))
    }

    private func consumers(_ rig: Rig, _ stream: String) throws -> [String: Int] {
        let rows = try rig.client.get("/v1/streams/\(stream)/groups/g/pending").json["consumers"].array
        return Dictionary(uniqueKeysWithValues: rows.map { ($0["name"].string ?? "", $0["pending"].integer ?? 0) })
    }

    /// A call whose reply is too long to be held against openapi.yaml each time.
    private func call(_ rig: Rig, _ method: String, _ path: String, receiveBuffer: Int32? = nil) throws -> ClientSocket {
        let socket = try ClientSocket(port: rig.port, receiveBuffer: receiveBuffer)
        try socket.send("\(method) \(path) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return socket
    }

    private func read(_ stream: String, _ consumer: String, _ query: String, _ rig: Rig? = nil) throws -> Reply {
        try call(rig ?? self.rig, "POST", (rig ?? self.rig).readPath(stream, consumer, query)).longReply()
    }

    private func get(_ path: String, _ rig: Rig? = nil) throws -> Reply { try call(rig ?? self.rig, "GET", path).longReply() }

    @Test func `ten thousand messages come in one reply, in order, whichever way they are read`() throws {
        let (stream, ids) = try fill(rig, size: 100)
        let before = try rig.metric("sluice_replies_streamed_total")
        let found = try read(stream, "c", "count=10000&stats")
        #expect(found.longIDs == ids && found.headers["transfer-encoding"] == "chunked" && found.headers["content-length"] == nil)
        #expect(found.count(of: #""delivery_count":1}"#) == 10_000)
        #expect(found.text.hasSuffix(#""pending":10000}}"# + "\n"))
        #expect(try read(stream, "c", "count=10000&id=pending").longIDs == ids)
        #expect(try read(stream, "c", "count=300&id=5000-0").longIDs == Array(ids[5000..<5300]))
        let place = "/v1/streams/\(stream)/messages"
        let range = try get("\(place)?count=10000")
        #expect(range.longIDs == ids && range.text.hasSuffix(#"],"next":null}"# + "\n"))
        let part = try get("\(place)?count=9999")
        #expect(part.longIDs == Array(ids.dropLast()) && part.text.hasSuffix(#"],"next":"(9999-0"}"# + "\n"))
        #expect(try get("\(place)?count=9999&order=desc").longIDs == ids.dropFirst().reversed())
        let tail = try get("\(place)?after=earliest&count=10000")
        #expect(tail.longIDs == ids && tail.text.hasSuffix(#"],"last_id":"10000-0"}"# + "\n"))
        let rows = try get("/v1/streams/\(stream)/groups/g/pending/messages?count=10000")
        #expect(rows.longIDs == ids && rows.text.hasSuffix(#"],"next":null}"# + "\n"))
        let some = try get("/v1/streams/\(stream)/groups/g/pending/messages?count=1500&start=(10-0")
        #expect(some.longIDs == Array(ids[10..<1510]) && some.text.hasSuffix(#"],"next":"(1510-0"}"# + "\n"))
        #expect(try rig.metric("sluice_replies_streamed_total") == before + 7)
        // To HEAD the head, framed as to GET; nothing follows.
        #expect(try call(rig, "HEAD", "\(place)?count=10000").readToEnd().hasSuffix("\r\n\r\n"))
        // What fits into one piece has its length; a longer reply is what openapi.yaml says, too.
        #expect(try get("\(place)?count=500").headers["content-length"] != nil)
        #expect(try rig.client.get("\(place)?count=3000&start=5000-0").headers["transfer-encoding"] == "chunked")
    }

    @Test func `messages that others left idle come in the same reply as new ones`() throws {
        let (stream, ids) = try fill(rig, 3000, size: 300)
        #expect(try read(stream, "crashed", "count=1500").longIDs == Array(ids[..<1500]))
        #expect(try read(stream, "c", "count=10000&claim_min_idle_ms=0").longIDs.sorted() == ids.sorted())
        #expect(try consumers(rig, stream) == ["c": 3000])
    }

    @Test func `a parked read gets a burst as long as it asked for`() throws {
        let stream = try rig.newGroup("burst")
        let socket = try call(rig, "POST", rig.readPath(stream, "c", "block_ms=0&count=10000"))
        try rig.waitUntilParked(1)
        try add(rig, stream, 1...4000, size: 500)
        let reply = try socket.longReply()
        #expect(reply.longIDs == (1...4000).map { "\($0)-0" })
        #expect(reply.headers["transfer-encoding"] == "chunked" && reply.headers["sluice-block-ms"] != nil)
    }

    @Test func `HTTP 1.0 gets the end by the connection's, and what it has got is not handed back`() throws {
        let (stream, ids) = try fill(rig, size: 100)
        let before = try rig.metric("sluice_handed_back_total")
        let socket = try ClientSocket(port: rig.port)
        try socket.send("POST \(rig.readPath(stream, "old", "count=10000")) HTTP/1.0\r\n\r\n")
        let text = try socket.readToEnd()
        #expect(text.contains(#"{"id":"\#(ids[9999])""#) && text.hasSuffix("]}\n") && !text.contains("Transfer-Encoding"))
        socket.close()
        try waitUntil("the connection has ended") { try rig.metric("sluice_http_connections") == 1 }
        #expect(try rig.metric("sluice_handed_back_total") == before)
        #expect(try consumers(rig, stream) == ["old": 10_000])
    }

    /// What one who takes little has been read for, when nothing more is read for it.
    private func stalled(_ rig: Rig, _ stream: String, _ consumer: String) throws -> (socket: ClientSocket, read: Int) {
        let socket = try call(rig, "POST", rig.readPath(stream, consumer, "count=10000"), receiveBuffer: 16 << 10)
        var (read, same) = (0, 0)
        try waitUntil("nothing more is read") {
            let now = try consumers(rig, stream)[consumer] ?? 0
            same = now == read && now > 0 ? same + 1 : 0
            read = now
            return same == 50  // Each took turns of the loop, in which it could have read on.
        }
        return (socket, read)
    }

    @Test(arguments: [true, false]) func `what a client does not take is not read, and becomes unowned when it leaves`(byReset: Bool) throws {
        let (stream, ids) = try fill(rig, size: 1500)
        let (socket, least) = try stalled(rig, stream, "gone")
        if byReset { socket.reset() } else { socket.close() }
        // A loop that stood still meanwhile may have read on since.
        var read = 0
        try waitUntil("all of them are unowned") {
            let holders = try consumers(rig, stream)
            read = holders["unowned"] ?? 0
            return Array(holders.keys) == ["unowned"] && read >= least
        }
        #expect(read < 9000, "\(read) were read for nobody")
        var got: [String] = []
        var unowned = 0
        while got.count < 10_000 {
            let reply = try self.read(stream, "next", "count=10000")
            try #require(!reply.longIDs.isEmpty)
            unowned += reply.count(of: #""consumer":"unowned"}"#)
            got += reply.longIDs
        }
        #expect(got == ids && unowned == read)
    }

    @Test func `a Redis that stands still in the middle ends the reply there, and nothing is lost`() throws {
        let rig = try Rig(["--redis-timeout-ms", "3000"])
        let (stream, ids) = try fill(rig, size: 1500)
        let (socket, _) = try stalled(rig, stream, "c")
        rig.redis.freeze()
        let reply = try socket.longReply()
        rig.redis.thaw()
        #expect(reply.status == 200 && reply.text.hasSuffix("]}\n"))
        var got = reply.longIDs
        #expect(got == Array(ids[..<got.count]) && (1..<10_000).contains(got.count))
        try rig.waitUntilConnected()
        // The slice that failed may have been given all the same: to its consumer, or to nobody.
        while true {
            let more = try read(stream, "c", "count=10000", rig).longIDs
            if more.isEmpty { break }
            got += more
        }
        got += try read(stream, "c", "count=10000&id=pending", rig).longIDs
        #expect(Set(got) == Set(ids))
    }

    @Test func `a Redis that dies in the middle ends the reply there, and a range says where to go on`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let (stream, ids) = try fill(rig, size: 1500)
        let place = "/v1/streams/\(stream)/messages?count=10000"
        let (reader, least) = try stalled(rig, stream, "c")
        let range = try call(rig, "GET", place, receiveBuffer: 16 << 10)
        try range.expect("200 OK")
        rig.redis.end()
        try waitUntil("the gateway notices") { try rig.client.get("/v1/info").json["redis"]["connected"] == false }
        let found = try reader.longReply()
        // A loop that stood still before may have read on since.
        let read = found.longIDs.count
        #expect(found.longIDs == Array(ids[..<read]) && read >= least && found.text.hasSuffix("]}\n"))
        let page = try range.longReply()
        let got = page.longIDs
        #expect(page.status == 200 && got == Array(ids[..<got.count]) && got.count < 10_000)
        #expect(page.text.hasSuffix(#"],"next":"(\#(got.last ?? "")"}"# + "\n"))
        try rig.redis.start()
        try rig.waitUntilConnected()
        #expect(try got + get("\(place)&start=(\(got.last ?? "")", rig).longIDs == ids)
        #expect(try self.read(stream, "c", "count=10000", rig).longIDs == Array(ids[read...]))
    }
}

extension ClientSocket {
    /// The only reply of a connection that closes after it.
    fileprivate func longReply() throws -> Reply {
        _ = try readToEnd(atMost: .seconds(60))
        return try reply()
    }
}

extension Reply {
    /// The messages' IDs, without reading megabytes of JSON.
    fileprivate var longIDs: [String] {
        places(of: #"{"id":""#).map { String(decoding: body[$0...].prefix { $0 != UInt8(ascii: "\"") }, as: UTF8.self) }
    }

    fileprivate func count(of part: String) -> Int { places(of: part).count }

    /// Where each `part` ends.
    private func places(of part: String) -> [Int] {
        body.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return [] }
            var (places, place) = ([Int](), 0)
            let length = part.utf8.count
            let first = Int32(part.utf8.first ?? 0)
            while place + length <= bytes.count, let found = memchr(base + place, first, bytes.count - place - length + 1) {
                place = UnsafeRawPointer(found) - base
                guard memcmp(found, part, length) == 0 else { place += 1; continue }
                place += length
                places.append(place)
            }
            return places
        }
    }
}
