// What a conversation with one server may take, and why.

public struct RedisLimits: Sendable {
    /// Commands sent and not answered. Past it `.overloaded` at once: a queue longer than a second's
    /// work only makes everybody late.
    public var inFlightCommands = 100_000
    /// Their bytes.
    public var inFlightBytes = 64 << 20
    /// How long a command's answer may take, and a connection's handshake.
    public var timeout = Duration.seconds(5)
    /// Each connection is asked for a sign of life this often; it is rebuilt after two without one.
    public var pingInterval = Duration.seconds(2)
    /// The first pause before a new attempt to connect; it doubles with each failure, and half of it is
    /// random, so that the loops of all gateways don't come back at the same moment.
    public var reconnectBase = Duration.milliseconds(50)
    /// The longest such pause.
    public var reconnectMaximum = Duration.seconds(2)
    /// One reply may grow to this; a server that sends more is taken for broken. Redis' own bound for
    /// one string is 512 MB.
    public var replyBytes = 512 << 20
    /// How much is read from a connection in one tick before others get their turn.
    public var readBytesPerTick = 256 << 10

    public init() {}
}
