// What consumer groups are for, told as a story: a stream of orders, workers that share them, one that dies.

import Support
import Testing

@Suite(.gateway()) struct ScenarioTests {
    let rig = Rig.current

    @Test func `two consumers share a stream, and each gets other messages`() throws {
        let stream = try rig.newGroup("orders")
        let added = try (1...10).map { try rig.add($0, to: stream) }
        let first = try rig.read(stream, "alice", "count=5")
        let second = try rig.read(stream, "bob", "count=10")
        #expect(first.ids == Array(added[..<5]))
        #expect(second.ids == Array(added[5...]))
        #expect(try rig.read(stream, "carol").json == ["messages": []])
    }

    @Test func `an acknowledged message leaves the pending list and stays in the stream`() throws {
        let stream = try rig.newGroup("orders")
        let added = try (1...2).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "alice").ids == added)
        let ack = try rig.client.post("/v1/streams/\(stream)/groups/g/ack", json: #"{"ids":["\#(added[0])"]}"#)
        #expect(ack.json == ["acked": 1])
        #expect(try Array(rig.pending(stream).keys) == [added[1]])
        #expect(try rig.client.get("/v1/streams/\(stream)/messages/\(added[0])").json["fields"] == ["n": "1"])
        let again = try rig.client.post("/v1/streams/\(stream)/groups/g/ack?id=\(added[0])&id=\(added[1])&id=1-1&stats")
        #expect(again.json == ["acked": 1, "group": ["lag": rig.since7(0), "pending": 0]])
        #expect(try rig.client.get("/v1/streams/\(stream)/messages").ids == added)
    }

    @Test func `a crashed consumer's messages are claimed by another`() throws {
        let stream = try rig.newGroup("orders")
        let added = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "alice").ids == added)  // And is never heard of again.

        let busy = try rig.client.post("/v1/streams/\(stream)/groups/g/consumers/bob/autoclaim")
        #expect(busy.json == ["cursor": "0-0", "messages": [], "deleted_ids": []], "the lease is not over")
        let claimed = try rig.client.post(
            "/v1/streams/\(stream)/groups/g/consumers/bob/claim?min_idle_ms=0", json: #"{"ids":["\#(added[0])"]}"#)
        #expect(claimed.ids == [added[0]])
        #expect(claimed.json["messages"][0]["delivery_count"] == 2)
        #expect(claimed.json["messages"][0]["consumer"] == "alice")
        #expect(claimed.json["messages"][0]["idle_ms"].integer != nil)

        let rest = try rig.read(stream, "carol", "claim_min_idle_ms=0&count=10")
        #expect(rest.ids == added)
        #expect(rest.json["messages"].array.map { $0["consumer"] } == ["bob", "alice", "alice"])
        #expect(rest.json["messages"].array.map { $0["delivery_count"] } == [3, 2, 2])
        #expect(try rig.pending(stream).values.allSatisfy { $0.consumer == "carol" })
    }

    @Test func `two groups each get everything`() throws {
        let stream = try rig.newGroup("orders")
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/h").status == 201)
        let added = try (1...4).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "alice").ids == added)
        #expect(try rig.client.post("/v1/streams/\(stream)/groups/h/consumers/alice/read").ids == added)
    }

    @Test func `a consumer that comes back finds what it had not acknowledged`() throws {
        let stream = try rig.newGroup("orders")
        let added = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "alice").ids == added)
        #expect(try rig.client.post("/v1/streams/\(stream)/groups/g/ack?id=\(added[1])").json == ["acked": 1])
        #expect(try rig.read(stream, "alice", "id=pending&block_ms=60000").ids == [added[0], added[2]])
        #expect(try rig.read(stream, "alice", "id=\(added[0])").ids == [added[2]])
        #expect(try rig.read(stream, "bob", "id=0").ids == [])
        #expect(try rig.redis.run("XDEL", stream, added[0]) == ":1\r\n")
        #expect(try rig.read(stream, "alice", "id=pending&count=1").json["messages"][0]["fields"] == nil)
    }

    @Test func `the private Redis serves as well, and keeps what it has over a restart`() throws {
        let directory = try TemporaryDirectory()
        for round in 1...2 {
            let gateway = try GatewayProcess(["--data-dir", directory.path])
            let client = TestClient(port: gateway.port)
            try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
            #expect(try client.get("/v1/info").json["redis"]["embedded"] == true)
            #expect(try client.post("/v1/streams/s/messages", json: #"{"fields":{"n":"\#(round)"}}"#).status == 201)
            #expect(try client.get("/v1/streams/s/messages").numbers == (1...round).map(String.init))
            gateway.send(15)
            #expect(gateway.waitForEnd(atMost: .seconds(30)) == 0)
        }
    }
}
