// Deadlines in order: a binary heap whose entries know their place, so that a cancelled timer leaves at
// once (ten thousand parked readers cancel theirs long before they are due).
//
// Timers with equal deadlines fire in the order they were set.

public struct TimerID: Equatable, Sendable {
    fileprivate let slot: Int
    fileprivate let generation: Int
}

struct TimerHeap {
    typealias Action = () -> Void

    private struct Slot {
        var generation = 0
        var place = -1  // In `heap`; -1 while free.
        var deadline = Duration.zero
        var order: UInt64 = 0
        var action: Action?
    }

    private var slots: [Slot] = []
    private var free: [Int] = []
    private var heap: [Int] = []  // Slot numbers.
    private var order: UInt64 = 0

    var isEmpty: Bool { heap.isEmpty }
    var count: Int { heap.count }
    var next: Duration? { heap.first.map { slots[$0].deadline } }

    mutating func insert(_ deadline: Duration, _ action: @escaping Action) -> TimerID {
        let slot = free.popLast() ?? slots.count
        if slot == slots.count { slots.append(Slot()) }
        order += 1
        slots[slot].deadline = deadline
        slots[slot].order = order
        slots[slot].action = action
        slots[slot].place = heap.count
        heap.append(slot)
        siftUp(heap.count - 1)
        return TimerID(slot: slot, generation: slots[slot].generation)
    }

    /// A timer that has fired or was cancelled before is ignored.
    mutating func remove(_ timer: TimerID) {
        guard slots[timer.slot].generation == timer.generation else { return }
        removeFromHeap(at: slots[timer.slot].place)
        release(timer.slot)
    }

    /// Takes the first timer due at `now`, if there is one.
    mutating func popDue(_ now: Duration) -> Action? {
        guard let first = heap.first, slots[first].deadline <= now else { return nil }
        let action = slots[first].action
        removeFromHeap(at: 0)
        release(first)
        return action
    }

    private mutating func release(_ slot: Int) {
        slots[slot].generation += 1
        slots[slot].action = nil
        slots[slot].place = -1
        free.append(slot)
    }

    private mutating func removeFromHeap(at place: Int) {
        let last = heap.removeLast()
        guard place < heap.count else { return }
        heap[place] = last
        slots[last].place = place
        siftDown(place)
        siftUp(place)
    }

    private func comesFirst(_ a: Int, _ b: Int) -> Bool {
        (slots[a].deadline, slots[a].order) < (slots[b].deadline, slots[b].order)
    }

    private mutating func siftUp(_ start: Int) {
        var place = start
        while place > 0 {
            let parent = (place - 1) / 2
            guard comesFirst(heap[place], heap[parent]) else { return }
            swap(place, parent)
            place = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var place = start
        while true {
            let left = 2 * place + 1
            let right = left + 1
            var least = place
            if left < heap.count && comesFirst(heap[left], heap[least]) { least = left }
            if right < heap.count && comesFirst(heap[right], heap[least]) { least = right }
            guard least != place else { return }
            swap(place, least)
            place = least
        }
    }

    private mutating func swap(_ a: Int, _ b: Int) {
        heap.swapAt(a, b)
        slots[heap[a]].place = a
        slots[heap[b]].place = b
    }
}
