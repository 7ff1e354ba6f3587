// How parked requests end (API.md §4, rule 5): with their group, their stream, or when somebody takes the key
// away; never with a hung socket.

import Support
import Testing

@Suite(.gateway("--max-block-ms", "0"), .serialized) struct EndingTests {
    let rig = Rig.current

    struct Ending: Sendable, CustomTestStringConvertible {
        /// Said to Redis; `S` is the stream.
        let commands: [[String]]
        let status: Int
        let code: String
        var testDescription: String { "\(commands)" }
    }

    @Test(arguments: [
        Ending(commands: [["DEL", "S"]], status: 404, code: "STREAM_NOT_FOUND"),
        Ending(commands: [["UNLINK", "S"]], status: 404, code: "STREAM_NOT_FOUND"),
        Ending(commands: [["FLUSHALL"]], status: 404, code: "STREAM_NOT_FOUND"),
        Ending(commands: [["PEXPIRE", "S", "30"]], status: 404, code: "STREAM_NOT_FOUND"),
        Ending(commands: [["RENAME", "S", "S-elsewhere"]], status: 404, code: "STREAM_NOT_FOUND"),
        Ending(commands: [["DEL", "S"], ["XADD", "S", "*", "n", "1"]], status: 404, code: "GROUP_NOT_FOUND"),
        Ending(commands: [["XGROUP", "DESTROY", "S", "g"]], status: 404, code: "GROUP_NOT_FOUND"),
        Ending(commands: [["SET", "S", "text"]], status: 409, code: "NOT_A_STREAM"),
    ]) func `the end of a group ends its parked readers, whoever ends it`(ending: Ending) throws {
        let stream = try rig.newGroup("end")
        let readers = try (1...3).map { number in try rig.park(stream, "c", asNumber: number) }
        let commands = ending.commands.map { $0.map { $0.replacing("S", with: $0.hasPrefix("S") && $0 != "SET" ? stream : "S") } }
        if commands.count > 1 { try rig.redis.transaction(commands) } else { try rig.redis.run(commands[0]) }
        for reader in readers {
            let reply = try reader.wait()
            #expect(reply.status == ending.status && reply.code == ending.code, "\(reply.text)")
            #expect(reply.headers["x-request-id"] != nil && reply.headers["content-type"] == "application/problem+json")
        }
        #expect(try rig.parked() == 0)
    }

    @Test func `a group that is deleted through the API ends its readers at once, and no others`() throws {
        let stream = try rig.newGroup("end")
        try rig.client.put("/v1/streams/\(stream)/groups/other").expect(201)
        let other = rig.client.begin("POST", "/v1/streams/\(stream)/groups/other/consumers/c/read?block_ms=0")
        try rig.waitUntilParked(1)
        let reader = try rig.park(stream, "c", asNumber: 2)
        try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g").expect(200)
        let reply = try reader.wait().expect(404)
        #expect(reply.code == "GROUP_NOT_FOUND")
        #expect(reply.json["hint"].string?.hasPrefix("curl -X PUT 'http://127.0.0.1:") == true)
        try rig.waitUntilParked(1)
        try rig.add(1, to: stream)
        #expect(try other.wait().numbers == ["1"])
    }

    @Test func `a reader of a group that was created anew is not told of the old one's end`() throws {
        let stream = try rig.newGroup("anew")
        for number in 0..<10 {
            let old = try rig.park(stream, "old")
            try rig.redis.transaction([["DEL", stream], ["XGROUP", "CREATE", stream, "g", "0", "MKSTREAM"]])
            let new = rig.client.begin("POST", rig.readPath(stream, "new", "block_ms=0"))
            try rig.add(number, to: stream)
            // Which of the two has it depends on whether the old one saw the moment without a group.
            try waitUntil("the message reached one of them") { old.isDone || new.isDone }
            try rig.add(number + 100, to: stream)
            let replies = try [old.wait(), new.wait()]
            #expect(replies[1].status == 200)
            #expect(replies[0].status == 200 || replies[0].status == 404)
            try rig.redis.transaction([["DEL", stream], ["XGROUP", "CREATE", stream, "g", "0", "MKSTREAM"]])
        }
    }

    @Test func `without a limit zero is for ever, and says so`() throws {
        let stream = try rig.newGroup("ever")
        let reader = try rig.park(stream, "c")
        try rig.add(1, to: stream)
        #expect(try reader.wait().headers["sluice-block-ms"] == "0")
        #expect(try rig.read(stream, "c", "block_ms=60").headers["sluice-block-ms"] == "60")
    }

    @Test func `an empty answer carries the group's numbers where they are wanted`() throws {
        let stream = try rig.newGroup("stats")
        let reply = try rig.read(stream, "c", "block_ms=50&stats")
        #expect(reply.json == ["messages": [], "group": ["lag": rig.since7(0), "pending": 0]])
        let reader = try rig.park(stream, "c", "block_ms=0&stats")
        let id = try rig.add(1, to: stream)
        let found = try reader.wait()
        #expect(found.ids == [id] && found.json["group"] == ["lag": rig.since7(0), "pending": 1])
    }
}
