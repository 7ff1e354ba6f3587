// Which policies are to be carried out when, by one loop: a pure state machine. Times go in, keys come out that are to
// be run; the owner tells when each run has ended and when the next is due.
//
// A key is in exactly one state: due (it has a time), running, or unknown. What is left of it in the heap
// after it was moved or removed is passed over. At most `width` run at once: the others wait, in order.

import Net

struct RecoverySchedule {
    /// Runs at once: each costs Redis about a millisecond a slice, and readers come first.
    static let width = 4

    private var heap = DueHeap<WaitKey>()
    private var due: [WaitKey: EventLoop.Instant] = [:]
    private var running: Set<WaitKey> = []
    private var isStopped = false

    /// When `popDue` may have something next.
    var next: EventLoop.Instant? { running.count < RecoverySchedule.width && !isStopped ? heap.next : nil }

    /// From now on it is run; one that is running goes on, and is run again when it is told to have ended.
    mutating func add(_ key: WaitKey, at instant: EventLoop.Instant) {
        guard !running.contains(key) else { return }
        if let known = due[key], known <= instant { return }
        due[key] = instant
        heap.insert(instant, key)
    }

    mutating func remove(_ key: WaitKey) {
        due[key] = nil
        running.remove(key)
    }

    /// One that is to be run now; its owner calls `ended`.
    mutating func popDue(_ now: EventLoop.Instant) -> WaitKey? {
        guard running.count < RecoverySchedule.width, !isStopped else { return nil }
        while let key = heap.popDue(now) {
            guard let instant = due[key], instant <= now else { continue }
            due[key] = nil
            running.insert(key)
            return key
        }
        return nil
    }

    /// `next`: when it is to be run again.
    mutating func ended(_ key: WaitKey, next: EventLoop.Instant) {
        guard running.remove(key) != nil else { return }  // Removed meanwhile.
        add(key, at: next)
    }

    /// Nothing is run from now on.
    mutating func stop() { isStopped = true }
}
