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
    let followed = FollowedGroups()
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
            metrics: Metrics(routeCount: Route.all.count), followed: shared.followed)
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
        api.handBacks.startWorker = { [unowned self] in assumeIsolated { $0.begin(.handBack) } }
        api.recovery.startWork = api.startWork
        api.sinks.startWork = api.startWork
        api.sinks.host = SinkHost(
            loop: loop, store: redis, longPoll: api.longPoll, unowned: api, outbound: webhooks, log: shared.log,
            spawn: { preconditionFailure("The roster gives each run a task of its own.") })
        api.sinks.spawn = { [unowned self] number in assumeIsolated { $0.beginSink(number) } }
        api.collectSnapshots = { [unowned self] in await self.collectSnapshots() }
        api.pingEverywhere = { [unowned self] in await self.pingEverywhere() }
        http.responder = responder
        http.startTask = { [unowned self] in assumeIsolated { $0.startErrands() } }
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
    private func startErrands() {
        loop.spawn { await self.runErrands() }
    }

    private func runErrands() async {
        await http.runErrands()
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
        snapshot.http = http.counters
        snapshot.waiters = api.longPoll.counters
        snapshot.handBacks = api.handBacks.counters
        snapshot.tails = api.tails.counters
        snapshot.redis = redis.counters.samples
        snapshot.sinks = api.sinks.snapshots
        snapshot.recovery = api.recovery.counters
        return snapshot
    }

    // MARK: Ending

    /// How long a drain may take: Kubernetes kills 30 s after it has asked (`terminationGracePeriodSeconds`).
    private static let drainTime = Duration.seconds(28)
    /// Of these, what Redis gets at the end to hear what the sinks' last attempts came to, and whose messages are nobody's.
    private static let lastWords = Duration.seconds(3)
    /// What is sent already may reach Redis within this, beyond the end.
    private static let redisClosing = Duration.seconds(1)

    /// Calls in flight finish, parked readers get their empty answer; returns when all is closed, or after `drainTime`.
    /// `stoppedAccepting` is called once this loop takes no more connections.
    func drain(_ stoppedAccepting: @Sendable () -> Void) async {
        let end = loop.now + GatewayServer.drainTime
        acceptor?.stop()
        stoppedAccepting()
        api.isDraining = true
        api.longPoll.drain()
        api.tails.drain()
        api.recovery.drain()
        http.drain()
        api.sinks.drain(until: end - GatewayServer.lastWords)
        await wait(until: end) { api.sinks.isDrained }
        begin(.withdrawReports)
        webhooks.close()
        // What a client has not taken by then is handed back, and Redis has to hear of that.
        await wait(until: end - GatewayServer.lastWords) { http.counters.open == 0 }
        http.breakOff()
        // A look may still bring messages for a client that has its answer: they have to be handed back.
        // And those of tails wait for a Redis that is away.
        await wait(until: end) { http.counters.open == 0 && worksUnderWay + api.looksUnderWay == 0 && api.handBacks.isEmpty }
        if !api.handBacks.isEmpty {
            let messages = api.handBacks.counters.messages
            shared.log.warning("Messages of clients that have gone stay with their consumers until they are claimed", metadata: ["messages": "\(messages)"])
        }
        redis.close()
        await wait(until: end + GatewayServer.redisClosing) { redis.isClosed }
    }

    /// Looks every 5 ms: only a process that ends does so.
    private func wait(until end: EventLoop.Instant, _ isDone: () -> Bool) async {
        while !isDone() && loop.now < end { await loop.sleep(for: .milliseconds(5)) }
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
