// The script that deletes entries, held against a model, as it is on servers with XDELEX and on those without; and
// the one that deletes a stream.

import Support
import Testing

@testable import Gateway
@testable import Redis

@Suite(.blocking) struct DeleteScriptTests {
    private static let stream = StreamName("orders")
    private static let policies: [(StreamReferencePolicy, String)] = [(.keep, "keep"), (.delete, "delete"), (.acknowledged, "acked")]

    /// What the stream and its groups hold.
    private struct Model {
        struct Group {
            var position = StreamID.zero
            var pending: Set<StreamID> = []
        }

        var entries: Set<StreamID> = []
        var groups: [String: Group] = [:]

        mutating func delete(_ id: StreamID, _ references: StreamReferencePolicy) -> Int64 {
            let exists = entries.contains(id)
            switch references {
            case .keep: break
            case .delete: for name in groups.keys { groups[name]?.pending.remove(id) }
            case .acknowledged:
                if groups.values.contains(where: { $0.position < id || $0.pending.contains(id) }) { return exists ? 2 : -1 }
            }
            return entries.remove(id) == nil ? -1 : 1
        }

        mutating func acknowledgeAndDelete(_ id: StreamID, for group: String, _ references: StreamReferencePolicy) -> (Int64, Int64) {
            guard groups[group]?.pending.remove(id) != nil else { return (0, -1) }
            return (1, delete(id, references))
        }
    }

    private func delete(
        _ rig: RedisRig, _ ids: [StreamID], _ references: StreamReferencePolicy, for group: String? = nil, native: Bool
    ) throws -> (acked: Int64, statuses: [Int64]) {
        let call = DeleteScript.call(
            Self.stream, ids[...], references, acknowledging: group.map { GroupName($0) }, isNative: native)
        var parts = try rig.evaluate(DeleteScript.script, call).get().elements
        let acked = parts.takeInteger() ?? -1
        let list = parts.takeArray()
        var rows = try #require(list)
        var statuses: [Int64] = []
        while !rows.isAtEnd { statuses.append(rows.takeInteger() ?? 0) }
        return (acked, statuses)
    }

    private func ids(_ reply: RedisReply) -> Set<StreamID> {
        var (rows, found) = (reply.elements, Set<StreamID>())
        while var row = rows.takeArray() { if let id = row.takeText().flatMap({ StreamID($0) }) { found.insert(id) } }
        return found
    }

    private func check(_ rig: RedisRig, _ model: Model, _ note: String) throws {
        #expect(ids(try rig.send(.xrange("orders")).get()) == model.entries, "\(note)")
        for (name, group) in model.groups {
            let rows = try rig.send(.xpending(Self.stream.bytes, group: Array(name.utf8), count: 1000)).get()
            #expect(ids(rows) == group.pending, "\(name), \(note)")
        }
    }

    /// With XDELEX too, where the server has it.
    @Test(arguments: [false, true]) func `every sequence of calls ends as the model says`(native: Bool) throws {
        let rig = try RedisRig()
        defer { rig.close() }
        if try native && !rig.hasXDELEX() { return }
        var random = SeededRandom()
        for round in 0..<15 {
            try rig.run("DEL orders")
            var model = Model()
            // Some of them past what a Lua number can hold.
            let base: UInt64 = round % 2 == 0 ? 0 : .max - 100
            var next: UInt64 = 1
            for step in 0..<60 {
                let note = "round \(round), step \(step)\(random.note)"
                let group = ["g", "h", "i"].randomElement(using: &random) ?? "g"
                let some = (0..<Int.random(in: 1...4, using: &random)).map { _ in
                    StreamID(base + .random(in: 1...(next + 1), using: &random), round % 3 == 0 ? .max : 1)
                }
                let policy = Self.policies.randomElement(using: &random) ?? Self.policies[0]
                switch Int.random(in: 0..<10, using: &random) {
                case 0...2:
                    let id = StreamID(base + next, round % 3 == 0 ? .max : 1)
                    try rig.run("XADD orders \(id) a b")
                    model.entries.insert(id)
                    next += 1
                case 3 where !model.entries.isEmpty && model.groups[group] == nil:
                    try rig.run("XGROUP CREATE orders \(group) 0")
                    model.groups[group] = .init()
                case 4...5:
                    guard let before = model.groups[group] else { continue }
                    let new = model.entries.filter { $0 > before.position }.sorted().prefix(2)
                    try rig.run("XREADGROUP GROUP \(group) c COUNT 2 STREAMS orders >")
                    model.groups[group]?.pending.formUnion(new)
                    model.groups[group]?.position = new.last ?? before.position
                case 6:
                    guard model.groups[group] != nil else { continue }
                    try rig.run("XACK orders \(group) \(some[0])")
                    model.groups[group]?.pending.remove(some[0])
                case 7:
                    guard !model.entries.isEmpty else { continue }
                    try rig.run("XDEL orders \(some[0])")
                    model.entries.remove(some[0])
                case 8:
                    guard try rig.run("EXISTS orders").hasPrefix(":1") else { continue }
                    let wanted = some.map { model.delete($0, policy.0) }
                    let found = try delete(rig, some, policy.0, native: native)
                    #expect(found.statuses == wanted && found.acked == 0, "\(policy.1) \(some), \(note)")
                default:
                    guard model.groups[group] != nil else { continue }
                    let wanted = some.map { model.acknowledgeAndDelete($0, for: group, policy.0) }
                    let found = try delete(rig, some, policy.0, for: group, native: native)
                    #expect(found.statuses == wanted.map(\.1), "ack for \(group), \(policy.1) \(some), \(note)")
                    #expect(found.acked == wanted.map(\.0).reduce(0, +), "\(note)")
                }
                try check(rig, model, note)
            }
        }
    }

    @Test func `a slice ends after ten thousand looks into groups`() throws {
        let rig = try RedisRig()
        defer { rig.close() }
        try rig.run("XADD orders 1-1 a b")
        for number in 0..<24 { try rig.run("XGROUP CREATE orders g\(number) 0") }
        let many = (1...1000).map { StreamID($0, 1) }
        for policy in [StreamReferencePolicy.delete, .acknowledged] {
            #expect(try delete(rig, many, policy, native: false).statuses.count == 400)
        }
        #expect(try delete(rig, many, .keep, native: false).statuses.count == 1000)
    }

    @Test func `no stream and another type are told apart`() throws {
        let rig = try RedisRig()
        defer { rig.close() }
        let call = DeleteScript.call(Self.stream, [StreamID.max], .keep, acknowledging: nil, isNative: false)
        for (script, call) in [(DeleteScript.script, call), (DeleteStreamScript.script, DeleteStreamScript.call(Self.stream))] {
            try rig.run("DEL orders")
            guard case .failure(.reply(.err, let line)) = rig.evaluate(script, call) else { throw Unexpected() }
            #expect(line == "ERR no such key")
            try rig.run("SET orders text")
            guard case .failure(.reply(.wrongType, _)) = rig.evaluate(script, call) else { throw Unexpected() }
            #expect(try rig.run("GET orders").contains("text"))
        }
    }

    private struct Unexpected: Error {}

    @Test func `with a stream go the due times of its groups, and nobody else's`() throws {
        let rig = try RedisRig()
        defer { rig.close() }
        let (other, longer) = (StreamName("other"), StreamName("orders:g"))
        var keys: [String] = []
        for (stream, group) in [(Self.stream, "g"), (Self.stream, "h"), (other, "g"), (longer, "g")] {
            let (name, key) = (String(decoding: stream.bytes, as: UTF8.self), GatewayKeys.due(stream, GroupName(group)))
            keys.append(String(decoding: key, as: UTF8.self))
            try rig.run("XGROUP CREATE \(name) \(group) 0 MKSTREAM")
            try rig.run("ZADD \(keys[keys.count - 1]) 1 1-1")
        }
        #expect(rig.evaluate(DeleteStreamScript.script, DeleteStreamScript.call(Self.stream)).isSuccess)
        #expect(try rig.run("EXISTS orders") == ":0\r\n")
        #expect(try keys.map { try rig.run("EXISTS \($0)") } == [":0\r\n", ":0\r\n", ":1\r\n", ":1\r\n"])
    }
}

extension RedisRig {
    fileprivate func hasXDELEX() throws -> Bool { try run("COMMAND INFO XDELEX").lowercased().contains("xdelex") }
}

extension Result {
    fileprivate var isSuccess: Bool { if case .success = self { true } else { false } }
}
