// Settling, and what becomes of what was handed back (API.md §3).

import Support
import Testing

extension Rig {
    func settle(_ stream: String, _ consumer: String, _ json: String, _ query: String = "") throws -> Reply {
        try client.post("/v1/streams/\(stream)/groups/g/consumers/\(consumer)/settle" + (query.isEmpty ? "" : "?\(query)"), json: json)
    }

    /// How many messages each consumer holds.
    func holders(_ stream: String) throws -> [String: Int] {
        var found: [String: Int] = [:]
        for row in try client.get("/v1/streams/\(stream)/groups/g/pending").json["consumers"].array {
            found[row["name"].string ?? ""] = row["pending"].integer
        }
        return found
    }

    /// Adds so many messages at once.
    func fill(_ stream: String, _ count: Int) throws {
        try redis.run("EVAL", "for n = 1, \(count) do redis.call('XADD', KEYS[1], '*', 'n', n) end", "1", stream)
    }
}

extension [String] {
    /// `"a","b"`
    var quotedList: String { map { "\"\($0)\"" }.joined(separator: ",") }
}

@Suite(.gateway(), .serialized) struct SettlingTests {
    let rig = Rig.current

    private func result(_ id: String, _ operation: String, _ status: String) -> JSON {
        ["id": .string(id), "op": .string(operation), "status": .string(status)]
    }

    private func dueKeys(_ stream: String) throws -> String {
        try rig.redis.run("EVAL", "return redis.call('KEYS', 'sluice:*due:*' .. ARGV[1] .. ':g')[1] or ''", "0", stream)
            .split(whereSeparator: \.isNewline).dropFirst().first.map(String.init) ?? ""
    }

    @Test func `one call acknowledges, hands back and keeps alive, and answers in that order`() throws {
        let stream = try rig.newGroup("settle")
        let added = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        try rig.redis.run(["XCLAIM", stream, "g", "c", "0"] + added + ["IDLE", "50000", "RETRYCOUNT", "3", "JUSTID"])
        let reply = try rig.settle(
            stream, "c", #"{"extend":["\#(added[2])"],"nack":["\#(added[1])"],"ack":["\#(added[0])"]}"#, "stats")
        #expect(
            reply.expect(200).json == [
                "results": [result(added[0], "ack", "done"), result(added[1], "nack", "done"), result(added[2], "extend", "done")],
                "group": ["lag": rig.lag(0), "pending": 2],
            ])
        let pending = try rig.pending(stream)
        #expect(pending[added[0]] == nil)
        #expect(pending[added[1]]?.consumer == "unowned" && pending[added[1]]?.deliveries == 3)
        #expect(pending[added[2]]?.consumer == "c" && pending[added[2]]?.deliveries == 3)
        let old = try rig.client.get("/v1/streams/\(stream)/groups/g/pending/messages?min_idle_ms=40000").json["messages"].array
        #expect(old.map { $0["id"] } == [.string(added[1])], "the extended one is fresh, and anybody may claim the other")
    }

    @Test(arguments: ["ack", "nack", "extend"]) func `each message is judged by itself`(operation: String) throws {
        let stream = try rig.newGroup("judged")
        let added = try (1...4).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        let new = try rig.add(5, to: stream)
        let (mine, theirs, acked, deleted) = (added[0], added[1], added[2], added[3])
        try rig.redis.run("XCLAIM", stream, "g", "d", "0", theirs)
        try rig.redis.run("XACK", stream, "g", acked)
        try rig.redis.run("XDEL", stream, deleted)
        let reply = try rig.settle(stream, "c", #"{"\#(operation)":[\#((added + [new, "5-5"]).quotedList)]}"#)
        #expect(
            reply.expect(207).json["results"].array == [
                result(mine, operation, "done"), result(theirs, operation, "lease_lost"),
                result(acked, operation, "not_pending"), result(deleted, operation, operation == "ack" ? "done" : "deleted"),
                result(new, operation, "not_pending"), result("5-5", operation, "not_pending"),
            ])
        let pending = try rig.pending(stream)
        #expect(pending[theirs]?.consumer == "d" && pending[theirs]?.deliveries == 2)
        #expect(pending[mine]?.consumer == ["ack": nil, "nack": "unowned", "extend": "c"][operation]!)
        #expect(pending.count == (operation == "ack" ? 1 : 2), "what was trimmed has left the pending list")
    }

    @Test func `what is not to be done any more is done; only what an ack finds missing`() throws {
        let stream = try rig.newGroup("repeated")
        let added = try (1...2).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        #expect(try rig.settle(stream, "c", #"{"ack":["\#(added[0])"]}"#).json["results"][0]["status"] == "done")
        #expect(try rig.settle(stream, "c", #"{"ack":["\#(added[0])"]}"#).expect(200).json["results"][0]["status"] == "not_pending")
        try rig.redis.run("XDEL", stream, added[1])
        #expect(try rig.settle(stream, "c", #"{"extend":["\#(added[1])"]}"#).expect(200).json["results"][0]["status"] == "deleted")
        #expect(try rig.settle(stream, "c", #"{"nack":["\#(added[1])"]}"#).expect(207).json["results"][0]["status"] == "not_pending")
        #expect(try rig.holders(stream).isEmpty)
    }

    @Test func `a delivery count that Redis can't count any further is no hindrance`() throws {
        let stream = try rig.newGroup("counted")
        let added = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        for (id, count) in zip(added, ["9223372036854775807", "100000000000000000", "9007199254740993"]) {
            try rig.redis.run("XCLAIM", stream, "g", "c", "0", id, "RETRYCOUNT", count)  // One more than that, where it fits.
        }
        #expect(try rig.settle(stream, "c", #"{"nack":["\#(added[0])","\#(added[1])"]}"#).expect(200).json["results"][1]["status"] == "done")
        try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g/consumers/c").expect(200)
        #expect(try rig.holders(stream) == ["unowned": 3])
        let counts = try rig.pending(stream).mapValues(\.deliveries)
        #expect(counts[added[1]] == 9_007_199_254_740_991 && counts[added[2]] == 9_007_199_254_740_991)
    }

    @Test func `who has lost the lease to another touches nothing`() throws {
        let stream = try rig.newGroup("lost")
        let added = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        #expect(try rig.read(stream, "d", "claim_min_idle_ms=0").ids == added)
        let reply = try rig.settle(stream, "c", #"{"ack":["\#(added[0])"],"nack":["\#(added[1])"],"extend":["\#(added[2])"]}"#)
        #expect(reply.expect(409).code == "LEASE_LOST" && reply.json["retryable"] == false)
        #expect(
            reply.json["results"].array == [
                result(added[0], "ack", "lease_lost"), result(added[1], "nack", "lease_lost"), result(added[2], "extend", "lease_lost"),
            ])
        #expect(try rig.holders(stream) == ["d": 3])
        #expect(try rig.settle(stream, "nobody", #"{"ack":["\#(added[0])"]}"#).status == 409)
        #expect(try rig.settle(stream, "d", #"{"ack":[\#(added.quotedList)]}"#).status == 200)
    }

    @Test func `the delivery count goes on over nacks and reads`() throws {
        let stream = try rig.newGroup("count")
        let id = try rig.add(1, to: stream)
        for round in 1...4 {
            let message = try rig.read(stream, "c\(round)").json["messages"][0]
            #expect(message["id"].string == id && message["delivery_count"].integer == round)
            #expect(message["consumer"].string == (round == 1 ? nil : "unowned"))
            #expect(try rig.settle(stream, "c\(round)", #"{"nack":["\#(id)"]}"#).status == 200)
            #expect(try rig.pending(stream)[id]?.deliveries == round)
        }
        let new = try rig.add(2, to: stream)
        #expect(try rig.read(stream, "d", "unowned=false").ids == [new])
        #expect(try rig.read(stream, "d").ids == [id], "unowned ones come to who takes them")
    }

    @Test func `a delayed nack is taken by no read before its time, and then at once by a parked one`() throws {
        try inSomeRound { round in
            let stream = try rig.newGroup("delay-\(round)")
            let id = try rig.add(1, to: stream)
            #expect(try rig.read(stream, "c").ids == [id])
            let begin = ContinuousClock.now
            #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(id)","delay_ms":2500}]}"#).status == 200)
            let early = [try rig.read(stream, "d").ids, try rig.read(stream, "d", "claim_min_idle_ms=0").ids]
            guard ContinuousClock.now - begin < .milliseconds(2500) else { return false }  // It may be due.
            #expect(early == [[], []])
            let reply = try rig.read(stream, "d", "block_ms=0")
            #expect(ContinuousClock.now - begin >= .milliseconds(2500))
            #expect(reply.ids == [id] && reply.json["messages"][0]["delivery_count"] == 2)
            #expect(try rig.redis.run("EXISTS", dueKeys(stream)) == ":0\r\n")
            return true
        }
    }

    @Test func `a delay is ended by an explicit claim, and by an immediate nack`() throws {
        let stream = try rig.newGroup("explicit")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        #expect(try rig.settle(stream, "c", #"{"nack":[{"delay_ms":43200000,"id":"\#(id)"}]}"#).status == 200)
        #expect(try rig.read(stream, "d").ids == [])
        #expect(try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/d/claim", json: #"{"ids":["\#(id)"]}"#).ids == [id])
        #expect(try rig.settle(stream, "d", #"{"nack":[{"id":"\#(id)","delay_ms":0}]}"#).status == 200)
        #expect(try rig.read(stream, "e").ids == [id])
    }

    /// Before the timer was handed on only the slow tick noticed, a second later.
    @Test func `a reader that parks when the due time is known already is woken by it`() throws {
        var times: [Duration] = []
        for round in 0..<6 where times.allSatisfy({ $0 > .milliseconds(2450) }) {
            let stream = try rig.newGroup("known-\(round)")
            let id = try rig.add(1, to: stream)
            #expect(try rig.read(stream, "c").ids == [id])
            let begin = ContinuousClock.now
            #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(id)","delay_ms":2000}]}"#).status == 200)
            let early = try (0..<4).map { _ in try rig.read(stream, "d").ids }  // Both loops know.
            guard ContinuousClock.now - begin < .milliseconds(2000) else { continue }  // It may be due.
            #expect(early == [[], [], [], []])
            #expect(try rig.read(stream, "d", "block_ms=0").ids == [id])
            times.append(ContinuousClock.now - begin)
        }
        #expect(times.contains { $0 <= .milliseconds(2450) }, "\(times)")
    }

    @Test func `many that are due later don't hide those that are due`() throws {
        let stream = try rig.newGroup("hidden")
        try rig.fill(stream, 2300)
        let ids = try rig.read(stream, "c", "count=10000").ids
        #expect(ids.count == 2300)
        for start in stride(from: 0, to: 2200, by: 1000) {
            let nacks = ids[start..<min(start + 1000, 2200)].map { #"{"id":"\#($0)","delay_ms":3600000}"# }
            #expect(try rig.settle(stream, "c", #"{"nack":[\#(nacks.joined(separator: ","))]}"#).status == 200)
        }
        #expect(try rig.read(stream, "d").ids == [])
        #expect(try rig.settle(stream, "c", #"{"nack":[\#(Array(ids[2200..<2203]).quotedList)]}"#).status == 200)
        #expect(try rig.read(stream, "d").ids == Array(ids[2200..<2203]))
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(ids[2203])","delay_ms":150}]}"#).status == 200)
        #expect(try rig.read(stream, "d", "block_ms=0").ids == [ids[2203]])
        #expect(try rig.holders(stream) == ["unowned": 2200, "d": 4, "c": 96])
    }

    @Test func `a nearer due time doesn't shorten the life of the others`() throws {
        let stream = try rig.newGroup("expiry")
        let added = try (1...2).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(added[0])","delay_ms":43200000}]}"#).status == 200)
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(added[1])","delay_ms":1}]}"#).status == 200)
        let life = try rig.redis.run("PTTL", dueKeys(stream)).dropFirst().prefix { $0.isNumber }
        #expect((Int(life) ?? 0) > 43_200_000 + 86_000_000)
    }

    @Test func `what lost its due time is due, also for who knew of it`() throws {
        try inSomeRound { round in
            let stream = try rig.newGroup("evicted-\(round)")
            let added = try (1...2).map { try rig.add($0, to: stream) }
            #expect(try rig.read(stream, "c").ids == added)
            let begin = ContinuousClock.now
            #expect(
                try rig.settle(stream, "c", #"{"nack":[{"id":"\#(added[0])","delay_ms":2000},{"id":"\#(added[1])","delay_ms":43200000}]}"#)
                    .status == 200)
            let early = try (0..<4).map { _ in try rig.read(stream, "d").ids }  // Both loops know.
            guard ContinuousClock.now - begin < .milliseconds(2000) else { return false }  // The first may be due.
            #expect(early == [[], [], [], []])
            #expect(try rig.redis.run("DEL", dueKeys(stream)) == ":1\r\n")
            #expect(try rig.read(stream, "d", "block_ms=0").ids == added)
            return true
        }
    }

    @Test func `a Redis that is full takes a nack, with its delay`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("full")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        try rig.redis.run("CONFIG", "SET", "maxmemory", "1")
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(id)","delay_ms":43200000}]}"#).status == 200)
        try rig.redis.run("CONFIG", "SET", "maxmemory", "0")
        #expect(try rig.holders(stream) == ["unowned": 1])
        #expect(try rig.read(stream, "d").ids == [], "it is not due")
    }

    @Test func `a destroyed group leaves no due times`() throws {
        let stream = try rig.newGroup("destroyed")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        #expect(try rig.settle(stream, "c", #"{"nack":[{"id":"\#(id)","delay_ms":43200000}]}"#).status == 200)
        #expect(try !dueKeys(stream).isEmpty)
        #expect(try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g").status == 200)
        #expect(try dueKeys(stream).isEmpty)
    }

    @Test func `names that are not UTF-8 settle too`() throws {
        let stream = try rig.newGroup("binary")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "%FF%2F%25+").ids == [id])
        #expect(try rig.settle(stream, "%FF%2F%25", #"{"ack":["\#(id)"]}"#).status == 409)
        #expect(try rig.settle(stream, "%FF%2F%25+", #"{"ack":["\#(id)"]}"#).status == 200)
    }

    @Test func `a thousand messages are settled in one call`() throws {
        let stream = try rig.newGroup("thousand")
        try rig.fill(stream, 1001)
        let ids = try rig.read(stream, "c", "count=1001").ids
        #expect(try rig.settle(stream, "c", #"{"nack":[\#(ids.quotedList)]}"#).expect(413).code == "TOO_LARGE")
        let reply = try rig.settle(stream, "c", #"{"nack":[\#(Array(ids[..<500]).quotedList)],"ack":[\#(Array(ids[500..<1000]).quotedList)]}"#)
        let expected: [String] = Array(ids[500..<1000]) + Array(ids[..<500])
        let settled: [String] = reply.expect(200).json["results"].array.compactMap { $0["id"].string }
        #expect(settled == expected)
        #expect(try rig.holders(stream) == ["unowned": 500, "c": 1])
    }

    @Test func `a parked reader gets what is nacked, and who leaves unowned ones does not`() throws {
        let stream = try rig.newGroup("parked")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        let base = try rig.parked()
        let modest = rig.client.begin("POST", rig.readPath(stream, "modest", "block_ms=0&unowned=false"))
        try waitUntil("it is parked") { try rig.parked() > base }
        let taker = rig.client.begin("POST", rig.readPath(stream, "taker", "block_ms=0"))
        try waitUntil("both are parked") { try rig.parked() > base + 1 }
        #expect(try rig.settle(stream, "c", #"{"nack":["\#(id)"]}"#).status == 200)
        #expect(try taker.wait().ids == [id])
        #expect(!modest.isDone)
        let new = try rig.add(2, to: stream)
        #expect(try modest.wait().ids == [new])
    }
}

extension Rig {
    /// The lag where this Redis can tell it (7.0).
    func lag(_ lag: Int) -> JSON {
        // A server that does not say its version can't tell its lag either.
        let version = (try? client.get("/v1/info").json["redis"]["version"].string) ?? ""
        return version.hasPrefix("6.") ? .null : .integer(lag)
    }
}
