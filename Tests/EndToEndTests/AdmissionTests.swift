// Who may wait: in the whole process, for one stream, from one address (API.md §9). Whatever waits counts, on whichever
// loop, and its place is free when it is gone, however it went.

import Support
import Testing

@Suite(.blocking, .serialized) struct AdmissionTests {
    private func expectRefused(_ reply: Reply, by bound: String, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(reply.status == 429 && reply.code == "TOO_MANY_WAITERS", "\(reply.text)", sourceLocation: sourceLocation)
        #expect(reply.headers["retry-after"] == "1" && reply.json["retryable"] == true, sourceLocation: sourceLocation)
        #expect(reply.json["detail"].string?.contains("(\(bound))") == true, "\(reply.text)", sourceLocation: sourceLocation)
    }

    private func refused(_ rig: Rig, by bound: String) throws -> Int { try rig.metric("sluice_waiters_refused_total{bound=\"\(bound)\"}") }

    private func tail(_ rig: Rig, _ stream: String, host: UInt8 = 1) throws -> ClientSocket {
        let socket = try ClientSocket(port: rig.port, host: host)
        try socket.request("GET", "/v1/streams/\(stream)/messages", headers: "Accept: text/event-stream\r\n")
        return socket
    }

    @Test func `a stream has room for so many waiters of every kind, and the others have theirs`() throws {
        let rig = try Rig(["--max-stream-waiters", "4"])
        let (full, free) = (try rig.newGroup("full"), try rig.newGroup("free"))
        let many = "/v1/groups/g/consumers/c/read?stream=\(full)&stream=\(free)&block_ms=0&count=1"
        let reader = try rig.park(full, "c", "block_ms=0&count=1")
        let plain = rig.client.begin("GET", "/v1/streams/\(full)/messages?after=latest&block_ms=0")
        let both = rig.client.begin("POST", many)
        let live = try tail(rig, full)
        try rig.waitUntilParked(4)
        #expect(try rig.metric("sluice_waiters_of_stream_max") == 4 && rig.metric("sluice_waiters_of_client_max") == -1)
        expectRefused(try rig.read(full, "d", "block_ms=0"), by: "max_stream_waiters")
        expectRefused(try rig.client.post(many), by: "max_stream_waiters")
        expectRefused(try rig.client.get("/v1/streams/\(full)/messages?after=latest&block_ms=0"), by: "max_stream_waiters")
        expectRefused(try rig.client.get("/v1/messages?stream=\(free)&stream=\(full)&after=0&after=0&block_ms=0"), by: "max_stream_waiters")
        expectRefused(
            try rig.client.get("/v1/streams/\(full)/messages", headers: ["Accept": "text/event-stream"]), by: "max_stream_waiters")
        #expect(try refused(rig, by: "max_stream_waiters") == 5 && refused(rig, by: "max_waiters") == 0)
        // Who does not wait needs no place.
        #expect(try rig.read(full, "d").expect(200).ids == [])
        let other = try rig.park(free, "d")
        live.close()
        try rig.waitUntilParked(4)
        let next = try rig.park(full, "e", "block_ms=0&count=1")
        // All get theirs, and leave nothing behind.
        for number in 0..<4 { try rig.add(number, to: full) }
        for waiter in [reader, plain, both, next] { #expect(try waiter.wait().status == 200) }
        try rig.add(9, to: free)
        #expect(try other.wait().numbers == ["9"])
        try rig.waitUntilParked(0)
        #expect(try rig.metric("sluice_waiters_of_stream_max") == 0)
    }

    @Test func `a client address has room for so many waiters, however they leave`() throws {
        let rig = try Rig(["--max-client-waiters", "3"])
        let stream = try rig.newGroup("clients")
        func park(_ host: UInt8) throws -> ClientSocket {
            let socket = try ClientSocket(port: rig.port, host: host)
            try socket.request("POST", rig.readPath(stream, "c", "block_ms=0"))
            return socket
        }
        var sockets = try [park(2), park(2), tail(rig, stream, host: 2)]
        try rig.waitUntilParked(3)
        let refusal = try park(2).reply()
        expectRefused(refusal, by: "max_client_waiters")
        #expect(refusal.json["detail"].string?.contains("127.0.0.2") == true)
        expectRefused(try self.tail(rig, stream, host: 2).reply(), by: "max_client_waiters")
        sockets.append(try park(3))
        try rig.waitUntilParked(4)
        #expect(try rig.metric("sluice_waiters_of_client_max") == 3)
        sockets[0].close()
        sockets[1].reset()
        sockets[2].finishSending()
        try rig.waitUntilParked(1)
        let again = try (0..<3).map { _ in try park(2) }
        try rig.waitUntilParked(4)
        expectRefused(try park(2).reply(), by: "max_client_waiters")
        for socket in again + sockets { socket.close() }
        try rig.waitUntilParked(0)
        #expect(try rig.metric("sluice_waiters_of_client_max") == 0)
    }

    @Test func `a hundred at once share few places, and every refusal is told`() throws {
        let rig = try Rig(["--max-stream-waiters", "10"])
        let stream = try rig.newGroup("rush")
        let sockets = try (0..<100).map { number in
            let socket = try ClientSocket(port: rig.port)
            try socket.request("POST", rig.readPath(stream, "c\(number)", "block_ms=0&count=1"))
            return socket
        }
        try waitUntil("all are in or out") { try rig.parked() == 10 && refused(rig, by: "max_stream_waiters") == 90 }
        for number in 0..<10 { try rig.add(number, to: stream) }
        var (numbers, refusals): ([String], Int) = ([], 0)
        for socket in sockets {
            let reply = try socket.reply()
            if reply.status == 200 { numbers += reply.numbers } else { refusals += 1 }
        }
        #expect(refusals == 90 && numbers.compactMap { Int($0) }.sorted() == Array(0..<10))
        #expect(try rig.metric("sluice_wakeups_total") == 10)
    }

    @Test func `a sink waits for its streams and takes no client's place`() throws {
        let fleet = try SinkFleet(gateways: 1, configuration: "limits: {max_waiters: 1}\n" + SinkFleet.configuration)
        try fleet.put("hook", fleet.definition(streams: #"["a","b","c"]"#)).expect(201)
        let reader = fleet.client(0).begin("GET", "/v1/streams/a/messages?after=latest&block_ms=0")
        func parked() throws -> JSON { try fleet.client(0).get("/v1/info").json["waiters"]["parked"] }
        try waitUntil("it is parked") { try parked() == 1 }
        #expect(try fleet.client(0).get("/v1/streams/b/messages?after=latest&block_ms=0").code == "TOO_MANY_WAITERS")
        let ids = try ["b", "c", "a"].map { try fleet.add(to: $0) }
        try waitUntil("all are delivered") { Set(ids).isSubset(of: fleet.receiver.confirmed) }
        #expect(try reader.wait().ids == [ids[2]])
        try waitUntil("nobody is") { try parked() == 0 }
    }

    @Test func `the bounds in force are told`() throws {
        let rig = try Rig(["--max-stream-waiters", "1", "--max-client-waiters", "1"])
        let info = try rig.client.get("/v1/info").expect(200).json["limits"]
        #expect(info["max_stream_waiters"] == 1 && info["max_client_waiters"] == 1)
    }
}
