// What a sink's tests share: a Redis, a receiver, and gateways whose configuration has one sink between them.
// Each test has its own, since nearly all of them hurt one of the three.

import Glibc
import Support
import Testing

final class SinkRig {
    static let stream = "orders:payments"
    static let dead = "orders:payments:dlq"
    static let group = "sink:payments"
    /// Of Standard Webhooks' own example, and one more.
    static let secrets = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"]

    /// Keys for tests that look at what is before a deadline or a lease, and wait it out: no stall of some seconds passes them.
    static func steady(_ more: [String: String] = [:]) -> [String: String] {
        ["timeout_ms": "4000", "connect_timeout_ms": "1000", "lease_ms": "5500"].merging(more) { _, own in own }
    }

    let redis: RedisServerProcess
    let receiver: Receiver
    private let configuration: String
    private var gateways: [GatewayProcess] = []

    /// - Parameters:
    ///   - keys: of the sink, in YAML, besides or instead of the usual ones.
    ///   - isHasty: for tests of deadlines (Redis' too), and of leases that nobody gives back. Without it times are such that
    ///     no busy machine exceeds them.
    ///   - script: what the receiver does.
    init(
        _ keys: [String: String] = [:], isHasty: Bool = false, redisOptions: [String] = [],
        _ script: @escaping @Sendable (Receiver.Delivery) -> Receiver.Answer = { _ in .status(200) }
    ) throws {
        redis = try RedisServerProcess(options: redisOptions)
        receiver = try Receiver { $0.json["fields"]["do"] == "warm" ? .status(200) : script($0) }
        var all = [
            "streams": "[\(SinkRig.stream)]", "url": receiver.url, "start": "earliest", "timeout_ms": isHasty ? "500" : "10000",
            "connect_timeout_ms": isHasty ? "300" : "5000", "lease_ms": isHasty ? "1000" : "20000", "allow_networks": "[127.0.0.0/8]",
            "retry": "{base_ms: 100, factor: 1.5, max_ms: 400, max_deliveries: 3}",
            "secrets": "[\(SinkRig.secrets.joined(separator: ", "))]",
        ]
        all.merge(keys) { _, own in own }
        configuration = "redis_timeout_ms: \(isHasty ? 1000 : 5000)\nsinks:\n  payments:\n"
            + all.sorted { $0.key < $1.key }.map { "    \($0.key): \($0.value)\n" }.joined()
    }

    deinit { receiver.stop() }

    func newGateway() throws -> GatewayProcess {
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "1", "--log-level", "debug"], configuration: configuration)
        gateways.append(gateway)
        return gateway
    }

    /// One that is there and stands still, until it is told to go on: it begins at once then.
    func newBystander() throws -> GatewayProcess {
        let gateway = try newGateway()
        let client = TestClient(port: gateway.port)
        try wait("it reaches Redis") { try client.get("/readyz").status == 200 }
        gateway.send(SIGSTOP)
        return gateway
    }

    /// As `waitUntil`; when it does not come to pass, the error holds what the gateways said last.
    func wait(_ what: String, atMost limit: Duration = .seconds(60), _ condition: () throws -> Bool) throws {
        do {
            try waitUntil(what, atMost: limit, condition)
        } catch let error as Impatience {
            Issue.record("\(what): \(logs)")
            throw error
        }
    }

    private var logs: String {
        gateways.suffix(2).map { $0.log.split(separator: "\n").suffix(20).joined(separator: "\n") }.joined(separator: "\n\n")
    }

    // MARK: The stream

    /// Adds a message with the field `do`; its ID.
    @discardableResult
    func add(_ text: String = "200") throws -> String {
        let reply = try redis.run("XADD", SinkRig.stream, "*", "do", text)
        return String(reply.split(whereSeparator: \.isNewline).last ?? "")
    }

    /// Delivers enough for the sink to have all its requests in flight at once; the receiver then knows nothing of it.
    func warmUp() throws {
        for _ in 0..<20 { try add("warm") }
        try waitUntilSettled()
        receiver.forget()
    }

    func add(count: Int) throws -> [String] { try (0..<count).map { _ in try add() } }

    /// Of the group; -1: there is none.
    func pending() throws -> Int {
        let lines = try redis.run("XPENDING", SinkRig.stream, SinkRig.group).split(whereSeparator: \.isNewline)
        return lines.count > 1 ? Int(lines[1].dropFirst()) ?? -1 : -1
    }

    /// Whether the group has read all there is.
    private func isRead() throws -> Bool {
        func value(_ name: String, _ command: [String]) throws -> Substring? {
            let reply = try redis.run(command)
            let lines = reply.split(whereSeparator: \.isNewline)
            return lines.firstIndex(of: Substring(name)).flatMap { lines.indices.contains($0 + 2) ? lines[$0 + 2] : nil }
        }
        let read = try value("last-delivered-id", ["XINFO", "GROUPS", SinkRig.stream])
        return try read != nil && read == value("last-generated-id", ["XINFO", "STREAM", SinkRig.stream])
    }

    /// Who holds the message, and its counter; nil: it is not pending.
    func holder(of id: String) throws -> (consumer: String, deliveries: Int)? {
        let lines = try redis.run("XPENDING", SinkRig.stream, SinkRig.group, id, id, "1").split(whereSeparator: \.isNewline)
        guard lines.count >= 8 else { return nil }
        return (String(lines[5]), Int(lines[7].dropFirst()) ?? -1)
    }

    /// Whether a time is written down for a retry.
    func isScheduled(_ id: String) throws -> Bool {
        guard let key = try redis.run("KEYS", "sluice:*:due:*").split(whereSeparator: \.isNewline).dropFirst(2).first else { return false }
        return try !redis.run("ZSCORE", String(key), id).hasPrefix("$-1")
    }

    func waitUntilSettled(atMost limit: Duration = .seconds(60)) throws {
        try wait("every message is acknowledged", atMost: limit) { try isRead() && pending() == 0 }
    }

    // MARK: What became of it

    /// Fields of the dead letters, by the original's ID; more than one of a message fails the test.
    func deadLetters(_ gateway: GatewayProcess) throws -> [String: JSON] {
        let reply = try TestClient(port: gateway.port).get("/v1/streams/\(SinkRig.dead)/messages?count=1000")
        var letters: [String: JSON] = [:]
        for message in reply.json["messages"].array {
            let id = message["fields"]["original_id"].string ?? ""
            #expect(letters[id] == nil, "two dead letters of \(id)")
            letters[id] = message["fields"]
        }
        return letters
    }

    /// The sum of one of the sink's metrics over its labels that contain `label`.
    func metric(_ name: String, _ gateway: GatewayProcess, _ label: String = "") throws -> Int {
        let lines = try TestClient(port: gateway.port).get("/metrics").text.split(separator: "\n")
        return lines.filter { $0.hasPrefix("\(name){") && $0.contains(label) }
            .reduce(0) { $0 + (Int($1.split(separator: " ").last ?? "") ?? 0) }
    }

    /// The promise (SINKS.md, top), once all is settled.
    func expectPromise(_ ids: [String], _ gateway: GatewayProcess, _ note: String = "", sourceLocation: SourceLocation = #_sourceLocation) throws {
        let letters = try deadLetters(gateway)
        let confirmed = receiver.confirmed
        let lost = ids.filter { letters[$0] == nil && !confirmed.contains($0) }
        #expect(lost.isEmpty, "neither delivered nor a dead letter: \(lost) \(note)", sourceLocation: sourceLocation)
        #expect(try pending() == 0, "\(note)", sourceLocation: sourceLocation)
        // One entry, one webhook-id, over all attempts.
        var webhookIDs: [String: Set<String>] = [:]
        for delivery in receiver.deliveries { webhookIDs[delivery.message, default: []].insert(delivery.id) }
        #expect(webhookIDs.allSatisfy { $0.value.count == 1 }, "\(note)", sourceLocation: sourceLocation)
        #expect(Set(webhookIDs.values.flatMap(\.self)).count == webhookIDs.count, "\(note)", sourceLocation: sourceLocation)
    }
}
