// What a suite's tests share: a Redis of their own, the gateway in front of it, and a client. Started before
// the suite's first test and ended after its last.

import Glibc
import Support
import Synchronization
import Testing

/// Its tests may run side by side: each uses streams of its own. Tests that hurt a process start their own.
final class Rig: @unchecked Sendable {
    let redis: RedisServerProcess
    let gateway: GatewayProcess
    let client: TestClient
    /// What Redis is compatible with, e.g. `7.0.15`.
    private(set) var redisVersion = ""
    var port: UInt16 { gateway.port }

    @TaskLocal private static var shared: Rig?

    /// The suite's.
    static var current: Rig {
        guard let shared else { preconditionFailure("The suite lacks the trait .gateway().") }
        return shared
    }

    /// - Parameter arguments: of the gateway, besides its port and its Redis.
    init(_ arguments: [String] = [], configuration: String? = nil, redisOptions: [String] = [], token: String? = nil) throws {
        redis = try RedisServerProcess(options: redisOptions)
        gateway = try GatewayProcess(
            ["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "2"] + arguments, configuration: configuration)
        client = TestClient(port: gateway.port, token: token)
        try waitUntilConnected()
        redisVersion = try client.get("/v1/info").json["redis"]["version"].string ?? ""
    }

    /// The gateway goes first: what its tails leave would wait for a Redis that is gone.
    deinit {
        gateway.send(SIGCONT)
        gateway.send(SIGTERM)
        _ = gateway.waitForEnd(atMost: .seconds(10))
    }

    fileprivate static func run(_ rig: Rig, _ function: @concurrent @Sendable () async throws -> Void) async throws {
        try await $shared.withValue(rig) { try await function() }
    }

    // MARK: What tests do again and again

    /// Before 7.0 Redis can't tell lag and entries_read, takes no entries_read and no `ms-*`.
    var isBeforeVersion7: Bool { redisVersion.hasPrefix("6.") }

    /// What only Redis 7.0 and later can tell: null before.
    func since7(_ value: JSON) -> JSON { isBeforeVersion7 ? nil : value }

    private static let numbers = Atomic(0)

    /// A stream's name that no other test uses.
    func newStream(_ name: String = "stream") -> String { "\(name)-\(Rig.numbers.wrappingAdd(1, ordering: .relaxed).newValue)" }

    /// A new stream with a group `g` that has read nothing.
    func newGroup(_ name: String = "stream") throws -> String {
        let stream = newStream(name)
        let reply = try client.put("/v1/streams/\(stream)/groups/g?mkstream")
        #expect(reply.status == 201)
        return stream
    }

    /// Adds a message with the field `n`; its ID.
    @discardableResult
    func add(_ number: Int, to stream: String) throws -> String {
        let reply = try client.post("/v1/streams/\(stream)/messages", json: #"{"fields":{"n":"\#(number)"}}"#)
        #expect(reply.status == 201)
        return reply.json["id"].string ?? ""
    }

    func readPath(_ stream: String, _ consumer: String, _ query: String = "") -> String {
        "/v1/streams/\(stream)/groups/g/consumers/\(consumer)/read" + (query.isEmpty ? "" : "?\(query)")
    }

    func read(_ stream: String, _ consumer: String, _ query: String = "") throws -> Reply {
        try client.post(readPath(stream, consumer, query))
    }

    /// A read that waits; returns when it is parked, as the `count`th request in the process.
    func park(_ stream: String, _ consumer: String, _ query: String = "block_ms=0", asNumber count: Int? = nil) throws -> PendingReply {
        let before = try count.map { $0 - 1 } ?? parked()
        let pending = client.begin("POST", readPath(stream, consumer, query))
        try waitUntilParked(before + 1)
        return pending
    }

    /// The same from a bare connection, for clients that leave in their own ways.
    func parkSocket(_ stream: String, _ consumer: String, _ query: String = "block_ms=0", asNumber count: Int = 1) throws -> ClientSocket {
        let socket = try ClientSocket(port: port)
        try socket.request("POST", readPath(stream, consumer, query))
        try waitUntilParked(count)
        return socket
    }

    func parked() throws -> Int { try client.get("/v1/info").json["waiters"]["parked"].integer ?? -1 }

    func waitUntilParked(_ count: Int) throws {
        try waitUntil("\(count) requests are parked") { try parked() == count }
    }

    /// Until every loop has its connections to Redis.
    func waitUntilConnected() throws {
        try waitUntil("the gateway reaches Redis") { try metric("sluice_redis_connected") == 2 }
    }

    /// One of the gateway's own metrics.
    func metric(_ name: String) throws -> Int {
        let line = try client.get("/metrics").text.split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? -1
    }

    /// `delivery_count` and `consumer` of each pending message, by ID.
    func pending(_ stream: String) throws -> [String: (consumer: String, deliveries: Int)] {
        let reply = try client.get("/v1/streams/\(stream)/groups/g/pending/messages")
        var found: [String: (consumer: String, deliveries: Int)] = [:]
        for row in reply.json["messages"].array {
            found[row["id"].string ?? ""] = (row["consumer"].string ?? "", row["delivery_count"].integer ?? 0)
        }
        return found
    }
}

/// Gives a suite its Redis and its gateway.
struct GatewayTrait: SuiteTrait, TestScoping {
    var arguments: [String] = []
    var configuration: String?

    func provideScope(
        for test: Test, testCase: Test.Case?, performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        try await withTaskExecutorPreference(BlockingThreads.shared) {
            try await Rig.run(try Rig(arguments, configuration: configuration), function)
        }
    }
}

extension Trait where Self == GatewayTrait {
    static func gateway(_ arguments: String..., configuration: String? = nil) -> GatewayTrait {
        GatewayTrait(arguments: arguments, configuration: configuration)
    }
}
