// What a sink needs of the loop it lives on. `GatewayServer` provides it; tests make their own.

import Logging
import Net

/// What is known of unowned messages, shared by all readers of a loop; see `UnownedIndex`.
protocol UnownedMemory: AnyObject {
    /// Whether a read has to look for unowned messages first.
    func mayHaveUnowned(_ key: WaitKey) -> Bool
    /// When the next one falls due, as far as is known.
    func unownedDue(_ key: WaitKey) -> EventLoop.Instant?
    /// Taken before a look is sent, handed in with its result.
    func unownedGeneration(_ key: WaitKey) -> UInt32
    /// A look found none that is due; the next falls due at `due`, nil: there are none.
    func foundNoUnowned(_ key: WaitKey, due: EventLoop.Instant?, generation: UInt32)
}

/// The loop, and what lives on it. All of it is confined to that loop.
struct SinkHost {
    var loop: EventLoop
    var store: any StreamStore
    var longPoll: LongPoll
    var unowned: any UnownedMemory
    var outbound: any Outbound
    var log: Logger
    /// Starts a root task on `loop` that calls `run()` of this sink, once.
    var spawn: () -> Void
}
