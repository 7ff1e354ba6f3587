// Who waits for what others leave idle: the one who asks for the least idle time first, and among equals the one
// who came first. Part of `WaitHome`.
//
// Where the first finds nothing idle enough nobody behind it would, so that one look serves all claimants.
// Coming and going cost O(log n), and a move of at most as many thresholds as there are different ones.

struct ClaimantQueue {
    private var thresholds: [Duration] = []  // Each once, the smallest last.
    private var queues: [Duration: WaiterQueue] = [:]
    private var thresholdOf: [WaiterID: Duration] = [:]

    var isEmpty: Bool { thresholds.isEmpty }
    var first: WaiterID? { smallestThreshold.flatMap { queues[$0]!.first } }
    /// How long a message must have been idle before anybody here wants it.
    var smallestThreshold: Duration? { thresholds.last }

    /// What this one does not find idle enough, nobody would.
    func speaksForAll(_ waiter: WaiterID) -> Bool {
        thresholdOf[waiter].map { $0 == smallestThreshold } ?? false
    }

    mutating func append(_ waiter: WaiterID, threshold: Duration) {
        thresholdOf[waiter] = threshold
        if queues[threshold] == nil { thresholds.insert(threshold, at: place(of: threshold)) }
        queues[threshold, default: WaiterQueue()].append(waiter)
    }

    mutating func remove(_ waiter: WaiterID) {
        guard let threshold = thresholdOf.removeValue(forKey: waiter) else { return }
        queues[threshold]!.remove(waiter)
        guard queues[threshold]!.isEmpty else { return }
        queues[threshold] = nil
        thresholds.remove(at: place(of: threshold))
    }

    /// Where the threshold is, or belongs.
    private func place(of threshold: Duration) -> Int {
        var (low, high) = (0, thresholds.count)
        while low < high {
            let middle = (low + high) / 2
            if thresholds[middle] > threshold { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
