// Live tails that are many, slow, cut off, one too many, or alive when something ends.

import Foundation
import Glibc
import Net
import Support
import Synchronization
import Testing

@Suite(.blocking, .serialized) struct TailFaultTests {
    /// Commands so far that a tail or its feed may have sent.
    private func reads(_ rig: Rig) throws -> Int {
        let stats = try rig.redis.info("commandstats")
        return ["xrange", "xread", "xinfo", "xinfo|stream"].reduce(0) { sum, command in
            sum + (stats["cmdstat_\(command)"].flatMap { Int($0.dropFirst(6).prefix { $0 != "," }) } ?? 0)
        }
    }

    @Test(arguments: [true, false]) func `a tail that finds nothing left up to where the others are waits there`(isDeleted: Bool) throws {
        let rig = try Rig()
        let stream = rig.newStream("emptied")
        let ids = try (1...3).map { try rig.add($0, to: stream) }
        let first = try rig.tail(stream, "after=\(ids[1])")
        #expect(try first.messages(1) == [ids[2]])
        if isDeleted { try rig.redis.run("DEL", stream) } else { try rig.redis.run("XTRIM", stream, "MAXLEN", "0") }
        // On each of the loops.
        let others = try (0..<4).map { _ in try EventReader(port: rig.port, rig.tailPath(stream), last: isDeleted ? nil : ids[0]) }
        for other in others { try other.waitForBeginning() }
        try waitUntil("all are there") { try rig.metric("sluice_tails") == 5 }
        let before = try reads(rig)
        for _ in 0..<300 { try rig.client.get("/readyz").expect(200) }  // As many turns of the loop, and answers of Redis.
        #expect(try reads(rig) - before < 60)
        let id = try rig.add(4, to: stream)
        #expect(try first.messages(2) == [ids[2], id])
        for other in others { #expect(try other.messages(1) == [id]) }
    }

    /// The feed always finds as much as it reads at once, and reads on: that is not answered before the call has asked.
    @Test func `a call that waits beside a tail looks while the tail's feed has more to read`() throws {
        @Sendable func entries(_ numbers: Range<Int>) -> String {
            let rows = numbers.map { "*2\r\n$\("\($0)-0".utf8.count)\r\n\($0)-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n" }
            return "*\(rows.count)\r\n" + rows.joined()
        }
        let held = Mutex("")
        let calls = Atomic(0)
        let redis = try ScriptedServer { words in
            guard words.contains("S") else { return .usual }
            switch words[0] {
            case "XRANGE":
                if words[2] == "5-0" { return .reply(entries(5..<6)) }  // The tail's beginning.
                guard let last = Int(words[2].dropFirst().dropLast(2)), let count = Int(words[5]) else { return .hangUp }
                let answer = entries(last + 1..<last + 1 + count)
                if last == 5 { return .reply(answer) }
                held.withLock { $0 = answer }
                return .silence
            case "XREAD":
                let found = calls.add(1, ordering: .relaxed).newValue > 1
                return .reply(held.withLock { exchange(&$0, with: "") } + (found ? "*1\r\n*2\r\n$1\r\nS\r\n" + entries(90001..<90002) : "*-1\r\n"))
            default: return .reply(":1\r\n")
            }
        }
        let gateway = try GatewayProcess(["--redis", redis.url, "--loops", "1", "--redis-timeout-ms", "60000"])
        let client = TestClient(port: gateway.port)
        try waitUntil("the gateway reaches Redis") { try client.get("/readyz").status == 200 }
        let tail = try EventReader(port: gateway.port, "/v1/streams/S/messages", last: "5-0")
        try waitUntil("it reads on") { held.withLock { !$0.isEmpty } }
        let reply = try client.begin("GET", "/v1/streams/S/messages?after=90000-0&block_ms=0").wait()
        #expect(reply.ids == ["90001-0"], "\(reply.text)")
        withExtendedLifetime((redis, tail)) { gateway.kill() }  // Else it waits for what Redis holds back.
    }

    /// What Redis is asked once more after a break goes on behind the last message: whether some were trimmed is another
    /// question.
    @Test func `a gap that came while Redis was away is told, though a read was under way`() throws {
        let isCut = Atomic(false), isReading = Atomic(false), isAway = Atomic(false)
        func entry(_ id: String) -> String { "*1\r\n*2\r\n$3\r\n\(id)\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n" }
        let (last, next) = (entry("5-0"), entry("9-0"))
        let redis = try ScriptedServer { words in
            guard words.contains("S") else { return .usual }
            guard words[0] == "XRANGE" else { return .reply(":1\r\n") }
            if isAway.load(ordering: .relaxed) { return .reply(words[2] == "(9-0" ? "*0\r\n" : next) }
            guard isCut.load(ordering: .relaxed) else { return .reply(words[2] == "5-0" ? last : "*0\r\n") }
            isReading.store(true, ordering: .relaxed)
            return .silence
        }
        let gateway = try GatewayProcess(["--redis", redis.url, "--loops", "1", "--redis-timeout-ms", "60000"])
        try waitUntil("the gateway reaches Redis") { try TestClient(port: gateway.port).get("/readyz").status == 200 }
        let tail = try EventReader(port: gateway.port, "/v1/streams/S/messages", last: "5-0")
        try tail.waitForBeginning()
        isCut.store(true, ordering: .relaxed)
        redis.say("*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nS\r\n", on: 1)
        try waitUntil("it reads") { isReading.load(ordering: .relaxed) }
        isAway.store(true, ordering: .relaxed)
        redis.hangUp()
        #expect(try tail.wait(for: "gap").data == ["after": "5-0", "first": "9-0"])
        #expect(try tail.messages(1) == ["9-0"])
    }

    @Test func `a thousand tails of a stream share one read, and each gets every message in order`() throws {
        let rig = try Rig()
        let stream = rig.newStream("many")
        let tails = try (0..<1000).map { _ in try EventReader(port: rig.port, rig.tailPath(stream)) }
        for tail in tails { try tail.waitForBeginning() }
        #expect(try rig.parked() == 1000 && rig.metric("sluice_tails") == 1000)
        let start = ContinuousClock.now
        let before = try reads(rig)
        var ids: [String] = []
        for number in 1...20 {
            ids.append(try rig.add(number, to: stream))
            try waitUntil("all have it") { try rig.metric("sluice_tail_events_total") == 1000 * number }
        }
        // One a wake-up, and those of the slow tick.
        let made = try reads(rig) - before
        let seconds = Int((ContinuousClock.now - start) / .seconds(1)) + 1
        #expect(made <= 20 + 20 + 2 * seconds, "\(made) reads for 20 messages in \(seconds) s")
        for tail in tails { #expect(try tail.messages(20) == ids) }
        for tail in tails { tail.socket.reset() }
        try waitUntil("they are gone") { try rig.metric("sluice_tails") == 0 && rig.parked() == 0 }
        try rig.add(21, to: stream)
        #expect(try rig.tail(stream, "after=\(ids[18])").messages(2).first == ids[19])
    }

    @Test func `what comes in the middle of a round reaches each tail once, whoever comes and goes`() throws {
        var random = SeededRandom()
        let rig = try Rig()
        let stream = rig.newStream("rounds")
        func newTail() throws -> EventReader { try EventReader(port: rig.port, rig.tailPath(stream, "after=earliest")) }
        var tails = try (0..<400).map { _ in try newTail() }
        for tail in tails { try tail.waitForBeginning() }
        for number in 1...60 {
            // A large one goes out by itself.
            try rig.redis.run("XADD", stream, "*", "n", String(repeating: "x", count: number == 40 ? 70_000 : 10))
            let index = Int.random(in: 0..<tails.count, using: &random)
            tails[index].socket.reset()
            tails[index] = try newTail()
            if number == 30 {  // Those who are left move up.
                for _ in 0..<250 { tails.remove(at: Int.random(in: 0..<tails.count, using: &random)).socket.reset() }
            }
        }
        let ids = try rig.redis.ask(["XRANGE", stream, "-", "+"]).elements.compactMap { $0.elements.first?.text }
        for tail in tails { #expect(try tail.messages(ids.count) == ids, "\(random.note)") }
    }

    @Test func `whoever is cut off at random and comes back misses nothing and gets nothing twice`() throws {
        var random = SeededRandom()
        let rig = try Rig()
        let stream = rig.newStream("random")
        struct Client {
            var reader: EventReader
            var seen: [String] = []
            var last: String
        }
        func connect(_ last: String?) throws -> EventReader {
            while true {
                let reader = try EventReader(port: rig.port, rig.tailPath(stream, last == nil ? "after=earliest" : ""), last: last)
                try reader.socket.expect("\r\n\r\n")
                if reader.socket.text.hasPrefix("HTTP/1.1 200 ") { return reader }
                #expect(reader.socket.text.hasPrefix("HTTP/1.1 503 "), "Redis was away just now\(random.note)")
            }
        }
        var clients = try (0..<20).map { _ in Client(reader: try connect(nil), last: "0-0") }
        func take(_ client: inout Client) throws {
            let (events, lastID, _, _) = try client.reader.stream()
            client.seen += events.filter { $0.name == "message" }.map(\.id)
            #expect(events.allSatisfy { $0.name == "message" }, "\(events)\(random.note)")
            if !lastID.isEmpty { client.last = lastID }
        }
        for round in 1...60 {
            let count = Int.random(in: 0...30, using: &random)
            if count > 0 {
                let messages = (0..<count).map { #"{"fields":{"n":"\#(round * 100 + $0)"}}"# }.joined(separator: ",")
                let pending = rig.client.begin(
                    "POST", rig.tailPath(stream), body: Array(#"{"messages":[\#(messages)]}"#.utf8), headers: ["Content-Type": "application/json"])
                for index in clients.indices where Int.random(in: 0..<4, using: &random) == 0 {
                    try take(&clients[index])
                    if Bool.random(using: &random) { clients[index].reader.socket.reset() } else { clients[index].reader.socket.close() }
                    clients[index].reader = try connect(clients[index].last)
                }
                _ = try pending.wait()  // What became of it where Redis went away, its stream tells.
            }
            if Int.random(in: 0..<10, using: &random) == 0 { try rig.redis.run("CLIENT", "KILL", "TYPE", Bool.random(using: &random) ? "normal" : "pubsub") }
        }
        let ids = try rig.redis.ask(["XRANGE", stream, "-", "+"]).elements.compactMap { $0.elements.first?.text }
        for index in clients.indices {
            let before = clients[index].seen.count
            try clients[index].reader.messages(ids.count - before)
            try take(&clients[index])
            #expect(clients[index].seen == ids, "\(random.note)")
        }
    }

    @Test func `a reader that does not keep up is ended with an error, and goes on from there`() throws {
        let rig = try Rig(["--max-tail-backlog-bytes", "65536"])
        let stream = rig.newStream("slow")
        let slow = try EventReader(port: rig.port, rig.tailPath(stream), receiveBuffer: 4096)
        try waitUntil("it has begun") { try rig.metric("sluice_tails") == 1 }
        let quick = try rig.tail(stream)
        let filler = String(repeating: "x", count: 200_000)
        var ids: [String] = []
        for number in 1...40 {
            ids.append("\(number)-0")
            try rig.redis.run("XADD", stream, "\(number)-0", "n", filler)
            try waitUntil("the quick one has it") {
                try quick.socket.takeWhatIsThere()
                return quick.socket.receivedCount > number * filler.utf8.count
            }
        }
        #expect(try quick.messages(40) == ids)
        #expect(try rig.metric("sluice_tails_behind_total") == 1)
        let (events, lastID, _, _) = EventReader.parse(try slow.socket.readToEnd())
        let got = events.filter { $0.name == "message" }.map(\.id)
        let error = try #require(events.last)
        #expect(error.name == "error" && error.data["code"] == "OVERLOADED" && error.data["retryable"] == true, "\(error.name)")
        #expect(error.data["last_id"].string == lastID && got.last == lastID && got.count < 40)
        #expect(got + (try rig.tail(stream, last: lastID).messages(40 - got.count)) == ids)
    }

    @Test func `each event passes nginx at once, with its default buffering`() throws {
        let rig = try Rig()
        let nginx = try Nginx([rig.port])
        let stream = rig.newStream("nginx")
        let client = try EventReader(port: nginx.port, rig.tailPath(stream))
        try client.socket.expect("\nid: 0-0\n")
        for number in 1...3 {
            let id = try rig.add(number, to: stream)
            try client.socket.expect("id: \(id)\n")
        }
        // Who leaves the proxy leaves us.
        client.socket.close()
        try waitUntil("it is gone") { try rig.metric("sluice_tails") == 0 }
    }

    @Test func `a tail is a waiter, of which there are only so many`() throws {
        let rig = try Rig(["--max-waiters", "2"])
        let stream = rig.newStream("full")
        let tails = [try rig.tail(stream), try rig.tail(stream)]
        let refused = try rig.client.get(rig.tailPath(stream), headers: ["Accept": "text/event-stream"])
        #expect(refused.status == 429 && refused.code == "TOO_MANY_WAITERS" && refused.headers["retry-after"] != nil)
        tails[0].socket.close()
        try rig.waitUntilParked(1)
        let next = try rig.tail(stream)
        let id = try rig.add(1, to: stream)
        #expect(try next.messages(1) == [id])
    }

    @Test func `a shutdown ends tails with a word on when to come back`() throws {
        let rig = try Rig()
        let stream = rig.newStream("end")
        let tails = try (0..<5).map { _ in try rig.tail(stream) }
        let slow = try EventReader(port: rig.port, rig.tailPath(stream), receiveBuffer: 4096)
        try waitUntil("it has begun") { try rig.metric("sluice_tails") == 6 }
        let id = try rig.add(1, to: stream)
        for tail in tails { #expect(try tail.messages(1) == [id]) }
        rig.gateway.send(SIGTERM)
        for tail in tails + [slow] {
            let (events, lastID, _, retry) = EventReader.parse(try tail.socket.readToEnd())
            #expect(events.map(\.id) == [id] && lastID == id && retry != nil)
            #expect(tail.socket.text.hasSuffix("0\r\n\r\n"))
        }
        #expect(rig.gateway.waitForEnd() == 0)
    }

    @Test func `a Redis that is away ends no tail, and what was trimmed meanwhile is told`() throws {
        let rig = try Rig()
        let stream = rig.newStream("away")
        let tail = try rig.tail(stream)
        let first = try rig.add(1, to: stream)
        #expect(try tail.messages(1) == [first])
        rig.redis.end()
        try rig.redis.start()
        try rig.waitUntilConnected()
        let second = try rig.add(2, to: stream)
        #expect(try tail.messages(2) == [first, second])
        // It came back without its data.
        #expect(try tail.stream().events.map(\.name) == ["message", "gap", "message"])
        #expect(try tail.stream().events[1].data == ["after": .string(first), "first": .string(second)])
        #expect(try rig.metric("sluice_tails") == 1)
    }
}
