// Two gateways on one Redis, consumers that crash, gateways that are killed, policies that are carried out: in the end each
// message was acknowledged by a consumer or is exactly one dead letter.

import Support
import Testing

@Suite(.blocking, .serialized) struct RecoverySoakTests {
    /// A consumer that reads by the patterns of the article: its own pending messages first, then new ones and what
    /// others have left (by the policy). It crashes at random: it forgets what it holds and comes back later.
    private struct Consumer {
        let name: String
        var restartsFromPending = true
        var held: [String] = []
    }

    @Test(arguments: [1, 2]) func `every message ends acknowledged or as one dead letter, whatever crashes`(round: Int) throws {
        try soak { try RecoverySoakTests.round(round) }
    }

    private static func round(_ number: Int) throws {
        var random = SeededRandom("soak \(number)")
        let note = random.note
        let redis = try RedisServerProcess()
        let arguments = ["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "2", "--redis-timeout-ms", "20000"]
        var gateways = [try GatewayProcess(arguments), try GatewayProcess(arguments)]
        var clients = gateways.map { TestClient(port: $0.port) }
        var retired: [TestClient] = []  // Their last calls may be under way.
        func client() -> TestClient { clients[Int.random(in: 0..<2, using: &random)] }
        let stream = "orders"
        let group = "/v1/streams/orders/groups/g"
        for client in clients { try waitUntil("Redis answers") { try client.get("/readyz").status == 200 } }
        try client().put("\(group)?mkstream").expect(201)
        try client().call("PUT", "\(group)/recovery", json: #"{"max_idle_ms":250,"max_deliveries":3}"#).expect(201)

        var consumers = (0..<4).map { Consumer(name: "c\($0)") }
        var (written, acknowledged) = (Set<String>(), Set<String>())
        var (kills, crashes) = (0, 0)
        for step in 0..<400 {
            let place = Int.random(in: consumers.indices, using: &random)
            switch Int.random(in: 0..<100, using: &random) {
            case 0..<25:
                for _ in 0..<Int.random(in: 1...5, using: &random) {
                    // Not through a gateway that may be killed: of such a write nobody knows.
                    let reply = try redis.run("XADD", stream, "*", "n", "\(step)")
                    written.insert(String(reply.split(whereSeparator: \.isNewline).last ?? ""))
                }
            case 25..<80:
                // Its own first, when it comes back from a crash.
                let query = consumers[place].restartsFromPending ? "id=pending&count=5" : "count=5"
                consumers[place].restartsFromPending = false
                let read = client().begin("POST", "\(group)/consumers/\(consumers[place].name)/read?\(query)")
                if let reply = try? read.wait(), reply.status == 200 {  // The gateway may have just been killed.
                    consumers[place].held += reply.json["messages"].array.filter { $0["fields"] != nil }.compactMap { $0["id"].string }
                }
            case 80..<92:
                crashes += 1
                consumers[place].held = []
                consumers[place].restartsFromPending = Bool.random(using: &random)
            case 92..<94:
                kills += 1
                let victim = Int.random(in: 0..<2, using: &random)
                gateways[victim].kill()
                gateways[victim] = try GatewayProcess(arguments)
                retired.append(clients[victim])
                clients[victim] = TestClient(port: gateways[victim].port)
            default: break
            }
            // It works on the first it holds; every fifth message is poison: who touches it crashes.
            guard let id = consumers[place].held.first else { continue }
            if id.utf8.reduce(0, { $0 &+ Int($1) }) % 5 == 0 {
                consumers[place].held = []
            } else if let reply = try? client().post("\(group)/ack?id=\(id)"), reply.status == 200 {  // The same.
                consumers[place].held.removeFirst()
                if reply.json["acked"] == 1 { acknowledged.insert(id) }
            }
        }
        // All who are left read and acknowledge what they can; what is poison ends in the dead-letter stream.
        let last = clients[0]
        try waitUntil("everything is settled \(note)") {
            let messages = try last.post("\(group)/consumers/last/read?count=100&block_ms=200").json["messages"].array
            for message in messages {
                let id = message["id"].string ?? ""
                #expect(message["delivery_count"].integer ?? 9 <= 3, "\(note)")
                if id.utf8.reduce(0, { $0 &+ Int($1) }) % 5 == 0 { continue }
                if try last.post("\(group)/ack?id=\(id)").json["acked"] == 1 { acknowledged.insert(id) }
            }
            return try messages.isEmpty && last.get("\(group)/pending").json["pending"] == 0
                && last.get(group).json["last_delivered_id"] == last.get("/v1/streams/orders/messages?order=desc&count=1").json["messages"][0]["id"]
        }
        let letters = try last.get("/v1/streams/orders:dlq/messages?count=10000").json["messages"].array
        let dead = letters.compactMap { $0["fields"]["original_id"].string }
        print("\(written.count) written, \(acknowledged.count) acknowledged, \(dead.count) dead letters, \(kills) kills, \(crashes) crashes")
        #expect(Set(dead).count == dead.count, "a message was buried twice \(note)")
        #expect(acknowledged.isDisjoint(with: dead), "acknowledged and buried \(note)")
        #expect(acknowledged.union(dead) == written, "lost: \(written.subtracting(acknowledged).subtracting(dead)) \(note)")
        let poison = written.filter { $0.utf8.reduce(0, { $0 &+ Int($1) }) % 5 == 0 }
        #expect(poison.isSubset(of: dead), "\(note)")
        let counters = try last.get("\(group)/recovery").json["counters"]
        #expect(counters["dead_lettered"].integer == dead.count && counters["recovered"].integer ?? 0 > 0, "\(counters) \(note)")
    }

    @Test func `a read of a group without a policy is one plain command, and with a quiet one too`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("cost")
        // Not of empty reads: those ask once more, for what was handed back a moment ago.
        try rig.redis.run("EVAL", "for i = 1, 1000 do redis.call('XADD', KEYS[1], i, 'n', i) end", "1", stream)
        func readOne() throws {
            let ids = try rig.read(stream, "c", "count=1").ids
            #expect(ids.count == 1)
            try rig.redis.run(["XACK", stream, "g"] + ids)
        }
        func scriptsOfReads() throws -> Int {
            for _ in 0..<20 { try readOne() }  // Now both loops know that nothing is unowned.
            func calls() throws -> Int {
                let line = try rig.redis.info("commandstats")["cmdstat_evalsha"] ?? "calls=0"
                return Int(line.dropFirst("calls=".count).prefix { $0.isNumber }) ?? -1
            }
            let before = try calls()
            for _ in 0..<100 { try readOne() }
            return try calls() - before
        }
        #expect(try scriptsOfReads() == 0)
        try rig.putPolicy(stream, #"{"max_idle_ms":60000}"#).expect(201)
        try waitUntil("it is known") { try rig.client.get("/v1/streams/\(stream)/groups/g").json["lease_ms"] == 60000 }
        // Each loop looks once a second.
        #expect(try scriptsOfReads() < 50)
    }

    @Test func `gateways that race for the same exhausted messages bury each once, also when one is killed`() throws {
        try inSomeRound { _ in try raceIsCutShort() }
    }

    /// Whether the race was under way yet when one was killed: a test that stands still may come too late.
    private func raceIsCutShort() throws -> Bool {
        let rig = try Rig()
        let stream = try rig.newGroup("race")
        let count = 1500
        try rig.redis.run("EVAL", "for i = 1, \(count) do redis.call('XADD', KEYS[1], i, 'n', i) end", "1", stream)
        try rig.redis.run("XREADGROUP", "GROUP", "g", "crashed", "COUNT", "\(count)", "STREAMS", stream, ">")
        try rig.redis.run("EVAL", """
            for i = 1, \(count) do
              redis.call('XCLAIM', KEYS[1], 'g', 'crashed', 0, i, 'IDLE', 3600000, 'RETRYCOUNT', 8, 'JUSTID')
            end
            """, "1", stream)
        let (second, third) = (try rig.newGateway(), try rig.newGateway())
        try rig.putPolicy(stream, #"{"max_idle_ms":800}"#).expect(201)
        // Whoever asks may walk at once: all three do.
        let key = try #require(try rig.redis.run("KEYS", "sluice:*recovery*\(stream):g").split(whereSeparator: \.isNewline).last)
        var hasKilled = false
        try waitUntil("all are buried") {
            try rig.redis.run("HDEL", String(key), "run_at", "cursor")
            if !hasKilled, try rig.length("\(stream):dlq") > count / 3 {
                rig.gateway.kill()
                hasKilled = true
            }
            return try rig.redis.run("XPENDING", stream, "g").hasPrefix("*4\r\n:0\r\n")
        }
        #expect(try rig.length("\(stream):dlq") == count)
        let client = TestClient(port: second.port)
        let ids = try client.get("/v1/streams/\(stream):dlq/messages?count=10000").json["messages"].array
            .compactMap { $0["fields"]["original_id"].string }
        #expect(Set(ids).count == count)
        return withExtendedLifetime(third) { hasKilled }
    }
}
