// One parked request, on the loop that holds its connection: told to look, or that it is over.
//
// The last word stays: once a waiter was told that it is over, a later word to look is not heard.

import Net

/// What a waiter's signals go to, where nobody is suspended on `next`.
protocol WaiterOwner: AnyObject {
    func signalled(_ signal: Waiter.Signal)
}

final class Waiter {
    enum Signal: Equatable {
        /// Read now; then report.
        case look
        /// The stream or the group is gone.
        case ended(WaitEnd)
        /// Its time is up.
        case expired
        /// The client has closed its connection.
        case gone
        /// The gateway is shutting down.
        case draining
    }

    let id: WaiterID
    let key: WaitKey
    /// Kept alive by its waiter, until it leaves.
    var owner: (any WaiterOwner)?
    /// False: what nobody holds is not for this one, and its look tells nothing of that.
    var takesUnowned = true
    /// Among the waiters of the process; nil: it is one of many of its call, which has one, or a sink's reader, which needs none.
    let place: WaiterCount.Place?
    /// Of its last look: since when it is known that there is something to look for. See `WaitHome.Action`.
    var toldAt: WaitHome.Instant?
    /// It has queued up, or will when those before it have.
    var isEntered = false
    private var pending: Signal?
    private var continuation: UnsafeContinuation<Signal, Never>?
    var timer: TimerID?

    init(id: WaiterID, key: WaitKey, place: WaiterCount.Place?) {
        self.id = id
        self.key = key
        self.place = place
    }

    func deliver(_ signal: Signal) {
        if let owner {
            owner.signalled(signal)
        } else if let continuation {
            self.continuation = nil
            continuation.resume(returning: signal)
        } else if pending == nil || pending == .look {
            pending = signal
        }
    }

    /// Suspends until there is something to do. The continuation's body may run later than it looks (as a
    /// job of its own), so it asks again what has come meanwhile.
    func next() async -> Signal {
        await withUnsafeContinuation { continuation in
            if let signal = pending {
                pending = nil
                continuation.resume(returning: signal)
            } else {
                self.continuation = continuation
            }
        }
    }
}
