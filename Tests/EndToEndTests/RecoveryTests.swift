// Recovery policies (API.md §6): put and shown, obeyed by every read, carried out by any gateway.

import Support
import Testing

@Suite(.gateway("--lease-ms", "45000"), .serialized) struct RecoveryTests {
    let rig = Rig.current

    // MARK: The policy

    @Test func `a policy is put, shown, replaced and deleted`() throws {
        let stream = try rig.newGroup("policy")
        let path = rig.policyPath(stream)
        let defaults: JSON = [
            "max_idle_ms": 30000, "max_deliveries": 8, "dead_letter": .string("\(stream):dlq"), "reap_consumers_idle_ms": nil,
        ]
        #expect(try rig.putPolicy(stream, #"{"max_idle_ms":30000}"#).expect(201).json == defaults)
        let shown = try rig.client.get(path).expect(200).json
        #expect(shown.members == defaults.members.union(["counters"]) && shown["max_idle_ms"] == 30000)
        #expect(shown["counters"].members == ["recovered", "dead_lettered", "reaped", "last_run_ms"])
        let other = #"{"max_idle_ms":5000,"max_deliveries":2,"dead_letter":"graves","reap_consumers_idle_ms":60000}"#
        #expect(
            try rig.putPolicy(stream, other).expect(200).json
                == ["max_idle_ms": 5000, "max_deliveries": 2, "dead_letter": "graves", "reap_consumers_idle_ms": 60000])
        try waitUntil("it was carried out") { try rig.client.get(path).json["counters"]["last_run_ms"].integer ?? 0 > 1_700_000_000_000 }
        #expect(try rig.putPolicy(stream, #"{"max_idle_ms":30000,"reap_consumers_idle_ms":null}"#).expect(200).json == defaults)
        #expect(try rig.client.call("DELETE", path).expect(200).json == ["deleted": true])
        #expect(try rig.client.get(path).code == "POLICY_NOT_FOUND")
        #expect(try rig.client.call("DELETE", path).code == "POLICY_NOT_FOUND")
        #expect(try rig.redis.run("KEYS", "sluice:*recovery*\(stream)*") == "*0\r\n")
        #expect(try rig.redis.run("ZRANGE", "sluice:policies", "0", "-1").contains("\(stream)g") == false)
    }

    @Test func `a policy that would bury in its own stream, or in no stream, is refused`() throws {
        let stream = try rig.newGroup("own")
        let own = try rig.putPolicy(stream, #"{"max_idle_ms":1,"dead_letter":"\#(stream)"}"#)
        #expect(own.status == 400 && own.json["detail"].string?.contains("the stream that they come from") == true, "\(own.text)")
        try rig.redis.run("SET", "\(stream)-text", "x")
        #expect(try rig.putPolicy(stream, #"{"max_idle_ms":1,"dead_letter":"\#(stream)-text"}"#).code == "NOT_A_STREAM")
        #expect(try rig.client.get(rig.policyPath(stream)).code == "POLICY_NOT_FOUND")
    }

    @Test func `the policy is the group's lease`() throws {
        let stream = try rig.newGroup("lease")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        let group = "/v1/streams/\(stream)/groups/g"
        #expect(try rig.client.get(group).json["lease_ms"] == 45000)
        try rig.putPolicy(stream, #"{"max_idle_ms":150}"#).expect(201)
        try waitUntil("it is known") { try rig.client.get(group).json["lease_ms"] == 150 }
        try waitUntil("autoclaim takes it") { try rig.client.post("\(group)/consumers/d/autoclaim").ids == [id] }
        try waitUntil("claim takes it") { try rig.client.post("\(group)/consumers/e/claim", json: #"{"ids":["\#(id)"]}"#).ids == [id] }
        try waitUntil("a bare claim_min_idle_ms takes it") { try rig.read(stream, "f", "claim_min_idle_ms").ids == [id] }
    }

    @Test func `a group takes its policy with it`() throws {
        let stream = try rig.newGroup("destroyed")
        try rig.putPolicy(stream, #"{"max_idle_ms":100}"#).expect(201)
        let group = "/v1/streams/\(stream)/groups/g"
        try rig.client.call("DELETE", group).expect(200)
        try rig.client.put(group).expect(201)
        #expect(try rig.client.get(rig.policyPath(stream)).code == "POLICY_NOT_FOUND")
        try waitUntil("it is forgotten") { try rig.client.get(group).json["lease_ms"] == 45000 }
        // And so does one that somebody destroys behind our back.
        try rig.putPolicy(stream, #"{"max_idle_ms":100}"#).expect(201)
        try rig.redis.run("XGROUP", "DESTROY", stream, "g")
        try waitUntil("it is noticed") { try rig.redis.run("KEYS", "sluice:*recovery*\(stream):g") == "*0\r\n" }
        // And one whose stream has become something else.
        try rig.client.put(group).expect(201)
        try rig.putPolicy(stream, #"{"max_idle_ms":100}"#).expect(201)
        try rig.redis.run("SET", stream, "x")
        try waitUntil("that is noticed") { try rig.redis.run("KEYS", "sluice:*recovery*\(stream):g") == "*0\r\n" }
    }

    @Test func `a stream takes the policies of its groups with it`() throws {
        let stream = try rig.newGroup("deleted")
        try rig.putPolicy(stream, #"{"max_idle_ms":60000}"#).expect(201)
        let group = "/v1/streams/\(stream)/groups/g"
        try waitUntil("it is known") { try rig.client.get(group).json["lease_ms"] == 60000 }
        try rig.client.call("DELETE", "/v1/streams/\(stream)").expect(200)
        try rig.client.put("\(group)?mkstream").expect(201)
        #expect(try rig.client.get(rig.policyPath(stream)).code == "POLICY_NOT_FOUND")
        try waitUntil("it is forgotten") { try rig.client.get(group).json["lease_ms"] == 45000 }
    }

    // MARK: Reads

    @Test func `a read returns what was left idle, and what was delivered too often becomes a dead letter`() throws {
        let stream = try rig.newGroup("read")
        let ids = try (1...4).map { try rig.add($0, to: stream) }
        try rig.read(stream, "busy", "count=4").expect(200)
        try rig.leave(ids[0], of: stream, deliveries: 2)
        try rig.leave(ids[1], of: stream, deliveries: 3)
        try rig.leave(ids[2], of: stream, with: "unowned", deliveries: 5)
        try rig.putPolicy(stream, #"{"max_idle_ms":20000,"max_deliveries":3}"#).expect(201)
        let fifth = try rig.add(5, to: stream)
        var read: [JSON] = []
        try waitUntil("both are read") {
            read += try rig.read(stream, "d").json["messages"].array
            return read.count >= 2
        }
        #expect(read.compactMap { $0["id"].string }.sorted() == [ids[0], fifth], "the busy one's and the exhausted are not for reads")
        let recovered = try #require(read.first { $0["id"].string == ids[0] })
        #expect(recovered["delivery_count"] == 3 && recovered["consumer"] == "crashed" && recovered["idle_ms"].integer ?? 0 >= 3_600_000)
        try waitUntil("both are buried") { try rig.deadLetters(stream).count == 2 }
        let letters = try rig.deadLetters(stream)
        let letter = try #require(letters.first { $0["original_id"].string == ids[1] })
        #expect(
            letter.members == [
                "original_stream", "original_id", "original_data", "group", "last_consumer", "attempts", "reason", "last_status",
                "last_error", "failed_at_ms",
            ])
        #expect(letter["original_stream"].string == stream && letter["group"] == "g" && letter["last_consumer"] == "crashed")
        #expect(letter["original_data"] == #"{"fields":{"n":"2"}}"# && letter["attempts"] == "3")
        #expect(letter["reason"] == "max_retries_exceeded" && letter["last_status"] == "" && letter["last_error"] != "")
        #expect(letters.contains { $0["original_id"].string == ids[2] && $0["attempts"] == "5" })
        #expect(try Set(rig.pending(stream).keys) == [ids[0], ids[3], fifth])
        let counters = try rig.client.get(rig.policyPath(stream)).json["counters"]
        #expect(counters["recovered"] == 1 && counters["dead_lettered"] == 2, "\(counters)")
        #expect(try rig.metric("sluice_recovery_dead_letters_total") >= 2 && rig.metric("sluice_recovery_recovered_total") >= 1)
    }

    @Test func `the last delivery is given its time, and noack and unowned=false take nothing by policy`() throws {
        let stream = try rig.newGroup("modes")
        let id = try rig.add(1, to: stream)
        let nobodys = try rig.add(2, to: stream)
        #expect(try rig.read(stream, "c").ids == [id, nobodys])
        try rig.leave(id, of: stream, deliveries: 1)
        try rig.leave(nobodys, of: stream, with: "unowned", deliveries: 1)
        try rig.putPolicy(stream, #"{"max_idle_ms":10000,"max_deliveries":2}"#).expect(201)
        try waitUntil("it is known") { try rig.client.get("/v1/streams/\(stream)/groups/g").json["lease_ms"] == 10000 }
        #expect(try rig.read(stream, "c", "id=pending").ids == [])
        #expect(try rig.read(stream, "c", "noack&unowned=false").ids == [])
        #expect(try rig.read(stream, "c", "unowned=false").ids == [id])
        #expect(try rig.read(stream, "c").ids == [nobodys])
        #expect(try rig.read(stream, "d", "claim_min_idle_ms=0").ids == [], "delivered twice, and not idle yet")
        #expect(try rig.pending(stream)[id]?.consumer == "c")
        #expect(try rig.deadLetters(stream).isEmpty)
    }

    @Test func `a read that comes right behind the policy, on any gateway, gives nothing that was delivered too often`() throws {
        let stream = try rig.newGroup("behind")
        let other = try rig.newGateway()
        let path = rig.readPath(stream, "c")
        for number in 1...20 {
            let client = number.isMultiple(of: 2) ? rig.client : TestClient(port: other.port)
            let id = try rig.add(number, to: stream)
            #expect(try rig.read(stream, "a").ids == [id])
            try rig.leave(id, of: stream, with: "unowned", deliveries: 3)
            try rig.putPolicy(stream, #"{"max_idle_ms":60000,"max_deliveries":3}"#).expect(201)
            #expect(try client.post(path).expect(200).ids == [], "number \(number)")
            try waitUntil("it is buried") { try rig.deadIDs(stream).count == number }
            try rig.client.call("DELETE", rig.policyPath(stream)).expect(200)
        }
    }

    @Test func `a waiting read ends when a message becomes idle enough, whoever came first`() throws {
        let stream = try rig.newGroup("waits")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "crashes").ids == [id])
        let early = try rig.park(stream, "early")
        try rig.putPolicy(stream, #"{"max_idle_ms":1500}"#).expect(201)
        let reply = try early.wait()
        #expect(reply.ids == [id] && reply.json["messages"][0]["consumer"] == "crashes")
        // On a machine that stands still it may be idle enough before this one is parked.
        let late = rig.client.begin("POST", rig.readPath(stream, "late", "block_ms=0"))
        #expect(try late.wait().json["messages"][0]["consumer"] == "early")
    }

    @Test func `a policy that is put on one gateway is obeyed by another, and its deletion too`() throws {
        let stream = try rig.newGroup("replicas")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "crashes").ids == [id])
        let other = try rig.newGateway()
        let there = TestClient(port: other.port)
        let reader = there.begin("POST", rig.readPath(stream, "c", "block_ms=0"))
        try waitUntil("it is parked") { try there.get("/v1/info").json["waiters"]["parked"] == 1 }
        try rig.putPolicy(stream, #"{"max_idle_ms":300}"#).expect(201)
        #expect(try reader.wait().ids == [id])
        try rig.client.call("DELETE", rig.policyPath(stream)).expect(200)
        try waitUntil("it is forgotten there") { try there.get("/v1/streams/\(stream)/groups/g").json["lease_ms"] == 30000 }
        // One that starts later learns of what there is.
        try rig.putPolicy(stream, #"{"max_idle_ms":700}"#).expect(201)
        let late = try rig.newGateway()
        try waitUntil("it is known") { try TestClient(port: late.port).get("/v1/streams/\(stream)/groups/g").json["lease_ms"] == 700 }
    }

    @Test func `an idle message is found behind more than a thousand that are not`() throws {
        let stream = try rig.newGroup("behind")
        try rig.redis.run("EVAL", "for i = 1, 2500 do redis.call('XADD', KEYS[1], i, 'n', i) end", "1", stream)
        try rig.redis.run("XREADGROUP", "GROUP", "g", "busy", "COUNT", "2500", "STREAMS", stream, ">")
        for (id, deliveries) in [("2300-0", 1), ("2400-0", 1), ("2450-0", 8)] { try rig.leave(id, of: stream, deliveries: deliveries) }
        try rig.putPolicy(stream, #"{"max_idle_ms":60000}"#).expect(201)
        var read: [String] = []
        try waitUntil("both are read") {
            read += try rig.read(stream, "d").ids
            return read.count >= 2
        }
        #expect(read == ["2300-0", "2400-0"])
        try waitUntil("the third is buried") { try rig.deadIDs(stream) == ["2450-0"] }
        #expect(try rig.pendingCount(stream) == 2499)
    }

    // MARK: The worker

    @Test func `what was trimmed while it was pending is a dead letter without data`() throws {
        let stream = try rig.newGroup("trimmed")
        let ids = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == ids)
        for id in ids { try rig.leave(id, of: stream, with: id == ids[1] ? "unowned" : "crashed", deliveries: 1) }
        try rig.redis.run("XDEL", stream, ids[0], ids[1])
        try rig.putPolicy(stream, #"{"max_idle_ms":5000}"#).expect(201)
        try waitUntil("they are buried") { try rig.deadLetters(stream).count == 2 }
        #expect(try rig.deadLetters(stream).allSatisfy { $0["reason"] == "trimmed" && $0["original_data"] == "null" })
        #expect(try rig.deadIDs(stream) == [ids[0], ids[1]])
        try waitUntil("the third is read") { try rig.read(stream, "d").ids == [ids[2]] }
        #expect(try Set(rig.pending(stream).keys) == [ids[2]])
    }

    @Test func `a message that is not UTF-8, or repeats a field, is buried whole`() throws {
        let stream = try rig.newGroup("bytes")
        let binary = try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"YQ==":"//4="},"encoding":"base64"}"#)
        let pairs = try rig.client.post("/v1/streams/\(stream)/messages", json: #"{"fields":[["t","a"],["t","b"]]}"#)
        for reply in [binary, pairs] {
            try rig.redis.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, ">")
            try rig.leave(reply.json["id"].string ?? "", of: stream, deliveries: 8)
        }
        try rig.putPolicy(stream, #"{"max_idle_ms":5000}"#).expect(201)
        try waitUntil("they are buried") { try rig.deadLetters(stream).count == 2 }
        let data = try rig.deadLetters(stream).compactMap { $0["original_data"].string }
        #expect(data.sorted() == [#"{"fields":[["t","a"],["t","b"]]}"#, #"{"fields":{"YQ==":"//4="},"encoding":"base64"}"#])
    }

    @Test func `consumers that are idle and hold nothing go, unowned never`() throws {
        let stream = try rig.newGroup("reap")
        let ids = try (1...2).map { try rig.add($0, to: stream) }
        try rig.redis.run("XREADGROUP", "GROUP", "g", "holds", "COUNT", "1", "STREAMS", stream, ">")
        for name in ["idle-1", "idle-2", "unowned"] { try rig.redis.run("XGROUP", "CREATECONSUMER", stream, "g", name) }
        try rig.putPolicy(stream, #"{"max_idle_ms":600000,"reap_consumers_idle_ms":200}"#).expect(201)
        func names() throws -> Set<String> {
            Set(try rig.client.get("/v1/streams/\(stream)/groups/g/consumers").json["consumers"].array.compactMap { $0["name"].string })
        }
        try waitUntil("they are gone") { try names() == ["holds", "unowned"] }
        #expect(try Set(rig.pending(stream).keys) == [ids[0]])
        #expect(try rig.client.get(rig.policyPath(stream)).json["counters"]["reaped"] == 2)
    }

    @Test func `a dead-letter stream that takes nothing keeps the message pending, and is told`() throws {
        let stream = try rig.newGroup("refused")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        try rig.leave(id, of: stream, deliveries: 8)
        try rig.redis.run("SET", "\(stream):dlq", "not a stream")
        // Put past the gateway's own check.
        try rig.redis.run("DEL", "\(stream):dlq")
        let errors = try rig.metric("sluice_recovery_errors_total")
        try rig.redis.transaction([["SET", "\(stream):graves", "x"]])
        try rig.putPolicy(stream, #"{"max_idle_ms":800000}"#).expect(201)
        let key = try #require(try rig.redis.run("KEYS", "sluice:*recovery*\(stream):g").split(whereSeparator: \.isNewline).last)
        try rig.redis.run("HSET", String(key), "dead_letter", "\(stream):graves", "max_idle_ms", "400")
        try rig.redis.run("HDEL", String(key), "run_at")
        try rig.redis.run("PUBLISH", "sluice:nudge", "p\(stream.utf8.count):\(stream)g")
        try waitUntil("it is counted") { try rig.metric("sluice_recovery_errors_total") > errors }
        #expect(try rig.pending(stream)[id]?.deliveries == 8)
        try rig.redis.run("DEL", "\(stream):graves")
        try waitUntil("it is buried after all") { try rig.pendingCount(stream) == 0 }
        #expect(try rig.client.get("/v1/streams/\(stream):graves/messages").ids.count == 1)
    }
}
