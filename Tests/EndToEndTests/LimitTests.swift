// The limits of IDs and ranges: the first and the last there are, what comes after the last, and nothing at all.

import Support
import Testing

@Suite(.gateway()) struct LimitTests {
    let rig = Rig.current
    private static let last = "18446744073709551615-18446744073709551615"

    private func add(_ id: String, to stream: String) throws -> Reply {
        try rig.client.post("/v1/streams/\(stream)/messages?id=\(id)", json: #"{"fields":{"n":"1"}}"#)
    }

    @Test func `ms-* of a millisecond that is full is an ID too small`() throws {
        let stream = rig.newStream("full")
        try add("5-18446744073709551615", to: stream).expect(201)
        guard !rig.isBeforeVersion7 else { return }  // It takes no ms-*.
        for key in [[:], ["Idempotency-Key": "k"]] {
            let reply = try rig.client.call(
                "POST", "/v1/streams/\(stream)/messages?id=5-*", json: #"{"fields":{"n":"1"}}"#, headers: key)
            #expect(reply.status == 409 && reply.code == "ID_TOO_SMALL", "\(reply.text)")
            #expect(reply.json["last_id"] == "5-18446744073709551615")
        }
        try add("6-*", to: stream).expect(201)
    }

    @Test func `the first ID and the last are IDs, and nothing comes after the last`() throws {
        let stream = rig.newStream("limits")
        #expect(try add("0-0", to: stream).code == "INVALID_ID")
        #expect(try add("18446744073709551616-0", to: stream).code == "INVALID_ID")
        for id in ["0-1", LimitTests.last] { #expect(try add(id, to: stream).expect(201).json["id"].string == id) }
        for id in ["*", LimitTests.last, "5-1"] {
            let reply = try add(id, to: stream)
            #expect(reply.status == 409 && reply.code == "ID_TOO_SMALL", "\(reply.text)")
            #expect(reply.json["last_id"].string == LimitTests.last)
            #expect(reply.json["detail"].string?.contains("no message can be added") == true, "\(reply.text)")
        }
        let path = "/v1/streams/\(stream)/messages"
        #expect(try rig.client.get(path).ids == ["0-1", LimitTests.last])
        #expect(try rig.client.get("\(path)?order=desc").ids == [LimitTests.last, "0-1"])
        #expect(try rig.client.get("\(path)/\(LimitTests.last)").json["fields"] == ["n": "1"])
        let tail = try rig.client.get("\(path)?after=0-1").expect(200)
        #expect(tail.ids == [LimitTests.last] && tail.json["last_id"].string == LimitTests.last)
        #expect(try rig.client.get("\(path)?after=\(LimitTests.last)").expect(200).ids == [])
    }

    @Test func `an exclusive bound leaves its ID out, and is refused where nothing lies beyond it`() throws {
        let stream = rig.newStream("bounds")
        for id in ["1-1", "1-2", "2-0", LimitTests.last] { try add(id, to: stream).expect(201) }
        let path = "/v1/streams/\(stream)/messages"
        for (query, ids) in [
            ("start=(1-1", ["1-2", "2-0", LimitTests.last]), ("end=(2-0", ["1-1", "1-2"]), ("start=(1-1&end=(2-0", ["1-2"]),
            ("start=(1-1&end=(1-1", []), ("start=2-0&end=1-1", []), ("start=1&end=1", ["1-1", "1-2"]),
            ("end=0-0", []), ("start=\(LimitTests.last)", [LimitTests.last]),
        ] {
            #expect(try rig.client.get("\(path)?\(query)").expect(200).ids == ids, "\(query)")
            #expect(try rig.client.get("\(path)?\(query)&order=desc").expect(200).ids == ids.reversed(), "\(query)")
        }
        // As Redis has it: before the first and after the last there is no ID to begin or end with.
        for query in ["start=(\(LimitTests.last)", "end=(0-0"] {
            #expect(try rig.client.get("\(path)?\(query)").expect(400).code == "INVALID_ID")
        }
    }

    @Test func `pages meet without a gap or an overlap`() throws {
        let stream = rig.newStream("pages")
        let added = try (1...7).map { try add("\($0 / 3)-\($0)", to: stream).json["id"].string ?? "" }
        for (order, name) in [("asc", "start"), ("desc", "end")] {
            var (found, bound): ([String], String?) = ([], "")
            while let at = bound {
                let page = try rig.client.get(
                    "/v1/streams/\(stream)/messages?count=2&order=\(order)\(at.isEmpty ? "" : "&\(name)=\(at)")").expect(200)
                found += page.ids
                bound = page.json["next"].string
                try #require(found.count <= added.count)
            }
            #expect(found == (order == "asc" ? added : added.reversed()))
        }
    }

    @Test func `an empty stream is a stream`() throws {
        let stream = try rig.newGroup("empty")
        let id = try rig.add(1, to: stream)
        #expect(try rig.redis.ask(["XDEL", stream, id]).integer == 1)
        let path = "/v1/streams/\(stream)"
        #expect(try rig.client.get("\(path)/messages").expect(200).json == ["messages": [], "next": nil])
        #expect(try rig.client.get("\(path)/messages?after=earliest").expect(200).ids == [])
        #expect(try rig.client.get("\(path)/messages?after=latest").expect(200).json["last_id"].string == id)
        #expect(try rig.client.get("\(path)/messages/\(id)").code == "MESSAGE_NOT_FOUND")
        #expect(try rig.read(stream, "c").expect(200).ids == [])
    }

    @Test func `entries that are gone are told as such, and autoclaim goes on past them`() throws {
        let stream = try rig.newGroup("gone")
        let added = try (1...6).map { try add("\($0)-0", to: stream).json["id"].string ?? "" }
        #expect(try rig.read(stream, "c").ids == added)
        #expect(try rig.redis.ask(["XDEL", stream, added[0], added[2], added[3]]).integer == 3)
        let own = try rig.read(stream, "c", "id=pending").expect(200)
        #expect(own.ids == added && own.json["messages"].array.map { $0["fields"] == nil } == [true, false, true, true, false, false])

        var (found, gone, cursor, calls): ([String], [String], String, Int) = ([], [], "earliest", 0)
        repeat {
            let reply = try rig.client.post(
                "/v1/streams/\(stream)/groups/g/consumers/d/autoclaim?min_idle_ms=0&count=2&start=\(cursor)").expect(200)
            found += reply.ids
            gone += reply.json["deleted_ids"].array.compactMap(\.string)
            cursor = reply.json["cursor"].string ?? "0-0"
            calls += 1
        } while cursor != "0-0" && calls < 10
        #expect(found == [added[1], added[4], added[5]] && gone == [added[0], added[2], added[3]] && calls < 10)
        #expect(try rig.pending(stream).mapValues(\.consumer) == [added[1]: "d", added[4]: "d", added[5]: "d"])
    }
}
