// First in, first out: a ring of memory that grows and is used again, so that neither end costs more the longer it is.
// For queues that may be long, instead of an array with a place that moves.
//
// All of it can be inlined, and it is public for that: of a `package` type the other modules would call the unspecialized code,
// which was 4 % of what a delivery costs.
//
// What is taken out is let go of at once. In the middle whichever side is shorter makes room, or closes the gap. The memory is
// bare, since every command to Redis goes through one of these: an array of optionals made that cost twice as much.

/// A queue, and a collection of what is in it: the oldest at 0. New, or after `removeAll`, it has no memory.
public struct Fifo<Element> {
    @usableFromInline var ring: Ring?

    /// Shared by copies until one of them is changed.
    @usableFromInline final class Ring {
        @usableFromInline let slots: UnsafeMutablePointer<Element>
        /// A power of two.
        @usableFromInline let capacity: Int
        @usableFromInline var head = 0
        @usableFromInline var count = 0

        @inlinable init(capacity: Int) {
            self.capacity = capacity
            slots = .allocate(capacity: capacity)
        }

        @inlinable deinit {
            for index in 0..<count { slot(index).deinitialize(count: 1) }
            slots.deallocate()
        }

        @inlinable @inline(__always) func slot(_ index: Int) -> UnsafeMutablePointer<Element> {
            slots + ((head + index) & (capacity - 1))
        }
    }

    @inlinable public init() {}

    @inlinable public mutating func append(_ element: consuming Element) {
        if !isKnownUniquelyReferenced(&ring) || ring!.count == ring!.capacity { makeRoom() }
        let ring = ring!
        ring.slot(ring.count).initialize(to: element)
        ring.count += 1
    }

    @inlinable public mutating func popFirst() -> Element? {
        guard !isEmpty else { return nil }
        if !isKnownUniquelyReferenced(&ring) { makeRoom() }
        let ring = ring!
        let element = ring.slot(0).move()
        ring.head = (ring.head + 1) & (ring.capacity - 1)
        ring.count -= 1
        return element
    }

    /// So that it is the one at `index`.
    @inlinable public mutating func insert(_ element: consuming Element, at index: Int) {
        precondition(index >= 0 && index <= count, "A queue has no holes.")
        if !isKnownUniquelyReferenced(&ring) || ring!.count == ring!.capacity { makeRoom() }
        let ring = ring!
        if index < ring.count / 2 {
            ring.head = (ring.head - 1) & (ring.capacity - 1)
            for place in 0..<index { ring.slot(place).moveInitialize(from: ring.slot(place + 1), count: 1) }
        } else {
            for place in stride(from: ring.count, to: index, by: -1) {
                ring.slot(place).moveInitialize(from: ring.slot(place - 1), count: 1)
            }
        }
        ring.slot(index).initialize(to: element)
        ring.count += 1
    }

    @inlinable @discardableResult
    public mutating func remove(at index: Int) -> Element {
        precondition(index >= 0 && index < count, "There is no such element.")
        if !isKnownUniquelyReferenced(&ring) { makeRoom() }
        let ring = ring!
        let element = ring.slot(index).move()
        if index < ring.count / 2 {
            for place in stride(from: index, to: 0, by: -1) { ring.slot(place).moveInitialize(from: ring.slot(place - 1), count: 1) }
            ring.head = (ring.head + 1) & (ring.capacity - 1)
        } else {
            for place in index..<(ring.count - 1) { ring.slot(place).moveInitialize(from: ring.slot(place + 1), count: 1) }
        }
        ring.count -= 1
        return element
    }

    @inlinable public mutating func removeAll() { ring = nil }

    /// Where the first one stands that is not before what is looked for; `isBefore` holds of none behind it.
    @inlinable public func partitionPoint(_ isBefore: (Element) -> Bool) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if isBefore(self[middle]) { low = middle + 1 } else { high = middle }
        }
        return low
    }

    /// A ring that is nobody else's, with a free slot.
    @inlinable mutating func makeRoom() {
        let isShared = !isKnownUniquelyReferenced(&ring)
        guard let old = ring else { return ring = Ring(capacity: 8) }
        let new = Ring(capacity: old.count == old.capacity ? old.capacity * 2 : old.capacity)
        for index in 0..<old.count {
            if isShared {
                new.slot(index).initialize(to: old.slot(index).pointee)
            } else {
                new.slot(index).moveInitialize(from: old.slot(index), count: 1)
            }
        }
        new.count = old.count
        if !isShared { old.count = 0 }
        ring = new
    }
}

extension Fifo: RandomAccessCollection, MutableCollection {
    @inlinable public var startIndex: Int { 0 }
    @inlinable public var endIndex: Int { ring?.count ?? 0 }

    @inlinable public subscript(index: Int) -> Element {
        get {
            precondition(index >= 0 && index < endIndex, "There is no such element.")
            return ring!.slot(index).pointee
        }
        _modify {
            precondition(index >= 0 && index < endIndex, "There is no such element.")
            if !isKnownUniquelyReferenced(&ring) { makeRoom() }
            yield &ring!.slot(index).pointee
        }
    }
}
