// What the metrics say of one client. Written by the client's loop alone, read from any thread.

import Synchronization

/// A number with one writer and any readers.
public struct LoopCounter: ~Copyable, Sendable {
    private let number = Atomic(0)

    public var value: Int { number.load(ordering: .relaxed) }

    /// A load and a store, not an atomic add: there is one writer.
    func add(_ count: Int) { number.store(number.load(ordering: .relaxed) &+ count, ordering: .relaxed) }
    func set(_ count: Int) { number.store(count, ordering: .relaxed) }
}

/// Totals since the start, but for the gauges. One object per client: it has one writer.
public final class RedisCounters: Sendable {
    /// Commands appended to a connection, handshakes and pings not among them.
    public let commands = LoopCounter()
    /// Answers of any kind that reached a waiting caller.
    public let replies = LoopCounter()
    /// Those of them that were error replies.
    public let errors = LoopCounter()
    /// Commands without an answer within their time.
    public let timeouts = LoopCounter()
    /// Commands refused because too much was in flight.
    public let overloads = LoopCounter()
    /// Reads and idempotent writes sent once more after a reconnect.
    public let repeats = LoopCounter()
    /// Successful handshakes after the first.
    public let reconnects = LoopCounter()
    /// Bytes handed to the kernel, and received from it.
    public let bytesOut = LoopCounter()
    public let bytesIn = LoopCounter()
    /// Keys that the server told us have changed, and nudges heard.
    public let invalidations = LoopCounter()
    public let nudges = LoopCounter()
    /// Gauge: commands in flight now, and their bytes.
    public let inFlight = LoopCounter()
    public let inFlightBytes = LoopCounter()
    /// Gauges, 0 or 1: connected; the server tells us of changed keys.
    public let connected = LoopCounter()
    public let tracking = LoopCounter()

    public init() {}
}
