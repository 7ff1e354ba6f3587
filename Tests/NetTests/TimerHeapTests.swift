// The heap of deadlines.

import Testing

@testable import Net

struct TimerHeapTests {
    @Test func `timers come due in the order of their deadlines`() {
        var heap = TimerHeap()
        var fired: [Int] = []
        for (number, deadline) in [(1, 30), (2, 10), (3, 20)] {
            _ = heap.insert(.milliseconds(deadline)) { fired.append(number) }
        }
        while let action = heap.popDue(.milliseconds(25)) { action() }
        #expect(fired == [2, 3])
        #expect(heap.count == 1)
    }
}
