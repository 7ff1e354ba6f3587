// One loop's conversation with one server: a connection for commands, and one that hears of changes.
//
// When either breaks, both are rebuilt, since what was tracked is lost with either; a connection for commands whose
// subscription broke stays until it has brought the answers that were under way. A client knows one server; what knows of
// many (Sentinel, a cluster's slots) keeps a client for each and chooses among them by the keys that a command names.
//
// Confined to its loop. `close()` before letting go of it: callers that wait are answered by it alone.

public import Net

/// What happens to a client without having been asked for. Called on the client's loop.
public protocol RedisClientDelegate: AnyObject {
    /// Both connections are there. After a break: every key that is waited on must be read again, and whether a
    /// group has unowned messages is unknown.
    func redisConnected(_ client: RedisClient, features: ServerFeatures)
    /// The connections are gone, and tracking with them; or an attempt to connect has failed. The client
    /// goes on trying by itself.
    func redisDisconnected(_ client: RedisClient, reason: RedisError.Reason)
    /// A tracked key has changed or is gone; it is no longer tracked. The pointer is good for the call.
    func redisInvalidated(_ client: RedisClient, key: UnsafeRawBufferPointer)
    /// All keys were flushed: every tracked key has changed.
    func redisInvalidatedAll(_ client: RedisClient)
    /// Somebody published `payload` on `sluice:nudge`. The pointer is good for the call.
    func redisNudged(_ client: RedisClient, payload: UnsafeRawBufferPointer)
}

public final class RedisClient {
    public weak var delegate: (any RedisClientDelegate)?
    public let loop: EventLoop
    public let endpoint: RedisEndpoint
    public let limits: RedisLimits
    public let counters: RedisCounters

    /// What the server offers; nil while no commands are taken.
    public internal(set) var features: ServerFeatures? {
        didSet {
            isUp = features != nil
            isTracking = features?.tracking == true
        }
    }
    /// What every command asks of `features`: a look into the optional would copy all of it.
    private var isUp = false
    private var isTracking = false
    /// `close()` has done its work.
    public internal(set) var isClosed = false

    // Internal, not private, for the rest of the class in RedisClient+Connecting.swift.
    var attempt: ConnectionAttempt?
    var addresses: [SocketAddress] = []
    /// Where the connections lead, or led.
    var address: SocketAddress?
    lazy var replicaLink = ReplicaLink(self)
    var resolution: HostResolution?
    var commands: RedisConnection?
    var subscription: RedisConnection?
    var repeats: [Repeat] = []
    var failures = 0
    var isClosing = false
    var wasConnected = false
    var asksForDocs = true
    var lastReason = RedisError.Reason.notConnected("not started")
    /// The subscription broke, for this reason, and the answers of the commands in flight are waited for.
    var leaving: RedisError.Reason?
    var timers = Timers()

    struct Timers {
        var attempt: TimerID?
        var retry: TimerID?
        var ping: TimerID?
        var repeats: TimerID?
        var leave: TimerID?
        var close: TimerID?

        var all: [TimerID] { [attempt, retry, ping, repeats, leave, close].compactMap { $0 } }
    }

    public init(
        loop: EventLoop, endpoint: RedisEndpoint, limits: RedisLimits = RedisLimits(),
        counters: RedisCounters = RedisCounters()
    ) {
        self.loop = loop
        self.endpoint = endpoint
        self.limits = limits
        self.counters = counters
    }

    /// Begins to connect, and keeps at it until `close()`.
    public func start() {
        precondition(attempt == nil && commands == nil && !isClosing, "A client is started once.")
        connect()
    }

    /// Whether commands are taken now.
    public var isConnected: Bool { isUp && !isClosing }

    // MARK: Sending

    /// Sends one command and waits for its answer. An error reply is thrown as `.reply`.
    ///
    /// - Parameters:
    ///   - patience: when the caller gives up, in the loop's time, where that is before the deadline of every
    ///     command. It is told so within 100 ms.
    ///   - late: takes the answer if it comes when this has thrown already. Not called where none comes because
    ///     the connection broke.
    public func send(
        _ command: RedisCommand, patience: Duration? = nil, late: ((RedisReply) -> Void)? = nil
    ) async throws(RedisError) -> RedisReply {
        let connection = try admit(count: 1, bytes: command.byteCount)
        let deadline = loop.now + limits.timeout
        let result = await withUnsafeContinuation { continuation in
            connection.append(
                command, .caller(continuation), deadline: deadline, patience: patience, mayRepeat: command.effect.mayRepeat,
                late: late)
        }
        return try result.get()
    }

    /// Sends one command; whoever waits for its answer is no task, and is told once, never before this returns.
    /// Throws when it was not sent. `patience` and `late` as for those who wait in a task.
    public func send(
        _ command: RedisCommand, to taker: any ReplyTaker, patience: Duration? = nil, late: ((RedisReply) -> Void)? = nil
    ) throws(RedisError) {
        let connection = try admit(count: 1, bytes: command.byteCount)
        connection.append(
            command, .taker(taker), deadline: loop.now + limits.timeout, patience: patience,
            mayRepeat: command.effect.mayRepeat, late: late)
    }

    /// Sends commands next to one another in the pipeline and waits for all answers, in order.
    ///
    /// Throws when none was sent; once they are sent, each has a result of its own. After a break they are
    /// repeated, all, only if each of them may be.
    ///
    /// - Parameter tracked: `CLIENT CACHING YES` goes before them, so that the keys of the first one are
    ///   tracked; its own answer is not among the results, but where it is an error it takes the first one's
    ///   place. Throws `.unavailable(.noTracking)` where `features.tracking` is false.
    public func send(
        _ commands: [RedisCommand], tracked: Bool = false
    ) async throws(RedisError) -> [Result<RedisReply, RedisError>] {
        guard !commands.isEmpty else { return [] }
        let connection = try admit(count: commands.count + 1, bytes: commands.reduce(0) { $0 + $1.byteCount })
        if tracked, !isTracking { throw .unavailable(.noTracking) }
        let deadline = loop.now + limits.timeout
        return await withUnsafeContinuation { continuation in
            let batch = CommandBatch(commands, isTracked: tracked, deadline: deadline, continuation)
            append(batch, to: connection)
        }
    }

    /// Sends a call made by `script.call`; where the server does not have the script, loads it and calls
    /// once more. `patience` and `late` as for `send`.
    public func evaluate(
        _ script: RedisScript, _ call: RedisCommand, patience: Duration? = nil, late: ((RedisReply) -> Void)? = nil
    ) async throws(RedisError) -> RedisReply {
        do throws(RedisError) {
            return try await send(call, patience: patience, late: late)
        } catch {
            guard error.code == .noScript else { throw error }
        }
        // By SCRIPT LOAD, not EVAL: newer servers forget scripts that came by EVAL when there are many. It goes
        // out ahead of the call; where it is refused, the call's own answer tells that the script is missing.
        let load = script.load
        try admit(count: 1, bytes: load.byteCount).append(load, .nobody, deadline: loop.now + limits.timeout)
        return try await send(call, patience: patience, late: late)
    }

    /// The same, for keys and arguments at hand.
    public func evaluate(
        _ script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]], effect: RedisCommand.Effect
    ) async throws(RedisError) -> RedisReply {
        var call = script.call(keyCount: keys.count, effect: effect)
        for key in keys { call.appendKey(key) }
        for argument in arguments { call.append(argument) }
        return try await evaluate(script, call)
    }

    /// The connection, if it takes that much more.
    func admit(count: Int, bytes: Int) throws(RedisError) -> RedisConnection {
        guard let commands, isUp, !isClosing else {
            throw .unavailable(isClosing ? .closed : lastReason)
        }
        try checkRoom(on: commands, count: count, bytes: bytes)
        return commands
    }

    func append(_ batch: CommandBatch, to connection: RedisConnection) {
        if batch.isTracked {
            connection.append(RedisClient.cachingYes, .batch(batch, index: -1), deadline: batch.deadline)
        }
        for (index, command) in batch.commands.enumerated() {
            connection.append(command, .batch(batch, index: index), deadline: batch.deadline)
        }
    }

    private static let cachingYes: RedisCommand = {
        var command = RedisCommand("CLIENT", effect: .read)
        command.append(literal: "CACHING")
        command.append(literal: "YES")
        return command
    }()

    // MARK: Closing

    /// Takes no more commands, waits for the answers of those in flight within their deadlines, then closes.
    public func close() {
        guard !isClosing else { return }
        isClosing = true
        failRepeats(until: .seconds(Int64.max), .closed)
        guard let commands, attempt == nil, commands.inFlightCount > 0 else { return finishClosing() }
        timers.close = loop.schedule(at: loop.now + limits.timeout) { [unowned self] in finishClosing() }
    }

    deinit {
        for timer in timers.all { loop.cancel(timer) }
        resolution?.cancel()
        commands?.close()
        subscription?.close()
    }
}
