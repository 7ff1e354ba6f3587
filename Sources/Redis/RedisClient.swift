// One loop's conversation with one server: a connection for commands, and one that hears of changes.

public import Net

/// What happens to a client without having been asked for. Called on the client's loop.
public protocol RedisClientDelegate: AnyObject {
    /// Both connections are there and `client.features` is set. After a break: every key that is waited on must
    /// be read again, and whether a group has unowned messages is unknown.
    func redisConnected(_ client: RedisClient, features: ServerFeatures)
    /// The connections are gone; tracking ended with them. The client tries again by itself.
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
    /// What the server offers; nil while there is no connection.
    public private(set) var features: ServerFeatures?

    public init(loop: EventLoop, endpoint: RedisEndpoint, limits: RedisLimits = RedisLimits(), counters: RedisCounters = RedisCounters()) {
        self.loop = loop
        self.endpoint = endpoint
        self.limits = limits
        self.counters = counters
    }

    /// Begins to connect, and keeps at it until `close()`.
    public func start() {}

    /// Takes no more commands, waits for the answers of those in flight within their deadlines, then
    /// closes. Idempotent; `isClosed` tells when it is done.
    public func close() {}

    /// Whether commands are taken now.
    public var isConnected: Bool { features != nil }
    public private(set) var isClosed = false

    /// Sends one command and waits for its answer. An error reply is thrown as `.reply`.
    public func send(_ command: RedisCommand) async throws(RedisError) -> RedisReply { throw .overloaded }

    /// Sends commands next to one another in the pipeline and waits for all answers, in order.
    ///
    /// `tracked`: `CLIENT CACHING YES` goes before them, so that the keys of the first one are tracked;
    /// its own answer is not among the results. Throws `.unavailable(.noTracking)` where
    /// `features.tracking` is false. After a break commands are repeated only if all of them are `.read`.
    /// Throws when none was sent; once sent, each command has a result of its own.
    public func send(_ commands: [RedisCommand], tracked: Bool = false) async throws(RedisError)
        -> [Result<RedisReply, RedisError>]
    { throw .overloaded }

    /// Sends a call made by `script.call`; where the server does not have the script, loads it and calls again.
    public func evaluate(_ script: RedisScript, _ call: RedisCommand) async throws(RedisError) -> RedisReply {
        throw .overloaded
    }

    /// The same, for keys and arguments at hand.
    public func evaluate(
        _ script: RedisScript, keys: [[UInt8]], arguments: [[UInt8]], effect: RedisCommand.Effect
    ) async throws(RedisError) -> RedisReply {
        throw .overloaded
    }
}
