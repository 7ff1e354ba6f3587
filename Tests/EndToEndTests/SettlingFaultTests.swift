// Settling and handing over while processes die and race: what a client was told is true, and nothing is lost.

import Glibc
import Support
import Synchronization
import Testing

@Suite(.blocking, .serialized) struct SettlingFaultTests {
    private func second(_ rig: Rig, loops: Int = 1) throws -> (process: GatewayProcess, client: TestClient) {
        let process = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock", "--loops", "\(loops)"])
        let client = TestClient(port: process.port)
        try waitUntil("the second gateway is ready") { try client.get("/readyz").status == 200 }
        return (process, client)
    }

    private func consumerPath(_ stream: String, _ consumer: String) -> String { "/v1/streams/\(stream)/groups/g/consumers/\(consumer)" }

    // MARK: Settling

    /// The word of a nack and the answer to a read come over two connections: whichever comes first, the read that followed
    /// the nack finds the message.
    @Test(arguments: ["/v1/streams/S/groups/g/consumers/c/read", "/v1/groups/g/consumers/c/read?stream=S"])
    func `a nack that we hear of while the look is under way is not missed`(path: String) throws {
        let row = "*5\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n:2\r\n:70\r\n$1\r\na\r\n"
        let heard = Mutex((looks: 0, plain: 0))
        let redis = try ScriptedServer { words in
            // A PING's answer would be taken for that of the read before it.
            if words == ["PING"], heard.withLock({ $0.plain }) > 0 { return .silence }
            guard words.contains("S") else { return .usual }
            switch words[0] {
            case "EVALSHA":
                let looks = heard.withLock { heard in
                    heard.looks += 1
                    return heard.looks
                }
                return .reply("*6\r\n" + (looks == 1 ? "*0\r\n" : "*1\r\n\(row)") + "*0\r\n:-1\r\n:-1\r\n$0\r\n\r\n$0\r\n\r\n")
            case "XREADGROUP":
                heard.withLock { $0.plain += 1 }
                return .silence
            default: return .usual
            }
        }
        let gateway = try GatewayProcess(["--redis", redis.url, "--loops", "1"])
        let client = TestClient(port: gateway.port)
        try waitUntil("the gateway reaches Redis") { try client.get("/readyz").status == 200 }
        #expect(try !client.post(path).expect(200).text.contains("1-0"))
        let reply = client.begin("POST", path)
        try waitUntil("it looks for new ones") { heard.withLock { $0.plain } == 1 }
        redis.say("*3\r\n$7\r\nmessage\r\n$12\r\nsluice:nudge\r\n$5\r\nu1:Sg\r\n", on: 1)
        try waitUntil("the word has come") { try client.get("/metrics").text.contains("\nsluice_redis_nudges_total 1\n") }
        redis.say("*-1\r\n", on: 0)
        #expect(try reply.wait().expect(200).text.contains(#""id":"1-0""#))
    }

    @Test func `a reader that is parked at another gateway gets a delayed nack when it is due`() throws {
        let rig = try Rig()
        let other = try second(rig)
        let stream = try rig.newGroup("replica")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        let reader = other.client.begin("POST", rig.readPath(stream, "d", "block_ms=0"))
        try waitUntil("it is parked") { try other.client.get("/v1/info").json["waiters"]["parked"] == 1 }
        let begin = ContinuousClock.now
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(id)","delay_ms":600}]}"#).status == 200)
        let reply = try reader.wait()
        #expect(reply.ids == [id] && reply.json["messages"][0]["delivery_count"] == 2)
        #expect(ContinuousClock.now - begin >= .milliseconds(600))
    }

    @Test func `a due time outlives every gateway and Redis' own restart`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let stream = try rig.newGroup("restart")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        let begin = ContinuousClock.now
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(id)","delay_ms":4000}]}"#).status == 200)
        rig.gateway.kill()
        rig.redis.end()
        try rig.redis.start()
        let other = try second(rig)
        if ContinuousClock.now - begin < .milliseconds(3500) {
            #expect(try other.client.post(rig.readPath(stream, "d")).ids == [])
        }
        #expect(try other.client.post(rig.readPath(stream, "d", "block_ms=0")).ids == [id])
        #expect(ContinuousClock.now - begin >= .milliseconds(4000))
    }

    /// Each call settles three messages of its own: one of each kind.
    @Test func `what a settle was answered is true when Redis is killed in the middle`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let stream = try rig.newGroup("killed")
        try rig.fill(stream, 600)
        let ids = try rig.read(stream, "c", "count=600").ids
        func settle(_ number: Int) -> PendingReply {
            let start = number * 3
            let body = #"{"ack":["\#(ids[start])"],"nack":[{"id":"\#(ids[start + 1])","delay_ms":3600000}],"extend":["\#(ids[start + 2])"]}"#
            return rig.client.begin(
                "POST", consumerPath(stream, "c") + "/settle", body: Array(body.utf8), headers: ["Content-Type": "application/json"])
        }
        var calls = (0..<100).map(settle)
        try waitUntil("some are answered") { calls.count(where: \.isDone) >= 20 }
        calls += (100..<180).map(settle)
        rig.redis.end()
        calls += (180..<200).map(settle)
        let replies = try calls.map { try $0.wait() }
        try rig.redis.start()
        try rig.waitUntilConnected()
        var pending: [String: String] = [:]
        for row in try rig.client.get("/v1/streams/\(stream)/groups/g/pending/messages?count=1000").json["messages"].array {
            pending[row["id"].string ?? ""] = row["consumer"].string
        }
        let due = try rig.redis.run("EVAL", "return redis.call('ZCARD', redis.call('KEYS', 'sluice:*due:*')[1])", "0")
        #expect(due == ":\(pending.values.count { $0 == "unowned" })\r\n", "a nack and its due time are one step")
        for (number, reply) in replies.enumerated() {
            let state = (0..<3).map { pending[ids[number * 3 + $0]] }
            switch reply.status {
            case 200: #expect(state == [nil, "unowned", "c"], "\(reply.text)")
            case 503: #expect(state == ["c", "c", "c"], "\(reply.text)")
            default:
                #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == false, "\(reply.text)")
                #expect(state == [nil, "unowned", "c"] || state == ["c", "c", "c"])
            }
        }
        #expect(replies.contains { $0.status == 200 } && replies.contains { $0.status != 200 })
    }

    @Test func `a Redis that lets nobody tell of a nack has it taken all the same`() throws {
        let rig = try Rig(redisOptions: ["--user", "default", "on", "nopass", "~*", "+@all", "resetchannels"])
        let stream = try rig.newGroup("untold")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        for _ in 0..<4 { #expect(try rig.read(stream, "d").ids == []) }  // Both loops have found nothing.
        #expect(try rig.settle(stream, "c", #"{"nack":["\#(id)"]}"#).status == 200)
        for _ in 0..<4 where try rig.holders(stream)["unowned"] == 1 { #expect(try rig.read(stream, "d").ids == [id]) }
        #expect(try rig.holders(stream) == ["d": 1])
        let reader = try rig.park(stream, "e")
        #expect(try rig.client.call("DELETE", consumerPath(stream, "d")).expect(200).json["pending"] == 1)
        #expect(try reader.wait().ids == [id])
    }

    // MARK: Deleting

    @Test func `a consumer that keeps reading while it is deleted loses nothing`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("reading")
        try rig.fill(stream, 6000)
        #expect(try rig.read(stream, "c", "count=3000").ids.count == 3000)
        // Its reads leave what it hands on, or it would get it back.
        let readers = (0..<8).map { _ in rig.client.begin("POST", rig.readPath(stream, "c", "count=40&unowned=false")) }
        let removal = rig.client.begin("DELETE", consumerPath(stream, "c"))
        let later = (0..<20).map { _ in rig.client.begin("POST", rig.readPath(stream, "c", "count=40&unowned=false")) }
        let read = try (readers + later).map { try $0.wait().expect(200).ids.count }.reduce(0, +)
        let moved = try removal.wait().expect(200).json["pending"].integer ?? 0
        #expect(moved >= 3000)
        let holders = try rig.holders(stream)
        #expect(holders["unowned"] == moved)
        #expect(moved + (holders["c"] ?? 0) == 3000 + read, "each message that was read is somebody's")
        #expect(read == 28 * 40)
    }

    @Test func `two gateways that delete the same consumer hand everything on, once`() throws {
        let rig = try Rig()
        let other = try second(rig)
        let stream = try rig.newGroup("both")
        try rig.fill(stream, 7500)
        #expect(try rig.read(stream, "c", "count=7500").ids.count == 7500)
        let calls = [rig.client, other.client, rig.client, other.client].map { $0.begin("DELETE", consumerPath(stream, "c") + "?to=d") }
        let replies = try calls.map { try $0.wait() }
        #expect(replies.contains { $0.status == 200 })
        #expect(replies.allSatisfy { $0.status == 200 || $0.code == "CONSUMER_NOT_FOUND" })
        #expect(replies.compactMap { $0.json["pending"].integer }.reduce(0, +) == 7500)
        #expect(try rig.holders(stream) == ["d": 7500])
    }

    @Test func `a deletion that Redis' end cuts short is told so, and nothing is lost`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let stream = try rig.newGroup("half")
        try rig.fill(stream, 20_000)
        for _ in 0..<2 { _ = try rig.read(stream, "c", "count=10000") }
        let removal = rig.client.begin("DELETE", consumerPath(stream, "c"))
        try waitUntil("the first slice has moved") { try rig.redis.run("XPENDING", stream, "g").contains("unowned") }
        rig.redis.end()
        let reply = try removal.wait()
        try rig.redis.start()
        try rig.waitUntilConnected()
        let holders = try rig.holders(stream)
        #expect(holders.values.reduce(0, +) == 20_000)
        if reply.status != 200 {  // It was not faster.
            #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
            let rest = try rig.client.call("DELETE", consumerPath(stream, "c"))
            // The last slice, which removes the consumer, may have been done, though nobody heard of it.
            let isGone = holders["c"] == nil && rest.code == "CONSUMER_NOT_FOUND"
            #expect(isGone || rest.status == 200 && rest.json["pending"].integer == holders["c"], "\(rest.text)")
        }
        #expect(try rig.holders(stream) == ["unowned": 20_000])
    }

    @Test func `a gateway that is killed in the middle of a deletion loses nothing, and the next one goes on`() throws {
        let rig = try Rig()
        let other = try second(rig)
        let stream = try rig.newGroup("cut")
        try rig.fill(stream, 10_000)
        for _ in 0..<3 { _ = try rig.read(stream, "c", "count=10000") }
        #expect(try rig.holders(stream) == ["c": 10_000])
        let removal = rig.client.begin("DELETE", consumerPath(stream, "c"))
        try waitUntil("the first slice has moved") { try rig.redis.run("XPENDING", stream, "g").contains("unowned") }
        rig.gateway.kill()
        _ = try? removal.wait()  // Its connection breaks, unless it was faster.
        let path = "/v1/streams/\(stream)/groups/g/pending"
        #expect(try other.client.get(path).json["pending"] == 10_000)
        let rest = try other.client.call("DELETE", consumerPath(stream, "c"))
        #expect(rest.status == 200 || rest.code == "CONSUMER_NOT_FOUND", "\(rest.text)")
        #expect(try other.client.get(path).json["consumers"] == [["name": "unowned", "pending": 10_000]])
    }
}
