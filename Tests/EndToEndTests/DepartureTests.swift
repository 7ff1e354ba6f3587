// Nothing goes to the departed (API.md §4, rule 4), and what was already on its way comes back.

import Support
import Testing

@Suite(.gateway(), .serialized) struct DepartureTests {
    let rig = Rig.current

    enum Way: CaseIterable { case fin, reset, halfClosed, finWithUnreadBytes }

    private func leave(_ socket: ClientSocket, _ way: Way) throws {
        switch way {
        case .fin: socket.close()
        case .reset: socket.reset()
        case .halfClosed: socket.finishSending()
        case .finWithUnreadBytes:
            try socket.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            socket.finishSending()
        }
    }

    @Test(arguments: Way.allCases) func `a parked client that leaves is dropped before anything is read for it`(way: Way) throws {
        let stream = try rig.newGroup("leave")
        let socket = try rig.parkSocket(stream, "gone")
        let next = try rig.park(stream, "here", asNumber: 2)
        try leave(socket, way)
        try rig.waitUntilParked(1)
        let id = try rig.add(1, to: stream)
        let reply = try next.wait()
        #expect(reply.ids == [id] && reply.json["messages"][0]["delivery_count"] == 1)
        #expect(try rig.pending(stream).values.map(\.consumer) == ["here"])
    }

    @Test func `one that has only said its last word, and waited, is told that there was nothing`() throws {
        let stream = try rig.newGroup("half")
        let many = "/v1/groups/g/consumers/c/read?stream=\(stream)&block_ms=0"
        for (path, member) in [(rig.readPath(stream, "c", "block_ms=0"), "messages"), (many, "streams"), ("\(rig.tailPath(stream))?after=latest&block_ms=0", "messages")] {
            let socket = try ClientSocket(port: rig.port)
            try socket.request(path.contains("after") ? "GET" : "POST", path)
            try rig.waitUntilParked(1)
            socket.finishSending()
            let reply = try socket.reply(atMost: .seconds(30))  // Less than a reader waits.
            #expect(reply.status == 200 && reply.json[member] == .array([]) && reply.headers["connection"] == "close", "\(path): \(reply.text)")
        }
    }

    @Test(arguments: Way.allCases) func `a client that leaves in the same moment as its message strands none`(way: Way) throws {
        let stream = try rig.newGroup("race")
        var stranded = 0
        for number in 0..<20 {
            let socket = try rig.parkSocket(stream, "gone")
            let add = rig.client.begin("POST", "/v1/streams/\(stream)/messages", body: Array("n=\(number)".utf8))
            // To the gateway a shutdown of both directions is what a close is; here it can be told what came before.
            if way == .fin { socket.finishBoth() } else { try leave(socket, way) }
            let id = try add.wait().expect(201).json["id"].string ?? ""
            try rig.waitUntilParked(0)
            // It was never read, or was handed back; or the reply came to the client's kernel before the end, and it stays pending.
            // A client that has closed its own half, or both, must have it then.
            var (message, looks) = (JSON.null, 0)
            try waitUntil("somebody has the message") {
                if try rig.pending(stream)[id]?.consumer == "gone" {
                    // What it had got went with a reset, and nobody can tell. Else it may be on its way back, for a moment.
                    if way != .reset, try socket.replyIsThere(id) { return true }
                    looks += 1
                    if looks == 50, way == .fin || way == .reset {
                        if way == .fin { stranded += 1 }
                        return true
                    }
                } else {
                    looks = 0
                }
                message = try rig.read(stream, "here").json["messages"][0]
                return message["id"].string == id
            }
            guard message != nil, message["delivery_count"] != 1 else { continue }
            #expect(message["delivery_count"] == 2 && message["consumer"] == "unowned")
        }
        #expect(stranded == 0)
    }

    @Test func `what was read for a client that has left goes to the next waiter, who is told so`() throws {
        // Redis stands still while the first waiter's look is under way: the client leaves between read and reply.
        let rig = try Rig(["--redis-timeout-ms", "20000"])
        let stream = try rig.newGroup("between")
        let socket = try rig.parkSocket(stream, "gone")
        let next = try rig.park(stream, "here", asNumber: 2)
        let writer = try rig.redis.connect()
        let looks = try rig.metric("sluice_looks_total")  // Before it stands still: there is no more than this one.
        rig.redis.freeze()
        try writer.send(commands: [["XADD", stream, "*", "n", "1"]])
        try waitUntil("the slow tick looks") { try rig.metric("sluice_looks_total") > looks }
        socket.close()
        try waitUntil("it is noticed") { try rig.metric("sluice_http_connections") <= 2 }
        rig.redis.thaw()
        let reply = try next.wait()
        #expect(reply.numbers == ["1"])
        #expect(reply.json["messages"][0]["delivery_count"].integer.map { (1...2).contains($0) } == true)
        #expect(try rig.pending(stream).values.map(\.consumer) == ["here"])
    }

    @Test func `a reply that can't be written makes its messages unowned`() throws {
        let stream = try rig.newGroup("unwritten")
        let large = String(repeating: "x", count: 100_000)
        for _ in 0..<120 { try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"\#(large)"}}"#).expect(201) }
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", rig.readPath(stream, "gone", "count=120"))
        try waitUntil("the messages are read") { try rig.pending(stream).count == 100 }
        socket.reset()
        try waitUntil("they are unowned") {
            try rig.client.get("/v1/streams/\(stream)/groups/g/pending").json["consumers"].array.map { $0["name"] } == ["unowned"]
        }
        let reply = try rig.read(stream, "here", "count=1")
        #expect(reply.json["messages"][0]["delivery_count"] == 2)
        #expect(reply.json["messages"][0]["consumer"] == "unowned")
    }

    @Test func `noack reads can't be taken back`() throws {
        let stream = try rig.newGroup("noack")
        let socket = try rig.parkSocket(stream, "gone", "block_ms=0&noack")
        try rig.add(1, to: stream)
        #expect(try socket.reply().numbers == ["1"])
        #expect(try rig.pending(stream).isEmpty)
    }
}
