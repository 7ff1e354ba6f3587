// What a loop knows of unowned messages, and when it stops knowing.

import Testing

@testable import Gateway

struct UnownedIndexTests {
    private let key = WaitKey(stream: StreamName("s"), group: GroupName("g"))

    @Test func `nothing is known at first, after a nudge, after a loss, and where nobody tells`() {
        var index = UnownedIndex()
        #expect(index.search(key, now: .seconds(1)) == .everything)
        index.foundNone(key, due: nil, generation: index.generation(key), now: .zero)
        #expect(index.search(key, now: .seconds(1)) == .nothing && index.due(key) == nil)
        index.nudged(key)
        #expect(index.search(key, now: .seconds(1)) == .everything)
        index.foundNone(key, due: nil, generation: index.generation(key), now: .zero)
        index.isTold = false
        #expect(index.search(key, now: .seconds(1)) == .everything)
        index.isTold = true
        index.forgetAll()
        #expect(index.search(key, now: .seconds(1)) == .everything)
    }

    @Test func `until a message is due nobody looks, and then only for those that are`() {
        var index = UnownedIndex()
        index.foundNone(key, due: .seconds(5), generation: index.generation(key), now: .zero)
        #expect(index.search(key, now: .seconds(4)) == .nothing && index.due(key) == .seconds(5))
        #expect(index.search(key, now: .seconds(5)) == .due)
        index.foundNone(key, due: nil, generation: index.generation(key), now: .zero)
        index.delayed(key)
        #expect(index.search(key, now: .seconds(5)) == .due, "to learn the new time")
    }

    @Test func `nothing is believed for ever`() {
        for due in [nil, Duration.seconds(100_000)] {
            var index = UnownedIndex()
            index.foundNone(key, due: due, generation: index.generation(key), now: .seconds(7))
            #expect(index.search(key, now: .seconds(7 + 599)) == .nothing)
            #expect(index.search(key, now: .seconds(7 + 600)) == .everything)
        }
    }

    @Test func `a due time tells who knows nothing no more than that`() {
        var index = UnownedIndex()
        index.delayed(key)
        #expect(index.search(key, now: .seconds(1)) == .everything)
    }

    @Test func `a look that a nudge has overtaken counts for nothing`() {
        var index = UnownedIndex()
        index.foundNone(key, due: .seconds(9), generation: index.generation(key), now: .zero)
        let generation = index.generation(key)
        index.delayed(key)
        index.foundNone(key, due: .seconds(9), generation: generation, now: .zero)
        #expect(index.search(key, now: .seconds(1)) == .due)
    }
}
