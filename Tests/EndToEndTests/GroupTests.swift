// Groups, their consumers, and what they hold: the calls of API.md §3.

import Support
import Testing

@Suite(.gateway("--lease-ms", "40000")) struct GroupTests {
    let rig = Rig.current

    @Test func `a group is created once, shown, moved and destroyed`() throws {
        let stream = rig.newStream("group")
        let path = "/v1/streams/\(stream)/groups/g"
        #expect(try rig.client.put("\(path)?mkstream").expect(201).json == ["created": true, "last_delivered_id": "0-0"])
        #expect(try rig.client.put("\(path)?id=latest").expect(200).json == ["created": false, "last_delivered_id": "0-0"])
        let id = try rig.add(1, to: stream)
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/late?id=latest").json["last_delivered_id"].string == id)
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/dollar?id=%24\(rig.isBeforeVersion7 ? "" : "&entries_read=1")").json["last_delivered_id"].string == id)
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/minus?id=%2D").json["last_delivered_id"] == "0-0")
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/at?id=5", headers: ["If-None-Match": "*"]).json["last_delivered_id"] == "5-0")
        #expect(try rig.client.get("/v1/streams/\(stream)/groups").json["groups"].array.map { $0["name"] } == ["at", "dollar", "g", "late", "minus"])
        #expect(
            try rig.client.get(path).json == [
                "name": "g", "consumers": 0, "pending": 0, "last_delivered_id": "0-0", "entries_read": nil, "lag": rig.since7(1),
                "lease_ms": 40000,
            ])
        #expect(try rig.client.get("/v1/streams/\(stream)/groups/g").json.members.contains("entries_read"), "null, never absent")
        #expect(try rig.client.call("PATCH", path, json: rig.isBeforeVersion7 ? #"{"id":"latest"}"# : #"{"id":"latest","entries_read":1}"#).json == ["updated": true])
        #expect(try rig.client.get(path).json["lag"] == rig.since7(0))
        #expect(try rig.read(stream, "c").ids == [])
        #expect(try rig.client.call("PATCH", path, json: #"{"id":"earliest"}"#).json == ["updated": true])
        #expect(try rig.read(stream, "c").ids == [id])
        #expect(try rig.client.call("DELETE", path).json == ["destroyed": true])
        #expect(try rig.client.call("DELETE", path).status == 404)
    }

    @Test func `what Redis can't be told is refused, and changes nothing`() throws {
        let stream = try rig.newGroup("old")
        let path = "/v1/streams/\(stream)/groups/g"
        for reply in [
            try rig.client.put("/v1/streams/\(stream)/groups/h?entries_read=1"),
            try rig.client.call("PATCH", path, json: #"{"id":"5-5","entries_read":1}"#),
        ] where rig.isBeforeVersion7 {
            #expect(reply.status == 501 && reply.code == "NOT_SUPPORTED_BY_REDIS", "\(reply.text)")
            #expect(try rig.client.get("/v1/streams/\(stream)/groups").json["groups"].array.map { $0["name"] } == ["g"])
            #expect(try rig.client.get(path).json["last_delivered_id"] == "0-0")
        }
    }

    @Test func `a read creates its consumer, also when it finds nothing`() throws {
        let stream = try rig.newGroup("consumers")
        #expect(try rig.read(stream, "c").ids == [])
        #expect(try rig.read(stream, "d", "block_ms=1").ids == [])
        let rows = try rig.client.get("/v1/streams/\(stream)/groups/g/consumers").json["consumers"].array
        #expect(rows.map { $0["name"] } == ["c", "d"])
        #expect(rows.allSatisfy { $0.members == ["name", "pending", "idle_ms", "inactive_ms"] && $0["pending"] == 0 })
    }

    @Test func `the pending list is told as a summary and page by page`() throws {
        let stream = try rig.newGroup("pending")
        #expect(
            try rig.client.get("/v1/streams/\(stream)/groups/g/pending").json
                == ["pending": 0, "min_id": nil, "max_id": nil, "consumers": []])
        let added = try (1...5).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=3").ids.count == 3)
        #expect(try rig.read(stream, "d").ids.count == 2)
        #expect(
            try rig.client.get("/v1/streams/\(stream)/groups/g/pending").json == [
                "pending": 5, "min_id": .string(added[0]), "max_id": .string(added[4]),
                "consumers": [["name": "c", "pending": 3], ["name": "d", "pending": 2]],
            ])
        let path = "/v1/streams/\(stream)/groups/g/pending/messages"
        let page = try rig.client.get("\(path)?count=2").json
        #expect(page["messages"].array.map { $0["id"] } == [.string(added[0]), .string(added[1])])
        #expect(page["messages"][0].members == ["id", "consumer", "idle_ms", "delivery_count"])
        #expect(page["next"].string == "(\(added[1])")
        let rest = try rig.client.get("\(path)?start=(\(added[1])&count=3").json
        #expect(rest["messages"].array.count == 3 && rest["next"] == nil)
        #expect(try rig.client.get("\(path)?consumer=d").json["messages"].array.count == 2)
        #expect(try rig.client.get("\(path)?consumer=nobody").json["messages"] == [])
        #expect(try rig.client.get("\(path)?min_idle_ms=600000").json["messages"] == [])
        #expect(try rig.client.get("\(path)?end=\(added[0])").json["messages"].array.count == 1)
    }

    @Test(arguments: ["", "="]) func `a flag is true by its name alone, with a bare equals sign behind it or without`(sign: String) throws {
        let stream = try rig.newGroup("flag")
        for number in 1...4 { try rig.redis.run("XADD", stream, "\(number)-0", "n", "1") }
        let (place, group) = ("/v1/streams/\(stream)", "/v1/streams/\(stream)/groups/g")
        #expect(try rig.client.get("\(place)?full\(sign)").json["entries"].array.count == 4)
        #expect(try rig.read(stream, "c", "count=1&noack\(sign)&stats\(sign)&unowned\(sign)").json["group"]["pending"] == 0)
        #expect(try rig.read(stream, "c", "count=1&claim_min_idle_ms\(sign)").ids == ["2-0"])
        let claimed = try rig.client.post(
            "\(group)/consumers/d/claim?justid\(sign)&force\(sign)&min_idle_ms\(sign)", json: #"{"ids":["2-0","4-0"]}"#)
        #expect(claimed.json["ids"] == ["4-0"], "forced, and the other is not idle for the lease: \(claimed.text)")
        let swept = try rig.client.post("\(group)/consumers/e/autoclaim?justid\(sign)&min_idle_ms\(sign)&stats\(sign)")
        #expect(swept.json["ids"] == [] && swept.json["group"]["pending"] == 2, "\(swept.text)")
        let acked = try rig.client.post("\(group)/ack?delete\(sign)&stats\(sign)", json: #"{"ids":["2-0"]}"#)
        #expect(acked.json["results"][0]["status"] == "deleted" && acked.json["group"]["pending"] == 1)
        try rig.client.put("/v1/streams/\(stream)-new/groups/g?mkstream\(sign)").expect(201)
        let added = try rig.client.post("/v1/streams/\(stream)-none/messages?nomkstream\(sign)&approx\(sign)&maxlen=9", json: #"{"fields":{"n":"1"}}"#)
        #expect(added.code == "STREAM_NOT_FOUND", "\(added.text)")
        try rig.client.post("\(place)/trim?maxlen=1&approx\(sign)").expect(200)
        try rig.client.post("\(place)/redrive?all\(sign)").expect(200)
        #expect(try rig.client.get("/v1/messages?stream=\(stream)&after=\(sign)").status == 400, "no flag")
    }

    @Test func `noack leaves nothing pending`() throws {
        let stream = try rig.newGroup("noack")
        let id = try rig.add(1, to: stream)
        let reply = try rig.read(stream, "c", "noack&stats")
        #expect(reply.ids == [id] && reply.json["group"] == ["lag": rig.since7(0), "pending": 0])
    }

    @Test func `fields come as pairs where that is asked for`() throws {
        let stream = try rig.newGroup("pairs")
        try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c", "fields=pairs").json["messages"][0]["fields"] == [["n", "1"]])
        let claim = try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/d/autoclaim?min_idle_ms=0&fields=pairs")
        #expect(claim.json["messages"][0]["fields"] == [["n", "1"]])
    }

    // MARK: Claims

    private func claim(_ stream: String, _ query: String, _ ids: [String]) throws -> Reply {
        let list = ids.map { "\"\($0)\"" }.joined(separator: ",")
        return try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/d/claim?\(query)", json: #"{"ids":[\#(list)]}"#)
    }

    @Test func `a claim takes what has been idle for the lease, and tells who had it`() throws {
        let stream = try rig.newGroup("claim")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
        #expect(try claim(stream, "min_idle_ms=60000", [id]).json == ["messages": [], "deleted_ids": []])
        #expect(try claim(stream, "stats", [id]).ids == [])
        try rig.redis.run("XCLAIM", stream, "g", "c", "0", id, "IDLE", "40000", "JUSTID")
        #expect(try claim(stream, "stats", [id]).ids == [id], "the lease is over")
        #expect(try rig.pending(stream)[id]?.consumer == "d")
        let again = try claim(stream, "min_idle_ms=0&justid", [id, "1-1"])
        #expect(again.json == ["ids": [.string(id)], "deleted_ids": []])
        #expect(try rig.pending(stream)[id]?.deliveries == 2, "justid counts no delivery")
        let set = try claim(stream, "min_idle_ms=0&retry_count=7&idle_ms=5000", [id])
        #expect(set.json["messages"][0]["delivery_count"] == 7 && set.json["messages"][0]["consumer"] == "d")
        let idle = try rig.client.get("/v1/streams/\(stream)/groups/g/pending/messages").json["messages"][0]["idle_ms"].integer
        #expect((idle ?? 0) >= 5000)
    }

    @Test func `force makes a message pending that was not, and never a deleted one`() throws {
        let stream = try rig.newGroup("force")
        let id = try rig.add(1, to: stream)
        #expect(try claim(stream, "min_idle_ms=0", [id]).json == ["messages": [], "deleted_ids": []])
        #expect(try claim(stream, "min_idle_ms=0&force", [id]).ids == [id])
        #expect(try claim(stream, "min_idle_ms=0&force", ["5-5"]).json == ["messages": [], "deleted_ids": []])
    }

    @Test func `claims tell deleted entries apart and clear them`() throws {
        let stream = try rig.newGroup("deleted")
        let added = try (1...4).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        try rig.redis.run("XDEL", stream, added[0], added[2])
        let first = try claim(stream, "min_idle_ms=0", [added[0], added[1]])
        #expect(first.ids == [added[1]] && first.json["deleted_ids"] == [.string(added[0])])
        let second = try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/e/autoclaim?min_idle_ms=0&justid&stats")
        #expect(
            second.json == [
                "cursor": "0-0", "ids": [.string(added[1]), .string(added[3])], "deleted_ids": [.string(added[2])],
                "group": ["lag": rig.since7(0), "pending": 2],
            ])
        let read = try rig.read(stream, "f", "claim_min_idle_ms=0")
        #expect(read.ids == [added[1], added[3]])
    }

    @Test func `autoclaim goes on from its cursor`() throws {
        let stream = try rig.newGroup("cursor")
        let added = try (1...5).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == added)
        var (cursor, seen): (String, [String]) = ("earliest", [])
        repeat {
            let reply = try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/d/autoclaim?min_idle_ms=0&count=2&start=\(cursor)")
            seen += reply.ids
            cursor = reply.json["cursor"].string ?? "0-0"
        } while cursor != "0-0"
        #expect(seen == added)
    }

    // MARK: The gateway itself

    @Test func `the gateway tells about itself`() throws {
        #expect(try rig.client.get("/healthz").json == ["status": "ok"])
        #expect(try rig.client.get("/readyz").status == 200)
        let info = try rig.client.get("/v1/info").json
        #expect(info["redis"]["connected"] == true && info["redis"]["embedded"] == false)
        let server = try rig.redis.run("INFO", "server")
        let lines = server.split(whereSeparator: \.isNewline)
        let own = lines.first { $0.hasPrefix("valkey_version:") } ?? lines.first { $0.hasPrefix("redis_version:") }
        #expect(info["redis"]["version"].string.map { ":\($0)" } == own.map { String($0.drop { $0 != ":" }) }, "the product's own")
        let native = info["redis"]["native"].array.compactMap(\.string)
        #expect(native.contains("XDELEX") == (try rig.redis.run("COMMAND", "INFO", "XDELEX").contains("xdelex")), "\(native)")
        #expect(native.contains("XSETID ENTRIESADDED") != rig.isBeforeVersion7, "\(native)")
        #expect(info["limits"]["lease_ms"] == 40000)
        #expect(info["waiters"]["parked"].integer != nil, "Other tests of the suite may be waiting.")
        let openapi = try rig.client.get("/openapi.yaml")
        #expect(openapi.text.contains("openapi: 3") && openapi.headers["content-type"]?.contains("yaml") == true)
        let metrics = try rig.client.get("/metrics")
        #expect(metrics.headers["content-type"]?.hasPrefix("text/plain; version=0.0.4") == true)
        for line in metrics.text.split(separator: "\n") where !line.hasPrefix("#") {
            #expect(line.split(separator: " ").last.flatMap { Double($0) } != nil, "\(line)")
        }
    }
}
