// What Redis keeps of a sink's globs, by the scripts alone and against the real redis-server, and a walk whose connection breaks.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

@Suite(.blocking) struct SinkGlobScriptTests {
    private let key = "sluice:{sinks}:globs:test"
    private let orders = Glob("orders:*")
    private let bills = Glob("bills:*")

    private func definition(_ streams: String...) -> SinkDefinition { SinkStateTests.definition(streams: streams) { $0.group = "g" } }

    private func put(_ definition: SinkDefinition, _ rig: RedisRig) throws -> [UInt8] {
        let stored = Array(definition.json(showsSecrets: true).utf8)
        _ = try rig.evaluate(PutSinkScript.script, PutSinkScript.call(definition, stored, limit: 9)).get()
        return stored
    }

    /// The marks that Redis answers with; nil where it has another definition.
    private func marks(_ definition: SinkDefinition, _ stored: [UInt8], _ rig: RedisRig, known: [Glob: SinkMark] = [:]) throws -> [Glob: SinkMark]? {
        let reply = try rig.evaluate(SinkMarkScript.script, SinkMarkScript.call(definition, stored: stored, known: known)).get()
        var parts = reply.elements
        guard !parts.isAtEnd else { return nil }
        parts.skip()
        var marks: [Glob: SinkMark] = [:]
        while let glob = parts.takeText() { marks[Glob(glob)] = SinkMark(parts.takeText()) }
        return marks
    }

    private func walked(_ definition: SinkDefinition, _ stored: [UInt8], _ marks: [Glob: SinkMark]?, _ rig: RedisRig) throws -> Int64? {
        let finds = SinkFinds(["orders:1"], excluded: ["orders:dead"], refused: ["orders:2"])
        let call = SinkWalkedScript.call(definition, stored: stored, finds, marks ?? [:])
        return try rig.evaluate(SinkWalkedScript.script, call).get().integer
    }

    @Test func `a replica that has not heard of another definition has no say`() throws {
        let rig = try RedisRig()
        let (first, second) = (definition("orders:*"), definition("bills:*"))
        let old = try put(first, rig)
        let began = try #require(try marks(first, old, rig))
        #expect(began[orders]?.isWalked == false && began.count == 1)
        let new = try put(second, rig)
        let kept = try rig.run("HGETALL \(key)")
        #expect(try marks(first, old, rig) == nil)
        #expect(try walked(first, old, began, rig) == 0)
        #expect(try rig.run("HGETALL \(key)") == kept)
        // What the old glob would have found is known until a walk has ended.
        let both = try #require(try marks(second, new, rig))
        #expect(Set(both.keys) == [orders, bills] && both[orders] == began[orders])
        #expect(try walked(second, new, both, rig) == 1)
        let after = try #require(try marks(second, new, rig))
        #expect(after.keys.map(\.text) == ["bills:*"] && after[bills]?.isWalked == true)
        let finds = try rig.send(.hget(Array(key.utf8), SinkFinds.field(second))).get()
        #expect(finds.withBytes { SinkFinds(json: $0) } == SinkFinds(["orders:1"], excluded: ["orders:dead"], refused: ["orders:2"]))
        rig.close()
    }

    @Test func `a walk counts for the mark with which it began`() throws {
        let rig = try RedisRig()
        let sink = definition("orders:*")
        let stored = try put(sink, rig)
        #expect(try walked(sink, stored, [orders: SinkMark(since: 1)], rig) == 1)
        let mark = try #require(try marks(sink, stored, rig)?[orders])
        #expect(!mark.isWalked && mark.since > 1)
        rig.close()
    }

    @Test func `marks of globs that are replaced while nobody looks are bounded`() throws {
        let rig = try RedisRig()
        for number in 0..<150 { _ = try put(definition("orders:\(number):*"), rig) }
        let (sink, count) = (definition("orders:*"), Limits.sinkStreams + 1)
        #expect(try marks(sink, put(sink, rig), rig)?.count == count)
        // A name alone has none.
        _ = try put(definition("orders"), rig)
        #expect(try rig.run("EXISTS \(key)") == ":0\r\n")
        rig.close()
    }

    @Test func `of different files of the configuration each keeps its marks, and the newer outlives the older`() throws {
        let rig = try RedisRig()
        let (old, new) = (definition("orders:*"), definition("bills:*"))
        var known = [orders: SinkMark(since: 5, isWalked: true)]
        var began = try marks(old, [], rig, known: known)
        #expect(began == known)
        #expect(try marks(new, [], rig)?.count == 2)
        #expect(try walked(old, [], began, rig) == 1)
        began = try marks(new, [], rig)
        #expect(began?.count == 2 && began?[bills]?.isWalked == false)
        #expect(try walked(new, [], began, rig) == 1)
        known = try #require(try marks(new, [], rig))
        #expect(known.keys.map(\.text) == ["bills:*"] && known[bills]?.isWalked == true)
        #expect(try rig.run("TTL \(key)") != ":-1\r\n")
        rig.close()
    }

    @Test func `a walk in which the connection was lost begins anew`() throws {
        let rig = try RedisRig()
        try rig.server.run(["EVAL", "for i = 1, 3500 do redis.call('SET', 'key:' .. i, '') end redis.call('XADD', 'orders:1', '*', 'a', 'b')", "0"])
        let sink = SinkStateTests.definition(streams: ["orders:*"]) { $0.url = "http://receiver.example/" }
        try rig.gateway.on { try $0.runRoster(of: sink) }
        // It was told of the new connection before the step's answer came, as a real one is.
        #expect(rig.wait { $0.roster?.entries["test"]?.findProblem?.contains("begins anew") == true })
        #expect(try !rig.run("HVALS \(key)").contains("walked"))
        rig.gateway.on { $0.roster?.findSoon(.zero) }
        #expect(rig.wait { $0.roster?.entries["test"]?.finds.streams == ["orders:1"] })
        rig.gateway.on { #expect($0.watched?.cursors.prefix(3).map { $0 == "0" } == [true, false, true]) }
        rig.close()
    }
}
