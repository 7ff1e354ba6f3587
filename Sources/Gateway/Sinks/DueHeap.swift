// Times in order, each with a value: a binary heap. Who is no longer wanted stays in it and is passed over when
// its time comes; the owner tells by the value.

import Net

struct DueHeap<Value> {
    private var heap: [(due: EventLoop.Instant, value: Value)] = []

    var next: EventLoop.Instant? { heap.first?.due }
    var count: Int { heap.count }

    mutating func insert(_ due: EventLoop.Instant, _ value: Value) {
        heap.append((due, value))
        var place = heap.count - 1
        while place > 0, heap[(place - 1) / 2].due > heap[place].due {
            heap.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// The first one that is due at `now`.
    mutating func popDue(_ now: EventLoop.Instant) -> Value? {
        guard let first = heap.first, first.due <= now else { return nil }
        heap.swapAt(0, heap.count - 1)
        heap.removeLast()
        var place = 0
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2] where child < heap.count && heap[child].due < heap[least].due {
                least = child
            }
            guard least != place else { return first.value }
            heap.swapAt(place, least)
            place = least
        }
    }
}
