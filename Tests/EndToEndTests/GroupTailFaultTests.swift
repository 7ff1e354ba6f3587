// Live tails of a consumer whose client is slow or crashes, whose gateway ends, or whose Redis goes away.

import Glibc
import Support
import Testing

@Suite(.blocking, .serialized) struct GroupTailFaultTests {
    /// Whose each pending message is, by Redis' own word.
    private func owners(_ rig: Rig, _ stream: String) throws -> [String: String] {
        let rows = try rig.redis.ask(["XPENDING", stream, "g", "-", "+", "1000"]).elements
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.elements[0].text ?? "", $0.elements[1].text ?? "") })
    }

    @Test func `nothing is taken for a client that has not taken what it was sent`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("slow")
        let slow = try rig.push(stream, "slow", "max_pending=1000", receiveBuffer: 4096)
        let filler = String(repeating: "x", count: 100_000)
        var ids: [String] = []
        for number in 1...300 {
            ids.append("\(number)-0")
            try rig.redis.run("XADD", stream, "\(number)-0", "n", filler)
        }
        var others: Set<String> = []
        while others.count < 200 {  // What the kernel holds is a few megabytes.
            let got = try rig.read(stream, "quick", "block_ms=0&count=10").ids
            #expect(!got.isEmpty)
            others.formUnion(got)
        }
        for _ in 0..<3 { others.formUnion(try rig.read(stream, "quick", "count=100").ids) }
        let sent = try owners(rig, stream).filter { $0.value == "slow" }.map(\.key)
        #expect(others.count + sent.count == 300 && others.isDisjoint(with: sent))
        // It is none that has gone: as soon as it reads, it gets the next.
        #expect(Set(try slow.messages(sent.count)) == Set(sent))
        let id = try rig.add(301, to: stream)
        #expect(try slow.messages(sent.count + 1).last == id)
        // And one that goes with much of it on the way leaves all.
        slow.socket.reset()
        try waitUntil("it is unowned") { try owners(rig, stream).values.filter { $0 == "unowned" }.count == sent.count + 1 }
    }

    @Test(arguments: ["--max-waiters", "--max-stream-waiters", "--max-client-waiters"]) func `a tail is a waiter, of which there are only so many, until it goes`(bound: String) throws {
        let rig = try Rig([bound, "1"])
        let stream = try rig.newGroup("bound")
        for _ in 0..<3 {
            let tail = try rig.push(stream, "c")
            let refused = try rig.client.post(rig.pushPath(stream, "d"))
            #expect(refused.status == 429 && refused.code == "TOO_MANY_WAITERS")
            tail.socket.reset()
            try rig.waitUntilParked(0)
            // One that is refused for another reason has taken no place.
            try rig.client.post("/v1/streams/\(stream)/groups/none/consumers/c/stream").expect(404)
        }
    }

    @Test func `a shutdown ends tails with a word on when to come back, and leaves nothing with them`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("shutdown")
        let waiting = try rig.push(stream, "a")
        let ids = try (1...5).map { try rig.add($0, to: stream) }
        try waiting.messages(5)
        try rig.ack(stream, Array(ids[..<2]))
        let full = try rig.push(stream, "b", "max_pending=1")
        var next = 6
        while try full.stream().events.isEmpty {
            try rig.add(next, to: stream)
            next += 1
        }
        try waitUntil("all are sent") { try owners(rig, stream).count == next - 3 }
        rig.gateway.send(SIGTERM)
        for tail in [waiting, full] {
            let (events, _, _, retry) = EventReader.parse(try tail.socket.readToEnd())
            #expect(events.allSatisfy { $0.name == "message" } && retry != nil)
            #expect(tail.socket.text.hasSuffix("0\r\n\r\n"))
        }
        #expect(rig.gateway.waitForEnd() == 0)
        #expect(try owners(rig, stream).count == next - 3)
        #expect(try owners(rig, stream).values.allSatisfy { $0 == "unowned" })
    }

    @Test func `a Redis that is away ends no tail, neither one that waits nor one that has no room`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let stream = try rig.newGroup("away")
        let other = try rig.newGroup("away")
        let waiting = try rig.push(stream, "c")
        let full = try rig.push(other, "c", "max_pending=2")
        let ids = try (1...4).map { try rig.add($0, to: other) }
        #expect(try full.messages(2) == Array(ids[..<2]))
        for round in 1...3 {
            rig.redis.end()
            try waitUntil("it is noticed") { try rig.client.get("/readyz").status == 503 }
            try rig.redis.start()
            try rig.waitUntilConnected()
            let id = try rig.add(round, to: stream)
            #expect(try waiting.messages(round).last == id)
        }
        try rig.ack(other, Array(ids[..<2]))
        #expect(try full.messages(4) == ids)
        #expect(try rig.metric("sluice_tails") == 2)
    }

    @Test func `what Redis gave in the moment in which its connection broke is pushed by the same tail`() throws {
        let rig = try Rig(["--redis-timeout-ms", "10000"])
        let stream = try rig.newGroup("cut")
        let tail = try rig.push(stream, "c")
        var ids: [String] = []
        for round in 1...4 {
            let looks = try rig.metric("sluice_looks_total")
            try waitUntil("it rests, and looks once a second") { try rig.metric("sluice_looks_total") >= looks + 2 }
            let (cutter, writer) = (try rig.redis.connect(), try rig.redis.connect())
            let before = try rig.metric("sluice_looks_total")
            rig.redis.freeze()
            // A Redis that is thawed hears its clients in the order in which they spoke: the message, the look, and what
            // ends the look's connection before it has its answer.
            ids.append("\(round)-0")
            try writer.send(commands: [["XADD", stream, ids[round - 1], "n", "\(round)"]])
            try waitUntil("it looks") { try rig.metric("sluice_looks_total") > before }
            _ = try rig.metric("sluice_looks_total")  // It has gone out.
            try cutter.send(commands: [["CLIENT", "KILL", "TYPE", "normal"]])
            rig.redis.thaw()
            // Where it was frozen in the middle of hearing them, the end came first.
            if try rig.redis.run("XLEN", stream) != ":\(round)\r\n" { try rig.redis.run("XADD", stream, ids[round - 1], "n", "\(round)") }
            #expect(try tail.messages(round) == ids)
            try rig.waitUntilConnected()
        }
        #expect(try owners(rig, stream) == Dictionary(uniqueKeysWithValues: ids.map { ($0, "c") }))
    }

    @Test func `what a client has that came back stays with it when its former tails are found dead`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("back")
        var tails = [try rig.push(stream, "c")]
        let ids = try (1...3).map { try rig.add($0, to: stream) }
        try tails[0].messages(3)
        for _ in 0..<2 {
            tails.append(try rig.push(stream, "c"))
            #expect(try tails.last?.messages(3) == ids)
        }
        for tail in tails[..<2] { tail.socket.reset() }
        try waitUntil("they have gone") { try rig.metric("sluice_tails") == 1 }
        // Whoever is behind them in the gateway's and Redis' queues has seen what they did.
        let last = try rig.add(4, to: stream)
        #expect(try tails[2].messages(4) == ids + [last])
        #expect(try rig.read(stream, "d", "block_ms=50").ids.isEmpty)
        #expect(try owners(rig, stream) == Dictionary(uniqueKeysWithValues: (ids + [last]).map { ($0, "c") }))
        // What was acknowledged meanwhile is not handed back, and not counted.
        try rig.ack(stream, [ids[0]])
        tails[2].socket.reset()
        try waitUntil("it is handed back") { try rig.metric("sluice_handed_back_total") > 0 }
        #expect(try owners(rig, stream) == Dictionary(uniqueKeysWithValues: (ids[1...] + [last]).map { ($0, "unowned") }))
        #expect(try rig.metric("sluice_handed_back_total") == 3)
    }

    @Test func `a tail whose group has gone has nothing to hand back`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("none")
        let tail = try rig.push(stream, "c")
        let id = try rig.add(1, to: stream)
        #expect(try tail.messages(1) == [id])
        try rig.redis.run("XGROUP", "DESTROY", stream, "g")
        _ = try tail.wait(for: "error")
        rig.gateway.send(SIGTERM)
        #expect(rig.gateway.waitForEnd() == 0)
        #expect(!rig.gateway.log.contains("stay with their consumer"), "\(rig.gateway.log)")
    }

    /// With `isRedisCut` what Redis gave in the moment of a cut is found by its consumer's tail, or the next one.
    @Test(arguments: [(false, true), (true, true), (true, false)])
    func `consumers that crash at random: every message is acknowledged, and none waits for a lease`(isRedisCut: Bool, crash: Bool) throws {
        var random = SeededRandom()
        let rig = try Rig()
        let stream = try rig.newGroup("crash")
        func push(_ consumer: Int) throws -> EventReader {
            while true {
                let reader = try EventReader(port: rig.port, rig.pushPath(stream, "c\(consumer)", "max_pending=20"), method: "POST")
                try reader.socket.expect("\r\n\r\n")
                if reader.socket.text.hasPrefix("HTTP/1.1 200 ") { return reader }
                #expect(isRedisCut && reader.socket.text.hasPrefix("HTTP/1.1 50"), "\(random.note)")
            }
        }
        var tails = try (0..<6).map { try push($0) }
        var seen = [Int](repeating: 0, count: tails.count)
        var acked: Set<String> = []
        func step() throws {
            for index in tails.indices {
                let events = try tails[index].stream().events
                #expect(events.allSatisfy { $0.name == "message" }, "\(random.note)")
                let new = events.dropFirst(seen[index]).map(\.id).filter { !acked.contains($0) }
                seen[index] = events.count
                if crash, Int.random(in: 0..<8, using: &random) == 0 {
                    tails[index].socket.reset()
                    tails[index] = try push(index)
                    seen[index] = 0
                } else if !new.isEmpty {
                    try rig.redis.run(["XACK", stream, "g"] + new)
                    acked.formUnion(new)
                }
            }
        }
        for number in 0..<30 {
            for _ in 0..<Int.random(in: 0...15, using: &random) { try rig.redis.run("XADD", stream, "*", "n", "\(number)") }
            if isRedisCut, Int.random(in: 0..<3, using: &random) == 0 {
                try rig.redis.run("CLIENT", "KILL", "TYPE", Bool.random(using: &random) ? "normal" : "pubsub")
            }
            try step()
        }
        let all = Set(try rig.redis.ask(["XRANGE", stream, "-", "+"]).elements.compactMap { $0.elements.first?.text })
        try waitUntil("all is acknowledged\(random.note)") {
            try step()
            return acked == all
        }
        #expect(try owners(rig, stream).isEmpty, "\(random.note)")
    }
}
