// Waiters in the order they came: first in, first out, and anybody may leave from the middle.
//
// A list of linked places in one array, and an index of who has which where they are more than a few: ten thousand queues
// of one waiter each have none. Every operation is O(1), however many wait and whoever has left; the first n are found in
// n steps.

struct WaiterQueue {
    private struct Place {
        var waiter: WaiterID
        var before: Int32
        /// Of a place that nobody has: the next such one.
        var after: Int32
    }

    private static let none: Int32 = -1
    /// So many are looked at one after the other.
    private static let few = 8

    private var places: [Place] = []
    /// Kept where there are more than a few places.
    private var index: [WaiterID: Int32] = [:]
    private var length: Int32 = 0
    private var front = WaiterQueue.none
    private var back = WaiterQueue.none
    private var vacant = WaiterQueue.none

    var count: Int { Int(length) }
    var isEmpty: Bool { length == 0 }
    var first: WaiterID? { front < 0 ? nil : places[Int(front)].waiter }

    func contains(_ waiter: WaiterID) -> Bool { place(of: waiter) != nil }

    private var isIndexed: Bool { places.count > WaiterQueue.few }

    private func place(of waiter: WaiterID) -> Int32? {
        if isIndexed { return index[waiter] }
        var number = front
        while number >= 0, places[Int(number)].waiter != waiter { number = places[Int(number)].after }
        return number < 0 ? nil : number
    }

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
        length += 1
        if isIndexed { enterIndex(waiter, number) }
        if back < 0 { front = number } else { places[Int(back)].after = number }
        back = number
    }

    /// The first that makes them more than a few brings all with it.
    private mutating func enterIndex(_ waiter: WaiterID, _ number: Int32) {
        if index.isEmpty {
            for (number, place) in places.enumerated() { index[place.waiter] = Int32(number) }
        } else {
            index[waiter] = number
        }
    }

    /// False when it was not there.
    @discardableResult
    mutating func remove(_ waiter: WaiterID) -> Bool {
        guard let number = place(of: waiter) else { return false }
        if isIndexed { index[waiter] = nil }
        length -= 1
        let place = places[Int(number)]
        if place.before < 0 { front = place.after } else { places[Int(place.before)].after = place.after }
        if place.after < 0 { back = place.before } else { places[Int(place.after)].before = place.before }
        places[Int(number)].after = vacant
        vacant = number
        if isEmpty, isIndexed { self = WaiterQueue() }  // A crowd has gone: so does its room.
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
