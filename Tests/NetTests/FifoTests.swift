// The queue: in step with an array, wherever in its memory it begins; what it holds, and lets go of.

import Testing

@testable import Net

struct FifoTests {
    /// `count` numbers from 0 on, beginning at place `start` of the memory.
    private func fifo(_ count: Int, start: Int) -> Fifo<Int> {
        var fifo = Fifo<Int>()
        for number in 0..<start {
            fifo.append(number)
            _ = fifo.popFirst()
        }
        for number in 0..<count { fifo.append(number) }
        return fifo
    }

    /// Around 8, 16 and 32, where the memory is full and grows.
    private let shapes = (0...34).flatMap { count in (0..<8).map { (count, start: $0) } }

    @Test func `what went in first comes out first`() {
        for (count, start) in shapes {
            var fifo = fifo(count, start: start)
            #expect(fifo.count == count && fifo.first == (count > 0 ? 0 : nil) && Array(fifo) == Array(0..<count))
            for number in 0..<count { #expect(fifo.popFirst() == number) }
            #expect(fifo.isEmpty && fifo.popFirst() == nil)
        }
    }

    @Test func `inserting and removing anywhere is what it is for an array`() {
        for (count, start) in shapes {
            for index in 0...count {
                var (fifo, array) = (fifo(count, start: start), Array(0..<count))
                fifo.insert(-1, at: index)
                array.insert(-1, at: index)
                #expect(Array(fifo) == array, "\(count) from \(start), inserted at \(index)")
                #expect(fifo.remove(at: index) == -1)
                #expect(Array(fifo) == Array(0..<count), "\(count) from \(start), removed at \(index)")
            }
        }
    }

    @Test func `a copy stays as it is`() {
        for (count, start) in shapes {
            var fifo = fifo(count, start: start)
            let copy = fifo
            for index in fifo.indices { fifo[index] += 100 }
            _ = fifo.popFirst()
            fifo.append(7)
            fifo.insert(8, at: fifo.count / 2)
            #expect(Array(copy) == Array(0..<count))
        }
    }

    @Test func `it finds its place in order`() {
        let fifo = fifo(20, start: 5)
        for number in -1...21 { #expect(fifo.partitionPoint { $0 < number } == min(max(number, 0), 20)) }
    }

    @Test func `what is taken out, or left when it ends, is let go of`() {
        final class Thing {}
        var fifo = Fifo<Thing>()
        for _ in 0..<12 { fifo.append(Thing()) }
        weak let first = fifo[0]
        weak let fifth = fifo[4]
        weak let last = fifo[11]
        _ = fifo.popFirst()
        #expect(first == nil && fifth != nil)
        fifo.remove(at: 3)
        #expect(fifth == nil && last != nil)
        fifo.removeAll()
        #expect(last == nil && fifo.isEmpty)
    }
}
