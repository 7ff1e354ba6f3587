// Taking messages out of a stream: by ID, with what is pending looked after, by trimming; the same on every Redis.

import Support
import Testing

@Suite(.gateway()) struct DeletingTests {
    let rig = Rig.current

    private func delete(_ stream: String, _ ids: [String], _ query: String = "") throws -> Reply {
        let list = ids.map { "\"\($0)\"" }.joined(separator: ",")
        return try rig.client.post("/v1/streams/\(stream)/delete\(query)", json: #"{"ids":[\#(list)]}"#)
    }

    private func ack(_ stream: String, _ ids: [String], _ query: String = "delete", group: String = "g") throws -> Reply {
        let list = ids.map { "\"\($0)\"" }.joined(separator: ",")
        return try rig.client.post("/v1/streams/\(stream)/groups/\(group)/ack?\(query)", json: #"{"ids":[\#(list)]}"#)
    }

    /// `id status` of each result.
    private func results(_ reply: Reply) -> [String] {
        reply.json["results"].array.map { "\($0["id"].string ?? "") \($0["status"].string ?? "")" }
    }

    private func pending(_ stream: String, _ group: String = "g") throws -> [String] {
        try rig.client.get("/v1/streams/\(stream)/groups/\(group)/pending/messages").ids
    }

    private func all(_ stream: String) throws -> [String] { try rig.client.get("/v1/streams/\(stream)/messages?count=1000").ids }

    /// Entries 1-0 to `count`-0, and the groups `g` and `h`, which have read the first `read` of them.
    private func newStream(_ count: Int, read: Int = 0) throws -> String {
        let stream = try rig.newGroup("delete")
        try rig.client.put("/v1/streams/\(stream)/groups/h").expect(201)
        for number in 1...count { try rig.redis.run("XADD", stream, "\(number)-0", "n", "\(number)") }
        if read > 0 {
            for group in ["g", "h"] {
                let reply = try rig.client.post("/v1/streams/\(stream)/groups/\(group)/consumers/c/read?count=\(read)")
                #expect(reply.ids.count == read)
            }
        }
        return stream
    }

    // MARK: By ID

    @Test func `one message is deleted once`() throws {
        let stream = try newStream(2, read: 1)
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)/messages/1-0").json == ["deleted": 1])
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)/messages/1-0").expect(404).code == "MESSAGE_NOT_FOUND")
        #expect(try all(stream) == ["2-0"])
        #expect(try pending(stream) == ["1-0"], "pending still")
        #expect(try rig.read(stream, "c", "id=pending").json["messages"][0]["fields"] == nil)
    }

    @Test func `many are deleted, and those that are not there count 0`() throws {
        let stream = try newStream(4)
        #expect(try delete(stream, ["1", "3-0", "9-9", "3-0"]).json == ["deleted": 2])
        #expect(try delete(stream, ["1-0"]).json == ["deleted": 0])
        #expect(try all(stream) == ["2-0", "4-0"])
    }

    @Test func `ref says what becomes of what is pending`() throws {
        let stream = try newStream(6, read: 4)
        #expect(try delete(stream, ["1-0"]).json == ["deleted": 1])
        let kept = try delete(stream, ["2-0", "9-9", "2-0"], "?ref=keep")
        #expect(kept.json["deleted"] == 1 && results(kept) == ["2-0 deleted", "9-9 not_found", "2-0 not_found"])
        #expect(try pending(stream) == ["1-0", "2-0", "3-0", "4-0"])
        let taken = try delete(stream, ["1-0", "3-0", "5-0", "9-9"], "?ref=delete")
        #expect(taken.json["deleted"] == 2)
        #expect(results(taken) == ["1-0 not_found", "3-0 deleted", "5-0 deleted", "9-9 not_found"])
        #expect(try pending(stream) == ["2-0", "4-0"] && pending(stream, "h") == ["2-0", "4-0"], "in no group any more")
        #expect(try all(stream) == ["4-0", "6-0"])
        let none = try delete(stream, ["9-9"], "?ref=delete")
        #expect(none.json["deleted"] == 0 && results(none) == ["9-9 not_found"])
    }

    @Test func `acked deletes what every group has read and acknowledged`() throws {
        let stream = try newStream(5, read: 3)
        for group in ["g", "h"] { #expect(try ack(stream, ["1-0"], "stats=false", group: group).json == ["acked": 1]) }
        #expect(try ack(stream, ["2-0"], "stats=false").json == ["acked": 1])
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)/messages/3-0").status == 200)
        let reply = try delete(stream, ["1-0", "2-0", "3-0", "4-0", "9-9"], "?ref=acked")
        #expect(reply.json["deleted"] == 1)
        // 3-0 is gone and pending still, 4-0 nobody has read, 9-9 has never been.
        #expect(results(reply) == ["1-0 deleted", "2-0 retained", "3-0 not_found", "4-0 retained", "9-9 not_found"])
        #expect(try all(stream) == ["2-0", "4-0", "5-0"])
        #expect(try pending(stream) == ["3-0"] && pending(stream, "h") == ["2-0", "3-0"])
        let lonely = rig.newStream("lonely")
        try rig.redis.run("XADD", lonely, "1-0", "n", "1")
        #expect(try results(delete(lonely, ["1-0"], "?ref=acked")) == ["1-0 deleted"], "without groups nobody waits for it")
        let skipped = try newStream(2)
        for group in ["g", "h"] { try rig.client.call("PATCH", "/v1/streams/\(skipped)/groups/\(group)", json: #"{"id":"1-0"}"#).expect(200) }
        #expect(try results(delete(skipped, ["1-0", "2-0"], "?ref=acked")) == ["1-0 deleted", "2-0 retained"], "a group that is past it has read it")
    }

    @Test func `a thousand IDs and two dozen groups are one call`() throws {
        let stream = rig.newStream("many")
        try rig.redis.transaction((1...1000).map { ["XADD", stream, "\($0)-0", "n", "1"] })
        try rig.redis.transaction((0..<24).map { ["XGROUP", "CREATE", stream, "g\($0)", $0 == 7 ? "900-0" : "$"] })
        let reply = try delete(stream, (1...1000).map { "\($0)-0" }, "?ref=acked")
        #expect(reply.json["deleted"] == 900)
        #expect(results(reply) == (1...1000).map { "\($0)-0 \($0 <= 900 ? "deleted" : "retained")" })
        #expect(try delete(stream, (1...1000).map { "\($0)-0" }, "?ref=delete").json["deleted"] == 100)
    }

    // MARK: Acknowledging and deleting

    @Test func `ack with delete takes the message out of the stream`() throws {
        let stream = try newStream(5, read: 3)
        let reply = try ack(stream, ["1-0", "5-0", "9-9", "1-0"], "delete&stats")
        #expect(reply.json["acked"] == 1)
        #expect(results(reply) == ["1-0 deleted", "5-0 not_found", "9-9 not_found", "1-0 not_found"])
        let lag: JSON = try rig.client.get("/v1/streams/\(stream)/groups/g").json["lag"]
        #expect(reply.json["group"] == ["lag": lag, "pending": 2])
        #expect(try all(stream) == ["2-0", "3-0", "4-0", "5-0"], "what was not pending stays")
        #expect(try pending(stream) == ["2-0", "3-0"] && pending(stream, "h") == ["1-0", "2-0", "3-0"])
        // What is gone is acknowledged all the same, and is not called deleted.
        #expect(try delete(stream, ["2-0"]).json == ["deleted": 1])
        let gone = try ack(stream, ["2-0"], "delete=true&ref=keep")
        #expect(gone.json["acked"] == 1 && results(gone) == ["2-0 not_found"])
        #expect(try pending(stream) == ["3-0"] && pending(stream, "h") == ["1-0", "2-0", "3-0"])
        let query = try rig.client.post("/v1/streams/\(stream)/groups/g/ack?id=3-0&id=4&delete")
        #expect(query.json["acked"] == 1 && results(query) == ["3-0 deleted", "4-0 not_found"])
        #expect(try ack(stream, ["1-0"]).json == ["acked": 0, "results": [["id": "1-0", "status": "not_found"]]])
        #expect(try ack(stream, ["1-0"], "delete=false").json == ["acked": 0])
    }

    @Test func `ack with delete looks after the other groups as ref says`() throws {
        let stream = try newStream(4, read: 3)
        let first = try ack(stream, ["1-0"], "delete&ref=delete")
        #expect(first.json["acked"] == 1 && results(first) == ["1-0 deleted"])
        #expect(try pending(stream) == ["2-0", "3-0"] && pending(stream, "h") == ["2-0", "3-0"])
        let second = try ack(stream, ["2-0", "3-0", "4-0"], "delete&ref=acked")
        #expect(second.json["acked"] == 2 && results(second) == ["2-0 retained", "3-0 retained", "4-0 not_found"])
        #expect(try all(stream) == ["2-0", "3-0", "4-0"] && pending(stream) == [])
        let last = try ack(stream, ["2-0"], "delete&ref=acked", group: "h")
        #expect(last.json["acked"] == 1 && results(last) == ["2-0 deleted"], "the last to acknowledge deletes")
        #expect(try delete(stream, ["3-0"]).json == ["deleted": 1])
        let gone = try ack(stream, ["3-0"], "delete&ref=acked", group: "h")
        #expect(gone.json["acked"] == 1 && results(gone) == ["3-0 not_found"])
        #expect(try all(stream) == ["4-0"] && pending(stream, "h") == [])
    }

    @Test func `of two that acknowledge and delete the same, one does`() throws {
        let stream = try newStream(20, read: 20)
        for number in 1...20 {
            let path = "/v1/streams/\(stream)/groups/g/ack?id=\(number)-0&delete&ref=delete"
            let replies = try (0..<4).map { _ in rig.client.begin("POST", path) }.map { try $0.wait() }
            #expect(replies.compactMap { $0.json["acked"].integer }.sorted() == [0, 0, 0, 1])
            #expect(replies.flatMap(results).sorted() == ["\(number)-0 deleted"] + Array(repeating: "\(number)-0 not_found", count: 3))
        }
    }

    // MARK: Trimming

    private func trim(_ stream: String, _ query: String) throws -> Reply { try rig.client.post("/v1/streams/\(stream)/trim?\(query)") }

    @Test func `a stream is trimmed by length and by ID, to the message`() throws {
        let stream = try newStream(10)
        #expect(try trim(stream, "maxlen=8").json == ["deleted": 2])
        #expect(try trim(stream, "minid=5").json == ["deleted": 2])
        #expect(try trim(stream, "minid=5-1&approx=false").json == ["deleted": 1])
        #expect(try trim(stream, "maxlen=100").json == ["deleted": 0])
        #expect(try all(stream) == (6...10).map { "\($0)-0" })
        #expect(try trim(stream, "maxlen=9223372036854775807").json == ["deleted": 0])
        #expect(try trim(stream, "maxlen=0").json == ["deleted": 5])
        #expect(try trim(stream, "maxlen=0").json == ["deleted": 0], "an empty stream is a stream")
    }

    @Test func `approx trims whole nodes, and limit bounds how many go`() throws {
        let stream = rig.newStream("approx")
        try rig.redis.transaction((1...450).map { ["XADD", stream, "\($0)-0", "n", "1"] })  // Four nodes of 100 and one of 50.
        #expect(try trim(stream, "maxlen=449&approx").json == ["deleted": 0])
        #expect(try trim(stream, "maxlen=10&approx&limit=150").json == ["deleted": 100])
        #expect(try trim(stream, "minid=250&approx=true").json == ["deleted": 100])
        #expect(try trim(stream, "maxlen=10&approx&limit=0").json == ["deleted": 200])
        #expect(try all(stream).count == 50)
    }

    @Test func `ref on trim and add is Redis' own or 501`() throws {
        let stream = try newStream(5, read: 3)
        let native = try rig.redis.offers("XTRIM", "KEEPREF")
        let body = #"{"fields":{"n":"6"}}"#
        guard native else {
            for reply in [try trim(stream, "maxlen=1&ref=acked"), try rig.client.post("/v1/streams/\(stream)/messages?maxlen=1&ref=keep", json: body)] {
                #expect(reply.status == 501 && reply.code == "NOT_SUPPORTED_BY_REDIS" && reply.json["detail"].string?.contains("8.2") == true, "\(reply.text)")
            }
            #expect(try all(stream).count == 5, "nothing was done")
            return
        }
        for group in ["g", "h"] { #expect(try ack(stream, ["1-0"], "stats=false", group: group).json == ["acked": 1]) }
        #expect(try trim(stream, "maxlen=1&ref=acked").json == ["deleted": 1])
        #expect(try trim(stream, "minid=3-0&ref=delete").json == ["deleted": 1])
        #expect(try pending(stream) == ["3-0"])
        #expect(try trim(stream, "minid=4-0&ref=keep").json == ["deleted": 1])
        #expect(try pending(stream) == ["3-0"])
        try rig.client.post("/v1/streams/\(stream)/messages?maxlen=1&approx=false&ref=acked", json: body).expect(201)
        #expect(try all(stream).count == 3)
        try rig.client.post("/v1/streams/\(stream)/messages?maxlen=1&approx=false&ref=delete&nomkstream", json: body).expect(201)
        #expect(try all(stream).count == 1)
    }

    // MARK: Edges

    @Test(arguments: ["0-1", "18446744073709551615-18446744073709551615"])
    func `the smallest and the largest ID are IDs as any other`(id: String) throws {
        let stream = try rig.newGroup("edge")
        func add() throws { try rig.client.post("/v1/streams/\(stream)/messages?id=\(id)", json: #"{"fields":{"n":"1"}}"#).expect(201) }
        func again() throws {
            // An empty stream forgets what was in it.
            try rig.client.call("DELETE", "/v1/streams/\(stream)").expect(200)
            try rig.client.put("/v1/streams/\(stream)/groups/g?mkstream").expect(201)
            try add()
        }
        try add()
        #expect(try rig.client.get("/v1/streams/\(stream)").json["last_entry"]["id"].string == id)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages/\(id)").json["id"].string == id)
        #expect(try results(delete(stream, [id], "?ref=acked")) == ["\(id) retained"])
        #expect(try rig.read(stream, "c").ids == [id])
        #expect(try results(delete(stream, [id], "?ref=acked")) == ["\(id) retained"])
        #expect(try results(ack(stream, [id], "delete&ref=acked")) == ["\(id) deleted"])
        try again()
        #expect(try trim(stream, "minid=\(id)").json == ["deleted": 0])
        #expect(try rig.read(stream, "c").ids == [id])
        #expect(try results(delete(stream, [id], "?ref=delete")) == ["\(id) deleted"])
        #expect(try pending(stream) == [])
        try again()
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)/messages/\(id)").json == ["deleted": 1])
        #expect(try rig.client.get("/v1/streams/\(stream)").json["last_generated_id"].string == id)
        let next = try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"2"}}"#)
        if id == "0-1" { #expect(next.status == 201) } else { #expect(next.status == 409 && next.json["last_id"].string == id) }
    }

    @Test func `bounds that exclude leave their message out`() throws {
        let stream = try newStream(4, read: 4)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages?start=(1-0&end=(4-0").ids == ["2-0", "3-0"])
        #expect(try rig.client.get("/v1/streams/\(stream)/groups/g/pending/messages?start=(3-0").ids == ["4-0"])
        let max = "18446744073709551615"
        for path in ["messages", "groups/g/pending/messages"] {
            for bad in ["start=(\(max)-\(max)", "end=(0-0"] {
                #expect(try rig.client.get("/v1/streams/\(stream)/\(path)?\(bad)").expect(400).code == "INVALID_ID")
            }
            for good in ["start=(\(max)", "start=\(max)-\(max)", "end=(0", "end=0-0", "start=(\(max)-0&end=(\(max)-\(max)"] {
                #expect(try rig.client.get("/v1/streams/\(stream)/\(path)?\(good)").expect(200).ids == [])
            }
        }
        #expect(try trim(stream, "minid=(2-0").expect(400).code == "INVALID_ID")
        #expect(try delete(stream, ["(2-0"]).expect(400).code == "INVALID_ID")
    }
}
