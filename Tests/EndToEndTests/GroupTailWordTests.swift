// Live tails of a consumer that may send no more, and who tells them that they may: the calls of their own gateway.

import Support
import Testing

@Suite(.blocking, .serialized) struct GroupTailWordTests {
    /// XPENDINGs so far, those of scripts among them.
    private func counts(_ rig: Rig) throws -> Int {
        try rig.redis.info("commandstats")["cmdstat_xpending"].flatMap { Int($0.dropFirst(6).prefix { $0 != "," }) } ?? 0
    }

    private func release(_ id: String, of stream: String, _ way: String, _ rig: Rig) throws {
        let group = "/v1/streams/\(stream)/groups/g"
        switch way {
        case "ack": try rig.client.post("\(group)/ack?id=\(id)").expect(200)
        case "delete": try rig.client.post("\(group)/ack?id=\(id)&delete").expect(200)
        case "settle": try rig.client.post("\(group)/consumers/c/settle", json: #"{"ack":["\#(id)"]}"#).expect(200)
        case "claim": try rig.client.post("\(group)/consumers/d/claim?min_idle_ms=0", json: #"{"ids":["\#(id)"]}"#).expect(200)
        default: try rig.client.post("\(group)/consumers/d/autoclaim?start=\(id)&count=1&min_idle_ms=0").expect(200)
        }
    }

    @Test func `a full tail is told what the calls of its gateway have released, and does not ask Redis for it`() throws {
        let rig = try Rig()
        let rounds = 20
        for way in ["ack", "delete", "settle", "claim", "autoclaim"] {
            // What the call itself asks, by its script.
            let other = try rig.newGroup("plain")
            let id = try rig.add(0, to: other)
            #expect(try rig.read(other, "c").ids == [id])
            let before = try counts(rig)
            try release(id, of: other, way, rig)
            let own = try counts(rig) - before
            let stream = try rig.newGroup("told")
            let ids = try (0...rounds).map { try rig.add($0, to: stream) }
            let tail = try rig.push(stream, "c", "max_pending=1")
            #expect(try tail.messages(1) == [ids[0]])
            let start = ContinuousClock.now
            let first = try counts(rig)
            for round in 0..<rounds {
                try release(ids[round], of: stream, way, rig)
                #expect(try tail.messages(round + 2) == Array(ids[...(round + 1)]), "\(way)")
            }
            // It asks after a while in which nothing was released, where this machine is slow.
            let made = try counts(rig) - first - rounds * own
            let allowed = 5 + Int((ContinuousClock.now - start) / .milliseconds(100))
            #expect(made <= allowed, "\(way): \(made) counts for \(rounds) messages, \(allowed) allowed")
            tail.socket.reset()
        }
    }

    @Test func `a release is for the consumers that it is of`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("whose")
        let ids = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=1").ids == [ids[0]])
        let (c, d) = (try rig.push(stream, "c", "max_pending=1"), try rig.push(stream, "d", "max_pending=1"))
        #expect(try c.messages(1) == [ids[0]] && d.messages(1) == [ids[1]])
        // Neither of d's message: extending it, another's wish to settle it, and a claim of what it has.
        let group = "/v1/streams/\(stream)/groups/g"
        try rig.client.post("\(group)/consumers/d/settle", json: #"{"extend":["\#(ids[1])"]}"#).expect(200)
        try rig.client.post("\(group)/consumers/c/settle", json: #"{"ack":["\#(ids[1])"]}"#).expect(409)
        try rig.client.post("\(group)/consumers/d/claim?min_idle_ms=0", json: #"{"ids":["\#(ids[1])"]}"#).expect(200)
        for _ in 0..<100 { try rig.client.get("/readyz").expect(200) }
        #expect(try c.stream().events.count == 1 && d.stream().events.count == 1)
        // What d has claimed is d's, and so is counted there.
        try rig.client.post("\(group)/consumers/d/claim?min_idle_ms=0", json: #"{"ids":["\#(ids[0])"]}"#).expect(200)
        #expect(try c.messages(2) == [ids[0], ids[2]])
        #expect(try d.stream().events.count == 1)
        // What c hands back for later makes room at c.
        let last = try rig.add(4, to: stream)
        try rig.client.post("\(group)/consumers/c/settle", json: #"{"nack":[{"id":"\#(ids[2])","delay_ms":3600000}]}"#).expect(200)
        #expect(try c.messages(3) == [ids[0], ids[2], last])
    }
}
