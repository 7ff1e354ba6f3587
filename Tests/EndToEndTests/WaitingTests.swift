// The waiting rules of API.md §4, each with the fault that would break it.

import Support
import Testing

@Suite(.gateway(), .serialized) struct WaitingTests {
    let rig = Rig.current

    // MARK: Rule 1: waiters cost Redis nothing

    @Test func `two thousand waiters cost two connections a loop and no command beyond pings and the slow tick`() throws {
        let streams = try (0..<100).map { _ in try rig.newGroup("many") }
        let before = try rig.redis.connections
        func park(_ numbers: Range<Int>) throws -> [ClientSocket] {
            let sockets = try numbers.map { number in
                let socket = try ClientSocket(port: rig.port)
                try socket.request("POST", rig.readPath(streams[number % 100], "c\(number / 100)", "block_ms=0&count=1"))
                return socket
            }
            try waitUntil("all are parked") { try rig.parked() == numbers.upperBound }
            return sockets
        }
        // The first of each queue are there before anybody else comes: two connections are two loops' business, and
        // which of the two is heard first is nobody's promise.
        let sockets = try park(0..<100) + park(100..<2000)
        #expect(try rig.redis.connections == before)
        #expect(before == 4 + 1, "two loops, and the one that asks")

        let begin = ContinuousClock.now  // Before what is counted begins, wherever this machine stands still.
        let looks = try rig.metric("sluice_looks_total")
        let start = try rig.redis.commandCount()
        try waitUntil("three seconds are over") { ContinuousClock.now - begin > .seconds(3) }
        let end = try rig.redis.commandCount()
        let looked = try rig.metric("sluice_looks_total") - looks
        let seconds = (ContinuousClock.now - begin) / .seconds(1)
        // Each group is looked at once a second; 4 connections are pinged every 2 s; we ask twice.
        #expect(Double(end - start) <= 100 * (seconds + 1) + 2 * (seconds + 2) + 4)
        #expect(Double(looked) <= 100 * (seconds + 1.5))

        // One message wakes one waiter: the first of its queue.
        let id = try rig.add(7, to: streams[42])
        #expect(try sockets[42].reply().ids == [id])
        try rig.waitUntilParked(1999)
        for socket in sockets { socket.close() }
        try waitUntil("all have left") { try rig.parked() == 0 }
    }

    // MARK: Rule 2: no wake-up is lost, whoever writes

    @Test(arguments: [
        ["XADD", "S", "*", "n", "1"],
        ["EVAL", "return redis.call('XADD', KEYS[1], '*', 'n', '1')", "1", "S"],
        ["RENAME", "S-other", "S"],
        ["COPY", "S-other", "S", "REPLACE"],
        ["XGROUP", "SETID", "S", "g", "0"],
    ]) func `a parked read wakes up, whoever writes and however`(command: [String]) throws {
        let stream = try rig.newGroup("wake")
        if command.contains("S-other") {
            try rig.redis.run("XADD", stream + "-other", "*", "n", "1")
            try rig.redis.run("XGROUP", "CREATE", stream + "-other", "g", "0")
        }
        if command[0] == "XGROUP" {
            try rig.add(1, to: stream)
            #expect(try rig.read(stream, "before", "noack").numbers == ["1"])
        }
        let pending = try rig.park(stream, "c")
        try rig.redis.run(command.map { $0 == "S" ? stream : $0 == "S-other" ? stream + "-other" : $0 })
        #expect(try pending.wait().numbers == ["1"])
    }

    @Test func `an addition inside MULTI wakes a parked read`() throws {
        let stream = try rig.newGroup("wake")
        let pending = try rig.park(stream, "c")
        try rig.redis.transaction([["XADD", stream, "*", "n", "1"], ["XADD", stream, "*", "n", "2"]])
        #expect(try pending.wait().numbers == ["1", "2"])
    }

    @Test func `a group that is moved back through the API is served at once`() throws {
        let stream = try rig.newGroup("wake")
        try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c", "noack").numbers == ["1"])
        let pending = try rig.park(stream, "c")
        let moved = try rig.client.call("PATCH", "/v1/streams/\(stream)/groups/g", json: #"{"id":"earliest"}"#)
        #expect(moved.json == ["updated": true])
        #expect(try pending.wait().numbers == ["1"])
    }

    @Test func `a waiter of another group hears nothing of ours, and its own message is not lost`() throws {
        let stream = try rig.newGroup("wake")
        try rig.client.call("PUT", "/v1/streams/\(stream)/groups/late?id=latest").expect(201)
        let ours = try rig.park(stream, "c")
        let other = rig.client.begin("POST", "/v1/streams/\(stream)/groups/late/consumers/c/read?block_ms=0")
        try rig.waitUntilParked(2)
        try rig.add(1, to: stream)
        #expect(try ours.wait().numbers == ["1"])
        #expect(try other.wait().numbers == ["1"])
    }

    @Test func `another gateway's message and another gateway's group change are heard`() throws {
        let second = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock", "--loops", "1"])
        let other = TestClient(port: second.port)
        try waitUntil("the second gateway is ready") { try other.get("/readyz").status == 200 }
        let stream = try rig.newGroup("wake")
        let pending = try rig.park(stream, "c")
        try other.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"1"}}"#).expect(201)
        #expect(try pending.wait().numbers == ["1"])
        let again = try rig.park(stream, "c")
        try other.call("DELETE", "/v1/streams/\(stream)/groups/g").expect(200)
        #expect(try again.wait().code == "GROUP_NOT_FOUND")
    }

    @Test func `a burst costs at most two reads a message and one`() throws {
        let stream = try rig.newGroup("burst")
        let waiters = try (0..<40).map { number in try rig.park(stream, "c\(number)", "block_ms=0&count=1", asNumber: number + 1) }
        let begin = ContinuousClock.now
        let looks = try rig.metric("sluice_looks_total")
        let burst = "for n = 0, 19 do redis.call('XADD', KEYS[1], '*', 'n', n) end"
        try rig.redis.run("EVAL", burst, "1", stream)
        try rig.waitUntilParked(20)
        let looked = try rig.metric("sluice_looks_total") - looks
        let seconds = Int((ContinuousClock.now - begin) / .seconds(1))
        // The slow tick may have looked as well meanwhile, once a second.
        #expect(looked <= 2 * 20 + 1 + 3 + seconds)
        #expect(waiters[..<20].allSatisfy(\.isDone) || waiters.filter(\.isDone).count <= 20)
        for number in 20..<40 { try rig.add(number, to: stream) }
        let numbers = try waiters.flatMap { try $0.wait().numbers.compactMap { Int($0) } }
        #expect(numbers.sorted() == Array(0..<40), "each message reached one waiter")
    }

    @Test func `messages that trickle in cost no more`() throws {
        let stream = try rig.newGroup("trickle")
        let waiters = try (0..<20).map { number in try rig.park(stream, "c\(number)", "block_ms=0&count=1", asNumber: number + 1) }
        let begin = ContinuousClock.now
        let looks = try rig.metric("sluice_looks_total")
        for number in 0..<20 { try rig.add(number, to: stream) }
        let numbers = try waiters.flatMap { try $0.wait().numbers.compactMap { Int($0) } }
        #expect(numbers.sorted() == Array(0..<20))
        let looked = try rig.metric("sluice_looks_total") - looks
        let seconds = Int((ContinuousClock.now - begin) / .seconds(1))
        // The slow tick may have looked as well meanwhile, once a second.
        #expect(looked <= 2 * 20 + 1 + 3 + seconds)
    }

    // MARK: Rule 3: fair

    @Test func `waiters are served in the order in which they came`() throws {
        let stream = try rig.newGroup("fair")
        let waiters = try (0..<8).map { number in try rig.park(stream, "c\(number)", asNumber: number + 1) }
        for number in 0..<8 {
            try rig.add(number, to: stream)
            #expect(try waiters[number].wait().numbers == ["\(number)"])
            #expect(waiters[(number + 1)...].allSatisfy { !$0.isDone })
        }
    }

    // MARK: Time

    @Test func `a read that waits answers empty when its time is up, and says how long it would have waited`() throws {
        let stream = try rig.newGroup("time")
        let begin = ContinuousClock.now
        let reply = try rig.read(stream, "c", "block_ms=300")
        let took = ContinuousClock.now - begin
        #expect(reply.status == 200 && reply.json == ["messages": []])
        #expect(reply.headers["sluice-block-ms"] == "300")
        #expect(took >= .milliseconds(300) && took < .seconds(30))
        #expect(try rig.parked() == 0)
    }

    @Test func `a read that finds something at once tells what wish would have been granted`() throws {
        let stream = try rig.newGroup("time")
        let cut = try rig.metric("sluice_block_cut_total")
        for wish in ["0", "50000", "50001", "70368744177664"] {
            try rig.add(1, to: stream)
            #expect(try rig.read(stream, "c", "block_ms=\(wish)").headers["sluice-block-ms"] == "50000")
        }
        #expect(try rig.read(stream, "c").headers["sluice-block-ms"] == nil)
        #expect(try rig.metric("sluice_block_cut_total") == cut + 2)
    }

    @Test func `a tail waits also for a stream that is not there, and goes on when the key becomes another type`() throws {
        let stream = rig.newStream("tail")
        let pending = rig.client.begin("GET", "/v1/streams/\(stream)/messages?after=latest&block_ms=0")
        try rig.waitUntilParked(1)
        try rig.redis.run("SET", stream, "text")
        try rig.redis.run("DEL", stream)
        #expect(try rig.parked() == 1)
        let id = try rig.add(1, to: stream)
        let reply = try pending.wait()
        #expect(reply.numbers == ["1"] && reply.json["last_id"].string == id)
    }

    @Test func `every tail of a stream gets every message`() throws {
        let stream = rig.newStream("tail")
        let tails = (0..<20).map { _ in rig.client.begin("GET", "/v1/streams/\(stream)/messages?after=0&block_ms=0") }
        try rig.waitUntilParked(20)
        try rig.add(1, to: stream)
        for tail in tails { #expect(try tail.wait().numbers == ["1"]) }
    }

    // MARK: Idle and unowned messages

    @Test func `a waiting claim ends within a second of a message becoming idle enough`() throws {
        var times: [Duration] = []
        for round in 0..<4 where times.allSatisfy({ $0 >= .milliseconds(2600) }) {  // A busy machine may take longer.
            let stream = try rig.newGroup("idle-\(round)")
            let id = try rig.add(1, to: stream)
            let begin = ContinuousClock.now
            #expect(try rig.read(stream, "crashed").ids == [id])
            let reply = try rig.read(stream, "c", "claim_min_idle_ms=1500&block_ms=0")
            times.append(ContinuousClock.now - begin)
            #expect(reply.ids == [id])
            #expect(reply.json["messages"][0]["consumer"] == "crashed")
            #expect(reply.json["messages"][0]["delivery_count"] == 2)
        }
        #expect(times.allSatisfy { $0 > .milliseconds(1400) } && times.contains { $0 < .milliseconds(2600) }, "\(times)")
    }

    @Test func `an idle message is found behind any number of busy ones, by a read and by a wait`() throws {
        let stream = try rig.newGroup("behind")
        try rig.redis.run("EVAL", "for n = 1, 2500 do redis.call('XADD', KEYS[1], n .. '-0', 'n', n) end", "1", stream)
        #expect(try rig.read(stream, "busy", "count=2500&noack=false").ids.count == 2500)
        try rig.redis.run("XCLAIM", stream, "g", "crashed", "0", "2400-0", "IDLE", "60000", "JUSTID")
        #expect(try rig.read(stream, "c", "claim_min_idle_ms=30000").ids == ["2400-0"])
        var times: [Duration] = []
        for id in ["2499-0", "2498-0", "2497-0"] where times.allSatisfy({ $0 >= .seconds(2) }) {  // As above.
            let pending = try rig.park(stream, "c", "block_ms=0&claim_min_idle_ms=30000")
            let begin = ContinuousClock.now
            try rig.redis.run("XCLAIM", stream, "g", "crashed", "0", id, "IDLE", "60000", "JUSTID")
            #expect(try pending.wait().ids == [id])
            times.append(ContinuousClock.now - begin)
        }
        #expect(times.contains { $0 < .seconds(2) }, "\(times)")
    }

    @Test func `unowned messages come before new ones, unless they are not wanted`() throws {
        let stream = try rig.newGroup("unowned")
        let added = try (1...2).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "a", "count=1").ids == [added[0]])
        try rig.redis.run("XCLAIM", stream, "g", "unowned", "0", added[0], "TIME", "0", "RETRYCOUNT", "1", "JUSTID")
        try rig.redis.run("PUBLISH", "sluice:nudge", "u\(stream.utf8.count):\(stream)g")
        let fresh = try rig.read(stream, "b", "count=1&unowned=false")
        #expect(fresh.ids == [added[1]])
        try rig.add(3, to: stream)
        let reply = try rig.read(stream, "b", "count=1")
        #expect(reply.ids == [added[0]])
        #expect(reply.json["messages"][0]["delivery_count"] == 2)
        #expect(reply.json["messages"][0]["consumer"] == "unowned")
        try rig.redis.run("XCLAIM", stream, "g", "unowned", "0", added[0], "TIME", "0", "JUSTID")
        try rig.redis.run("PUBLISH", "sluice:nudge", "u\(stream.utf8.count):\(stream)g")
        #expect(try rig.read(stream, "c", "noack").ids.first == added[0])
        #expect(try rig.pending(stream)[added[0]] == nil, "noack is for unowned ones too")
    }

    @Test func `an unowned message reaches who waits for it behind one who does not want it`() throws {
        let stream = try rig.newGroup("modest")
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "a").ids == [id])
        let modest = try rig.park(stream, "b", "block_ms=0&unowned=false")
        let other = try rig.park(stream, "c")
        try rig.redis.run("XCLAIM", stream, "g", "unowned", "0", id, "TIME", "0", "RETRYCOUNT", "1", "JUSTID")
        try rig.redis.run("PUBLISH", "sluice:nudge", "u\(stream.utf8.count):\(stream)g")
        #expect(try other.wait().ids == [id])
        let next = try rig.add(2, to: stream)
        #expect(try modest.wait().ids == [next])
    }

    @Test func `a large claim takes all that is idle before anything new, and nothing twice`() throws {
        let stream = try rig.newGroup("claims")
        let lines = (0..<350).map { "{\"fields\":{\"n\":\"\($0)\"}}\n" }.joined()
        let add = rig.client.begin(
            "POST", "/v1/streams/\(stream)/messages", body: Array(lines.utf8), headers: ["Content-Type": "application/x-ndjson"])
        try add.wait().expect(201)
        #expect(try rig.read(stream, "crashed", "count=330").ids.count == 330)
        let reply = try rig.read(stream, "c", "count=1000&claim_min_idle_ms=0")
        #expect(reply.numbers == (0..<350).map(String.init))
        #expect(reply.json["messages"].array.map { $0["delivery_count"] } == (0..<350).map { $0 < 330 ? 2 : 1 })
        #expect(try rig.read(stream, "d", "count=150&claim_min_idle_ms=0").numbers == (0..<150).map(String.init))
    }
}
