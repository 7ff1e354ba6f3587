// A redis-server of the test's own, and a loop with everything on it that a sink needs: client, long-polling, and
// a receiver that answers what it is told to.

import Logging
import Net
import Support
import Synchronization
import Testing

@testable import Gateway
@testable import Redis
@testable import Webhook

final class RedisRig {
    let server: RedisServerProcess
    let loop: EventLoop
    let gateway: SinkGateway

    init() throws {
        server = try RedisServerProcess()
        loop = try EventLoop()
        gateway = SinkGateway(loop: loop, endpoint: server.endpoint)
        loop.runUntilIdle()
        gateway.on { $0.start() }
        try #require(wait { $0.redis.isConnected })
    }

    func close() {
        gateway.on { $0.redis.close() }
        #expect(wait { $0.redis.isClosed })
    }

    func wait(until condition: (isolated SinkGateway) -> Bool) -> Bool { loop.run(atMost: .seconds(60)) { gateway.on(condition) } }

    /// What another client says.
    @discardableResult
    func run(_ words: String) throws -> String {
        try server.run(words.split(separator: " ").map(String.init))
    }

    func send(_ command: RedisCommand) -> Result<RedisReply, RedisError> {
        answer { await $0.send(command) }
    }

    func evaluate(_ script: RedisScript, _ call: RedisCommand) -> Result<RedisReply, RedisError> {
        answer { await $0.evaluate(script, call) }
    }

    private func answer(
        _ body: @escaping @Sendable (isolated SinkGateway) async -> Result<RedisReply, RedisError>
    ) -> Result<RedisReply, RedisError> {
        let box = Mutex<Result<RedisReply, RedisError>?>(nil)
        let shared = Shared(box)
        loop.spawn { [gateway] in
            let result = await body(gateway)
            shared.box.withLock { $0 = result }
        }
        #expect(loop.run(atMost: .seconds(60)) { shared.box.withLock { $0 != nil } })
        return shared.box.withLock { $0 } ?? .failure(.overloaded)
    }

    private final class Shared: Sendable {
        let box: Mutex<Result<RedisReply, RedisError>?>
        init(_ box: consuming sending Mutex<Result<RedisReply, RedisError>?>) { self.box = box }
    }

    /// Names and values of the first entry.
    func fields(_ entries: RedisReply) -> [(String, String)]? {
        var entries = entries.elements
        guard entries.enterArray() == 2 else { return nil }
        entries.skip()
        guard var fields = entries.takeArray() else { return nil }
        var found: [(String, String)] = []
        while let name = fields.takeText(), let value = fields.takeText() { found.append((name, value)) }
        return found
    }
}

extension RedisCommand {
    static func xrange(_ key: String) -> RedisCommand { xrange(Array(key.utf8)) }
}

/// Answers each request by `answer`; what it returns nil for stays open until `land`.
final class ScriptedOutbound: Outbound {
    var requests: [WebhookRequest] = []
    var answer: (WebhookRequest) -> WebhookResult.Outcome? = { _ in ScriptedOutbound.status(200) }
    private var open: [(WebhookResult) -> Void] = []
    var openCount: Int { open.count }

    static func status(_ status: Int, _ retryAfter: String? = nil) -> WebhookResult.Outcome {
        .answered(WebhookAnswer(status: status, retryAfter: retryAfter, body: [], bodyTruncated: false))
    }

    func send(_ request: WebhookRequest, done: @escaping (WebhookResult) -> Void) {
        requests.append(request)
        guard let outcome = answer(request) else { return open.append(done) }
        done(WebhookResult(outcome: outcome, duration: .zero, newConnection: false))
    }

    func land(_ outcome: WebhookResult.Outcome) {
        let landing = open
        open = []
        for done in landing { done(WebhookResult(outcome: outcome, duration: .zero, newConnection: false)) }
    }

    func count(_ id: String) -> Int { requests.count { String(decoding: $0.body, as: UTF8.self).contains("\"id\":\"\(id)\"") } }
}

/// The part of a gateway's server that a sink lives on.
actor SinkGateway: RedisClientDelegate {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
    let redis: RedisClient
    let longPoll: LongPoll
    let outbound = ScriptedOutbound()
    let memory: Memory
    var sinks: [Sink] = []
    var drained: Set<Int> = []
    private(set) var roster: SinkRoster?
    private(set) var watched: WatchedStore?

    final class Memory: UnownedMemory {
        let loop: EventLoop
        var index = UnownedIndex()
        init(_ loop: EventLoop) { self.loop = loop }
        func mayHaveUnowned(_ key: WaitKey) -> Bool { index.mayHave(key, now: loop.now) }
        func unownedDue(_ key: WaitKey) -> EventLoop.Instant? { index.due(key) }
        func unownedGeneration(_ key: WaitKey) -> UInt32 { index.generation(key) }
        func foundNoUnowned(_ key: WaitKey, due: EventLoop.Instant?, generation: UInt32) {
            index.foundNone(key, due: due, generation: generation, now: loop.now)
        }
    }

    init(loop: EventLoop, endpoint: RedisEndpoint) {
        self.loop = loop
        redis = RedisClient(loop: loop, endpoint: endpoint)
        longPoll = LongPoll(loop: loop, index: 0, loopCount: 1, count: WaiterCount(limit: 100), settings: WaitHome.Settings())
        memory = Memory(loop)
    }

    nonisolated func on<Value: Sendable>(_ body: (isolated SinkGateway) throws -> Value) rethrows -> Value {
        try assumeIsolated(body)
    }

    func start() {
        longPoll.links = LongPoll.Links(
            post: { _, _ in },
            track: { [unowned self] stream, id in loop.spawn { await self.track(stream, id) } },
            ask: { _ in })
        redis.delegate = self
        redis.start()
    }

    private func track(_ stream: StreamName, _ id: WaitHome.TrackID) async {
        var isTracked = false
        // Any failure is the same to the home: it tries again.
        if case .success? = try? await redis.send([.exists(stream.bytes)], tracked: true).first { isTracked = true }
        longPoll.receive(.event(.tracked(stream, id, isTracked)))
    }

    func send(_ command: RedisCommand) async -> Result<RedisReply, RedisError> {
        do throws(RedisError) { return .success(try await redis.send(command)) } catch { return .failure(error) }
    }

    func evaluate(_ script: RedisScript, _ call: RedisCommand) async -> Result<RedisReply, RedisError> {
        do throws(RedisError) {
            let reply = try await redis.evaluate(script, call)
            return .success(reply)
        } catch {
            return .failure(error)
        }
    }

    // MARK: Sinks

    func add(_ definition: SinkDefinition) throws {
        let index = sinks.count
        var log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        let host = SinkHost(
            loop: loop, store: redis, longPoll: longPoll, unowned: memory, outbound: outbound, log: log,
            spawn: { self.begin(index) })
        sinks.append(try Sink(definition, host: host))
        sinks[index].start()
    }

    /// Runs the sinks of a loop, with `definition` as the only one. The connection seems to be a new one in its first walk's
    /// second step.
    func runRoster(of definition: SinkDefinition) throws {
        var config = Config()
        config.sinks = [definition]
        config.sinkScan = .seconds(3600)
        let store = WatchedStore(redis)
        let roster = SinkRoster(loop: loop, index: 0, store: store, config: config)
        roster.policyDeadLetters = { [] }
        var log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        log.logLevel = .critical
        roster.host = SinkHost(loop: loop, store: store, longPoll: longPoll, unowned: memory, outbound: outbound, log: log, spawn: {})
        roster.spawn = { [unowned self] number in loop.spawn { await self.runInRoster(number) } }
        roster.startWork = { [unowned self] work in loop.spawn { await self.perform(work) } }
        store.stepped = { [unowned roster] count in if count == 2 { roster.connected(hearsNudges: true) } }
        (self.roster, watched) = (roster, store)
        try roster.add(definition)
        roster.connected(hearsNudges: true)
    }

    private func runInRoster(_ number: Int) async { await roster?.run(number) }

    private func perform(_ work: BackgroundWork) async {
        switch work {
        case .loadSinks: await roster?.loadAll()
        case .findStreams: await roster?.find()
        default: break  // What is told of it is not asked for.
        }
    }

    private func begin(_ index: Int) { loop.spawn { await self.run(index) } }
    private func run(_ index: Int) async { await sinks[index].run() }

    func drain(_ index: Int, within time: Duration) async {
        await sinks[index].drain(until: loop.now + time)
        drained.insert(index)
    }

    // MARK: What Redis tells

    nonisolated func redisConnected(_ client: RedisClient, features: ServerFeatures) {
        on { gateway in
            gateway.memory.index.forgetAll()
            gateway.longPoll.invalidated(nil)
            for sink in gateway.sinks { sink.redisConnected() }
        }
    }

    nonisolated func redisDisconnected(_ client: RedisClient, reason: RedisError.Reason) {}

    nonisolated func redisInvalidated(_ client: RedisClient, key: UnsafeRawBufferPointer) {
        let stream = StreamName(bytes: Array(key))
        on { $0.longPoll.invalidated(stream) }
    }

    nonisolated func redisInvalidatedAll(_ client: RedisClient) { on { $0.longPoll.invalidated(nil) } }

    nonisolated func redisNudged(_ client: RedisClient, payload: UnsafeRawBufferPointer) {
        guard let nudge = Nudge(payload: payload) else { return }
        let key = WaitKey(stream: nudge.stream, group: nudge.group)
        on { gateway in
            if nudge.kind == .lease { return gateway.sinks.forEach { $0.leaseFreed(key) } }
            if nudge.kind == .unowned { gateway.memory.index.nudged(key) }
            if nudge.kind == .due { gateway.memory.index.delayed(key) }
            gateway.longPoll.nudged(key)
        }
    }
}

extension WebhookRequest {
    /// Names and values, the endpoint's behind its own.
    var headers: [(String, String)] { fields.all + endpoint.headers }
}
