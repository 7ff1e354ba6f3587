// What Redis' tracking does not survive, and what a key can suffer while it is waited on: the wake-up comes all the same,
// and where Redis told of the change, at once and not by the slow tick. (`sluice_wakeup_delay_seconds` counts only wake-ups
// that somebody told of.) More: WaitingTests (scripts, MULTI, RENAME, COPY, SETID), RedisFaultTests (lost connections).

import Support
import Testing

@Suite(.gateway(), .serialized) struct WakeUpFaultTests {
    let rig = Rig.current

    private func told() throws -> Int { try rig.metric("sluice_wakeup_delay_seconds_count") }

    /// Whatever `wakeUp` does wakes its reader because of a word. A slow machine may be so slow that the slow tick comes
    /// first: then once more.
    private func expectWord(_ sourceLocation: SourceLocation = #_sourceLocation, _ wakeUp: () throws -> Void) throws {
        for _ in 1...4 {
            let before = try told()
            try wakeUp()
            if try told() > before { return }
        }
        Issue.record("Nobody said so: it was found by the slow tick, each time.", sourceLocation: sourceLocation)
    }

    // MARK: What happens to the key

    @Test(arguments: [
        [["XADD", "S", "*", "n", "1"]],
        [["DEL", "S"], ["XGROUP", "CREATE", "S", "g", "$", "MKSTREAM"], ["XADD", "S", "*", "n", "1"]],
        [["UNLINK", "S"], ["RENAME", "S-other", "S"]],
        [["FLUSHALL"], ["XGROUP", "CREATE", "S", "g", "$", "MKSTREAM"], ["XADD", "S", "*", "n", "1"]],
        [["SET", "S", "text"], ["RENAME", "S-other", "S"]],
        [["PEXPIRE", "S", "1"], ["DEL", "S"], ["COPY", "S-other", "S"]],
        [["MOVE", "S", "1"], ["RENAME", "S-other", "S"]],
        [["EVAL", "redis.call('DEL', KEYS[1]) redis.call('RENAME', KEYS[2], KEYS[1])", "2", "S", "S-other"]],
    ]) func `a stream that is made anew in one step gives what it has, at once`(commands: [[String]]) throws {
        try expectWord {
            let stream = try rig.newGroup("anew")
            try rig.redis.run("XADD", stream + "-other", "*", "n", "1")
            try rig.redis.run("XGROUP", "CREATE", stream + "-other", "g", "0")
            let reader = try rig.park(stream, "c")
            try rig.redis.transaction(commands.map { $0.map { $0 == "S" ? stream : $0 == "S-other" ? stream + "-other" : $0 } })
            #expect(try reader.wait().numbers == ["1"])
        }
    }

    @Test(arguments: [
        ["FLUSHALL"], ["FLUSHDB"], ["DEL", "S"], ["PEXPIRE", "S", "20"], ["MOVE", "S", "2"], ["RENAME", "S", "S-other"],
    ]) func `a stream that goes ends its readers, and its tails wait for the next`(command: [String]) throws {
        try expectWord {
            let stream = try rig.newGroup("gone")
            let reader = try rig.park(stream, "c")
            let tail = rig.client.begin("GET", "/v1/streams/\(stream)/messages?after=latest&block_ms=0")
            try rig.waitUntilParked(2)
            try rig.redis.run(command.map { $0 == "S" ? stream : $0 == "S-other" ? stream + "-other" : $0 })
            #expect(try reader.wait().expect(404).code == "STREAM_NOT_FOUND")
            try rig.redis.run("XADD", stream, "*", "n", "2")
            #expect(try tail.wait().numbers == ["2"])
        }
    }

    @Test func `databases that are swapped are noticed by the slow tick`() throws {
        let stream = try rig.newGroup("swap")
        let other = try rig.redis.connect()
        try other.send(commands: [["SELECT", "1"], ["XGROUP", "CREATE", stream, "g", "$", "MKSTREAM"], ["XADD", stream, "*", "n", "1"], ["PING"]])
        try other.expect("PONG")
        let reader = try rig.park(stream, "c")
        try rig.redis.run("SWAPDB", "0", "1")
        #expect(try reader.wait().numbers == ["1"])
        try rig.redis.run("SWAPDB", "0", "1")
    }

    // MARK: What happens to the tracking

    @Test func `a tracking table that overflows loses no wake-up`() throws {
        try rig.redis.run("CONFIG", "SET", "tracking-table-max-keys", "1")
        let streams = try (0..<10).map { _ in try rig.newGroup("table") }
        for round in 1...3 {
            let readers = try streams.enumerated().map { try rig.park($1, "c", asNumber: $0 + 1) }
            let looks = try rig.metric("sluice_looks_total")
            let invalidations = try rig.metric("sluice_redis_invalidations_total")
            try waitUntil("Redis forgets keys") { try rig.metric("sluice_redis_invalidations_total") >= invalidations + 20 }
            // One that is forgotten is looked for once, twice when that is told in the middle of a look, and once a second.
            let looked = try rig.metric("sluice_looks_total") - looks
            let forgotten = try rig.metric("sluice_redis_invalidations_total") - invalidations
            #expect(looked <= 2 * forgotten + 3 * streams.count)
            for stream in streams { try rig.redis.run("XADD", stream, "*", "n", "\(round)") }
            for reader in readers { #expect(try reader.wait().numbers == ["\(round)"]) }
        }
        try rig.redis.run("CONFIG", "SET", "tracking-table-max-keys", "1000000")
    }

    @Test(arguments: ["pubsub", "normal"]) func `a connection that Redis cuts off for its buffer is made anew`(kind: String) throws {
        let stream = try rig.newGroup("buffer")
        let large = String(repeating: "x", count: 1 << 20)
        try rig.redis.run("XADD", stream + "-large", "*", "n", large)
        let reader = try rig.park(stream, "c")
        let reconnects = try rig.metric("sluice_redis_reconnects_total")
        try rig.redis.run("CONFIG", "SET", "client-output-buffer-limit", "\(kind) 65536 65536 1")
        // Each loop's connection is cut by what is sent to it; at the same moment somebody adds.
        if kind == "pubsub" {
            try rig.redis.transaction([["PUBLISH", "sluice:nudge", large], ["XADD", stream, "*", "n", "1"]])
        } else {
            _ = try rig.client.get("/v1/streams/\(stream)-large/messages")
            try rig.redis.run("XADD", stream, "*", "n", "1")
        }
        // Valkey 9 takes the large message without cutting anybody off.
        if try kind == "normal" || rig.client.get("/v1/info").json["redis"]["product"] != "valkey" {
            try waitUntil("it was cut off") { try rig.metric("sluice_redis_reconnects_total") > reconnects }
        }
        #expect(try reader.wait().numbers == ["1"])
        try rig.redis.run("CONFIG", "SET", "client-output-buffer-limit", "normal 0 0 0")
        try rig.redis.run("CONFIG", "SET", "client-output-buffer-limit", "pubsub 33554432 8388608 60")
        try rig.waitUntilConnected()
        let again = try rig.park(stream, "c")
        try rig.redis.run("XADD", stream, "*", "n", "2")
        #expect(try again.wait().numbers == ["2"])
    }

    // MARK: What happens to Redis

    @Test(arguments: ["WRITE", "ALL"]) func `a pause of Redis' clients delays a wake-up, and loses none`(mode: String) throws {
        let stream = try rig.newGroup("pause")
        let reader = try rig.park(stream, "c")
        let writer = try rig.redis.connect()
        try rig.redis.run("CLIENT", "PAUSE", "300", mode)
        try writer.send(commands: [["XADD", stream, "*", "n", "1"]])
        let reply = try reader.wait()
        #expect(reply.numbers == ["1"] && reply.json["messages"][0]["delivery_count"] == 1)
    }
}
