// The actor that owns everything on one loop. Its executor is the loop, so nothing here is locked, and
// what it owns are plain classes.

import HTTP
import Logging
public import Net
import Redis
import Webhook

/// What the loops of a process share. Made once, before they run.
struct SharedState: Sendable {
    let config: Config
    let endpoint: RedisEndpoint
    let tokens: [Gatekeeper.Token]
    let waiters: WaiterCount
    let log: Logger
}

public actor GatewayServer {
    public nonisolated let loop: EventLoop
    public nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let index: Int
    private let shared: SharedState
    private let http: HTTPServer
    private let redis: RedisClient
    private let api: API
    private let responder: Responder
    private let watcher: RedisWatcher
    private let webhooks: WebhookClient
    private var acceptor: Acceptor?
    private var peers: [GatewayServer] = []
    private var nextPeer = 0
    private var worksUnderWay = 0

    init(loop: EventLoop, index: Int, shared: SharedState) {
        let config = shared.config
        self.loop = loop
        self.index = index
        self.shared = shared
        http = HTTPServer(loop: loop, limits: HTTPLimits(config.limits, loops: config.loops))
        redis = RedisClient(loop: loop, endpoint: shared.endpoint, limits: RedisLimits(config.limits))
        let longPoll = LongPoll(
            loop: loop, index: index, loopCount: config.loops, count: shared.waiters,
            settings: WaitHome.Settings(config))
        api = API(
            loop: loop, store: redis, config: config, longPoll: longPoll,
            metrics: Metrics(routeCount: Route.all.count))
        responder = Responder(api: api, gatekeeper: Gatekeeper(config, tokens: shared.tokens), log: shared.log)
        watcher = RedisWatcher(api: api, log: shared.log)
        webhooks = WebhookClient(loop: loop)
    }

    // MARK: Starting

    /// Before any loop runs. A sink with all its streams lives on one loop: its concurrency and its
    /// endpoint's state are one thing.
    func add(_ definition: SinkDefinition) throws(SinkError) {
        try api.sinks.add(definition)
    }

    private func beginSink(_ number: Int) {
        loop.spawn { await self.runSink(number) }
    }

    private func runSink(_ number: Int) async {
        await api.sinks.run(number)
    }

    /// Before any loop runs: who the others are.
    func meet(_ peers: [GatewayServer]) { self.peers = peers }

    /// Connects to Redis. `hasTried` is called once, when that has succeeded or failed, or takes long:
    /// then it is known whether calls are to be answered or refused, and `accept` may follow.
    func start(_ listener: borrowing ListeningSocket, hasTried: @escaping () -> Void) {
        api.longPoll.links = LongPoll.Links(
            post: { [unowned self] target, message in assumeIsolated { $0.post(message, to: target) } },
            track: { [unowned self] stream, id in
                assumeIsolated { $0.begin(.track(stream, id)) }
            },
            ask: { [unowned self] turn in assumeIsolated { $0.begin(.askForTurn(turn)) } })
        api.tails.post = { [unowned self] target, message in assumeIsolated { $0.post(message, to: target) } }
        api.startWork = { [unowned self] work in assumeIsolated { $0.begin(work) } }
        api.recovery.startWork = api.startWork
        api.sinks.startWork = api.startWork
        api.sinks.host = SinkHost(
            loop: loop, store: redis, longPoll: api.longPoll, unowned: api, outbound: webhooks, log: shared.log, spawn: {})
        api.sinks.spawn = { [unowned self] number in assumeIsolated { $0.beginSink(number) } }
        api.collectSnapshots = { [unowned self] in await self.collectSnapshots() }
        api.pingEverywhere = { [unowned self] in await self.pingEverywhere() }
        http.responder = responder
        http.startTask = { [unowned self] in assumeIsolated { $0.carryOn() } }
        acceptor = Acceptor(
            loop: loop, socket: listener,
            accepted: { [unowned self] descriptor in assumeIsolated { $0.take(descriptor) } },
            failed: { [log = shared.log] error in log.warning("Can't accept a connection: \(error)") })
        watcher.hasTried = hasTried
        redis.delegate = watcher
        redis.start()
        let patience = min(shared.config.limits.redisTimeout, GatewayServer.startPatience)
        loop.schedule(at: loop.now + patience) { [watcher] in watcher.hasTriedOnce() }
    }

    /// Whoever asks whether the process lives is not to wait for a Redis that answers nothing.
    private static let startPatience = Duration.seconds(5)

    func accept() {
        if !api.isDraining { acceptor?.start() }
    }

    // MARK: Connections

    /// Whose turn it is to take a connection goes round: the kernel would give most to one loop.
    private func take(_ descriptor: Int32) {
        nextPeer = (nextPeer + 1) % max(peers.count, 1)
        let target = peers.isEmpty ? self : peers[nextPeer]
        if target === self { return http.accept(descriptor) }
        target.loop.execute { target.assumeIsolated { $0.http.accept(descriptor) } }
    }

    /// A connection that rested without a task wants one.
    private func carryOn() {
        loop.spawn { await self.carryOnServing() }
    }

    private func carryOnServing() async {
        await http.carryOn()
    }

    // MARK: Work and words between loops

    private func post(_ message: LongPollMessage, to target: Int) {
        let peer = peers[target]
        peer.loop.execute { peer.assumeIsolated { $0.api.longPoll.receive(message) } }
    }

    private func post(_ message: TailMessage, to target: Int) {
        let peer = peers[target]
        peer.loop.execute { peer.assumeIsolated { $0.api.tails.receive(message) } }
    }

    private func begin(_ work: BackgroundWork) {
        worksUnderWay += 1
        loop.spawn { await self.run(work) }
    }

    private func run(_ work: BackgroundWork) async {
        await api.perform(work, shared.log)
        worksUnderWay -= 1
    }

    private func collectSnapshots() async -> [LoopSnapshot] {
        var snapshots: [LoopSnapshot] = []
        for peer in peers { snapshots.append(await peer.snapshot()) }
        return snapshots
    }

    private func pingEverywhere() async -> RedisError? {
        for peer in peers { if let error = await peer.ping() { return error } }
        return nil
    }

    private func ping() async -> RedisError? { await api.ping() }

    private func snapshot() -> LoopSnapshot {
        var snapshot = LoopSnapshot()
        snapshot.values = api.metrics.values
        snapshot.connections = http.counters.open
        snapshot.acceptedConnections = http.counters.accepted
        snapshot.refusedConnections = http.counters.refused
        snapshot.bytesIn = http.counters.bytesIn
        snapshot.bytesOut = http.counters.bytesOut
        snapshot.lostReplies = http.counters.lost
        snapshot.waiters = api.longPoll.counters
        snapshot.tails = api.tails.counters
        snapshot.redis = redis.counters.samples
        snapshot.sinks = api.sinks.snapshots
        snapshot.recovery = api.recovery.counters
        return snapshot
    }

    // MARK: Ending

    /// Calls in flight finish, parked readers get their empty answer; returns when all is closed, or after 28 s.
    /// `stoppedAccepting` is called once this loop takes no more connections.
    func drain(_ stoppedAccepting: @Sendable () -> Void) async {
        let end = loop.now + .seconds(28)
        acceptor?.stop()
        stoppedAccepting()
        api.isDraining = true
        api.longPoll.drain()
        api.tails.drain()
        api.recovery.drain()
        http.drain()
        api.sinks.drain(until: end - .seconds(3))
        while !api.sinks.isDrained && loop.now < end { await loop.sleep(for: .milliseconds(5)) }
        begin(.unsaySinks)
        webhooks.close()
        while http.counters.open > 0 && loop.now < end { await loop.sleep(for: .milliseconds(5)) }
        // A look may still bring messages for a client that has its answer: they have to be handed back.
        while worksUnderWay > 0 && loop.now < end { await loop.sleep(for: .milliseconds(5)) }
        redis.close()
        while !redis.isClosed && loop.now < end + .seconds(1) { await loop.sleep(for: .milliseconds(5)) }
    }
}

extension API {
    func perform(_ work: BackgroundWork, _ log: Logger) async {
        switch work {
        case .track(let stream, let id):
            var isTracked = false
            // Any failure is the same to the home: it tries again.
            if case .success? = try? await store.send([.exists(stream.bytes)], tracked: true).first { isTracked = true }
            longPoll.receive(.event(.tracked(stream, id, isTracked)))
        case .askForTurn(let turn):
            // Where it is not heard it is said again, after as many losses.
            if let command = turn.publish { _ = try? await store.send(command) }
        case .createConsumers: await createConsumers()
        case .look(let waiter): await look(waiter)
        case .answerEmpty(let waiter): await answerEmpty(waiter)
        case .loadPolicy(let key): await recovery.load(key)
        case .loadPolicies: await recovery.loadAll()
        case .recover(let key): await recovery.run(key)
        case .loadSink(let name): await sinks.load(name)
        case .loadSinks: await sinks.loadAll()
        case .endSink(let number): await sinks.leave(number)
        case .stopSink(let name): await sinks.writeStop(name)
        case .forgetSink(let name): await sinks.forget(name)
        case .tellSinks: await sinks.tell()
        case .lookAtSinks: await sinks.look()
        case .unsaySinks: await sinks.unsay()
        case .handBack(let stream, let group, let consumer, let deliveries):
            do {
                try await handBack(stream, group, from: consumer, deliveries)
            } catch {
                log.warning(
                    "Messages of a client that has gone stay with their consumer until they are claimed: \(error)",
                    metadata: ["stream": "\(stream.bytes.quoted)", "group": "\(group.bytes.quoted)", "messages": "\(deliveries.count)"])
            }
        }
    }
}

/// What Redis tells without being asked, brought to those whom it concerns.
private final class RedisWatcher: RedisClientDelegate {
    private let api: API
    private let log: Logger
    private var isOutage = false
    /// Until it has been called.
    var hasTried: (() -> Void)?

    init(api: API, log: Logger) {
        self.api = api
        self.log = log
    }

    func redisConnected(_ client: RedisClient, features: ServerFeatures) {
        var settings = WaitHome.Settings(api.config)
        settings.isTracking = features.tracking
        api.longPoll.use(settings)
        api.unowned.forgetAll()
        api.unowned.isTold = features.nudges
        api.tails.reconnected()
        api.longPoll.invalidated(nil)
        log.info("Connected to Redis", metadata: ["version": "\(features.productVersion)", "tracking": "\(features.tracking)"])
        if let refusal = features.trackingRefusal {
            log.warning("Redis does not track keys for us; waited-on groups are polled: \(refusal)")
        }
        for warning in features.warnings { log.warning("\(warning)") }
        isOutage = false
        api.sinks.connected(hearsNudges: features.nudges)
        api.recovery.connected(hearsNudges: features.nudges)
        hasTriedOnce()
    }

    func hasTriedOnce() {
        hasTried?()
        hasTried = nil
    }

    /// Also called for every failed attempt to connect: one line an outage is enough.
    func redisDisconnected(_ client: RedisClient, reason: RedisError.Reason) {
        hasTriedOnce()
        guard !isOutage else { return }
        isOutage = true
        log.warning("Redis is gone: \(reason)")
    }

    func redisInvalidated(_ client: RedisClient, key: UnsafeRawBufferPointer) {
        let stream = StreamName(bytes: Array(key))
        api.tails.changed(stream)
        api.longPoll.invalidated(stream)
    }

    func redisInvalidatedAll(_ client: RedisClient) {
        api.tails.changedAll()
        api.longPoll.invalidated(nil)
    }

    func redisNudged(_ client: RedisClient, payload: UnsafeRawBufferPointer) {
        if let sink = SinkNudge.sink(in: payload) { return api.sinks.nudged(sink) }
        if let turn = TurnNudge(payload: payload) { return api.longPoll.asked(turn) }
        guard let nudge = Nudge(payload: payload) else { return }
        let key = WaitKey(stream: nudge.stream, group: nudge.group)
        switch nudge.kind {
        case .unowned: api.unowned.nudged(key)
        case .due: api.unowned.delayed(key)
        case .policy: return api.startWork(.loadPolicy(key))
        case .lease: return api.sinks.leaseFreed(key)
        case .group: break
        }
        api.longPoll.nudged(key)
    }
}

extension HTTPLimits {
    init(_ limits: Limits, loops: Int) {
        self.init()
        head = limits.headBytes
        target = limits.urlBytes
        headers = limits.headers
        body = limits.bodyBytes
        headTime = limits.headTimeout
        bodyTime = limits.bodyTimeout
        keepAliveTime = limits.keepAliveTimeout
        connections = max(limits.connections / loops, 1)
    }
}

extension RedisLimits {
    init(_ limits: Limits) {
        self.init()
        inFlightCommands = limits.commandsInFlight
        inFlightBytes = limits.bytesInFlight
        timeout = limits.redisTimeout
    }
}

extension WaitHome.Settings {
    init(_ config: Config) {
        self.init()
        pollInterval = config.poll
        slowLooksPerSecond = max(500 / config.loops, 10)
    }
}
