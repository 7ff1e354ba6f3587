// How fast a sink sends: the window, the breaker and the rate, by a driven clock.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

struct SinkPaceTests {
    private let refused = SinkOutcome.retry(status: nil, error: "refused")

    /// A sink's machine, and a receiver and a Redis that answer at once, or when they are told to.
    private struct Bench {
        var machine: SinkState
        var now = Duration.seconds(1000)
        var wakeAt: Duration?
        var open: [SinkState.Key] = []
        var isWanting = true
        var next: UInt64 = 1
        var backlog: Int
        var sent = 0
        var timers = 0

        init(backlog: Int = .max, seed: UInt64 = 1, _ change: (inout SinkDefinition) -> Void = { _ in }) {
            self.backlog = backlog
            machine = SinkState(SinkStateTests.definition(streams: ["a"], change), seed: seed)
            go()
        }

        var moment: SinkState.Moment { .init(now: now, wall: now + .seconds(1_700_000_000)) }

        mutating func go() {
            while isWanting {
                isWanting = false
                let count = min(machine.reserve(0, at: moment), backlog)
                guard machine.streams[0].reserved > 0 else { return }
                backlog -= count
                let arrivals = (0..<count).map { _ in
                    next += 1
                    return SinkArrival(message: SinkMessage(id: StreamID(next, 0), fields: []), deliveryCount: 1, wasTakenOver: false)
                }
                handle(.read(0, arrivals))
                isWanting = count > 0
            }
        }

        mutating func handle(_ event: SinkState.Event) {
            for action in machine.handle(event, at: moment) {
                switch action {
                case .batch: preconditionFailure("There are none.")
                case .attempt(let key, _, _):
                    open.append(key)
                    sent += 1
                case .write(let stream, let write, let entries):
                    handle(.wrote(stream, write, entries.map { ($0.message.id, .done) }))
                case .wake(let instant): wakeAt = min(wakeAt ?? instant, instant)
                case .credit: isWanting = true
                case .stoodDown, .disabled, .drained: break
                }
            }
        }

        mutating func end(_ outcome: SinkOutcome) { end(open.count, outcome) }

        mutating func end(_ count: Int, _ outcome: SinkOutcome) {
            let ended = open.prefix(count)
            open.removeFirst(ended.count)
            handle(.attemptsEnded(ended.map { ($0, outcome) }))
            go()
        }

        /// To the next moment that the machine has asked for.
        mutating func wait() {
            now = max(now, wakeAt ?? now + .seconds(1))
            wakeAt = nil
            timers += 1
            handle(.timer)
            go()
        }
    }

    @Test func `the window begins with one request, doubles with each round trip and halves once for what fails together`() {
        var bench = Bench { $0.concurrency = 64; $0.maxHeld = 1000; $0.breakerFailures = 1000 }
        var rounds = [bench.open.count]
        for _ in 0..<7 {
            bench.end(.success(status: 200))
            rounds.append(bench.open.count)
        }
        #expect(rounds == [1, 2, 4, 8, 16, 32, 64, 64])
        bench.end(20, .retry(status: 500, error: ""))
        #expect(bench.machine.pace.window == 32)
        bench.end(44, .retry(status: nil, error: "timeout"))
        #expect(bench.machine.pace.window == 32)
        // A refusal of one message says nothing of the endpoint; patience asked for does.
        var other = Bench { $0.concurrency = 8 }
        for _ in 0..<3 { other.end(.final(status: 400)) }
        #expect(other.machine.pace.window == 8)
        other.end(1, .throttled(status: 429, retryAfter: .seconds(1), spends: false))
        #expect(other.machine.pace.window == 4 && other.machine.pace.failuresInARow == 0)
        other.end(1, .ours(error: ""))
        #expect(other.machine.pace.window == 4)
    }

    @Test(arguments: [
        (SinkOutcome.retry(status: 500, error: "status 500"), [1, 2, 4, 8, 8, 8]), (.retry(status: nil, error: "refused"), [1, 2, 3, 3, 3, 3]),
        (.throttled(status: 503, retryAfter: nil, spends: true), [1, 2, 3, 3, 3, 3]),
    ])
    func `after so many failures in a row one probe at a time is sent, ever more seldom, until one is taken`(failure: SinkOutcome, seconds: [Int]) {
        var bench = Bench { $0.breakerFailures = 5; $0.retry.jitter = 0; $0.retry.max = .seconds(8); $0.retry.maxDeliveries = 100 }
        while !bench.machine.pace.isOpen { bench.open.isEmpty ? bench.wait() : bench.end(failure) }
        #expect(bench.machine.status(now: bench.now) == .failing(until: max(bench.now + .seconds(1), bench.machine.pausedUntil)))
        while bench.now < bench.machine.pausedUntil { bench.open.isEmpty ? bench.wait() : bench.end(failure) }
        var pauses: [Duration] = []
        for _ in 0..<6 {
            let began = bench.now
            while bench.open.isEmpty { bench.wait() }
            #expect(bench.open.count == 1)
            pauses.append(bench.now - began)
            bench.end(failure)
        }
        #expect(pauses.suffix(5) == seconds.suffix(5).map { .seconds($0) }[...])
        while bench.open.isEmpty { bench.wait() }
        bench.end(.final(status: 400))
        #expect(!bench.machine.pace.isOpen && bench.open.count == 2)
        #expect(bench.machine.status(now: bench.now) == .running)
    }

    @Test func `messages that the receiver never takes don't keep the breaker open while there are others`() {
        var bench = Bench { $0.breakerFailures = 3; $0.retry.jitter = 0; $0.retry.max = .seconds(2) }
        while !bench.machine.pace.isOpen { bench.open.isEmpty ? bench.wait() : bench.end(refused) }
        let held = Set(bench.machine.held.keys)
        var probes = 0
        while bench.machine.pace.isOpen, probes < 10 {
            while bench.open.isEmpty { bench.wait() }
            probes += 1
            bench.end(held.contains(bench.open[0]) ? refused : .success(status: 200))
        }
        #expect(probes < 3)
        // And where there are none, the retries are tried.
        var last = Bench(backlog: 2) { $0.breakerFailures = 2; $0.retry.jitter = 0; $0.retry.max = .seconds(2) }
        while !last.machine.pace.isOpen { last.open.isEmpty ? last.wait() : last.end(refused) }
        for _ in 0..<10 where last.open.isEmpty { last.wait() }
        last.end(.success(status: 200))
        #expect(!last.machine.pace.isOpen)
    }

    @Test func `a probe that gets no answer spends no attempt, and one that is answered does`() {
        var bench = Bench(backlog: 1) { $0.breakerFailures = 1; $0.retry.maxDeliveries = 3 }
        for _ in 0..<20 { bench.open.isEmpty ? bench.wait() : bench.end(refused) }
        #expect(bench.sent > 5 && bench.machine.held.values.allSatisfy { $0.deliveries == 1 })
        for _ in 0..<20 { bench.open.isEmpty ? bench.wait() : bench.end(.retry(status: 500, error: "")) }
        #expect(bench.machine.held.isEmpty && bench.machine.streams[0].counters.deadLetters == [.maxRetriesExceeded: 1])
    }

    @Test func `an endpoint that answers badly and not at all by turns is tried ever more seldom`() {
        var bench = Bench { $0.breakerFailures = 2; $0.retry.jitter = 0; $0.retry.max = .seconds(64); $0.retry.maxDeliveries = 1000 }
        while !bench.machine.pace.isOpen { bench.open.isEmpty ? bench.wait() : bench.end(refused) }
        var pauses: [[Duration]] = [[], []]
        for number in 0..<16 {
            while bench.open.isEmpty { bench.wait() }
            bench.end(number % 2 == 0 ? .retry(status: 500, error: "") : refused)
            pauses[number % 2].append((bench.machine.pace.probeAt ?? bench.now) - bench.now)
        }
        #expect(pauses[0] == [1, 2, 4, 8, 16, 32, 64, 64].map { .seconds($0) })
        #expect(pauses[1] == [2, 3, 3, 3, 3, 3, 3, 3].map { .seconds($0) })
        // What was under way when the breaker opened says nothing of how the endpoint is now.
        var late = Bench { $0.breakerFailures = 1; $0.retry.jitter = 0 }
        late.end(.success(status: 200))
        late.end(1, .retry(status: 500, error: ""))
        let probeAt = late.machine.pace.probeAt
        late.end(1, refused)
        #expect(late.sent == 3 && probeAt == late.now + .seconds(1) && late.machine.pace.probeAt == probeAt && !late.machine.pace.isAway)
    }

    @Test(arguments: [SinkOutcome.ours(error: "no resolver"), .throttled(status: 429, retryAfter: nil, spends: false)])
    func `pauses of an endpoint that was away make no other pause longer`(other: SinkOutcome) {
        var bench = Bench { $0.breakerFailures = 100; $0.retry.jitter = 0; $0.retry.maxDeliveries = 100; $0.retry.max = .seconds(300) }
        for _ in 0..<20 {
            while bench.open.isEmpty { bench.wait() }
            bench.end(.throttled(status: 503, retryAfter: nil, spends: true))
            #expect(bench.machine.pausedUntil - bench.now <= .seconds(3))
        }
        for seconds in [1, 2, 4] {
            while bench.open.isEmpty { bench.wait() }
            bench.end(other)
            #expect(bench.machine.pausedUntil - bench.now == .seconds(seconds))
        }
    }

    /// Nothing of it is configured: a sink as it comes.
    @Test func `a receiver that is away for an hour costs no attempt and no memory, and is at its full rate within 5 s of its return`() {
        for seed in 1...20 as ClosedRange<UInt64> { outage(seed) }
    }

    private func outage(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var bench = Bench(seed: seed) {
            $0 = SinkDefinition(name: "test")
            $0.streams = ["a"]
        }
        let most = bench.machine.definition.concurrency
        while bench.open.count < most { bench.end(.success(status: 200)) }
        let back = bench.now + .seconds(3600) + .milliseconds(Int.random(in: 0...5000, using: &random))
        var (mostHeld, spent, probes) = (0, 0, 0)
        var kinds: [SinkOutcome] = [refused, .throttled(status: 503, retryAfter: nil, spends: true), .retry(status: nil, error: "timeout")]
        kinds.shuffle(using: &random)
        while bench.now < back {
            if bench.open.isEmpty { bench.wait() } else {
                if bench.machine.pace.isOpen {
                    probes += 1
                    #expect(bench.open.count == 1)
                }
                bench.end(kinds[probes % Int(seed % 3 + 1)])
            }
            if spent == 0, bench.machine.pace.isOpen { spent = bench.machine.held.values.reduce(0) { $0 + $1.deliveries } }
            mostHeld = max(mostHeld, bench.machine.held.count)
        }
        // What was under way when it left, and a new message for ever more probes: the backlog is in Redis.
        #expect(bench.machine.pace.isOpen && probes > 900 && probes < 1500, "seed \(seed): \(probes) probes")
        #expect(mostHeld < 100, "seed \(seed): \(mostHeld) held")
        #expect(bench.machine.streams[0].counters.deadLetters.isEmpty)
        // Beyond what was spent before the breaker opened, a delivery that is counted for each message read since.
        let deliveries = bench.machine.held.values.reduce(0) { $0 + $1.deliveries }
        #expect(deliveries <= spent + mostHeld, "seed \(seed): \(deliveries) deliveries, \(spent) when it left")
        while bench.machine.pace.window < most || bench.open.count < most {
            if bench.open.isEmpty { bench.wait() } else {
                bench.now += .milliseconds(20)
                bench.end(.success(status: 200))
            }
        }
        #expect(bench.now - back < .seconds(5), "seed \(seed): \(bench.now - back)")
    }

    @Test(arguments: [0.5, 3, 200, 20_000]) func `no more requests than rate_per_s are begun, and nothing is asked in between`(rate: Double) {
        var bench = Bench { $0.ratePerSecond = rate; $0.concurrency = 1000; $0.maxHeld = 1000 }
        bench.end(.success(status: 200))
        let began = bench.now
        while bench.now < began + .seconds(20) {
            while !bench.open.isEmpty { bench.end(.success(status: 200)) }
            bench.wait()
            // What is read is sent: nothing ages in a buffer.
            #expect(bench.machine.held.count == bench.open.count)
        }
        let wanted = rate * (bench.now - began).inSeconds
        #expect(Double(bench.sent) <= wanted + rate / 10 + 2)
        #expect(Double(bench.sent) >= wanted * 0.95 - 1)
        #expect(bench.timers <= min(bench.sent + 2, 20 * 210 + 2))
    }
}
