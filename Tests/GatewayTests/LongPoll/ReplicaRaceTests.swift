// Several gateways wait for one group, and Redis is nearer to some: who is always late gets a turn (see `WaitHome`).

import Support
import Testing

@testable import Gateway

struct ReplicaRaceTests {
    /// Homes at different distances from one Redis, in virtual time. Who gets a message is replaced at once.
    private final class Race {
        struct Event { let at: Duration, number: Int, run: () -> Void }

        let ways: [Duration]
        var benches: [HomeBench]
        var added = 0
        var available = 0
        var isTracked: [Bool]
        var now = Duration.seconds(10)
        var agenda: [Event] = []
        var lastNumber = 100
        /// How many messages each has had, and how many went to others since its last.
        var had: [Int]
        var missed: [Int]
        var mostMissed: [Int]
        var asks = 0

        init(ways: [Duration], lossesAllowed: Int) {
            self.ways = ways
            var settings = WaitHome.Settings()
            settings.lossesAllowed = lossesAllowed
            benches = ways.map { _ in HomeBench(settings: settings) }
            isTracked = ways.map { _ in true }
            (had, missed, mostMissed) = (ways.map { _ in 0 }, ways.map { _ in 0 }, ways.map { _ in 0 })
            for bench in benches { bench.park(3) }
        }

        func after(_ delay: Duration, _ run: @escaping () -> Void) {
            lastNumber += 1
            agenda.append(Event(at: now + delay, number: lastNumber, run: run))
        }

        /// A message every `pause`, give or take half of it.
        func run(messages: Int, every pause: Duration, _ random: inout SeededRandom) {
            var left = messages
            func addLater() {
                guard left > 0 else { return }
                left -= 1
                after(pause / 2 + pause * Double.random(in: 0..<1, using: &random)) { [unowned self] in add() }
            }
            addLater()
            while let place = agenda.indices.min(by: { (agenda[$0].at, agenda[$0].number) < (agenda[$1].at, agenda[$1].number) }),
                had.reduce(0, +) < messages
            {
                let next = agenda.remove(at: place)
                let before = added
                now = max(now, next.at)
                next.run()
                if added > before { addLater() }
            }
            agenda = []
        }

        func add() {
            added += 1
            available += 1
            for gateway in ways.indices where isTracked[gateway] {
                isTracked[gateway] = false
                after(ways[gateway]) { [unowned self] in send(gateway, .invalidated(HomeBench.orders)) }
            }
        }

        func send(_ gateway: Int, _ event: WaitHome.Event) {
            let bench = benches[gateway]
            bench.now = now
            for action in bench.send(event) {
                switch action {
                case .track(let stream, let id):
                    after(ways[gateway]) { [unowned self] in
                        isTracked[gateway] = true
                        after(ways[gateway]) { [unowned self] in send(gateway, .tracked(stream, id, true)) }
                    }
                case .look(let waiter, _): after(ways[gateway]) { [unowned self] in look(gateway, waiter) }
                case .end: break
                case .ask(let key, let hunger):
                    asks += 1
                    after(ways[gateway]) { [unowned self] in
                        for other in ways.indices {
                            after(ways[other]) { [unowned self] in send(other, .asked(key, hunger: hunger)) }
                        }
                    }
                case .wake(let key, let instant): after(instant - now) { [unowned self] in send(gateway, .timer(key)) }
                }
            }
        }

        /// At Redis.
        func look(_ gateway: Int, _ waiter: WaiterID) {
            let finds = available > 0
            if finds {
                available -= 1
                had[gateway] += 1
                missed[gateway] = 0
                for other in ways.indices where other != gateway {
                    missed[other] += 1
                    mostMissed[other] = max(mostMissed[other], missed[other])
                }
            }
            after(ways[gateway]) { [unowned self] in
                send(gateway, .looked(waiter, .init(result: finds ? .found(full: true) : .nothing)))
                guard finds else { return }
                lastNumber += 1
                send(gateway, .join(WaiterID(loop: 1, number: UInt64(lastNumber)), HomeBench.key, claims: nil))
            }
        }
    }

    private static let ways: [[Duration]] = [
        [.microseconds(50), .microseconds(200)], [.microseconds(50), .milliseconds(1)],
        [.microseconds(50), .microseconds(200), .microseconds(400)],
        [.microseconds(50), .microseconds(60), .microseconds(500), .milliseconds(1)],
    ]

    @Test(arguments: ways, [1, 3, 20]) func `no gateway's first waiter sees more messages go by than the bound says`(
        ways: [Duration], pause: Int
    ) {
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 32)
        var random = SeededRandom(seed: seed)
        let race = Race(ways: ways, lossesAllowed: 16)
        race.run(messages: 600, every: .milliseconds(pause), &random)
        #expect(race.had.reduce(0, +) == 600, "SEED=\(seed)")
        #expect(pause < 20 || race.asks > 0)
        // A look is for as many messages as come between two looks: those of the throttle, and of the way there and back.
        let messagesALook = 2 + 8 / pause
        #expect(race.mostMissed.allSatisfy { $0 <= ways.count * 16 * messagesALook }, "SEED=\(seed): \(race.mostMissed)")
    }

    @Test func `without turns the farther gateway would have none`() {
        var random = SeededRandom(seed: 1)
        let race = Race(ways: Self.ways[0], lossesAllowed: .max)
        race.run(messages: 300, every: .milliseconds(20), &random)
        #expect(race.had == [300, 0])
    }

    @Test func `one that waits alone asks for nothing`() {
        var random = SeededRandom(seed: 2)
        let race = Race(ways: [.microseconds(50)], lossesAllowed: 16)
        race.run(messages: 300, every: .milliseconds(1), &random)
        #expect(race.had == [300] && race.asks == 0)
    }

    @Test func `who asks gives way to whom has waited longer, and to nobody else`() {
        for (hunger, isLater) in [(Duration.seconds(3600), true), (.zero, false)] {
            let bench = HomeBench()
            bench.park(1)
            _ = bench.send(.asked(HomeBench.key, hunger: hunger))
            let asked = bench.track(bench.send(.invalidated(HomeBench.orders)))
            if isLater {
                #expect(asked.looks.isEmpty)
                bench.now += .milliseconds(10)
                #expect(bench.track(bench.send(.timer(HomeBench.key))).looks == [1])
            } else {
                #expect(asked.looks == [1])
            }
        }
    }

    @Test func `a turn that nobody takes within a second is over`() {
        let bench = HomeBench()
        bench.park(1)
        _ = bench.send(.asked(HomeBench.key, hunger: .seconds(3600)))
        bench.now += .milliseconds(1001)
        #expect(bench.track(bench.send(.invalidated(HomeBench.orders))).looks == [1])
    }

    @Test func `what it says to Redis is read as it was meant`() throws {
        let key = WaitKey(stream: StreamName("a:b"), group: GroupName("c:d"))
        let payload = Array("t1500:3:a:bc:d".utf8)
        #expect(payload.withUnsafeBytes { TurnNudge(payload: $0) } == TurnNudge(key, hunger: .milliseconds(1500)))
        for text in ["", "t", "t5", "tx:1:ab", "t-1:1:ab", "t5:9:ab", "u1:ab"] {
            #expect(Array(text.utf8).withUnsafeBytes { TurnNudge(payload: $0) } == nil)
        }
        let tail = TurnNudge(WaitKey(stream: StreamName("a"), group: nil), hunger: .zero)
        #expect(tail.publish == nil)
    }
}
