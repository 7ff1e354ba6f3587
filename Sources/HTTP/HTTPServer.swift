// One loop's HTTP connections: what they share.

public import Net

public final class HTTPServer {
    public let loop: EventLoop
    public let limits: HTTPLimits
    public let counters = HTTPCounters()

    public init(loop: EventLoop, limits: HTTPLimits = HTTPLimits()) {
        self.loop = loop
        self.limits = limits
    }

    /// Takes the (non-blocking) descriptor, answers its requests, returns when it is closed. Past
    /// `HTTPLimits.connections` it is told 503 and closed.
    public func serve(_ descriptor: Int32, _ responder: any HTTPResponder) async {
        preconditionFailure("skeleton")
    }

    /// Idle connections close now; the others after the reply that they wait for.
    public func drain() { preconditionFailure("skeleton") }
}
