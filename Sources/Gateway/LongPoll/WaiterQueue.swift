// Waiters in the order they came: first in, first out, and anybody may leave from the middle.
//
// Every operation is O(1), amortised: one who leaves from the middle leaves a hole, holes at the front are
// skipped for good, and the queue is compacted when more than half of it is holes.

struct WaiterQueue {
    private var places: [WaiterID?] = []
    private var front = 0                     // Everything before it is a hole.
    private var offset = 0                    // The place number of `places[0]`.
    private var index: [WaiterID: Int] = [:]  // Place numbers, which never change.

    var count: Int { index.count }
    var isEmpty: Bool { index.isEmpty }
    var first: WaiterID? { prefix(1).first }

    func contains(_ waiter: WaiterID) -> Bool { index[waiter] != nil }

    mutating func append(_ waiter: WaiterID) {
        index[waiter] = offset + places.count
        places.append(waiter)
    }

    /// False when it was not there.
    @discardableResult
    mutating func remove(_ waiter: WaiterID) -> Bool {
        guard let place = index.removeValue(forKey: waiter) else { return false }
        places[place - offset] = nil
        while front < places.count && places[front] == nil { front += 1 }
        if places.count > 32 && index.count * 2 < places.count - front || front > places.count / 2 { compact() }
        return true
    }

    /// The first `count` waiters, or all when there are fewer.
    func prefix(_ count: Int) -> [WaiterID] {
        var found: [WaiterID] = []
        var place = front
        while found.count < count && place < places.count {
            if let waiter = places[place] { found.append(waiter) }
            place += 1
        }
        return found
    }

    private mutating func compact() {
        let left = places[front...].compactMap { $0 }
        offset += places.count
        places = left
        front = 0
        for (place, waiter) in left.enumerated() { index[waiter] = offset + place }
    }
}
