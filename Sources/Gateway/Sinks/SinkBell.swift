// One task waits, anybody wakes it. A ring that nobody waits for is kept, so none is lost.

import Net

final class SinkBell {
    private let loop: EventLoop
    private var isRung = false
    private var continuation: UnsafeContinuation<Void, Never>?
    private var timer: TimerID?

    init(_ loop: EventLoop) { self.loop = loop }

    func ring() {
        guard let continuation else { return isRung = true }
        self.continuation = nil
        if let timer { loop.cancel(timer) }
        timer = nil
        continuation.resume()
    }

    /// Until it is rung, or until `deadline`. One waiter at a time.
    func wait(until deadline: EventLoop.Instant? = nil) async {
        precondition(continuation == nil, "A bell wakes one task.")
        await withUnsafeContinuation { continuation in
            if isRung {
                isRung = false
                return continuation.resume()
            }
            self.continuation = continuation
            if let deadline { timer = loop.schedule(at: deadline) { [unowned self] in ring() } }
        }
    }
}
