// Redriving dead letters (API.md §6): back for their group alone, or anew for all; once, whoever repeats it.

import Support
import Testing

@Suite(.gateway(), .serialized) struct RedriveTests {
    let rig = Rig.current

    /// Buries `ids` of the stream, by its recovery policy; the dead letters' ids, in that order.
    private func bury(_ ids: [String], of stream: String, trimmed: Bool = false) throws -> [String] {
        for id in ids { try rig.leave(id, of: stream, deliveries: 8) }
        if trimmed { try rig.redis.run(["XDEL", stream] + ids) }
        try rig.putPolicy(stream, #"{"max_idle_ms":20000}"#)
        try waitUntil("they are buried") { try rig.deadLetters(stream).count == ids.count }
        let messages = try rig.client.get("/v1/streams/\(stream):dlq/messages").json["messages"].array
        return ids.map { id in messages.first { $0["fields"]["original_id"].string == id }?["id"].string ?? "" }
    }

    private func redrive(_ stream: String, _ ids: [String]) throws -> Reply {
        try rig.client.post("/v1/streams/\(stream):dlq/redrive", json: #"{"ids":[\#(ids.map { "\"\($0)\"" }.joined(separator: ","))]}"#)
    }

    @Test func `a dead letter goes back to its group alone, with its id, and wakes who waits`() throws {
        let stream = try rig.newGroup("pending")
        try rig.client.put("/v1/streams/\(stream)/groups/other?id=earliest").expect(201)
        let ids = try (1...2).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == ids)
        #expect(try rig.client.post("/v1/streams/\(stream)/groups/other/consumers/c/read?noack").ids == ids)
        let dead = try bury(ids, of: stream)
        #expect(try rig.pendingCount(stream) == 0)
        let reader = try rig.park(stream, "waits", "block_ms=0&count=1")
        let reply = try redrive(stream, [dead[0]]).expect(200)
        #expect(reply.json == ["redriven": 1, "results": [["id": .string(dead[0]), "mode": "pending"]]])
        let back = try reader.wait().json["messages"][0]
        #expect(back["id"].string == ids[0] && back["fields"] == ["n": "1"], "\(back)")
        #expect(back["delivery_count"] == 1 && back["consumer"] == "unowned", "the count begins anew: \(back)")
        #expect(try rig.client.post("/v1/streams/\(stream)/groups/other/consumers/c/read").ids == [])
        #expect(try rig.client.get("/v1/streams/\(stream):dlq/messages").ids == [dead[1]])
        // Once more, and of one that is in work again: nothing is taken from its holder.
        #expect(try redrive(stream, [dead[0]]).json["results"][0]["mode"] == "not_found")
        try rig.leave(ids[1], of: stream, with: "holder", deliveries: 3)
        #expect(try redrive(stream, [dead[1]]).json["results"][0]["mode"] == "pending")
        #expect(try rig.pending(stream)[ids[1]]?.consumer == "holder" && rig.pending(stream)[ids[1]]?.deliveries == 3)
    }

    @Test func `a dead letter whose entry is gone is added anew, for every group, as it was`() throws {
        let stream = try rig.newGroup("added")
        let bodies = [
            #"{"fields":{"a":"1","b":"x\"y"}}"#, #"{"fields":[["t","a"],["t","b"]]}"#,
            #"{"fields":{"YQ==":"//4="},"encoding":"base64"}"#,
        ]
        let ids = try bodies.map { try rig.client.post("/v1/streams/\(stream)/messages", json: $0).json["id"].string ?? "" }
        let before = try rig.client.get("/v1/streams/\(stream)/messages").json["messages"].array
        #expect(try rig.read(stream, "c").ids == ids)
        let dead = try bury(ids, of: stream)
        try rig.client.put("/v1/streams/\(stream)/groups/other?id=latest").expect(201)
        try rig.redis.run(["XDEL", stream] + ids)
        let reply = try redrive(stream, dead).expect(200)
        #expect(reply.json["redriven"] == 3)
        let news = reply.json["results"].array.map { $0["new_id"].string ?? "" }
        #expect(reply.json["results"].array.allSatisfy { $0["mode"] == "added" } && !news.contains("") && Set(news).isDisjoint(with: ids))
        for group in ["g", "other"] {
            let read = try rig.client.post("/v1/streams/\(stream)/groups/\(group)/consumers/d/read").json["messages"].array
            #expect(read.compactMap { $0["id"].string } == news)
            for (old, new) in zip(before, read) { #expect(old["fields"] == new["fields"] && old["encoding"] == new["encoding"]) }
        }
        #expect(try rig.deadLetters(stream).isEmpty)
    }

    @Test func `where the group or the stream is gone it is added anew too`() throws {
        let stream = try rig.newGroup("gone")
        let ids = try (1...2).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == ids)
        let dead = try bury(ids, of: stream)
        try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g").expect(200)
        #expect(try redrive(stream, [dead[0]]).json["results"][0]["mode"] == "added")
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").numbers == ["1", "2", "1"])
        try rig.redis.run("DEL", stream)
        #expect(try redrive(stream, [dead[1]]).json["results"][0]["mode"] == "added")
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").numbers == ["2"])
        #expect(try rig.deadLetters(stream).isEmpty)
    }

    @Test func `what can't be redriven stays, and says why`() throws {
        let stream = try rig.newGroup("skipped")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        let dead = try bury([id], of: stream, trimmed: true)
        let foreign = try rig.redis.run("XADD", "\(stream):dlq", "*", "n", "1").split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
        let bad = try rig.redis.run(
            "XADD", "\(stream):dlq", "*", "original_stream", stream, "original_id", "1-1", "group", "g", "original_data", "{]"
        ).split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
        let ours = try rig.redis.run(
            "XADD", "\(stream):dlq", "*", "original_stream", "sluice:policies", "original_id", "1-1", "group", "g",
            "original_data", #"{"fields":{"a":"1"}}"#
        ).split(whereSeparator: \.isNewline).last.map(String.init) ?? ""
        let reply = try redrive(stream, [dead[0], foreign, bad, ours, "1-1"]).expect(207)
        let results = reply.json["results"]
        #expect(reply.json["redriven"] == 0)
        #expect(results[0] == ["id": .string(dead[0]), "mode": "skipped", "reason": "its data is null"])
        #expect(results[1] == ["id": .string(foreign), "mode": "skipped", "reason": "it is no dead letter"])
        #expect(results[2]["error"]["code"] == "INVALID_JSON", "\(results[2])")
        #expect(results[3]["mode"] == "skipped")
        #expect(results[4] == ["id": "1-1", "mode": "not_found"])
        #expect(try rig.deadLetters(stream).count == 4)
        let all = try rig.client.post("/v1/streams/\(stream):dlq/redrive?all").expect(207)
        #expect(all.json["redriven"] == 0 && all.json["results"].array.count == 4)
    }

    @Test func `all takes as many as the limit says, and passes over those that stay`() throws {
        let stream = try rig.newGroup("all")
        let ids = try (1...7).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == ids)
        _ = try bury(ids, of: stream)
        let first = try rig.client.post("/v1/streams/\(stream):dlq/redrive?all=true&limit=3").expect(200)
        #expect(first.json["redriven"] == 3 && first.json["results"].array.count == 3)
        #expect(try rig.deadLetters(stream).count == 4)
        let rest = try rig.client.post("/v1/streams/\(stream):dlq/redrive?all").expect(200)
        #expect(rest.json["redriven"] == 4)
        #expect(try rig.client.post("/v1/streams/\(stream):dlq/redrive?all").json == ["redriven": 0, "results": []])
        #expect(try Set(rig.read(stream, "d").ids) == Set(ids))
        #expect(try rig.metric("sluice_redriven_total") >= 7)
    }

    @Test func `a message of more fields than a script can be given is redriven all the same`() throws {
        let stream = try rig.newGroup("wide")
        let words = ["XADD", stream, "1-1"] + (0..<4000).flatMap { ["f\($0)", "\($0)"] }
        try rig.redis.run(words)
        try rig.redis.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", stream, ">")
        let dead = try bury(["1-1"], of: stream)
        try rig.redis.run("XDEL", stream, "1-1")
        #expect(try redrive(stream, dead).expect(200).json["results"][0]["mode"] == "added")
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").json["messages"][0]["fields"].members.count == 4000)
        #expect(try rig.deadLetters(stream).isEmpty)
    }
}

@Suite(.blocking) struct RedriveFaultTests {
    @Test func `a token reaches no stream by a dead letter or a policy that it may not use`() throws {
        let rig = try Rig(configuration: """
            tokens:
              - {name: admin, sha256: 8c6976e5b5410415bde908bd4dee15dfb167a9c873fc4bb8a81f6f2ab448a918, scopes: [publish, consume, admin]}
              - {name: shop, sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b, scopes: [publish, consume, admin], streams: ["shop:*"]}
            """, token: "admin")
        let shop = TestClient(port: rig.port, token: "secret")
        try shop.put("/v1/streams/shop:a/groups/g?mkstream").expect(201)
        let refused = try shop.call("PUT", "/v1/streams/shop:a/groups/g/recovery", json: #"{"max_idle_ms":1,"dead_letter":"bank"}"#)
        #expect(refused.code == "FORBIDDEN", "\(refused.text)")
        try shop.call("PUT", "/v1/streams/shop:a/groups/g/recovery", json: #"{"max_idle_ms":1}"#).expect(201)
        try shop.post(
            "/v1/streams/shop:dlq/messages",
            json: #"{"fields":{"original_stream":"bank","original_id":"1-1","group":"g","original_data":"{\"fields\":{\"a\":1}}"}}"#
        ).expect(201)
        let reply = try shop.post("/v1/streams/shop:dlq/redrive?all").expect(207)
        #expect(reply.json["results"][0]["error"]["code"] == "FORBIDDEN")
        #expect(try rig.redis.run("EXISTS", "bank") == ":0\r\n")
        #expect(try rig.client.post("/v1/streams/shop:dlq/redrive?all").expect(200).json["redriven"] == 1)
    }

    @Test func `Redis killed in the middle of a redrive: nothing is lost, nothing doubled, and what was told is true`() throws {
        let rig = try Rig(["--redis-timeout-ms", "2500"], redisOptions: RedisServerProcess.lasting)
        let stream = try rig.newGroup("killed")
        let count = 2000
        try rig.redis.run("EVAL", "for i = 1, \(count) do redis.call('XADD', KEYS[1], i, 'n', i) end", "1", stream)
        try rig.redis.run("XREADGROUP", "GROUP", "g", "c", "COUNT", "\(count)", "STREAMS", stream, ">")
        // Every other one's entry is gone: it is added anew.
        try rig.redis.run("EVAL", """
            for i = 1, \(count) do
              redis.call('XADD', KEYS[2], i, 'original_stream', KEYS[1], 'original_id', i .. '-0', 'group', 'g',
                'original_data', '{"fields":{"n":"' .. i .. '"}}')
              redis.call('XACK', KEYS[1], 'g', i)
              if i % 2 == 0 then redis.call('XDEL', KEYS[1], i) end
            end
            """, "2", stream, "\(stream):dlq")
        var random = SeededRandom()
        var told: Set<String> = []
        var (rounds, hits) = (0, 0)
        while try rig.client.get("/v1/streams/\(stream):dlq/messages?count=1").ids.isEmpty == false {
            rounds += 1
            try #require(rounds < 60, "\(random.note)")
            let before = try rig.length("\(stream):dlq")
            let call = rig.client.begin("POST", "/v1/streams/\(stream):dlq/redrive?all&limit=600")
            let moment = before - Int.random(in: 1...300, using: &random)
            try waitUntil("it is under way") {
                try call.isDone || rig.length("\(stream):dlq") <= moment
            }
            rig.redis.end()
            let reply = try call.wait()
            if reply.status != 200 { hits += 1 }
            for result in reply.json["results"].array where ["pending", "added"].contains(result["mode"].string ?? "") {
                #expect(told.insert(result["id"].string ?? "").inserted, "redriven twice \(random.note)")
            }
            try rig.redis.start()
            try rig.waitUntilConnected()
            let left = try rig.client.get("/v1/streams/\(stream):dlq/messages?count=10000").ids
            #expect(told.isDisjoint(with: left), "told to be back, and still here \(random.note)")
        }
        print("Redis died in the middle of \(hits) of \(rounds) calls")
        #expect(hits > 1)
        let numbers = try rig.client.get("/v1/streams/\(stream)/messages?count=10000").numbers.compactMap { Int($0) }
        #expect(numbers.sorted() == Array(1...count), "\(random.note)")
        #expect(try rig.pending(stream).values.allSatisfy { $0.consumer == "unowned" && $0.deliveries == 0 })
        #expect(try rig.pendingCount(stream) == count / 2, "\(random.note)")
    }

    @Test func `a redriven message has the webhook-id that it had`() throws {
        let rig = try SinkRig { $0.number == 1 ? .status(400) : .status(200) }
        let gateway = try rig.newGateway()
        let id = try rig.add()
        try rig.wait("it is buried") { try rig.deadLetters(gateway).count == 1 }
        #expect(try TestClient(port: gateway.port).post("/v1/streams/\(SinkRig.dead)/redrive?all").json["redriven"] == 1)
        try rig.wait("it is delivered") { rig.receiver.confirmed.contains(id) }
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries(of: id)
        #expect(deliveries.map(\.attempt) == [1, 1] && Set(deliveries.map(\.id)).count == 1)
        #expect(try rig.deadLetters(gateway).isEmpty)
    }
}
