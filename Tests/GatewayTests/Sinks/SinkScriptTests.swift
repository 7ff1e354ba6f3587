// The scripts of sinks against the real redis-server: who owns what, what is trimmed, what is due.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

@Suite(.blocking) struct SinkScriptTests {
    private let stream = StreamName("orders")
    private let group = GroupName("g")
    private let us = ConsumerName("us")
    private let them = ConsumerName("them")

    private func entry(_ id: String, deliveries: Int = 1, due: Duration? = nil, reason: DeadLetterReason? = nil) throws -> SinkState.Entry {
        let message = SinkMessage(id: try #require(StreamID(id)), fields: Array(#"{"a":"b"}"#.utf8))
        return SinkState.Entry(
            message: message, deliveries: deliveries, due: due, reason: reason, lastStatus: 500, lastError: "status 500")
    }

    /// Four messages, 1-0 and 2-0 with us, 3-0 with them, 4-0 new.
    private func withMessages(_ body: (RedisRig) throws -> Void) throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for id in 1...4 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.run("XREADGROUP GROUP g us COUNT 2 STREAMS orders >")
        try rig.run("XREADGROUP GROUP g them COUNT 1 STREAMS orders >")
        try body(rig)
        rig.close()
    }

    /// `id consumer count` of all pending.
    private func pending(_ rig: RedisRig) throws -> [String] {
        var rows = try rig.send(.xpending(stream.bytes, group: group.bytes, count: 100)).get().elements
        var found: [String] = []
        while var row = rows.takeArray() {
            let (id, consumer, _, count) = (row.takeText(), row.takeText(), row.takeInteger(), row.takeInteger())
            found.append("\(id ?? "") \(consumer ?? "") \(count ?? -1)")
        }
        return found
    }

    private func integers(_ reply: RedisReply) -> [Int64] {
        var elements = reply.elements
        var found: [Int64] = []
        while !elements.isAtEnd { found.append(elements.takeInteger() ?? -1) }
        return found
    }

    @Test func `keeping alive touches only what is ours, and leaves the count and what was trimmed`() throws {
        try withMessages { rig in
            try rig.run("XCLAIM orders g us 0 1-0 2-0 IDLE 50000 RETRYCOUNT 3 JUSTID")
            try rig.run("XDEL orders 2-0")
            let ids = ["1-0", "2-0", "3-0", "4-0"].compactMap { StreamID($0) }
            let reply = rig.evaluate(SinkKeepAliveScript.script, SinkKeepAliveScript.call(stream, group, us, ids[...]))
            #expect(integers(try reply.get()) == [1, 2, 0, 0])
            #expect(try pending(rig) == ["1-0 us 3", "2-0 us 3", "3-0 them 1"])
            let idle = try rig.send(.xpending(stream.bytes, group: group.bytes, count: 9, minimumIdle: .seconds(40))).get()
            #expect(idle.count == 1)  // The trimmed one still ages.
        }
    }

    @Test func `a retry's time and count are written together, and only while the message is ours`() throws {
        try withMessages { rig in
            let entries = [try entry("1-0", deliveries: 5, due: .seconds(9_000_000_000)), try entry("3-0", deliveries: 5, due: .seconds(9))]
            let reply = rig.evaluate(
                SinkScheduleScript.script, SinkScheduleScript.call(stream, group, from: us, to: us, entries))
            #expect(integers(try reply.get()) == [1, 0])
            #expect(try pending(rig) == ["1-0 us 5", "2-0 us 1", "3-0 them 1"])
            let due = String(decoding: GatewayKeys.due(stream, group), as: UTF8.self)
            #expect(try rig.run("ZRANGE \(due) 0 -1 WITHSCORES").contains("9000000000000"))
            let begin = rig.evaluate(
                SinkScheduleScript.script, SinkScheduleScript.call(stream, group, from: us, to: us, [try entry("1-0", deliveries: 6)]))
            #expect(integers(try begin.get()) == [1])
            #expect(try rig.run("EXISTS \(due)") == ":0\r\n")
            #expect(try pending(rig).first == "1-0 us 6")
        }
    }

    @Test func `what is released is unowned, with the count and the time that it is given`() throws {
        try withMessages { rig in
            try rig.run("XDEL orders 2-0")
            let entries = [try entry("1-0", deliveries: 2), try entry("2-0", deliveries: 2), try entry("3-0", deliveries: 2)]
            let reply = rig.evaluate(
                SinkScheduleScript.script, SinkScheduleScript.call(stream, group, from: us, to: .unowned, entries))
            #expect(integers(try reply.get()) == [1, 2, 0])
            #expect(try pending(rig) == ["1-0 unowned 2", "2-0 us 1", "3-0 them 1"])
        }
    }

    @Test func `a dead letter has the fields of the contract, and is made once`() throws {
        try withMessages { rig in
            let call = DeadLetterScript.call(
                stream, group, from: us, to: StreamName("orders:dlq"), try entry("1-0", deliveries: 8, reason: .maxRetriesExceeded))
            #expect(try rig.evaluate(DeadLetterScript.script, call).get().integer == 1)
            #expect(try rig.evaluate(DeadLetterScript.script, call).get().integer == 0)
            #expect(try pending(rig) == ["2-0 us 1", "3-0 them 1"])
            let letters = try rig.send(.xrange("orders:dlq")).get()
            #expect(letters.count == 1)
            let fields = try #require(rig.fields(letters))
            #expect(fields.map(\.0) == [
                "original_stream", "original_id", "original_data", "group", "last_consumer", "attempts", "reason",
                "last_status", "last_error", "failed_at_ms",
            ])
            #expect(fields.dropLast().map(\.1) == [
                "orders", "1-0", #"{"fields":{"a":"b"}}"#, "g", "us", "8", "max_retries_exceeded", "500", "status 500",
            ])
            #expect((Int(fields.last?.1 ?? "") ?? 0) > 1_600_000_000_000)
        }
    }

    @Test func `a dead letter of what is not ours is not made, nor one that Redis can't write`() throws {
        try withMessages { rig in
            let dead = StreamName("orders:dlq")
            let foreign = DeadLetterScript.call(stream, group, from: us, to: dead, try entry("3-0", reason: .rejected))
            #expect(try rig.evaluate(DeadLetterScript.script, foreign).get().integer == 0)
            #expect(try rig.run("EXISTS orders:dlq") == ":0\r\n")
            try rig.run("SET orders:dlq text")
            let ours = DeadLetterScript.call(stream, group, from: us, to: dead, try entry("1-0", reason: .rejected))
            #expect(throws: RedisError.self) { try rig.evaluate(DeadLetterScript.script, ours).get() }
            #expect(try pending(rig).first == "1-0 us 1")
        }
    }

    private func take(
        _ rig: RedisRig, count: Int = 10, lease: Duration?, after: String = "", dead: StreamName? = StreamName("dead")
    ) throws -> (taken: [String], trimmed: [String], cursor: String, due: Int64) {
        let call = SinkTakeScript.call(
            stream, group, us, dead: dead, count: count, lease: lease, after: Array(after.utf8))
        let reply = try rig.evaluate(SinkTakeScript.script, call).get()
        var parts = reply.elements
        guard var rows = parts.takeArray(), var ids = parts.takeArray() else { throw RedisError.overloaded }
        var taken: [String] = []
        while var row = rows.takeArray() {
            let id = row.takeText()
            let fields = row.takeArray()
            taken.append("\(id ?? "") \(row.takeInteger() ?? -1) \(fields?.remaining ?? -1)")
        }
        var trimmed: [String] = []
        while let id = ids.takeText() { trimmed.append(id) }
        return (taken, trimmed, parts.takeText() ?? "?", parts.takeInteger() ?? -9)
    }

    @Test func `unowned messages are taken with their count raised, others' only when idle for the lease`() throws {
        try withMessages { rig in
            try rig.run("XCLAIM orders g unowned 0 1-0 TIME 0 RETRYCOUNT 2 JUSTID")
            #expect(try take(rig, lease: nil) == (["1-0 3 2"], [], "", -1))
            #expect(try take(rig, lease: nil) == ([], [], "", -1))
            try rig.run("XCLAIM orders g them 0 3-0 IDLE 40000 RETRYCOUNT 1 JUSTID")
            #expect(try take(rig, lease: .seconds(60)).taken == [])
            try rig.run("XCLAIM orders g them 0 3-0 IDLE 60000 RETRYCOUNT 1 JUSTID")
            #expect(try take(rig, lease: .seconds(60)).taken == ["3-0 2 2"])
            #expect(try pending(rig) == ["1-0 us 3", "2-0 us 1", "3-0 us 2"])
        }
    }

    @Test func `a dead process' retry is not taken before its time`() throws {
        try withMessages { rig in
            let due = String(decoding: GatewayKeys.due(stream, group), as: UTF8.self)
            try rig.run("XCLAIM orders g them 0 3-0 IDLE 99000 RETRYCOUNT 1 JUSTID")
            try rig.run("ZADD \(due) 9000000000000 3-0")
            let early = try take(rig, lease: .seconds(60))
            #expect(early.taken == [] && early.due > 1_000_000)
            try rig.run("ZADD \(due) 1000 3-0")
            #expect(try take(rig, lease: .seconds(60)).taken == ["3-0 2 2"])
            #expect(try rig.run("EXISTS \(due)") == ":0\r\n")
        }
    }

    @Test func `what was trimmed while pending becomes a dead letter without data, and stays where there is none`() throws {
        try withMessages { rig in
            try rig.run("XCLAIM orders g them 0 3-0 IDLE 99000 RETRYCOUNT 4 JUSTID")
            try rig.run("XDEL orders 3-0")
            #expect(try take(rig, lease: .seconds(60), dead: nil) == ([], ["3-0"], "", -1))
            #expect(try pending(rig).contains("3-0 them 4"))
            #expect(try take(rig, lease: .seconds(60)) == ([], ["3-0"], "", -1))
            #expect(try pending(rig) == ["1-0 us 1", "2-0 us 1"])
            let fields = try #require(rig.fields(try rig.send(.xrange("dead")).get()))
            #expect(fields.prefix(7).map(\.1) == ["orders", "3-0", "null", "g", "them", "4", "trimmed"])
        }
    }

    @Test func `a trimmed message whose dead letter Redis refuses stays pending, and holds up no other`() throws {
        try withMessages { rig in
            for id in ["1-0", "2-0", "3-0"] { try rig.run("XCLAIM orders g them 0 \(id) IDLE 99000 RETRYCOUNT 1 JUSTID") }
            try rig.run("XDEL orders 2-0")
            try rig.run("SET dead text")
            #expect(try take(rig, lease: .seconds(60)) == (["1-0 2 2", "3-0 2 2"], [], "", -1))
            #expect(try pending(rig) == ["1-0 us 2", "2-0 them 1", "3-0 us 2"])
            try rig.run("DEL dead")
            #expect(try take(rig, lease: .seconds(60)) == ([], ["2-0"], "", -1))
            #expect(try pending(rig) == ["1-0 us 2", "3-0 us 2"])
        }
    }

    @Test func `a walk over many pending messages goes on at its cursor`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for id in 1...1500 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.run("XREADGROUP GROUP g them COUNT 1500 STREAMS orders >")
        try rig.run("XCLAIM orders g them 0 1400-0 IDLE 99000 JUSTID")
        let first = try take(rig, lease: .seconds(60))
        #expect(first == ([], [], "1000-0", -1))
        #expect(try take(rig, lease: .seconds(60), after: first.cursor).taken == ["1400-0 2 2"])
        let some = try take(rig, count: 3, lease: .milliseconds(0))
        #expect(some.taken.map { $0.prefix(3) } == ["1-0", "2-0", "3-0"] && some.cursor == "3-0")
        rig.close()
    }

    @Test func `a lost group begins after what was settled, in a new stream at the beginning`() throws {
        let rig = try RedisRig()
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        let call = SinkGroupScript.call(stream, group, after: StreamID(2, 0), makesStream: true)
        #expect(try rig.evaluate(SinkGroupScript.script, call).get().integer == 1)
        #expect(try rig.run("XREADGROUP GROUP g us STREAMS orders >").contains("3-0"))
        #expect(try rig.evaluate(SinkGroupScript.script, call).get().integer == 0)
        try rig.run("DEL orders")
        try rig.run("XADD orders 1-1 a b")
        #expect(try rig.evaluate(SinkGroupScript.script, call).get().integer == 1)
        #expect(try rig.run("XREADGROUP GROUP g us STREAMS orders >").contains("1-1"))
        try rig.run("DEL orders")
        #expect(try rig.evaluate(SinkGroupScript.script, call).get().integer == 1)
        try rig.run("SET orders text")
        #expect(throws: RedisError.self) { try rig.evaluate(SinkGroupScript.script, call).get() }
        rig.close()
    }

    @Test func `only consumers of this sink that hold nothing and are idle are removed`() throws {
        try withMessages { rig in
            for name in ["sink:a:old", "sink:a:us", "sink:b:old", "sink:a:busy"] {
                try rig.run("XGROUP CREATECONSUMER orders g \(name)")
            }
            try rig.run("XREADGROUP GROUP g sink:a:busy COUNT 1 STREAMS orders >")
            func reap(_ idle: Duration) throws -> Int64? {
                let call = SinkReapScript.call(
                    stream, group, prefix: "sink:a:", own: ConsumerName("sink:a:us"), idle: idle)
                return try rig.evaluate(SinkReapScript.script, call).get().integer
            }
            #expect(try reap(.seconds(3600)) == 0)
            #expect(try reap(.zero) == 1)
            let left = try rig.run("XINFO CONSUMERS orders g")
            #expect(!left.contains("sink:a:old") && left.contains("sink:b:old") && left.contains("sink:a:busy"))
        }
    }

    @Test func `every script says that the group is gone as Redis says it`() throws {
        let rig = try RedisRig()
        try rig.run("XADD orders 1-0 a b")
        let calls: [(RedisScript, RedisCommand)] = [
            (SinkKeepAliveScript.script, SinkKeepAliveScript.call(stream, group, us, [StreamID(1, 0)])),
            (SinkScheduleScript.script, SinkScheduleScript.call(stream, group, from: us, to: us, [try entry("1-0")])),
            (DeadLetterScript.script, DeadLetterScript.call(stream, group, from: us, to: them.asStream, try entry("1-0"))),
            (SinkTakeScript.script, SinkTakeScript.call(stream, group, us, dead: nil, count: 1, lease: nil, after: [])),
            (SinkReapScript.script, SinkReapScript.call(stream, group, prefix: "x", own: us, idle: .zero)),
        ]
        for (script, call) in calls {
            guard case .failure(let error) = rig.evaluate(script, call) else {
                Issue.record("no error")
                continue
            }
            #expect(error.code == .noGroup, "\(error)")
        }
        rig.close()
    }
}

extension ConsumerName {
    fileprivate var asStream: StreamName { StreamName(bytes: bytes) }
}
