// What messages cost in looks when they trickle in: each at any moment between the steps of the looks that the ones
// before it have caused.

import Support
import Testing

@testable import Gateway

struct WaitHomeBurstTests {
    @Test func `n messages cost at most 2n + 1 looks, whenever each of them comes`() {
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 32)
        var random = SeededRandom(seed: seed)
        for _ in 0..<400 {
            let messages = Int.random(in: 1...24, using: &random)
            let eagerness = Int.random(in: 1...60, using: &random)
            var trickle = Trickle(messages: messages)
            trickle.run(&random, eagerness)
            #expect(trickle.available == 0, "SEED=\(seed): a message was left behind")
            #expect(trickle.looks <= 2 * messages + 1, "SEED=\(seed): \(trickle.looks) looks for \(messages)")
        }
    }

    /// Redis and one home: commands are executed and answered in order, the subscription is not ordered against them.
    private struct Trickle {
        enum Command { case track(StreamName, WaitHome.TrackID), look(Int) }
        enum Reply { case tracked(StreamName, WaitHome.TrackID), looked(Int, WaitHome.Look.Result) }

        let bench = HomeBench()
        var left: Int
        var available = 0
        private var isTracked = true
        private var pushes = 0
        private var commands: [Command] = []
        private var replies: [Reply] = []
        private var wakes: [Duration] = []
        private let before: Int

        var looks: Int { bench.home.looksStarted - before }

        init(messages: Int) {
            left = messages
            bench.park(60)
            before = bench.home.looksStarted
        }

        mutating func run(_ random: inout SeededRandom, _ eagerness: Int) {
            while true {
                if left > 0, Int.random(in: 0..<100, using: &random) < eagerness {
                    add()
                } else if let step = steps.randomElement(using: &random) {
                    step(&self)
                } else if left > 0 {
                    add()
                } else if let next = wakes.min(), next <= bench.now + .milliseconds(10) {
                    wakes.removeAll { $0 == next }
                    bench.now = max(bench.now, next)
                    perform(bench.send(.timer(HomeBench.key)))
                } else {
                    return
                }
            }
        }

        private var steps: [(inout Trickle) -> Void] {
            var steps: [(inout Trickle) -> Void] = []
            if pushes > 0 { steps.append { $0.hear() } }
            if !commands.isEmpty { steps.append { $0.execute() } }
            if !replies.isEmpty { steps.append { $0.answer() } }
            return steps
        }

        private mutating func add() {
            left -= 1
            available += 1
            if isTracked { pushes += 1 }
            isTracked = false
        }

        private mutating func hear() {
            pushes -= 1
            perform(bench.send(.invalidated(HomeBench.orders)))
        }

        private mutating func execute() {
            switch commands.removeFirst() {
            case .track(let stream, let id):
                isTracked = true
                replies.append(.tracked(stream, id))
            case .look(let number):
                replies.append(.looked(number, available > 0 ? .found(full: true) : .nothing))
                available = max(available - 1, 0)
            }
        }

        private mutating func answer() {
            switch replies.removeFirst() {
            case .tracked(let stream, let id): perform(bench.send(.tracked(stream, id, true)))
            case .looked(let number, let result): perform(bench.answer(number, result))
            }
        }

        private mutating func perform(_ actions: [WaitHome.Action]) {
            for action in actions {
                switch action {
                case .track(let stream, let id): commands.append(.track(stream, id))
                case .look(let waiter, _): commands.append(.look(waiter.number))
                case .wake(_, let instant): wakes.append(instant)
                case .end, .ask: break
                }
            }
        }
    }
}
