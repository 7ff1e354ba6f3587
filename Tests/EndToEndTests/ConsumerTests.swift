// Consumers made and deleted (API.md §3): a deletion loses nothing.

import Support
import Testing

@Suite(.gateway(), .serialized) struct ConsumerTests {
    let rig = Rig.current

    private func path(_ stream: String, _ consumer: String, _ query: String = "") -> String {
        "/v1/streams/\(stream)/groups/g/consumers/\(consumer)" + (query.isEmpty ? "" : "?\(query)")
    }

    private func delete(_ stream: String, _ consumer: String, _ query: String = "") throws -> Reply {
        try rig.client.call("DELETE", path(stream, consumer, query))
    }

    private func names(_ stream: String) throws -> [String] {
        try rig.client.get("/v1/streams/\(stream)/groups/g/consumers").json["consumers"].array.compactMap { $0["name"].string }
    }

    /// A group of which `c` holds three messages.
    private func withPending() throws -> (stream: String, ids: [String]) {
        let stream = try rig.newGroup("held")
        let added = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        return (stream, added)
    }

    @Test func `a consumer is created once`() throws {
        let stream = try rig.newGroup("made")
        #expect(try rig.client.put(path(stream, "c")).expect(201).json == ["created": true])
        #expect(try rig.client.put(path(stream, "c")).expect(200).json == ["created": false])
        #expect(try rig.client.put(path(stream, "%FF%25")).status == 201)
        #expect(try rig.client.put(path(stream, "%FF%25")).status == 200)
        #expect(try names(stream) == ["c", "%FF%25"])
        #expect(try delete(stream, "%FF%25").expect(200).json == ["pending": 0, "transferred_to": "unowned", "deleted": 0])
        #expect(try names(stream) == ["c"])
    }

    @Test func `a deletion hands on what the consumer holds, idle times and counts kept`() throws {
        let (stream, ids) = try withPending()
        try rig.redis.run("XCLAIM", stream, "g", "c", "0", ids[0], "IDLE", "70000", "RETRYCOUNT", "5", "JUSTID")
        try rig.redis.run("XCLAIM", stream, "g", "c", "0", ids[1], "TIME", "0", "RETRYCOUNT", "0", "JUSTID")
        try rig.redis.run("XDEL", stream, ids[2])
        #expect(try delete(stream, "c", "to=d").expect(200).json == ["pending": 2, "transferred_to": "d", "deleted": 1])
        #expect(try names(stream) == ["d"])
        let rows = try rig.client.get("/v1/streams/\(stream)/groups/g/pending/messages").json["messages"].array
        #expect(rows.map { $0["id"].string } == [ids[0], ids[1]] && rows.allSatisfy { $0["consumer"] == "d" })
        #expect(rows.map { $0["delivery_count"] } == [5, 0])
        let idle = rows.compactMap { $0["idle_ms"].integer }
        #expect((70_000..<130_000).contains(idle[0]) && idle[1] > 1_700_000_000_000)
    }

    @Test func `what a deleted consumer held reaches a parked reader`() throws {
        let (stream, ids) = try withPending()
        let base = try rig.parked()
        let reader = rig.client.begin("POST", rig.readPath(stream, "d", "block_ms=0"))
        try waitUntil("it is parked") { try rig.parked() > base }
        #expect(try delete(stream, "c").expect(200).json == ["pending": 3, "transferred_to": "unowned", "deleted": 0])
        let reply = try reader.wait()
        #expect(reply.ids == ids && reply.json["messages"].array.allSatisfy { $0["delivery_count"] == 2 && $0["consumer"] == "unowned" })
    }

    @Test func `with drop its messages are no longer pending, with refuse it stays`() throws {
        let (stream, ids) = try withPending()
        let refused = try delete(stream, "c", "pending=refuse")
        #expect(refused.expect(409).code == "CONSUMER_HAS_PENDING" && refused.json["retryable"] == false)
        #expect(try rig.holders(stream) == ["c": 3])
        #expect(try delete(stream, "c", "pending=drop").expect(200).json == ["pending": 3, "transferred_to": nil, "deleted": 0])
        #expect(try rig.holders(stream).isEmpty && names(stream).isEmpty)
        #expect(try rig.read(stream, "c").ids == [])
        #expect(try delete(stream, "c", "pending=refuse").expect(200).json == ["pending": 0, "transferred_to": nil, "deleted": 0])
        #expect(ids.count == 3)
    }

    @Test(arguments: ["transfer", "drop", "refuse"]) func `a consumer that is not there is told`(pending: String) throws {
        let stream = try rig.newGroup("missing")
        #expect(try delete(stream, "c", "pending=\(pending)").expect(404).code == "CONSUMER_NOT_FOUND")
        #expect(try names(stream).isEmpty, "and none is made by asking")
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/h/consumers/c").code == "GROUP_NOT_FOUND")
        #expect(try rig.client.call("DELETE", "/v1/streams/none/groups/g/consumers/c").code == "STREAM_NOT_FOUND")
    }

    @Test func `the consumer unowned goes too, and a transfer leaves no due time`() throws {
        let (stream, ids) = try withPending()
        #expect(try rig.settle(stream, "c", #"{"nack":["\#(ids[0])",{"id":"\#(ids[1])","delay_ms":3600000}]}"#).status == 200)
        #expect(try delete(stream, "unowned").code == "INVALID_PARAMETER")
        #expect(try delete(stream, "unowned", "to=d").expect(200).json == ["pending": 2, "transferred_to": "d", "deleted": 0])
        #expect(try rig.read(stream, "d", "id=pending").ids == [ids[0], ids[1]])
        #expect(try delete(stream, "d").status == 200)
        #expect(try rig.read(stream, "e").ids == [ids[0], ids[1]], "both are due")
    }

    @Test func `names that are not UTF-8 are handed on and told`() throws {
        let stream = try rig.newGroup("binary")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "%FF").ids == [id])
        #expect(
            try delete(stream, "%FF", "to=%FE+%25").expect(200).json
                == ["pending": 1, "transferred_to": "%FE%2B%25", "transferred_to_encoding": "percent", "deleted": 0])
        #expect(try delete(stream, "%FE+%25", "to=%FE%2B%25").code == "INVALID_PARAMETER", "the same name")
        #expect(try rig.read(stream, "%FE%2B%25", "id=pending").ids == [id])
    }

    @Test func `more than a slice is handed on, and entries that are gone leave the list`() throws {
        let stream = try rig.newGroup("slices")
        try rig.fill(stream, 2000)
        #expect(try rig.read(stream, "c", "count=2000").ids.count == 2000)
        try rig.redis.run("XTRIM", stream, "MAXLEN", "850")
        #expect(try delete(stream, "c").expect(200).json == ["pending": 850, "transferred_to": "unowned", "deleted": 1150])
        #expect(try rig.holders(stream) == ["unowned": 850])
    }

    @Test func `a parked read makes its deleted consumer anew, as in Redis`() throws {
        let stream = try rig.newGroup("parked")
        let base = try rig.parked()
        let reader = rig.client.begin("POST", rig.readPath(stream, "c", "block_ms=0"))
        try waitUntil("it is parked") { try rig.parked() > base }
        #expect(try delete(stream, "c").status == 200)
        let id = try rig.add(1, to: stream)
        #expect(try reader.wait().ids == [id])
        #expect(try rig.holders(stream) == ["c": 1])
    }
}
