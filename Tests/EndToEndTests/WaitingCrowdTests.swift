// Crowds that wait at two gateways of two loops each, on one Redis: what a wake-up costs among them, and what becomes of
// messages when half of the crowd vanishes while they flow.

import Support
import Testing

@Suite(.blocking, .serialized) struct WaitingCrowdTests {
    private let rig: Rig
    private let second: GatewayProcess

    init() throws {
        rig = try Rig()
        second = try GatewayProcess(["--redis", "unix://\(rig.redis.directory)/redis.sock", "--loops", "2"])
        try rig.waitUntilConnected()
        let other = TestClient(port: second.port)
        try waitUntil("the second gateway is ready") { try other.get("/readyz").status == 200 }
    }

    private func waiting() throws -> Int {
        try rig.parked() + (TestClient(port: second.port).get("/v1/info").json["waiters"]["parked"].integer ?? -1)
    }

    /// Readers for one message each, in turns at the one gateway and the other; parked.
    private func park(_ count: Int, _ path: (Int) -> String) throws -> [ClientSocket] {
        let before = try waiting()
        let sockets = try (0..<count).map { number in
            let socket = try ClientSocket(port: number % 2 == 0 ? rig.port : second.port)
            try socket.request("POST", path(number))
            return socket
        }
        try waitUntil("all are parked") { try waiting() == before + count }
        return sockets
    }

    // MARK: Steps, counted

    /// Commands of a kind that Redis has executed.
    private func calls(_ kinds: Set<String>) throws -> Int {
        try rig.redis.info("commandstats").reduce(0) { sum, entry in
            guard kinds.contains(entry.key.dropFirst("cmdstat_".count).prefix { $0 != "|" }.description) else { return sum }
            return sum + (Int(entry.value.dropFirst("calls=".count).prefix { $0.isNumber }) ?? 0)
        }
    }

    @Test func `a wake-up costs Redis as much among a thousand waiters as among forty`() throws {
        let kinds: Set = ["xreadgroup", "exists", "client", "evalsha", "publish"]
        var costs: [Int] = []
        for crowd in [40, 1_000] {
            let stream = try rig.newGroup("cost")
            let sockets = try park(crowd) { rig.readPath(stream, "c\($0)", "block_ms=0&count=1") }
            let before = try calls(kinds)
            for number in 0..<30 {
                try rig.redis.run("XADD", stream, "*", "n", "\(number)")
                try waitUntil("it is handed out") { try waiting() == crowd - number - 1 }
            }
            costs.append(try calls(kinds) - before)
            for socket in sockets { socket.close() }
            try waitUntil("all have left") { try waiting() == 0 }
        }
        // A tracking (two commands) and two reads at each gateway, and now and then one of the slow tick.
        #expect(costs[1] <= costs[0] + 90 && costs.allSatisfy { $0 <= 30 * 2 * 6 }, "\(costs)")
    }

    // MARK: Many streams each

    @Test func `readers of a hundred streams each share what comes to any of them`() throws {
        let streams = try (0..<100).map { _ in try rig.newGroup("m") }
        let all = streams.map { "stream=\($0)" }.joined(separator: "&")
        let sockets = try park(60) { "/v1/groups/g/consumers/c\($0)/read?\(all)&count=1&block_ms=0" }
        var random = SeededRandom(seed: simulationSeed() ?? 7)
        for number in 0..<60 { try rig.redis.run("XADD", streams[Int.random(in: 0..<100, using: &random)], "*", "n", "\(number)") }
        var numbers: [Int] = []
        var rest = sockets
        // One reader may have messages of several streams: the others wait on.
        try waitUntil("all have been handed out") {
            try rest.removeAll { socket in
                guard try socket.replyIsThere("\r\n\r\n") else { return false }
                numbers += try socket.reply().json["streams"].array.flatMap { $0["messages"].array }.compactMap {
                    $0["fields"]["n"].string.flatMap { Int($0) }
                }
                return true
            }
            return numbers.count >= 60
        }
        #expect(numbers.sorted() == Array(0..<60), "each once")
        #expect(try waiting() == rest.count)
    }

    // MARK: Turns

    @Test func `a gateway for which words bring nothing asks for a turn, and the others wake up all the same`() throws {
        let stream = try rig.newGroup("turn")
        let added = try (0..<40).map { try rig.add($0, to: stream) }
        #expect(try rig.read(stream, "c", "count=40&noack").ids == added)
        let sockets = try park(2) { rig.readPath(stream, "w\($0)", "block_ms=0&count=1") }
        for id in added {  // Each a word that brings nothing, as that of a message which another gateway has.
            let before = try rig.metric("sluice_looks_total")
            try rig.redis.run("XDEL", stream, id)
            try waitUntil("it has looked") { try rig.metric("sluice_looks_total") > before }
        }
        try waitUntil("it has asked") { try rig.metric("sluice_turns_asked_total") > 0 }
        try rig.redis.run("PUBLISH", "sluice:nudge", "t3600000:\(stream.utf8.count):\(stream)g")
        for _ in 0..<2 { try rig.redis.run("XADD", stream, "*", "n", "1") }
        for socket in sockets { #expect(try socket.reply().numbers == ["1"]) }
    }

    // MARK: The departed

    @Test func `half of a thousand waiters vanish while messages flow, and every message is acknowledged by one who lives`() throws {
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 32)
        var random = SeededRandom(seed: seed)
        let stream = try rig.newGroup("storm")
        var living = Dictionary(
            uniqueKeysWithValues: try park(1_000) { rig.readPath(stream, "c\($0)", "block_ms=0&count=1") }.enumerated().map { ($0, $1) })
        let writer = try rig.redis.connect()
        var vanished: Set<String> = []
        var got: [String] = []
        var deliveries: [Int: Int] = [:]

        func take(_ socket: ClientSocket) throws {
            let message = try socket.reply().json["messages"][0]
            guard let id = message["id"].string, let count = message["delivery_count"].integer else { return }
            got.append(id)
            deliveries[count, default: 0] += 1
            #expect(count == 1 || message["consumer"] == "unowned", "SEED=\(seed)")
        }

        var (messages, leavers) = (0, Array(living.keys.sorted().shuffled(using: &random).prefix(500)))
        while messages < 500 || !leavers.isEmpty {
            if messages < 500, Bool.random(using: &random) || leavers.isEmpty {
                try writer.send(commands: [["XADD", stream, "*", "n", "\(messages)"]])
                messages += 1
                continue
            }
            let number = leavers.removeLast()
            guard let socket = living.removeValue(forKey: number) else { continue }
            let way = Int.random(in: 0..<3, using: &random)
            // Whoever has its message has it, and acknowledges it before it goes.
            if try socket.replyIsThere("delivery_count") {
                try take(socket)
            } else if way == 0 {
                vanished.insert("c\(number)")
                socket.reset()
            } else {
                if way == 1 { socket.finishSending() } else { socket.finishBoth() }
                vanished.insert("c\(number)")
                living[number + 10_000] = socket  // What came before the end can still be read.
            }
        }
        // None waits for a lease, which is 30 s.
        try waitUntil("every message was acknowledged", atMost: .seconds(25)) {
            for (number, socket) in living where try socket.replyIsThere("delivery_count") {
                living[number] = nil
                try take(socket)
            }
            if !got.isEmpty { try rig.client.post("/v1/streams/\(stream)/groups/g/ack", json: "{\"ids\":[\(got.map { "\"\($0)\"" }.joined(separator: ","))]}").expect(200) }
            // A reply that the kernel took in the very moment of the end is its client's, who may not see it.
            let held = try rig.pending(stream).values.map(\.consumer)
            return held.allSatisfy(vanished.contains) && got.count + held.count == 500
        }
        #expect(Set(got).count == got.count && got.count >= 498, "SEED=\(seed): \(got.count)")
        #expect(deliveries[1, default: 0] > 0)
    }
}
