// Waiters in the order they came: first in, first out, and anybody may leave from the middle.
//
// A list of linked places in one array, and an index of who has which. Every operation is O(1), however many wait and
// whoever has left; the first n are found in n steps.

struct WaiterQueue {
    private struct Place {
        var waiter: WaiterID
        var before: Int32
        /// Of a place that nobody has: the next such one.
        var after: Int32
    }

    private static let none: Int32 = -1

    private var places: [Place] = []
    private var index: [WaiterID: Int32] = [:]
    private var front = WaiterQueue.none
    private var back = WaiterQueue.none
    private var vacant = WaiterQueue.none

    var count: Int { index.count }
    var isEmpty: Bool { index.isEmpty }
    var first: WaiterID? { front < 0 ? nil : places[Int(front)].waiter }

    func contains(_ waiter: WaiterID) -> Bool { index[waiter] != nil }

    mutating func append(_ waiter: WaiterID) {
        let place = Place(waiter: waiter, before: back, after: WaiterQueue.none)
        let number: Int32
        if vacant < 0 {
            number = Int32(places.count)
            places.append(place)
        } else {
            number = vacant
            vacant = places[Int(number)].after
            places[Int(number)] = place
        }
        index[waiter] = number
        if back < 0 { front = number } else { places[Int(back)].after = number }
        back = number
    }

    /// False when it was not there.
    @discardableResult
    mutating func remove(_ waiter: WaiterID) -> Bool {
        guard let number = index.removeValue(forKey: waiter) else { return false }
        let place = places[Int(number)]
        if place.before < 0 { front = place.after } else { places[Int(place.before)].after = place.after }
        if place.after < 0 { back = place.before } else { places[Int(place.after)].before = place.before }
        places[Int(number)].after = vacant
        vacant = number
        if index.isEmpty, places.count > 32 { self = WaiterQueue() }  // A crowd has gone: so does its room.
        return true
    }

    /// The first `count` waiters, or all when there are fewer.
    func prefix(_ count: Int) -> [WaiterID] {
        var found: [WaiterID] = []
        var next = front
        while next >= 0, found.count < count {
            found.append(places[Int(next)].waiter)
            next = places[Int(next)].after
        }
        return found
    }
}
