// The scripts of ordered sinks against the real redis-server: whose lease it is, and what can be taken and written by whom.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

@Suite(.blocking) struct SinkOrderScriptTests {
    private let stream = StreamName("orders")
    private let group = GroupName("g")
    private let us = ConsumerName("sink:s:lease/us")
    private let them = ConsumerName("sink:s:lease/them")

    private func entry(_ id: String) throws -> SinkState.Entry {
        SinkState.Entry(message: SinkMessage(id: try #require(StreamID(id)), fields: []), deliveries: 1, due: nil)
    }

    private func lease(_ rig: RedisRig, _ who: ConsumerName, lasting life: Duration = .seconds(60)) throws -> (number: Int, holder: String, left: Int) {
        let reply = try rig.evaluate(SinkLeaseScript.script, SinkLeaseScript.take(stream, group, for: who, lasting: life)).get()
        var parts = reply.elements
        return (Int(parts.takeInteger() ?? -1), parts.takeText() ?? "", Int(parts.takeInteger() ?? -1))
    }

    private func schedule(_ rig: RedisRig, _ who: ConsumerName, _ number: Int?, _ id: String) throws -> Int64? {
        let call = SinkScheduleScript.call(stream, group, from: who, to: who, under: .init(number: number), [try entry(id)])
        var results = try rig.evaluate(SinkScheduleScript.script, call).get().elements
        return results.takeInteger()
    }

    /// Rows as `id count due others`, and whether it has to wait; nil: the lease is another's.
    private func take(
        _ rig: RedisRig, _ who: ConsumerName, _ number: Int, _ search: SinkOrderedTakeScript.Search, count: Int = 100, after cursor: String = "",
        lease: Duration = .seconds(60), flight: Duration = .zero
    ) throws -> (rows: [String], trimmed: Int64, cursor: String, waits: Int64)? {
        let call = SinkOrderedTakeScript.call(
            stream, group, who, number, dead: StreamName("dead"), of: "s", search, count: count, lease: lease, flight: flight,
            after: Array(cursor.utf8))
        let reply = try rig.evaluate(SinkOrderedTakeScript.script, call).get()
        guard !reply.isNull else { return nil }
        var parts = reply.elements
        guard var rows = parts.takeArray() else { return nil }
        var found: [String] = []
        while var row = rows.takeArray() {
            let id = row.takeText() ?? ""
            row.skip()
            found.append("\(id) \(row.takeInteger() ?? -1) \(row.takeText() ?? "?") \(row.takeInteger() ?? -1)")
        }
        return (found, parts.takeInteger() ?? -1, parts.takeText() ?? "", parts.takeInteger() ?? -1)
    }

    @Test func `a Redis that is full gives a lease all the same`() throws {
        let rig = try RedisRig()
        try rig.run("CONFIG SET maxmemory 1")
        let first = try lease(rig, us)
        #expect(try first.number > 0 && lease(rig, us).number > first.number)
        let key = String(decoding: GatewayKeys.sinkLease(stream, group), as: UTF8.self)
        #expect(try rig.run("HGET \(key) holder").contains("sink:s:lease/us"))
        #expect(try rig.run("PTTL \(key)").hasPrefix(":-") == false)
        try rig.run("CONFIG SET maxmemory 0")
        rig.close()
    }

    @Test func `a trimmed message whose dead letter Redis refuses stays pending, and holds up no other`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        let number = try lease(rig, us).number
        #expect(try take(rig, us, number, .new)?.rows.count == 3)
        try rig.run("XDEL orders 2-0")
        try rig.run("SET dead text")
        let taken = try #require(try take(rig, us, number, .all))
        #expect(taken.rows == ["1-0 0  0", "3-0 0  0"] && taken.trimmed == 0 && taken.cursor == "")
        try rig.run("DEL dead")
        #expect(try take(rig, us, number, .all)?.trimmed == 1)
        rig.close()
    }

    @Test func `one has the lease at a time, each taking has a greater number, and it runs out by itself`() throws {
        let rig = try RedisRig()
        let first = try lease(rig, us)
        #expect(first.number > 1_600_000_000_000 && first.holder == "sink:s:lease/us" && first.left == 60_000)
        let refused = try lease(rig, them)
        #expect(refused.number == 0 && refused.holder == "sink:s:lease/us" && (30_000...60_000).contains(refused.left))
        let again = try lease(rig, us)
        #expect(again.number > first.number)
        func renew(_ who: ConsumerName, _ number: Int, _ life: Duration = .milliseconds(150)) throws -> Int64? {
            try rig.evaluate(SinkLeaseScript.script, SinkLeaseScript.renew(stream, group, who, number, lasting: life)).get().integer
        }
        #expect(try renew(us, first.number) == 0 && renew(them, again.number) == 0 && renew(us, again.number) == 1)
        try waitUntil("it has run out") { try lease(rig, them).number > again.number }
        #expect(try renew(us, again.number) == 0)
        let last = try lease(rig, them)
        #expect(try rig.evaluate(SinkLeaseScript.script, SinkLeaseScript.release(stream, group, us, last.number)).get().integer == 0)
        #expect(try rig.evaluate(SinkLeaseScript.script, SinkLeaseScript.release(stream, group, them, last.number)).get().integer == 1)
        #expect(try lease(rig, us).number > last.number)
        rig.close()
    }

    @Test func `nothing is taken or written under a lease that has ended`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        let first = try lease(rig, us).number
        #expect(try take(rig, us, first, .new, count: 1)?.rows == ["1-0 0  0"])
        #expect(try take(rig, them, first, .new) == nil && take(rig, us, first - 1, .all) == nil)
        let second = try lease(rig, us).number
        #expect(try take(rig, us, first, .new) == nil)
        #expect(try schedule(rig, us, first, "1-0") == 3 && schedule(rig, us, nil, "1-0") == 3)
        #expect(try rig.run("XPENDING orders g - + 9").contains(":0\r\n"))
        #expect(try schedule(rig, us, second, "1-0") == 1 && schedule(rig, us, second, "2-0") == 0)
        #expect(try take(rig, us, second, .new)?.rows == ["2-0 0  0", "3-0 0  0"] && take(rig, us, second, .new)?.rows == [])
        rig.close()
    }

    @Test func `what is pending is taken in the order of IDs, whoever of the sink's runs left it, with its count and its time`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for id in 1...8 { try rig.run("XADD orders \(id)-0 a b") }
        for (consumer, count) in [("sink:s:lease/them", 2), ("unowned", 1), ("somebody", 1), ("sink:s:lease/us", 1), ("sink:s:host:1", 1), ("unowned", 1)] {
            try rig.run("XREADGROUP GROUP g \(consumer) COUNT \(count) STREAMS orders >")
        }
        try rig.run("XDEL orders 2-0")
        let key = String(decoding: GatewayKeys.due(stream, group), as: UTF8.self)
        try rig.run("ZADD \(key) 4102444800000 3-0")
        let number = try lease(rig, us).number
        #expect(try take(rig, us, number, .all, count: 1)?.cursor == "1-0")
        let taken = try #require(try take(rig, us, number, .all))
        // What is ours is told too; what a stranger holds is passed over; before what a run without an order holds it stops.
        #expect(taken.rows == ["1-0 1  0", "3-0 1 4102444800000 1", "5-0 1  0"] && taken.trimmed == 1 && (30_000...60_000).contains(taken.waits))
        #expect(taken.cursor == "5-0")
        #expect(try rig.run("XLEN dead") == ":1\r\n")
        try rig.run("XACK orders g 6-0")
        #expect(try take(rig, us, number, .all, after: "5-0")?.rows == ["7-0 1  1"])
        #expect(try take(rig, us, number, .others)?.rows == [])
        try rig.run("XCLAIM orders g unowned 0 1-0 RETRYCOUNT 5 JUSTID")
        #expect(try take(rig, us, number, .unowned)?.rows == ["1-0 5  1"])
        // A stranger's is taken after the lease.
        try rig.run("XCLAIM orders g somebody 0 4-0 IDLE 70000 JUSTID")
        #expect(try take(rig, us, number, .others)?.rows == ["4-0 1  1"])
        rig.close()
    }

    @Test func `what another run that has had the lease may have on its way is waited for, and nothing goes past it`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders g 0 MKSTREAM")
        for id in 1...4 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.run("XREADGROUP GROUP g unowned COUNT 1 STREAMS orders >")
        let before = try lease(rig, them).number
        #expect(try take(rig, them, before, .new, count: 2)?.rows.count == 2)
        try rig.run("XCLAIM orders g \(String(decoding: them.bytes, as: UTF8.self)) 0 2-0 IDLE 25000 JUSTID")
        #expect(try schedule(rig, them, before, "2-0") == 1)  // As before each attempt: its idle time is 0 again.
        try rig.run("DEL \(String(decoding: GatewayKeys.sinkLease(stream, group), as: UTF8.self))")
        let number = try lease(rig, us).number
        let first = try #require(try take(rig, us, number, .all, flight: .seconds(20)))
        #expect(first.rows == ["1-0 1  1"] && first.cursor == "1-0" && (15_000...20_000).contains(first.waits))
        try rig.run("XCLAIM orders g \(String(decoding: them.bytes, as: UTF8.self)) 0 2-0 IDLE 20000 JUSTID")
        try rig.run("XACK orders g 3-0")
        let second = try #require(try take(rig, us, number, .all, after: "1-0", flight: .seconds(20)))
        #expect(second.rows == ["2-0 1  1"] && second.cursor == "" && second.waits == 0)
        rig.close()
    }
}
