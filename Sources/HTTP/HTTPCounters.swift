// What one loop's HTTP connections have done. A value: a copy may cross threads.

/// Counters since the start, and gauges where said.
public struct HTTPCounters: Sendable {
    /// Connections open now (a gauge).
    public internal(set) var open = 0
    /// Connections taken.
    public internal(set) var accepted = 0
    /// Connections answered 503 and closed: `HTTPLimits.connections` were open.
    public internal(set) var refused = 0
    /// Requests whose head was complete and valid.
    public internal(set) var requests = 0
    /// Requests whose handler runs now (a gauge).
    public internal(set) var inFlight = 0
    /// Bytes read from and written to sockets.
    public internal(set) var bytesIn = 0
    public internal(set) var bytesOut = 0
    /// Replies that did not come to the client as a whole.
    public internal(set) var lost = 0
    /// Keep-alive connections closed for being idle.
    public internal(set) var idleTimeouts = 0
    /// Connections dropped because the client took no bytes.
    public internal(set) var writeTimeouts = 0
    private var errors = [Int](repeating: 0, count: HTTPError.allCases.count)

    public init() {}

    /// How often requests were refused with `error`.
    public subscript(error: HTTPError) -> Int {
        errors[error.rawValue]
    }

    mutating func count(_ error: HTTPError) { errors[error.rawValue] += 1 }
}
