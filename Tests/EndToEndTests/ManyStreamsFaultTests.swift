// Reads of many streams when something goes wrong: clients that leave, groups that end, Redis that goes, tokens that
// do not suffice, calls that must be refused.

import Support
import Testing

@Suite(.gateway(), .serialized) struct ManyStreamsFaultTests {
    let rig = Rig.current

    @Test func `a parked client that leaves is dropped at each of its streams`() throws {
        let streams = try rig.newGroups(3, "leave")
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", rig.manyPath(streams, "gone", "block_ms=0"))
        try rig.waitUntilParked(1)
        let next = try streams.map { try rig.park($0, "here") }
        socket.close()
        try rig.waitUntilParked(3)
        for (number, stream) in streams.enumerated() {
            try rig.add(number, to: stream)
            #expect(try next[number].wait().numbers == ["\(number)"])
            #expect(try rig.pending(stream).values.map(\.consumer) == ["here"])
        }
    }

    @Test func `a client that leaves in the same moment as its messages strands none`() throws {
        let streams = try rig.newGroups(2, "race")
        for number in 0..<20 {
            let socket = try ClientSocket(port: rig.port)
            try socket.request("POST", rig.manyPath(streams, "gone", "block_ms=0"))
            try rig.waitUntilParked(1)
            let adds = streams.map { rig.client.begin("POST", "/v1/streams/\($0)/messages", body: Array("n=\(number)".utf8)) }
            socket.finishSending()
            let ids = try adds.map { try $0.wait().expect(201).json["id"].string ?? "" }
            try rig.waitUntilParked(0)
            for (stream, id) in zip(streams, ids) {
                try waitUntil("somebody has the message") {
                    // It was never read, or was handed back, or is in a reply that the client can still read.
                    if try rig.pending(stream)[id]?.consumer == "gone" { return try socket.replyIsThere(id) }
                    return try rig.readMany([stream], "here").json["streams"][0]["messages"].array.contains { $0["id"].string == id }
                }
            }
        }
    }

    @Test func `what was read for a client that has left goes to the next reader of each stream`() throws {
        let rig = try Rig(["--redis-timeout-ms", "20000"])
        let streams = try rig.newGroups(3, "between")
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", rig.manyPath(streams, "gone", "block_ms=0"))
        try rig.waitUntilParked(1)
        let next = try streams.enumerated().map { try rig.park($1, "here", asNumber: $0 + 2) }
        let writer = try rig.redis.connect()
        let looks = try rig.metric("sluice_looks_total")  // Before it stands still: there are no more than these three.
        rig.redis.freeze()
        try writer.send(commands: streams.map { ["XADD", $0, "*", "n", "1"] })
        try waitUntil("the slow tick looks at each") { try rig.metric("sluice_looks_total") >= looks + 3 }
        socket.close()
        try waitUntil("it is noticed") { try rig.parked() == 3 }
        rig.redis.thaw()
        for (stream, reader) in zip(streams, next) {
            #expect(try reader.wait().numbers == ["1"])
            #expect(try rig.pending(stream).values.map(\.consumer) == ["here"])
        }
    }

    @Test func `a group that ends while the call waits ends it, and nobody else's wait`() throws {
        let streams = try rig.newGroups(3, "end")
        let other = try rig.park(streams[0], "c")
        for command in [["XGROUP", "DESTROY", streams[1], "g"], ["DEL", streams[2]]] {
            let reader = try rig.parkMany(streams, "c")
            try rig.redis.run(command)
            let reply = try reader.wait().expect(404)
            #expect(reply.code == (command[0] == "DEL" ? "STREAM_NOT_FOUND" : "GROUP_NOT_FOUND"))
            #expect(reply.json["hint"].string?.contains("curl") ?? (command[0] == "DEL"))
            try rig.waitUntilParked(1)
            _ = try rig.client.put("/v1/streams/\(streams[1])/groups/g")
        }
        try rig.add(1, to: streams[0])
        #expect(try other.wait().numbers == ["1"])
    }

    @Test func `a stream that can't be read is a row where another delivered, else the call's problem`() throws {
        let streams = [try rig.newGroup("there"), rig.newStream("missing"), rig.newStream("text")]
        try rig.redis.run("SET", streams[2], "x")
        for query in ["", "block_ms=60000"] {
            #expect(try rig.readMany(streams, "c", query).code == "STREAM_NOT_FOUND", "the first that failed, at once")
            try rig.add(1, to: streams[0])
            let reply = try rig.readMany(streams, "c", query).expect(200)
            #expect(reply.json["streams"].array.map { $0["stream"].string } == streams)
            #expect(reply.json["streams"].array.map { $0["error"]["code"] } == [.null, "STREAM_NOT_FOUND", "NOT_A_STREAM"])
            #expect(reply.json["streams"].array.map { $0["messages"].array.count } == [1, 0, 0])
        }
        let tail = "/v1/messages?stream=\(streams[2])&after=0&stream=\(streams[0])&after="
        #expect(try rig.client.get(tail + "latest").code == "NOT_A_STREAM")
        let rows = try rig.client.get(tail + "0").expect(200).json["streams"]
        #expect(rows[0]["error"]["code"] == "NOT_A_STREAM" && rows[1]["messages"].array.count == 2 && rows[0]["last_id"] == .null)
    }

    @Test func `Redis may go while the call waits, and a shutdown ends it empty`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let streams = try rig.newGroups(3, "restart")
        let reader = try rig.parkMany(streams, "c")
        rig.redis.end()
        try waitUntil("the gateway notices") { try rig.client.get("/v1/info").json["redis"]["connected"] == false }
        #expect(try rig.readMany(streams, "d", "block_ms=0").code == "REDIS_UNAVAILABLE")
        try rig.redis.start()
        try rig.waitUntilConnected()
        #expect(try rig.parked() == 1)
        try rig.add(1, to: streams[2])
        #expect(try reader.wait().rows == [StreamRow(stream: streams[2], numbers: ["1"])])
        let last = try rig.parkMany(streams, "c")
        rig.gateway.send(15)
        let reply = try last.wait().expect(200)
        #expect(reply.json == ["streams": []] && reply.headers["connection"] == "close")
    }

    @Test func `a token reads none but the streams that it is for, in any position`() throws {
        let directory = try TemporaryDirectory()
        try directory.write("some-token\n", to: "token")
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(rig.redis.directory)/redis.sock"],
            configuration: """
                tokens:
                  - {name: reader, file: \(directory.path)/token, scopes: [consume], streams: ["mine:*"]}
                """)
        let client = TestClient(port: gateway.port, token: "some-token")
        try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
        for name in ["mine:1", "mine:2", "theirs"] {
            try rig.redis.run("XADD", name, "*", "n", "1")
            try rig.redis.run("XGROUP", "CREATE", name, "g", "0")
        }
        for streams in [["theirs"], ["theirs", "mine:1"], ["mine:1", "theirs"]] {
            let tails = streams.map { "stream=\($0)&after=0" }.joined(separator: "&")
            #expect(try client.get("/v1/messages?\(tails)").code == "FORBIDDEN")
            #expect(try client.call("HEAD", "/v1/messages?\(tails)").status == 403)
            #expect(try client.post(rig.manyPath(streams, "c")).code == "FORBIDDEN")
        }
        // A group's name is nobody's stream.
        #expect(try client.post(rig.manyPath(["mine:1", "mine:2"], "c")).expect(200).rows.count == 2)
        #expect(try client.get("/v1/messages?stream=mine:1&after=0&stream=mine:2&after=0").rows.count == 2)
        #expect(try client.get("/v1/streams/theirs/messages").code == "FORBIDDEN")
        #expect(try rig.pending("theirs").isEmpty)
        #expect(try TestClient(port: gateway.port).get("/v1/messages?stream=mine:1&after=0").code == "UNAUTHENTICATED")
    }

    static let tail = "/v1/messages?stream=S&after=0"
    static let read = "/v1/groups/g/consumers/c/read?stream=S"

    @Test func `a call that must fail says what was wrong`() throws {
        try rig.refuse([
            BadCall("GET", "/v1/messages", 400, "INVALID_PARAMETER", says: "stream: name at least one"),
            BadCall("GET", "/v1/messages?stream=&after=0", 400, "INVALID_PARAMETER", says: "stream"),
            BadCall("GET", "/v1/messages?stream=S", 400, "INVALID_PARAMETER", says: "after: give one for each stream, in the streams' order: 1, not 0"),
            BadCall("GET", "\(Self.tail)&stream=b", 400, "INVALID_PARAMETER", says: "2, not 1"),
            BadCall("GET", "\(Self.tail)&after=1", 400, "INVALID_PARAMETER", says: "1, not 2"),
            BadCall("GET", "\(Self.tail)&stream=S&after=0", 400, "INVALID_PARAMETER", says: "given twice"),
            BadCall("GET", "\(Self.tail)&stream=sluice:x&after=0", 403, "RESERVED_NAME"),
            BadCall("GET", "/v1/messages?stream=sluice%3Ax&after=0&stream=S&after=0", 403, "RESERVED_NAME"),
            BadCall("GET", "\(Self.tail)&stream=a%00b&after=0", 400, "INVALID_PARAMETER", says: "NUL"),
            BadCall("GET", "\(Self.tail)&stream=b&after=new", 400, "INVALID_ID", says: "new"),
            BadCall("GET", "\(Self.tail)&count=0", 400, "INVALID_PARAMETER", says: "count"),
            BadCall("GET", "\(Self.tail)&count=1&count=2", 400, "INVALID_PARAMETER", says: "count"),
            BadCall("GET", "\(Self.tail)&block_ms=-1", 400, "INVALID_PARAMETER", says: "block_ms"),
            BadCall("GET", "\(Self.tail)&fields=list", 400, "INVALID_PARAMETER", says: "fields"),
            BadCall("GET", "\(Self.tail)&order=asc", 400, "INVALID_PARAMETER", says: "order"),
            BadCall("GET", "\(Self.tail)&streams=b", 400, "INVALID_PARAMETER", says: "did you mean stream"),
            BadCall("GET", "/v1/messages?stream=T&after=0", 409, "NOT_A_STREAM"),
            BadCall("GET", "/v1/messages?stream=T&after=latest&block_ms=60000", 409, "NOT_A_STREAM"),
            BadCall("POST", "/v1/messages", 405, "METHOD_NOT_ALLOWED", says: "GET, HEAD, OPTIONS"),
            BadCall("POST", "/v1/groups/g/consumers/c/read", 400, "INVALID_PARAMETER", says: "stream: name at least one"),
            BadCall("POST", "\(Self.read)&stream=S", 400, "INVALID_PARAMETER", says: "given twice"),
            BadCall("POST", "\(Self.read)&stream=b&id=new", 400, "INVALID_PARAMETER", says: "or none: 2, not 1"),
            BadCall("POST", "\(Self.read)&id=new&id=new", 400, "INVALID_PARAMETER", says: "1, not 2"),
            BadCall("POST", "\(Self.read)&id=latest", 400, "INVALID_ID"),
            BadCall("POST", "\(Self.read)&stream=sluice:x", 403, "RESERVED_NAME"),
            BadCall("POST", "/v1/groups/g/consumers/unowned/read?stream=S", 403, "RESERVED_NAME"),
            BadCall("POST", "\(Self.read)&noack&claim_min_idle_ms=5", 400, "INVALID_PARAMETER", says: "claim_min_idle_ms"),
            BadCall("POST", "\(Self.read)&id=pending&claim_min_idle_ms=5", 400, "INVALID_PARAMETER", says: "claim_min_idle_ms"),
            BadCall("POST", "\(Self.read)&noack=yes", 400, "INVALID_PARAMETER", says: "noack"),
            BadCall("POST", "\(Self.read)&unowned=0", 400, "INVALID_PARAMETER", says: "unowned"),
            BadCall("POST", "\(Self.read)&stats=maybe", 400, "INVALID_PARAMETER", says: "stats"),
            BadCall("POST", "\(Self.read)&count=10001", 400, "INVALID_PARAMETER", says: "count"),
            BadCall("POST", "\(Self.read)&after=0", 400, "INVALID_PARAMETER", says: "after"),
            BadCall("POST", Self.read, #"{"ids":[]}"#, 400, "INVALID_REQUEST", says: "takes no body"),
            BadCall("POST", "/v1/groups/x/consumers/c/read?stream=S&block_ms=60000", 404, "GROUP_NOT_FOUND"),
            BadCall("POST", "/v1/groups/g/consumers/c/read?stream=N&block_ms=60000", 404, "STREAM_NOT_FOUND"),
            BadCall("POST", "/v1/groups/g/consumers/c/read?stream=T", 409, "NOT_A_STREAM"),
            BadCall("GET", "/v1/groups/g/consumers/c/read?stream=S", 405, "METHOD_NOT_ALLOWED", says: "POST, OPTIONS"),
        ])
    }
}
