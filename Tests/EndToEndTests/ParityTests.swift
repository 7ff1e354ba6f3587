// The same random calls through the gateway on one stream and as plain commands on another: what Redis keeps of
// both must be the same, and so must be the answers. `SEED=` repeats a run.

import Support
import Testing

@Suite(.gateway()) struct ParityTests {
    @Test func `what the gateway does to a stream is what Redis' commands do`() throws {
        var world = ParityWorld(rig: Rig.current)
        for step in 1...400 {
            let act = try world.step()
            guard try !world.isSame() else { continue }
            Issue.record("after step \(step), \(act)\(world.note): \(try world.states())")
            return
        }
    }
}

/// Two streams that are to be alike, and who acts on them.
private struct ParityWorld {
    let rig: Rig
    private let gatewayStream: String
    private let plainStream: String
    private var random = SeededRandom()
    private var milliseconds = 1000
    private var added: [String] = []
    private let groups = ["g", "h"]
    private let consumers = ["a", "b", "c d"]

    init(rig: Rig) {
        self.rig = rig
        gatewayStream = rig.newStream("parity")
        plainStream = rig.newStream("plain")
    }

    var note: String { random.note }

    // MARK: Acting

    /// One act on both.
    /// - Returns: what it was.
    mutating func step() throws -> String {
        switch Int.random(in: 0..<25, using: &random) {
        case 0..<7: try add()
        case 7..<11: try read()
        case 11, 12: try ack()
        case 13..<16: try claim()
        case 16: try autoclaim()
        case 17: try delete()
        case 18: try trim()
        case 19: try setID()
        case 20, 21: try changeGroup()
        case 22: try makeGroup()
        case 23: try handOn()
        default: try changeConsumer()
        }
    }

    // MARK: The stream

    private mutating func add() throws -> String {
        if Int.random(in: 0..<8, using: &random) > 0 { milliseconds += Int.random(in: 0...3, using: &random) }
        let id = "\(milliseconds)-\(Int.random(in: 0...9, using: &random))"
        let isBinary = Int.random(in: 0..<5, using: &random) == 0
        let fields: [([UInt8], [UInt8])] = (0..<Int.random(in: 1...3, using: &random)).map { _ in
            let name = Array("n\(Int.random(in: 0...1, using: &random))".utf8)
            return (name, isBinary ? [0xFF, 0, 0x0D, 0x0A] : Array("v\"é \(Int.random(in: 0...99, using: &random))".utf8))
        }
        var (query, options) = ([String](), [String]())
        if Int.random(in: 0..<6, using: &random) == 0 { (query, options) = (["nomkstream"], ["NOMKSTREAM"]) }
        switch Int.random(in: 0..<8, using: &random) {
        case 0:
            query += ["maxlen=6", "approx=false"]
            options += ["MAXLEN", "=", "6"]
        case 1:
            query += ["minid=\(milliseconds - 4)", "approx=false"]
            options += ["MINID", "=", "\(milliseconds - 4)"]
        default: break
        }
        let pairs = fields.map { name, value in
            isBinary ? #"["\#(name.base64)","\#(value.base64)"]"# : #"["\#(String(decoding: name, as: UTF8.self))","v\"\#(String(decoding: value.dropFirst(2), as: UTF8.self))"]"#
        }
        let body = #"{"id":"\#(id)","fields":[\#(pairs.joined(separator: ","))]\#(isBinary ? #","encoding":"base64""# : "")}"#
        let reply = try rig.client.post("/v1/streams/\(gatewayStream)/messages?\(query.joined(separator: "&"))", json: body)
        let words = ["XADD", plainStream] + options + [id]
        let plain = try rig.redis.ask(bytes: words.map { Array($0.utf8) } + fields.flatMap { [$0, $1] })
        #expect(reply.json["id"].string == plain.text, "\(reply.text)\(note)")
        #expect([201, 404, 409].contains(reply.status), "\(reply.text)\(note)")
        if plain.text != nil { added.append(id) }
        return "XADD \(options) \(id)"
    }

    private mutating func delete() throws -> String {
        let place = "/v1/streams/\(gatewayStream)"
        let ids = Bool.random(using: &random) ? [anID()] : someIDs()
        let isOne = ids.count == 1 && Bool.random(using: &random)
        let reply = try isOne
            ? rig.client.call("DELETE", "\(place)/messages/\(ids[0])") : rig.client.post("\(place)/delete", json: list(ids))
        let plain = try rig.redis.ask(["XDEL", plainStream] + ids)
        if reply.status == 200 { #expect(reply.json["deleted"].integer == plain.integer, "\(reply.text)\(note)") }
        #expect(reply.status == 200 || reply.status == 404 && plain.integer == 0, "\(reply.text)\(note)")
        return "XDEL \(ids)"
    }

    private mutating func trim() throws -> String {
        let byLength = Bool.random(using: &random)
        let mark = byLength ? "\(Int.random(in: 3...12, using: &random))" : anID()
        let reply = try rig.client.post("/v1/streams/\(gatewayStream)/trim?\(byLength ? "maxlen" : "minid")=\(mark)")
        let words = ["XTRIM", plainStream, byLength ? "MAXLEN" : "MINID", "=", mark]
        let plain = try rig.redis.ask(words)
        if reply.status == 200 { #expect(reply.json["deleted"].integer == plain.integer, "\(reply.text)\(note)") }
        #expect(reply.status == 200 || reply.status == 404 && plain.integer == 0, "\(reply.text)\(note)")
        return words.joined(separator: " ")
    }

    private mutating func setID() throws -> String {
        let id = Int.random(in: 0..<3, using: &random) == 0 ? anID() : "\(milliseconds)-9"
        var (body, words) = (#""last_id":"\#(id)""#, ["XSETID", plainStream, id])
        if !rig.isBeforeVersion7, Bool.random(using: &random) {
            let (count, deleted) = (Int.random(in: 0...2000, using: &random), anID())
            body += #","entries_added":\#(count),"max_deleted_id":"\#(deleted)""#
            words += ["ENTRIESADDED", "\(count)", "MAXDELETEDID", deleted]
        }
        let reply = try rig.client.call("PATCH", "/v1/streams/\(gatewayStream)", json: "{\(body)}")
        let plain = try rig.redis.ask(words)
        #expect((reply.status == 200) == (plain.text == "OK"), "\(reply.text)\(note)")
        return words.joined(separator: " ")
    }

    // MARK: Groups

    private mutating func read() throws -> String {
        let (group, consumer, count) = (aGroup(), aConsumer(), Int.random(in: 1...4, using: &random))
        let isOld = Int.random(in: 0..<4, using: &random) == 0
        let isAcknowledged = !isOld && Int.random(in: 0..<5, using: &random) == 0
        let query = "fields=pairs&count=\(count)\(isOld ? "&id=pending" : "")\(isAcknowledged ? "&noack" : "")"
        let reply = try rig.client.post("\(path(group, consumer))/read?\(query)")
        try createConsumer(group, consumer)
        let words = ["XREADGROUP", "GROUP", group, consumer, "COUNT", "\(count)"] + (isAcknowledged ? ["NOACK"] : [])
        let plain = try rig.redis.ask(words + ["STREAMS", plainStream, isOld ? "0" : ">"])
        let entries = plain.elements.first?.elements.last?.elements ?? []
        #expect(reply.ids == entries.compactMap { $0.elements.first?.text }, "\(reply.text)\(note)")
        for (message, entry) in zip(reply.json["messages"].array, entries) {
            let fields = entry.elements.last?.elements ?? []
            let sent = message["fields"].array.flatMap(\.array).compactMap(\.string)
            let kept = fields.compactMap { message["encoding"] == nil ? $0.text : $0.bytes?.base64 }
            #expect(sent == kept, "\(reply.text)\(note)")
        }
        return "\(words) \(isOld)"
    }

    private mutating func ack() throws -> String {
        let (group, ids) = (aGroup(), someIDs())
        let reply = try rig.client.post("/v1/streams/\(gatewayStream)/groups/\(group)/ack", json: list(ids))
        let plain = try rig.redis.ask(["XACK", plainStream, group] + ids)
        if reply.status == 200 { #expect(reply.json["acked"].integer == plain.integer, "\(reply.text)\(note)") }
        #expect(reply.status == 200 || reply.status == 404 && plain.integer == 0, "\(reply.text)\(note)")
        return "XACK \(group) \(ids)"
    }

    private mutating func claim() throws -> String {
        let (group, consumer, ids) = (aGroup(), aConsumer(), someIDs())
        // Times are told apart by hours: those that pass between the two calls do not matter.
        let minIdle = Int.random(in: 0..<3, using: &random) == 0 ? "3600000" : "0"
        var (query, options) = (["min_idle_ms=\(minIdle)"], [String]())
        if Bool.random(using: &random) { (query, options) = (query + ["justid"], options + ["JUSTID"]) }
        if Int.random(in: 0..<3, using: &random) == 0 { (query, options) = (query + ["idle_ms=7200000"], options + ["IDLE", "7200000"]) }
        if Int.random(in: 0..<3, using: &random) == 0 { (query, options) = (query + ["retry_count=7"], options + ["RETRYCOUNT", "7"]) }
        if Int.random(in: 0..<3, using: &random) == 0 { (query, options) = (query + ["force"], options + ["FORCE"]) }
        if Int.random(in: 0..<5, using: &random) == 0 {
            let id = anID()
            (query, options) = (query + ["last_id=\(id)"], options + ["LASTID", id])
        }
        let reply = try rig.client.post("\(path(group, consumer))/claim?\(query.joined(separator: "&"))", json: list(ids))
        try forgetDeleted(group, ids)
        try createConsumer(group, consumer)
        let plain = try rig.redis.ask(["XCLAIM", plainStream, group, consumer, minIdle] + ids + options)
        let claimed = plain.elements.compactMap { $0.text ?? $0.elements.first?.text }
        #expect(reply.ids + reply.json["ids"].array.compactMap(\.string) == claimed, "\(reply.text)\(note)")
        return "XCLAIM \(group) \(consumer) \(minIdle) \(ids) \(options)"
    }

    private mutating func autoclaim() throws -> String {
        let (group, consumer, count) = (aGroup(), aConsumer(), Int.random(in: 1...5, using: &random))
        // How far a look reaches past deleted entries differs from version to version: they are cleared first.
        let all = try rig.redis.ask(["XPENDING", plainStream, group, "-", "+", "1000"]).elements.compactMap { $0.elements.first?.text }
        if !all.isEmpty {
            try rig.client.post("\(path(group, consumer))/claim?min_idle_ms=0&justid", json: list(all)).expect(200)
            try forgetDeleted(group, all)
            try rig.redis.ask(["XCLAIM", plainStream, group, consumer, "0"] + all + ["JUSTID"])
        }
        let isBare = Bool.random(using: &random)
        let start = Int.random(in: 0..<3, using: &random) == 0 ? anID() : "0"
        let reply = try rig.client.post(
            "\(path(group, consumer))/autoclaim?min_idle_ms=0&count=\(count)&start=\(start)\(isBare ? "&justid" : "")")
        try createConsumer(group, consumer)
        let words = ["XAUTOCLAIM", plainStream, group, consumer, "0", start, "COUNT", "\(count)"] + (isBare ? ["JUSTID"] : [])
        let plain = try rig.redis.ask(words)
        #expect(reply.json["cursor"].string == plain.elements.first?.text, "\(reply.text)\(note)")
        let claimed = (plain.elements.dropFirst().first?.elements ?? []).compactMap { $0.text ?? $0.elements.first?.text }
        #expect(reply.ids + reply.json["ids"].array.compactMap(\.string) == claimed, "\(reply.text)\(note)")
        return words.joined(separator: " ")
    }

    /// Before 7.2 reads and claims that find nothing create no consumer; through the gateway they do.
    private func createConsumer(_ group: String, _ consumer: String) throws {
        try rig.redis.ask(["XGROUP", "CREATECONSUMER", plainStream, group, consumer])
    }

    /// Entries that are gone leave the pending list when they are claimed, through the gateway on every version;
    /// before 7.0 Redis leaves them there.
    private func forgetDeleted(_ group: String, _ ids: [String]) throws {
        guard rig.isBeforeVersion7 else { return }
        for id in ids where try rig.redis.ask(["XRANGE", plainStream, id, id]).elements.isEmpty {
            try rig.redis.ask(["XACK", plainStream, group, id])
        }
    }

    private mutating func makeGroup() throws -> String {
        let group = aGroup()
        let id = Bool.random(using: &random) ? "0-0" : anID()
        let reply = try rig.client.put("/v1/streams/\(gatewayStream)/groups/\(group)?id=\(id)&mkstream")
        let plain = try rig.redis.ask(["XGROUP", "CREATE", plainStream, group, id, "MKSTREAM"])
        #expect((reply.status == 201) == (plain.text == "OK"), "\(reply.text)\(note)")
        return "XGROUP CREATE \(group) \(id)"
    }

    private mutating func changeGroup() throws -> String {
        let group = aGroup()
        let place = "/v1/streams/\(gatewayStream)/groups/\(group)"
        if Int.random(in: 0..<4, using: &random) == 0 {
            let reply = try rig.client.call("DELETE", place)
            let plain = try rig.redis.ask(["XGROUP", "DESTROY", plainStream, group])
            #expect((reply.status == 200) == (plain.integer == 1), "\(reply.text)\(note)")
            return "XGROUP DESTROY \(group)"
        }
        let id = Int.random(in: 0..<4, using: &random) == 0 ? "$" : anID()
        var (body, words) = (#""id":"\#(id)""#, ["XGROUP", "SETID", plainStream, group, id])
        if !rig.isBeforeVersion7, Bool.random(using: &random) {
            let count = Int.random(in: -1...400, using: &random)
            (body, words) = (body + #","entries_read":\#(count)"#, words + ["ENTRIESREAD", "\(count)"])
        }
        let reply = try rig.client.call("PATCH", place, json: "{\(body)}")
        let plain = try rig.redis.ask(words)
        #expect((reply.status == 200) == (plain.text == "OK"), "\(reply.text)\(note)")
        return words.joined(separator: " ")
    }

    private mutating func changeConsumer() throws -> String {
        let (group, consumer) = (aGroup(), aConsumer())
        if Bool.random(using: &random) {
            let reply = try rig.client.put(path(group, consumer))
            let plain = try rig.redis.ask(["XGROUP", "CREATECONSUMER", plainStream, group, consumer])
            #expect((reply.status == 201) == (plain.integer == 1), "\(reply.text)\(note)")
            return "XGROUP CREATECONSUMER \(group) \(consumer)"
        }
        let reply = try rig.client.call("DELETE", "\(path(group, consumer))?pending=drop")
        let plain = try rig.redis.ask(["XGROUP", "DELCONSUMER", plainStream, group, consumer])
        if reply.status == 200 { #expect(reply.json["pending"].integer == plain.integer, "\(reply.text)\(note)") }
        return "XGROUP DELCONSUMER \(group) \(consumer)"
    }

    /// Deletes a consumer, and gives what it holds to another, or refuses to: as commands, one after the other.
    private mutating func handOn() throws -> String {
        let (group, consumer) = (aGroup(), aConsumer())
        let held = try rig.redis.ask(["XPENDING", plainStream, group, "-", "+", "1000", consumer]).elements
        if Bool.random(using: &random) {
            let reply = try rig.client.call("DELETE", "\(path(group, consumer))?pending=refuse")
            #expect((reply.status == 409) == !held.isEmpty, "\(reply.text)\(note)")
            if reply.status == 200 { try rig.redis.ask(["XGROUP", "DELCONSUMER", plainStream, group, consumer]) }
            return "refuse \(group) \(consumer)"
        }
        let others = consumers.filter { $0 != consumer }
        let heir = others[Int.random(in: 0..<others.count, using: &random)]
        let reply = try rig.client.call(
            "DELETE", "\(path(group, consumer))?to=\(heir.split(separator: " ").joined(separator: "%20"))")
        guard reply.status == 200 else { return "DELCONSUMER \(group) \(consumer): \(reply.status)" }
        var given = 0
        for row in held.map(\.elements) {
            guard row.count == 4, let id = row[0].text, let idle = row[2].integer, let count = row[3].integer else { continue }
            if try rig.redis.ask(["XRANGE", plainStream, id, id]).elements.isEmpty {
                try rig.redis.ask(["XACK", plainStream, group, id])
            } else {
                given += 1
                try rig.redis.ask(
                    ["XCLAIM", plainStream, group, heir, "0", id, "IDLE", "\(idle)", "RETRYCOUNT", "\(count)", "JUSTID"])
            }
        }
        #expect(reply.json["pending"].integer == given && reply.json["deleted"].integer == held.count - given, "\(reply.text)\(note)")
        try rig.redis.ask(["XGROUP", "DELCONSUMER", plainStream, group, consumer])
        return "DELCONSUMER \(group) \(consumer) to \(heir)"
    }

    // MARK: Choosing

    private mutating func aGroup() -> String { groups[Int.random(in: 0..<groups.count, using: &random)] }
    private mutating func aConsumer() -> String { consumers[Int.random(in: 0..<consumers.count, using: &random)] }

    /// Most often one that was added.
    private mutating func anID() -> String {
        guard !added.isEmpty, Int.random(in: 0..<8, using: &random) > 0 else { return "\(milliseconds)-5" }
        return added[Int.random(in: max(0, added.count - 12)..<added.count, using: &random)]
    }

    private mutating func someIDs() -> [String] {
        let ids = (0..<Int.random(in: 1...4, using: &random)).map { _ in anID() }
        return ids.enumerated().filter { index, id in ids.firstIndex(of: id) == index }.map(\.element)
    }

    private func path(_ group: String, _ consumer: String) -> String {
        "/v1/streams/\(gatewayStream)/groups/\(group)/consumers/\(consumer.split(separator: " ").joined(separator: "%20"))"
    }

    private func list(_ ids: [String]) -> String { #"{"ids":[\#(ids.map { "\"\($0)\"" }.joined(separator: ","))]}"# }

    // MARK: Comparing

    /// The gateway creates the consumer of an empty read a moment after the answer: looks until both are alike.
    func isSame() throws -> Bool {
        do {
            try waitUntil("both streams are alike") { try state(gatewayStream) == state(plainStream) }
            return true
        } catch is Impatience {
            return false
        }
    }

    func states() throws -> String { "\(try state(gatewayStream))\nas against\n\(try state(plainStream))" }

    private func state(_ stream: String) throws -> RedisValue {
        try rig.redis.ask(["XINFO", "STREAM", stream, "FULL", "COUNT", "0"]).withoutTimes
    }
}

extension [UInt8] {
    /// RFC 4648 §4.
    fileprivate var base64: String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: count, by: 3) {
            let part = self[start..<Swift.min(start + 3, count)]
            let bits = part.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - part.count))
            for place in 0..<4 { text.append(place <= part.count ? digits[bits >> (18 - 6 * place) & 63] : UInt8(ascii: "=")) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}

extension RedisValue {
    fileprivate var bytes: [UInt8]? { if case .bulk(let bytes) = self { bytes } else { nil } }

    /// Of XINFO STREAM … FULL what does not depend on the clock or on how the server lays a stream out.
    fileprivate var withoutTimes: RedisValue {
        guard case .array(let elements) = self else { return self }
        var kept: [RedisValue] = []
        var index = 0
        while index < elements.count {
            let name = elements[index].text
            if let name, ["seen-time", "active-time", "radix-tree-keys", "radix-tree-nodes"].contains(name) {
                index += 2
            } else if ["pending", "pel"].contains(name), index + 1 < elements.count {
                // A row's time is its last number but one.
                kept += [elements[index], .array(elements[index + 1].elements.map { row in
                    var row = row.elements
                    row.remove(at: row.count - 2)
                    return .array(row)
                })]
                index += 2
            } else {
                kept.append(elements[index].withoutTimes)
                index += 1
            }
        }
        return .array(kept)
    }
}
