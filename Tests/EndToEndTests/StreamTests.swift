// Streams themselves: listing, showing, moving the last ID, deleting (API.md §2).

import Support
import Testing

@Suite(.gateway("--max-block-ms", "0"), .serialized) struct StreamTests {
    let rig = Rig.current

    // MARK: Listing

    /// Every page, to the end.
    private func list(_ query: String, _ client: TestClient? = nil) throws -> [JSON] {
        var (rows, cursor): ([JSON], String?) = ([], nil)
        repeat {
            let path = "/v1/streams?\(query)" + (cursor.map { "&cursor=\($0)" } ?? "")
            let page = try (client ?? rig.client).get(path).expect(200).json
            #expect(page.members == ["streams", "cursor"])
            rows += page["streams"].array
            cursor = page["cursor"].string
        } while cursor != nil
        return rows
    }

    private func names(_ query: String, _ client: TestClient? = nil) throws -> Set<String> {
        Set(try list(query, client).compactMap { $0["name"].string })
    }

    @Test func `all streams are listed, page by page, and nothing else`() throws {
        let streams = (0..<30).map { "list:\($0)" }
        for stream in streams { try rig.redis.run("XADD", stream, "*", "n", "1") }
        for number in 0..<30 { try rig.redis.run("SET", "list:text:\(number)", "x") }
        #expect(try names("match=list:*&count=7") == Set(streams))
        #expect(try names("match=list:%3F") == Set(streams.prefix(10)))
        #expect(try names("match=list:2%5B01%5D") == ["list:20", "list:21"])
        #expect(try names("match=nothing*") == [])
        #expect(try names("count=10000").isSuperset(of: streams))
        #expect(try rig.client.get("/v1/streams?match=list:*&count=10000").json["cursor"] == nil)
        #expect(try rig.client.get("/v1/streams?match=list:*&count=1").json["cursor"].string != nil)
        #expect(try rig.client.call("HEAD", "/v1/streams").expect(200).body.isEmpty)
    }

    @Test func `the gateway's own keys never show, whatever is asked for`() throws {
        for name in ["sluice:a", "sluice:{x}:b", "sluicea"] { try rig.redis.run("XADD", name, "*", "n", "1") }
        for match in ["", "match=*&", "match=sluice:*&", "match=sluice%3F*&", "match=s*&", "match=*:a&", "match=%5Bs%5Dluice:a&", "match=sluice%5C:a&"] {
            let found = try names("\(match)count=10000")
            #expect(!found.contains { $0.hasPrefix("sluice:") }, "\(match)")
        }
        #expect(try names("match=sluice*") == ["sluicea"])
    }

    @Test func `a name that is not UTF-8 is listed percent-encoded`() throws {
        try rig.client.post("/v1/streams/bytes%FF%2F+/messages", json: #"{"fields":{"n":"1"}}"#).expect(201)
        #expect(try list("match=bytes*") == [["name": "bytes%FF%2F%2B", "name_encoding": "percent"]])
        #expect(try rig.client.get("/v1/streams/bytes%FF%2F%2B").json["length"] == 1)
        #expect(try names("match=bytes%FF*").count == 1)
    }

    @Test func `a token lists the streams that it is for`() throws {
        let directory = try TemporaryDirectory()
        try directory.write("some-token\n", to: "token")
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(rig.redis.directory)/redis.sock"],
            configuration: """
                tokens:
                  - {name: reader, file: \(directory.path)/token, scopes: [consume], streams: ["mine:*", "ours"]}
                """)
        let client = TestClient(port: gateway.port, token: "some-token")
        try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
        for name in ["mine:1", "mine:2", "ours", "theirs"] { try rig.redis.run("XADD", name, "*", "n", "1") }
        #expect(try names("count=10000", client) == ["mine:1", "mine:2", "ours"])
        #expect(try names("match=t*", client) == [])
        #expect(try client.get("/v1/streams/mine:1").status == 200)
        #expect(try client.get("/v1/streams/theirs").code == "FORBIDDEN")
        #expect(try client.call("DELETE", "/v1/streams/mine:1").code == "FORBIDDEN", "that takes the scope admin")
    }

    // MARK: Showing

    private var isAtLeast7: Bool { get throws { try rig.redis.offers("XSETID", "ENTRIESADDED") } }

    @Test func `an empty stream and one with messages are shown`() throws {
        let stream = try rig.newGroup("show")
        let path = "/v1/streams/\(stream)"
        let number: JSON = try isAtLeast7 ? 0 : nil
        let zero: JSON = try isAtLeast7 ? "0-0" : nil
        #expect(
            try rig.client.get(path).json == [
                "length": 0, "radix_tree_keys": 0, "radix_tree_nodes": 1, "last_generated_id": "0-0", "max_deleted_entry_id": zero,
                "entries_added": number, "recorded_first_entry_id": zero, "groups": 1, "first_entry": nil, "last_entry": nil,
            ])
        let added = try (1...3).map { try rig.add($0, to: stream) }
        try rig.redis.run("XDEL", stream, added[1])
        let info = try rig.client.get(path).json
        #expect(info["length"] == 2 && info["groups"] == 1 && info["last_generated_id"].string == added[2])
        #expect(info["first_entry"] == ["id": .string(added[0]), "fields": ["n": "1"]])
        #expect(info["last_entry"] == ["id": .string(added[2]), "fields": ["n": "3"]])
        #expect(info["max_deleted_entry_id"] == (try isAtLeast7 ? .string(added[1]) : nil))
        #expect(info["entries_added"] == (try isAtLeast7 ? 3 : nil))
        #expect(info["recorded_first_entry_id"] == (try isAtLeast7 ? .string(added[0]) : nil))
        #expect(info.members.count == 10, "null, never absent")
        #expect(try rig.client.get("\(path)?fields=pairs").json["first_entry"]["fields"] == [["n", "1"]])
        #expect(try rig.client.get("\(path)?full=false").json.members == info.members)
    }

    @Test func `full shows the entries, and what each group and consumer holds`() throws {
        let stream = try rig.newGroup("full")
        let path = "/v1/streams/\(stream)"
        let empty = try rig.client.get("\(path)?full").json
        #expect(empty["entries"] == [] && empty["groups"] == 1 && empty["group_details"][0]["consumers"] == [])
        let added = try (1...12).map { try rig.add($0, to: stream) }
        try rig.redis.run("XGROUP", "CREATECONSUMER", stream, "g", "idle")
        #expect(try rig.read(stream, "c", "count=11").ids.count == 11)
        try rig.client.put("\(path)/groups/h").expect(201)
        let full = try rig.client.get("\(path)?full=true").json
        #expect(full.members.count == 12)
        #expect(full["groups"] == 2 && full["length"] == 12)
        #expect(full["entries"].array.compactMap { $0["id"].string } == Array(added.prefix(10)))
        #expect(full["last_entry"]["id"].string == added[11])
        let (g, h) = (full["group_details"][0], full["group_details"][1])
        #expect(g.members == ["name", "last_delivered_id", "entries_read", "lag", "pel_count", "pending", "consumers"])
        #expect(g["name"] == "g" && h["name"] == "h" && g["pel_count"] == 11 && h["pel_count"] == 0)
        #expect(g["last_delivered_id"].string == added[10] && h["last_delivered_id"] == "0-0")
        #expect(g["lag"] == (try isAtLeast7 ? 1 : nil))
        #expect(g["entries_read"] == (try isAtLeast7 ? 11 : nil))
        #expect(g["pending"].array.compactMap { $0["id"].string } == Array(added.prefix(10)))
        #expect(g["pending"][0].members == ["id", "consumer", "delivery_time_ms", "delivery_count"])
        #expect(g["pending"][0]["consumer"] == "c" && g["pending"][0]["delivery_count"] == 1)
        #expect((g["pending"][0]["delivery_time_ms"].integer ?? 0) > 1_600_000_000_000)
        let (c, idle) = (g["consumers"][0], g["consumers"][1])
        #expect(c.members == ["name", "seen_time_ms", "active_time_ms", "pel_count", "pending"])
        #expect(c["name"] == "c" && c["pel_count"] == 11 && c["pending"].array.count == 10)
        #expect(c["pending"][0].members == ["id", "delivery_time_ms", "delivery_count"])
        #expect((c["seen_time_ms"].integer ?? 0) > 1_600_000_000_000)
        #expect(idle["name"] == "idle" && idle["active_time_ms"] == nil && idle["pending"] == [])
        let one = try rig.client.get("\(path)?full&count=1&fields=pairs").json
        #expect(one["entries"] == [["id": .string(added[0]), "fields": [["n", "1"]]]])
        #expect(one["group_details"][0]["pending"].array.count == 1 && one["group_details"].array.count == 2)
        #expect(one["group_details"][0]["consumers"][0]["pending"].array.count == 1)
    }

    @Test func `what is not UTF-8 is shown as such`() throws {
        let stream = rig.newStream("raw")
        try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"YQ==":"/w=="},"encoding":"base64"}"#).expect(201)
        try rig.client.put("/v1/streams/\(stream)/groups/g%FF").expect(201)
        try rig.client.post("/v1/streams/\(stream)/groups/g%FF/consumers/c%FF/read").expect(200)
        let full = try rig.client.get("/v1/streams/\(stream)?full").json
        for entry in [full["first_entry"], full["last_entry"], full["entries"][0]] {
            #expect(entry["fields"] == ["YQ==": "/w=="] && entry["encoding"] == "base64")
        }
        let group = full["group_details"][0]
        #expect(group["name"] == "g%FF" && group["name_encoding"] == "percent")
        #expect(group["pending"][0]["consumer"] == "c%FF" && group["pending"][0]["consumer_encoding"] == "percent")
        #expect(group["consumers"][0]["name"] == "c%FF" && group["consumers"][0]["name_encoding"] == "percent")
    }

    // MARK: The last ID

    private func patch(_ stream: String, _ body: String) throws -> Reply {
        try rig.client.call("PATCH", "/v1/streams/\(stream)", json: body)
    }

    @Test func `the last ID moves up, never below the newest message`() throws {
        let stream = rig.newStream("setid")
        try rig.redis.run("XADD", stream, "5-5", "n", "1")
        #expect(try patch(stream, #"{"last_id":"9-1"}"#).json == ["updated": true])
        #expect(try rig.client.get("/v1/streams/\(stream)").json["last_generated_id"] == "9-1")
        let refused = try patch(stream, #"{"last_id":"5-4"}"#).expect(409)
        #expect(refused.code == "ID_TOO_SMALL" && refused.json["last_id"] == "9-1" && refused.json["redis_error"].string != nil)
        #expect(try patch(stream, #"{"last_id":"5-5"}"#).status == 200)
        #expect(try rig.client.post("/v1/streams/\(stream)/messages?id=5-5", json: #"{"fields":{"n":"2"}}"#).code == "ID_TOO_SMALL")
        #expect(try patch(stream, #"{"last_id":"7"}"#).status == 200)
        #expect(try rig.client.get("/v1/streams/\(stream)").json["last_generated_id"] == "7-0")
        // From the largest there is nothing more can be added.
        #expect(try patch(stream, #"{"last_id":"18446744073709551615-18446744073709551615"}"#).status == 200)
        #expect(try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"2"}}"#).expect(409).code == "ID_TOO_SMALL")
        // An empty stream may go back to the beginning.
        let empty = try rig.newGroup("empty")
        #expect(try patch(empty, #"{"last_id":"3-3"}"#).status == 200)
        #expect(try patch(empty, #"{"last_id":"0-0"}"#).status == 200)
        try rig.client.post("/v1/streams/\(empty)/messages?id=0-1", json: #"{"fields":{"n":"1"}}"#).expect(201)
    }

    @Test func `the counters are set where Redis has them`() throws {
        let stream = rig.newStream("counters")
        for number in 1...3 { try rig.redis.run("XADD", stream, "\(number)-0", "n", "1") }
        let reply = try patch(stream, #"{"last_id":"9-0","entries_added":10,"max_deleted_id":"8-0"}"#)
        guard try isAtLeast7 else {
            #expect(reply.status == 501 && reply.code == "NOT_SUPPORTED_BY_REDIS", "\(reply.text)")
            #expect(try rig.client.get("/v1/streams/\(stream)").json["last_generated_id"] == "3-0", "nothing was changed")
            return
        }
        #expect(reply.json == ["updated": true])
        let info = try rig.client.get("/v1/streams/\(stream)").json
        #expect(info["entries_added"] == 10 && info["max_deleted_entry_id"] == "8-0" && info["last_generated_id"] == "9-0")
        let few = try patch(stream, #"{"last_id":"9-0","entries_added":2,"max_deleted_id":"8-0"}"#).expect(400)
        #expect(few.json["errors"][0]["pointer"] == "/entries_added" && few.json["redis_error"].string != nil)
        #expect(try patch(stream, #"{"last_id":"9-0","entries_added":3,"max_deleted_id":"7"}"#).status == 200)
        #expect(try rig.client.get("/v1/streams/\(stream)").json["max_deleted_entry_id"] == "7-0")
    }

    // MARK: Deleting

    @Test func `with a stream end its readers, on every replica`() throws {
        let stream = try rig.newGroup("delete")
        let replica = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock"])
        let remote = TestClient(port: replica.port)
        try waitUntil("Redis answers") { try remote.get("/readyz").status == 200 }
        let near = try rig.park(stream, "c")
        let far = remote.begin("POST", rig.readPath(stream, "d", "block_ms=30000"))
        let tail = rig.client.begin("GET", "/v1/streams/\(stream)/messages?after=latest&block_ms=0")
        try rig.waitUntilParked(2)
        try waitUntil("the other is parked") { try remote.get("/v1/info").json["waiters"]["parked"] == 1 }
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)").json == ["deleted": true])
        for reader in [near, far] { #expect(try reader.wait().expect(404).code == "STREAM_NOT_FOUND") }
        let again = try rig.client.call("DELETE", "/v1/streams/\(stream)").expect(404)
        #expect(again.code == "STREAM_NOT_FOUND")
        // A tail is not a group's: it waits for the stream to come back.
        let id = try rig.add(1, to: stream)
        #expect(try tail.wait().ids == [id])
    }

    @Test func `a key of another type is left alone`() throws {
        let name = rig.newStream("text")
        try rig.redis.run("SET", name, "text")
        #expect(try rig.client.call("DELETE", "/v1/streams/\(name)").expect(409).code == "NOT_A_STREAM")
        #expect(try rig.redis.run("GET", name).contains("text"))
    }
}
