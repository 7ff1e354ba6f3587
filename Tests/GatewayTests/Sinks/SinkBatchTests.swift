// Several messages in a request: which go together, what a receiver may say of them, and how a batch is halved.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis
@testable import Webhook

struct SinkBatchTests {
    /// A machine with batches, whose writes Redis takes at once.
    private struct Bench {
        var machine: SinkState
        var now = Duration.seconds(1000)
        var wakeAt: Duration?
        var open: [[SinkState.Key]] = []
        var sizes: [Int] = []

        init(_ change: (inout SinkDefinition) -> Void) {
            machine = SinkState(
                SinkStateTests.definition(streams: ["a", "b"]) {
                    $0.concurrency = 4
                    $0.maxHeld = 10_000
                    $0.retry.jitter = 0.5
                    $0.retry.maxDeliveries = 8
                    change(&$0)
                }, seed: 1)
        }

        /// Messages come, whether there is credit for them or not.
        mutating func arrive(_ ids: ClosedRange<UInt64>, on stream: Int = 0, bytes: Int = 2, deliveries: Int = 1) {
            handle(.late(stream, ids.map {
                SinkArrival(
                    message: SinkMessage(id: StreamID($0, 0), fields: [UInt8](repeating: 0x20, count: bytes)), deliveryCount: deliveries,
                    wasTakenOver: false)
            }))
        }

        mutating func handle(_ event: SinkState.Event) {
            for action in machine.handle(event, at: .init(now: now, wall: now + .seconds(1_700_000_000))) {
                switch action {
                case .batch(let stream, let parcels):
                    #expect(parcels.allSatisfy { $0.key.stream == stream })
                    open.append(parcels.map(\.key))
                    sizes.append(parcels.count)
                case .write(let stream, let write, let entries): handle(.wrote(stream, write, entries.map { ($0.message.id, .done) }))
                case .wake(let instant): wakeAt = min(wakeAt ?? instant, instant)
                case .attempt: preconditionFailure("Messages go in batches.")
                case .credit, .stoodDown, .disabled, .drained: break
                }
            }
        }

        /// The oldest request ends.
        mutating func end(_ outcome: ([SinkState.Key]) -> SinkOutcome) {
            let keys = open.removeFirst()
            let whole = outcome(keys)
            handle(.batchesEnded([.init(stream: keys[0].stream, outcomes: keys.map { ($0, whole) }, isWhole: true)]))
        }

        /// Those of the oldest request's messages.
        var deliveries: Int { machine.held[open[0][0]]!.deliveries }

        mutating func wait() {
            now = max(now, wakeAt ?? now)
            wakeAt = nil
            handle(.timer)
        }
    }

    @Test func `a batch has so many messages of one stream, in their order, and so many bytes`() {
        var bench = Bench { $0.batch = .init(maxMessages: 10, maxBytes: 4000, linger: .zero) }
        bench.arrive(1...25)
        bench.arrive(26...27, on: 1)
        for _ in 0..<3 { while !bench.open.isEmpty { bench.end { _ in .success(status: 200) } } }
        #expect(bench.sizes.reduce(0, +) == 27 && bench.sizes.allSatisfy { $0 <= 10 })
        #expect(bench.machine.held.isEmpty && bench.machine.readyCount == 0)
        bench.sizes = []
        bench.arrive(31...34, bytes: 1500)
        bench.arrive(35...35, bytes: 9000)
        while !bench.open.isEmpty { bench.end { _ in .success(status: 200) } }
        #expect(bench.sizes.sorted() == [1, 2, 2])
    }

    @Test func `a message waits for others as long as it may, and a full batch for nothing`() {
        var bench = Bench { $0.batch = .init(maxMessages: 3, maxBytes: 1 << 20, linger: .milliseconds(50)) }
        bench.arrive(1...2)
        #expect(bench.open.isEmpty && bench.wakeAt == bench.now + .milliseconds(50))
        bench.now += .milliseconds(20)
        bench.arrive(3...4)
        #expect(bench.sizes == [3])
        bench.end { _ in .success(status: 200) }
        #expect(bench.open.isEmpty)
        bench.now += .milliseconds(49)
        bench.handle(.timer)
        #expect(bench.open.isEmpty)
        bench.now += .milliseconds(1)
        bench.handle(.timer)
        #expect(bench.sizes == [3, 1])
    }

    @Test(arguments: [2, 7, 16, 100, 1000]) func `a failing batch is halved until the poison stands alone, and takes nobody with it`(size: Int) {
        var random = SeededRandom()
        let poison = UInt64(Int.random(in: 1...size, using: &random))
        for outcome in [SinkOutcome.final(status: 400), .retry(status: 500, error: "status 500"), .retry(status: nil, error: "timeout")] {
            var bench = Bench {
                $0.batch = .init(maxMessages: size, maxBytes: 1 << 20, linger: .zero)
                $0.breakerFailures = 1000
            }
            bench.arrive(1...UInt64(size))
            var sends: [StreamID: Int] = [:]
            var last = 0
            for _ in 0..<10_000 where !bench.machine.held.isEmpty {
                guard let keys = bench.open.first else {
                    bench.wait()
                    continue
                }
                for key in keys { sends[key.id, default: 0] += 1 }
                let hasPoison = keys.contains { $0.id.milliseconds == poison }
                if hasPoison { last = keys.count }
                bench.end { _ in hasPoison ? outcome : .success(status: 200) }
            }
            let counters = bench.machine.streams[0].counters
            #expect(bench.machine.held.isEmpty && last == 1, "\(random.note)")
            #expect(counters.delivered == size - 1 && counters.deadLetters.values.reduce(0, +) == 1, "\(random.note)")
            #expect(sends.values.allSatisfy { $0 <= 8 } && bench.machine.streams[0].counters.attempts == sends.values.reduce(0, +))
        }
    }

    @Test func `who takes over goes on with small batches, and a last attempt is a message's own`() {
        var bench = Bench { $0.batch = .init(maxMessages: 8, maxBytes: 1 << 20, linger: .zero) }
        bench.arrive(1...8, deliveries: 3)
        while !bench.open.isEmpty { bench.end { _ in .success(status: 200) } }
        #expect(bench.sizes == [2, 2, 2, 2])
        bench.sizes = []
        bench.arrive(11...13, deliveries: 8)
        while !bench.open.isEmpty { bench.end { _ in .success(status: 200) } }
        #expect(bench.sizes == [1, 1, 1])
    }

    @Test func `no more retries are begun than requests have room for, when these are smaller`() {
        var bench = Bench {
            $0.concurrency = 1
            $0.batch = .init(maxMessages: 8, maxBytes: 1 << 20, linger: .zero)
        }
        bench.arrive(1...8)
        bench.end { _ in .retry(status: 500, error: "status 500") }
        for size in [4, 2] {
            while bench.open.isEmpty { bench.wait() }
            #expect(bench.open[0].count == size)
            // The others' counters still say what was done: a crash now would cost them nothing.
            #expect(bench.machine.held.values.filter { $0.phase != .inFlight }.allSatisfy { $0.deliveries < bench.deliveries })
            bench.end { _ in .retry(status: 500, error: "status 500") }
            while !bench.open.isEmpty { bench.end { _ in .success(status: 200) } }
        }
    }

    @Test func `what is ready when the breaker opens is not probed before what is new, and has spent nothing`() {
        var bench = Bench {
            $0.concurrency = 1
            $0.batch = .init(maxMessages: 10, maxBytes: 1 << 20, linger: .zero)
            $0.breakerFailures = 1
        }
        bench.arrive(1...200)
        bench.end { _ in .retry(status: nil, error: "connection refused") }
        #expect(bench.machine.pace.isOpen && bench.machine.readyCount == 0)
        #expect(bench.machine.held.values.count { $0.deliveries == 0 } == 190 && bench.machine.held.count == 200)
        // What was being read comes as well.
        bench.arrive(201...210)
        #expect(bench.machine.readyCount == 1 && bench.open.isEmpty)
        let moment = { SinkState.Moment(now: bench.now, wall: .zero) }
        while bench.open.isEmpty { bench.wait() }
        bench.end { _ in .retry(status: nil, error: "connection refused") }
        #expect(bench.open.isEmpty && bench.machine.reserve(1, at: moment()) == 0)
        for _ in 0..<10 where bench.machine.reserved == 0 {
            bench.wait()
            _ = bench.machine.reserve(1, at: moment())
        }
        #expect(bench.machine.reserved == 1, "The new one has the next probe.")
        bench.handle(.read(1, [SinkArrival(message: SinkMessage(id: StreamID(300, 0), fields: []), deliveryCount: 1, wasTakenOver: false)]))
        #expect(bench.open.map { $0.map(\.stream) } == [[1]])
        bench.end { _ in .success(status: 200) }
        for _ in 0..<1000 where !bench.machine.held.isEmpty {
            while !bench.open.isEmpty { bench.end { _ in .success(status: 200) } }
            bench.wait()
        }
        #expect(bench.machine.streams[0].counters.delivered == 210)
    }

    @Test func `credit is for as many messages as the free requests may carry`() {
        var bench = Bench { $0.batch = .init(maxMessages: 100, maxBytes: 1 << 20, linger: .zero) }
        let moment = SinkState.Moment(now: bench.now, wall: .zero)
        #expect(bench.machine.reserve(0, at: moment) == 100)
        bench.handle(.read(0, (1...100).map {
            SinkArrival(message: SinkMessage(id: StreamID($0, 0), fields: []), deliveryCount: 1, wasTakenOver: false)
        }))
        #expect(bench.sizes == [100] && bench.machine.reserve(0, at: moment) == 0)
        bench.end { _ in .success(status: 200) }
        #expect(bench.machine.reserve(1, at: moment) == 200)
    }

    // MARK: The answer

    private func answer(_ body: String, truncated: Bool = false) -> SinkBatchAnswer {
        SinkBatchAnswer(WebhookAnswer(status: 200, retryAfter: nil, body: Array(body.utf8), bodyTruncated: truncated), of: ["1-0", "2-0", "3-0"])
    }

    @Test(arguments: [
        "", "OK", "<html>", "[1]", "null", "{}", #"{"ok":true}"#, #"{"batchItemFailures":[]}"#, #"{"batchItemFailures":null}"#,
        #"{"status":"x","batchItemFailures":[]}"#,
    ]) func `an answer that names nobody takes all`(body: String) { #expect(answer(body) == .taken) }

    @Test func `an answer may name those that failed`() {
        #expect(answer("\u{FEFF}{\"batchItemFailures\":[{\"itemIdentifier\":\"2-0\"}]}") == .failed(["2-0"]))
        #expect(answer(#"{"batchItemFailures":[{"itemIdentifier":"2-0"}]}"#) == .failed(["2-0"]))
        #expect(answer(" \n{\"x\":[{}],\"batchItemFailures\":[{\"itemIdentifier\":\"1-0\",\"why\":{}},{\"itemIdentifier\":\"3\\u002d0\"},{\"itemIdentifier\":\"1-0\"}]}") == .failed(["1-0", "3-0"]))
    }

    @Test(arguments: [
        "{", #"{"batchItemFailures":{}}"#, #"{"batchItemFailures":"1-0"}"#, #"{"batchItemFailures":["1-0"]}"#, #"{"batchItemFailures":[{}]}"#,
        #"{"batchItemFailures":[{"itemIdentifier":""}]}"#, #"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
        #"{"batchItemFailures":[{"itemIdentifier":5}]}"#, #"{"batchItemFailures":[{"itemIdentifier":"4-0"}]}"#,
        #"[{"batchItemFailures":[{"itemIdentifier":"1-0"}]}]"#, #""{\"batchItemFailures\":[{\"itemIdentifier\":\"1-0\"}]}""#,
        #"{"batchItemFailures":[{"itemIdentifier":"1-0"},{"itemIdentifier":"01-0"}]}"#, #"{"batchItemFailures":[{"itemIdentifier":"1-0"}]} x"#,
    ]) func `an answer that can't be understood, or names a stranger, fails all`(body: String) {
        guard case .malformed = answer(body) else { return #expect(Bool(false), "\(body)") }
    }

    @Test func `what each message of a batch came to`() {
        var definition = SinkStateTests.definition { $0.batch.maxMessages = 3 }
        let ids = (1...3).map { StreamID(UInt64($0), 0) }
        func outcomes(_ status: Int, _ body: String) -> (outcomes: [SinkOutcome], isWhole: Bool) {
            SinkOutcome.ofBatch(
                ids.map(\.description), .answered(WebhookAnswer(status: status, retryAfter: nil, body: Array(body.utf8), bodyTruncated: false)), definition,
                wallTime: .zero)
        }
        let some = outcomes(200, #"{"batchItemFailures":[{"itemIdentifier":"2-0"}]}"#)
        #expect(some.outcomes.map(\.isTaken) == [true, false, true] && !some.isWhole)
        #expect(some.outcomes[1].error.contains("batchItemFailures"))
        let all = outcomes(200, #"{"batchItemFailures":[{"itemIdentifier":"9-0"}]}"#)
        #expect(all.outcomes.allSatisfy { !$0.isTaken } && all.isWhole && all.outcomes[0].error.contains("\"9-0\""))
        #expect(outcomes(500, #"{"batchItemFailures":[{"itemIdentifier":"2-0"}]}"#).outcomes == ids.map { _ in .retry(status: 500, error: "status 500") })
        definition.honoursReplies = true
        #expect(outcomes(200, #"{"status":"DROP"}"#).outcomes == ids.map { _ in .dropped(status: 200) })
        // Who names a failure wants that message again, whatever else it says.
        let named = outcomes(200, #"{"status":"DROP","batchItemFailures":[{"itemIdentifier":"2-0"}]}"#).outcomes
        #expect(named.map(\.isTaken) == [true, false, true] && named[0] == .dropped(status: 200))
    }
}
