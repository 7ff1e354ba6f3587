// What clients that have gone leave behind, where Redis can't be told of it at once.

import Glibc
import Support
import Testing

@Suite(.blocking, .serialized) struct HandBackTests {
    /// Whose each pending message is, by Redis' own word.
    private func owners(_ rig: Rig, _ stream: String) throws -> [String: String] {
        let rows = try rig.redis.ask(["XPENDING", stream, "g", "-", "+", "1000"]).elements
        return Dictionary(uniqueKeysWithValues: rows.map { ($0.elements[0].text ?? "", $0.elements[1].text ?? "") })
    }

    @Test func `what a tail leaves while Redis is away is handed back when it is back, also in the middle of a shutdown`() throws {
        let rig = try Rig(redisOptions: RedisServerProcess.lasting)
        let stream = try rig.newGroup("away")
        let tails = try ["a", "b"].map { try rig.push(stream, $0) }
        var ids: [String] = []
        try waitUntil("each has one") {
            ids.append(try rig.add(ids.count + 1, to: stream))
            return Set(try owners(rig, stream).values).count == 2
        }
        rig.redis.end()
        try waitUntil("it is noticed") { try rig.client.get("/readyz").status == 503 }
        tails[0].socket.reset()
        try waitUntil("it is known") { try rig.metric("sluice_tails") == 1 && rig.metric("sluice_hand_backs_waiting") > 0 }
        try rig.redis.start()
        #expect(Set(try tails[1].messages(ids.count)) == Set(ids))
        #expect(try owners(rig, stream) == Dictionary(uniqueKeysWithValues: ids.map { ($0, "b") }))
        try waitUntil("nothing is left") { try rig.metric("sluice_hand_backs_waiting") == 0 }
        rig.redis.end()
        try waitUntil("it is noticed") { try rig.client.get("/readyz").status == 503 }
        rig.gateway.send(SIGTERM)
        _ = try tails[1].socket.readToEnd()
        try rig.redis.start()
        #expect(rig.gateway.waitForEnd(atMost: .seconds(29)) == 0)
        #expect(try owners(rig, stream) == Dictionary(uniqueKeysWithValues: ids.map { ($0, "unowned") }))
        #expect(!rig.gateway.log.contains("until they are claimed"))
    }

    @Test func `a shutdown hands back what many tails hold, though little may be in flight at a time`() throws {
        let rig = try Rig(["--max-commands-in-flight", "20"])
        let stream = try rig.newGroup("many")
        func push(_ number: Int) throws -> EventReader {
            while true {
                let tail = try EventReader(port: rig.port, rig.pushPath(stream, "c\(number)", "max_pending=1"), method: "POST")
                try tail.socket.expect("\r\n\r\n")
                if tail.socket.text.hasPrefix("HTTP/1.1 200 ") { return tail }
                try tail.socket.expect("OVERLOADED")  // Twenty commands are in flight.
            }
        }
        var tails: [EventReader] = []
        for number in 1...100 {
            try rig.redis.run("XADD", stream, "\(number)-0", "n", "x")
            try rig.redis.run("XREADGROUP", "GROUP", "g", "c\(number)", "COUNT", "1", "STREAMS", stream, ">")
            tails.append(try push(number))
        }
        for tail in tails { try tail.messages(1) }
        rig.gateway.send(SIGTERM)
        #expect(rig.gateway.waitForEnd(atMost: .seconds(29)) == 0)
        #expect(try owners(rig, stream).values.filter { $0 == "unowned" }.count == 100)
    }

    /// While Redis stands still the client goes away, or is told that Redis does not answer.
    @Test(arguments: [false, true]) func `what a tail's beginning takes for a client that does not get it is handed back`(isLate: Bool) throws {
        let rig = try Rig(["--redis-timeout-ms", isLate ? "2000" : "20000"])
        let stream = try rig.newGroup("recall")
        let ids = try (1...3).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c").ids == ids)
        rig.redis.freeze()
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", rig.pushPath(stream, "c"))
        if isLate {
            #expect(try socket.reply().status == 504)
        } else {
            try waitUntil("it has asked") { try rig.metric("sluice_waiters") == 1 }
            socket.reset()
        }
        rig.redis.thaw()
        try waitUntil("they are unowned") { try owners(rig, stream) == Dictionary(uniqueKeysWithValues: ids.map { ($0, "unowned") }) }
        #expect(try rig.metric("sluice_waiters") == 0)
    }

    @Test func `a tail whose recalls Redis refuses asks ever less often, and goes on when they are let`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("refused")
        let ids = (1...150).map { "\($0)-0" }
        for id in ids { try rig.redis.run("XADD", stream, id, "n", "x") }
        #expect(try rig.read(stream, "c", "count=150").ids == ids)
        let tail = try rig.push(stream, "c", "max_pending=100")
        #expect(try tail.messages(100) == Array(ids[..<100]))
        try rig.redis.run("ACL", "SETUSER", "default", "-xreadgroup")
        func refused() throws -> Int {
            let stats = try rig.redis.info("commandstats")["cmdstat_xreadgroup"] ?? ""
            return stats.split(separator: ",").first { $0.hasPrefix("rejected_calls=") }.flatMap { Int($0.dropFirst(15)) } ?? 0
        }
        let start = ContinuousClock.now
        try rig.redis.run(["XACK", stream, "g"] + ids[..<50])
        try waitUntil("it has tried") { try refused() > 0 }
        for _ in 0..<200 { try rig.client.get("/readyz").expect(200) }  // As many turns of the loop, and answers of Redis.
        let tries = try refused()
        let seconds = Int((ContinuousClock.now - start) / .seconds(1))
        #expect(tries <= 8 + 2 * seconds, "\(tries) tries in \(seconds) s")
        try rig.redis.run("ACL", "SETUSER", "default", "+xreadgroup")
        #expect(try tail.messages(150) == ids)
    }
}
