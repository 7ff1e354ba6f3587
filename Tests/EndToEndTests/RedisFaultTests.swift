// Redis goes away, stands still, comes back: parked readers stay parked and are served, everybody else is told
// the truth in time, and nothing confirmed is lost.

import Glibc
import Support
import Testing

@Suite(.blocking, .serialized) struct RedisFaultTests {
    /// With 5 s for a command, which none takes but of a Redis that is frozen. Who freezes it asks for less: after 4 s the
    /// gateway begins to give up its connections, too.
    private func newRig(timeout: String = "5000") throws -> Rig {
        try Rig(["--redis-timeout-ms", timeout], redisOptions: RedisServerProcess.lasting)
    }

    private func expectUnavailable(_ reply: Reply, sourceLocation: SourceLocation = #_sourceLocation) {
        #expect(reply.status == 503 && reply.code == "REDIS_UNAVAILABLE", "\(reply.text)", sourceLocation: sourceLocation)
        #expect(reply.headers["retry-after"] != nil && reply.json["retryable"] == true, sourceLocation: sourceLocation)
    }

    @Test func `parked readers outlive a restart of Redis, and are served after it`() throws {
        let rig = try newRig(timeout: "20000")
        let streams = try (0..<5).map { _ in try rig.newGroup("restart") }
        let readers = try streams.enumerated().map { try rig.park($1, "c", asNumber: $0 + 1) }
        let tail = rig.client.begin("GET", "/v1/streams/\(streams[0])/messages?after=latest&block_ms=0")
        try rig.waitUntilParked(6)
        rig.redis.end()
        try waitUntil("the gateway notices") { try rig.client.get("/v1/info").json["redis"]["connected"] == false }
        let begin = ContinuousClock.now
        expectUnavailable(try rig.client.get("/readyz"))
        expectUnavailable(try rig.client.get("/v1/streams/\(streams[0])/messages"))
        expectUnavailable(try rig.client.post("/v1/streams/\(streams[0])/messages", json: #"{"fields":{"n":"0"}}"#))
        expectUnavailable(try rig.read(streams[0], "d"))
        #expect(ContinuousClock.now - begin < .seconds(12))  // Nobody waits for a command's time.
        #expect(try rig.client.get("/healthz").status == 200)
        #expect(try rig.parked() == 6)
        try rig.redis.start()
        try rig.waitUntilConnected()
        #expect(try rig.parked() == 6)
        for (number, stream) in streams.enumerated() { try rig.add(number, to: stream) }
        for (number, reader) in readers.enumerated() {
            let reply = try reader.wait()
            #expect(reply.numbers == ["\(number)"] && reply.json["messages"][0]["delivery_count"] == 1)
        }
        #expect(try tail.wait().numbers == ["0"])
    }

    @Test func `what was added while Redis was away from us reaches the parked`() throws {
        let rig = try newRig()
        let stream = try rig.newGroup("away")
        let reader = try rig.park(stream, "c")
        try rig.redis.run("CLIENT", "KILL", "TYPE", "normal")
        try rig.redis.run("CLIENT", "KILL", "TYPE", "pubsub")
        try rig.redis.run("XADD", stream, "*", "n", "1")
        #expect(try reader.wait().numbers == ["1"])
    }

    @Test(arguments: ["normal", "pubsub"]) func `the loss of either connection alone is noticed`(type: String) throws {
        let rig = try newRig()
        let stream = try rig.newGroup("half")
        for number in 0..<5 {
            let reader = try rig.park(stream, "c")
            try rig.redis.run("CLIENT", "KILL", "TYPE", type)
            try rig.redis.run("XADD", stream, "*", "n", "\(number)")
            #expect(try reader.wait().numbers == ["\(number)"])
            // The other loop may notice later.
            try waitUntil("both loops are connected anew") { try rig.metric("sluice_redis_reconnects_total") >= 2 * (number + 1) }
            try rig.waitUntilConnected()
        }
    }

    @Test func `a call that may be repeated says so where Redis does not answer, and a nack does not`() throws {
        let rig = try newRig(timeout: "2500")
        let stream = try rig.newGroup("unknown")
        for number in 1...3 { try rig.redis.run("XADD", stream, "\(number)-0", "n", "1") }
        #expect(try rig.read(stream, "c", "count=1").ids == ["1-0"])
        let ids = #"{"ids":["1-0"]}"#
        let nack: (String, String, String?) = ("POST", "/groups/g/consumers/c/settle", #"{"nack":["1-0"]}"#)
        let calls: [(String, String, String?)] = [
            nack, ("POST", "/groups/g/consumers/c/settle", #"{"ack":["1-0"],"extend":["2-0"]}"#),
            ("POST", "/groups/g/ack?delete", ids), ("POST", "/delete", ids), ("POST", "/delete?ref=delete", ids), ("POST", "/delete?ref=acked", ids),
            ("POST", "/trim?maxlen=1", nil), ("PATCH", "", #"{"last_id":"9-0"}"#), ("DELETE", "/messages/2-0", nil), ("DELETE", "", nil),
        ]
        for (method, path, body) in [("POST", "/delete?ref=acked", ids), ("DELETE", "", nil), nack] {  // The scripts are loaded.
            try rig.client.call(method, "/v1/streams/none\(path)", json: body).expect(404)
        }
        rig.redis.freeze()
        let pending = calls.map { method, path, body in
            rig.client.begin(
                method, "/v1/streams/\(stream)\(path)", body: body.map { Array($0.utf8) }, headers: body == nil ? [:] : ["Content-Type": "application/json"])
        }
        let list = rig.client.begin("GET", "/v1/streams")
        for (reply, call) in zip(pending, calls) {
            let reply = try reply.wait()
            // A nacked message may have come back to its consumer.
            let expected: JSON = call == nack ? false : true
            #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == expected, "\(call): \(reply.text)")
        }
        expectUnavailable(try list.wait())
        rig.redis.thaw()
        try rig.waitUntilConnected()
        try waitUntil("they are executed, after all") { try rig.client.get("/v1/streams/\(stream)").code == "STREAM_NOT_FOUND" }
    }

    @Test func `a Redis that stands still is told in time, and what was in flight is unknown`() throws {
        let rig = try newRig(timeout: "2500")
        let stream = try rig.newGroup("still")
        let reader = try rig.park(stream, "c")
        rig.redis.freeze()
        let begin = ContinuousClock.now
        let write = rig.client.begin("POST", "/v1/streams/\(stream)/messages", body: Array("n=1".utf8))
        let range = rig.client.begin("GET", "/v1/streams/\(stream)/messages")
        let read = rig.client.begin("POST", rig.readPath(stream, "d"))
        let unknown = try write.wait()
        #expect(unknown.status == 504 && unknown.code == "OUTCOME_UNKNOWN" && unknown.json["retryable"] == false, "\(unknown.text)")
        expectUnavailable(try range.wait())
        let lost = try read.wait()
        #expect(lost.status == 504 && lost.code == "OUTCOME_UNKNOWN", "\(lost.text)")
        #expect(lost.json["detail"].string?.contains("id=pending") == true)
        #expect(ContinuousClock.now - begin < .seconds(20))
        rig.redis.thaw()
        try rig.waitUntilConnected()
        // The write was executed after all, and one of the two readers has it, or both wait for the next.
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").numbers == ["1"])
        try waitUntil("the message is somewhere") {
            let held = try rig.pending(stream).values.first?.consumer
            return held != nil || reader.isDone
        }
        if !reader.isDone { try rig.add(2, to: stream) }
        #expect(try reader.wait().numbers.isEmpty == false)
    }

    @Test(arguments: ["", "&stats"]) func `a parked read ends in time though Redis stands still`(options: String) throws {
        let rig = try Rig(["--redis-timeout-ms", "20000"])
        let stream = try rig.newGroup("time")
        try inSomeRound { _ in
            let begin = ContinuousClock.now
            let reader = rig.client.begin("POST", rig.readPath(stream, "c", "block_ms=2500" + options))
            try waitUntil("it is parked") { try reader.isDone || rig.parked() == 1 }
            rig.redis.freeze()
            let isParked = !reader.isDone && ContinuousClock.now - begin < .milliseconds(2500)
            let reply = try reader.wait()
            let time = ContinuousClock.now - begin
            rig.redis.thaw()
            guard isParked else { return false }  // It was over before.
            #expect(reply.status == 200 && reply.json == (options.isEmpty ? ["messages": []] : ["messages": [], "group": nil]))
            #expect(time < .seconds(15))
            return true
        }
    }

    @Test(arguments: ["-exists", "-client|caching"])
    func `where Redis refuses what tracking needs, waited-on groups are polled`(rule: String) throws {
        let rig = try Rig(["--poll-ms", "100"])
        let stream = try rig.newGroup("untracked")
        // 6.2 has no rules that take a subcommand away.
        try rig.redis.run("ACL", "SETUSER", "default", rig.isBeforeVersion7 ? "-exists" : rule)
        let reader = try rig.park(stream, "c")
        try rig.add(1, to: stream)
        #expect(try reader.wait(atMost: .seconds(30)).numbers == ["1"])  // Less than it would wait.
        #expect(rig.gateway.log.contains("waited-on groups are polled"))
    }

    @Test(arguments: ["", "&stats"])
    func `a read whose own look finds Redis standing still ends in time, and what it misses becomes unowned`(options: String) throws {
        try inSomeRound { _ in try ownLookIsLate(options) }
    }

    /// False where Redis stood still for so long that its connections were given up.
    private func ownLookIsLate(_ options: String) throws -> Bool {
        let rig = try Rig(["--redis-timeout-ms", "20000"])
        let stream = try rig.newGroup("look")
        #expect(try rig.read(stream, "c").ids == [])  // The script is there, if it is one.
        try rig.add(1, to: stream)
        rig.redis.freeze()
        let begin = ContinuousClock.now
        let reply = try rig.read(stream, "c", "block_ms=500" + options)
        #expect(reply.status == 200 && reply.headers["sluice-block-ms"] == "500")
        #expect(reply.json == (options.isEmpty ? ["messages": []] : ["messages": [], "group": nil]))
        #expect(ContinuousClock.now - begin < .seconds(10))
        rig.redis.thaw()
        guard ContinuousClock.now - begin < .milliseconds(3500) else { return false }
        try waitUntil("it was handed back") { try rig.pending(stream).values.map(\.consumer) == ["unowned"] }
        let next = try rig.read(stream, "d", "block_ms=5000")
        #expect(next.numbers == ["1"] && next.json["messages"][0]["delivery_count"] == 2)
        return true
    }

    @Test func `what Redis gives for a parked read after the deadline becomes unowned, and reaches somebody`() throws {
        let rig = try Rig(["--redis-timeout-ms", "2000"])
        // A Redis that is thawed hears its clients in the order in which they spoke: the message comes before the look,
        // unless the gateway said something else (a ping) in the moment before. Then the look finds nothing, and the
        // message comes by a later one: so it may take several times.
        var handedBack = 0
        for round in 1...20 where handedBack == 0 {
            let stream = try rig.newGroup("late")
            let reader = try rig.park(stream, "slow", asNumber: 1)
            let writer = try rig.redis.connect()
            let timeouts = try rig.metric("sluice_redis_timeouts_total")
            let looks = try rig.metric("sluice_looks_total")
            let begin = ContinuousClock.now
            rig.redis.freeze()
            try writer.send(commands: [["XADD", stream, "*", "n", "\(round)"]])
            try waitUntil("a look has failed") {
                try rig.metric("sluice_looks_total") > looks && rig.metric("sluice_redis_timeouts_total") > timeouts
            }
            rig.redis.thaw()
            guard ContinuousClock.now - begin < .milliseconds(3500) else {
                // After four seconds its connections are given up, and what was read for the reader stays with it.
                try rig.redis.run("XADD", stream, "*", "n", "more")
                _ = try reader.wait()
                continue
            }
            let reply = try reader.wait()
            #expect(reply.numbers == ["\(round)"])
            let message = reply.json["messages"][0]
            if message["delivery_count"] == 2 {
                #expect(message["consumer"] == "unowned")
                try waitUntil("it is counted") { try rig.metric("sluice_handed_back_total") > 0 }
            } else {
                #expect(message["delivery_count"] == 1)
            }
            handedBack = try rig.metric("sluice_handed_back_total")
            try rig.waitUntilConnected()
        }
        #expect(handedBack > 0)
    }

    @Test func `a Redis that is loading, read-only or out of memory is told apart`() throws {
        let rig = try newRig()
        let stream = try rig.newGroup("states")
        try rig.redis.run("CONFIG", "SET", "min-replicas-to-write", "1")
        expectUnavailable(try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"1"}}"#))
        try rig.redis.run("CONFIG", "SET", "min-replicas-to-write", "0")
        try rig.redis.run("CONFIG", "SET", "maxmemory", "1")
        let full = try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"1"}}"#)
        #expect(full.status == 507 && full.code == "REDIS_OUT_OF_MEMORY" && full.headers["retry-after"] != nil, "\(full.text)")
        #expect(full.json["redis_error"].string?.hasPrefix("OOM") == true)
        try rig.redis.run("CONFIG", "SET", "maxmemory", "0")
        try rig.redis.run("REPLICAOF", "127.0.0.1", "1")
        expectUnavailable(try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"1"}}"#))
        try rig.redis.run("REPLICAOF", "NO", "ONE")
        try waitUntil("it takes writes again") {
            try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"1"}}"#).status == 201
        }
    }

    @Test func `the embedded Redis is started again when it dies, and its readers are served`() throws {
        let directory = try TemporaryDirectory()
        let gateway = try GatewayProcess(["--data-dir", directory.path])
        let client = TestClient(port: gateway.port)
        try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
        try client.put("/v1/streams/s/groups/g?mkstream").expect(201)
        let reader = client.begin("POST", "/v1/streams/s/groups/g/consumers/c/read?block_ms=0")
        try waitUntil("it is parked") { try client.get("/v1/info").json["waiters"]["parked"] == 1 }
        try killEmbeddedRedis(of: gateway)
        try waitUntil("it is noticed") { gateway.log.contains("The embedded Redis ended") }
        try waitUntil("Redis answers again") { try client.get("/readyz").status == 200 }
        try client.post("/v1/streams/s/messages", json: #"{"fields":{"n":"1"}}"#).expect(201)
        #expect(try reader.wait().numbers == ["1"])
    }

    private func killEmbeddedRedis(of gateway: GatewayProcess) throws {
        let path = try #require(gateway.log.split(separator: "unix://").dropFirst().first?.split(separator: "\"").first)
        let socket = try ClientSocket(unixPath: String(path))
        try socket.send(commands: [["INFO", "server"]])
        try socket.expect("process_id:")
        try socket.expect("uptime_in_seconds")
        let text = socket.text.split(separator: "process_id:")[1].prefix { $0.isNumber }
        kill(try #require(Int32(text)), SIGKILL)
    }
}
