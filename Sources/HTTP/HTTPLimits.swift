// How much a client may send, and how long it may take. Each bound has a reason and an error.

/// Bounds of one loop's HTTP connections (API.md §9). Sizes are bytes.
public struct HTTPLimits: Sendable {
    /// Request line and header fields together; past it 431. What common proxies allow. At most 65,535:
    /// the parser's offsets are 16 bits.
    public var head = 16 * 1024 {
        didSet { precondition(head <= 65_535, "A request's head is at most 65,535 bytes.") }
    }
    /// The request target; past it 414.
    public var target = 8 * 1024
    /// Header fields; past it 431.
    public var headers = 100
    /// What `RequestBody.collected` gathers when it is given no bound of its own; past it 413.
    public var body = 16 * 1024 * 1024
    /// A chunk's extension, which is read and ignored; past it 400 (RFC 9112 §7.1.1 asks for a bound).
    public var chunkExtension = 256
    /// All trailer fields together, which are read and ignored; past it 400.
    public var trailers = 4 * 1024
    /// From a request's first byte to the end of its head; past it 408. Stops clients that drip.
    public var headTime = Duration.seconds(10)
    /// Without a byte of the body while a handler waits for it; past it 408.
    public var bodyTime = Duration.seconds(30)
    /// Without a byte taken while a reply is to be written; past it the connection is dropped.
    public var writeTime = Duration.seconds(30)
    /// Between requests; past it the connection is closed silently.
    public var keepAliveTime = Duration.seconds(75)
    /// For the client to close its side after our last reply, so that a reset does not take the reply from it.
    public var lingerTime = Duration.seconds(2)
    /// What is read and thrown away of a body that no handler wanted, or after our last reply.
    public var unwantedBody = 256 * 1024
    /// Output waiting for a slow client above which no pipelined request and no further chunk is begun.
    public var outputMark = 64 * 1024
    /// Open connections of this loop; past it 503 and close.
    public var connections = 20_000

    public init() {}

    /// What the chunked coding needs to know of them.
    struct Framing {
        var chunkExtension = 0
        var trailers = 0

        init() {}

        init(_ limits: HTTPLimits) {
            chunkExtension = limits.chunkExtension
            trailers = limits.trailers
        }
    }
}
