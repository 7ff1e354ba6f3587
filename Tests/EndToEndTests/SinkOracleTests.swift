// The oracle (SINKS.md §6): traffic with faults on both sides, from a seed; then all calms down, and the books are read.
//
// In a whole run a few seconds of it; with `./deploy/test --soak SECONDS` round after round, each from a seed of its own.

import Glibc
import Support
import Testing

@Suite(.blocking, .serialized) struct SinkOracleTests {
    private static let retry = (base: 30, most: 200, deliveries: 4)

    /// Two replicas that are killed, stopped, ended and started again, a Redis that is killed, and a receiver that answers
    /// anything. A gateway that was stopped and goes on may send late what another has retried meanwhile: with
    /// stops nothing can be said of the time between two attempts.
    @Test(arguments: [false, true]) func `whatever happens, every message has its 2xx or its one dead letter`(stops: Bool) throws {
        try soak { try SinkOracleTests.round(stops: stops) }
    }

    private static func round(stops: Bool) throws {
        let seed = SeededRandom("oracle, stops: \(stops)")
        let rig = try SinkRig(
            // Who stood still for longer than the lease is to the other one as if it had been stopped.
            ["concurrency": "8", "lease_ms": stops ? "1000" : "5500", "retry": "{base_ms: \(retry.base), max_ms: \(retry.most), max_deliveries: \(retry.deliveries)}"],
            isHasty: true, redisOptions: RedisServerProcess.lasting
        ) { delivery in
            var random = SeededRandom(seed: seed.seed ^ UInt64(delivery.number) &* 0x1000_0000_01B3 ^ delivery.message.hashOfBytes)
            return answer(&random)
        }
        var random = seed
        var gateways = [try rig.newGateway(), try rig.newGateway()]
        var ids: [String] = []
        let end = ContinuousClock.now + .seconds(5)
        while ContinuousClock.now < end {
            ids += try rig.add(count: Int.random(in: 1...8, using: &random))
            poll(nil, 0, Int32.random(in: 0...80, using: &random))  // A moment by the seed.
            let place = Int.random(in: 0...1, using: &random)
            switch Int.random(in: 0..<24, using: &random) {
            case 0, 1:
                gateways[place].kill()
                gateways[place] = try rig.newGateway()
            case 2 where stops:
                gateways[place].send(SIGSTOP)
                poll(nil, 0, Int32.random(in: 100...1500, using: &random))
                gateways[place].send(SIGCONT)
            case 3:
                gateways[place].send(SIGTERM)
                #expect(gateways[place].waitForEnd(atMost: .seconds(30)) == 0, "\(seed.note)")
                gateways[place] = try rig.newGateway()
            case 4:
                rig.redis.end()
                try rig.redis.start()
            default: break
            }
        }
        try rig.waitUntilSettled()
        try rig.expectPromise(ids, gateways[0], seed.note)
        expectAttempts(rig.receiver.deliveries, areSpaced: !stops, seed.note)
        print("\(ids.count) messages, \(rig.receiver.deliveries.count) deliveries, \(try rig.deadLetters(gateways[0]).count) dead letters")
    }

    /// No more than are allowed, and each so long after the one before as the backoff says. (One attempt may come more
    /// than once: libcurl repeats what a reused connection has lost, and some answers spend none.)
    private static func expectAttempts(_ deliveries: [Receiver.Delivery], areSpaced: Bool, _ note: String) {
        // Whoever talked to this port before may still try: that is no delivery.
        for (message, deliveries) in Dictionary(grouping: deliveries.filter { !$0.id.isEmpty }, by: \.message) {
            var first: [Int: ContinuousClock.Instant] = [:]
            for delivery in deliveries { first[delivery.attempt] = min(first[delivery.attempt] ?? delivery.time, delivery.time) }
            #expect(first.keys.allSatisfy { (1...retry.deliveries).contains($0) }, "\(message): \(first.keys.sorted()) \(note)")
            guard areSpaced else { continue }
            // What was given up before it was read came at another time than that of its reading.
            let read = Dictionary(grouping: deliveries.filter { !$0.isAbandoned }, by: \.attempt)
            for (attempt, deliveries) in read {
                guard let time = deliveries.map(\.time).min(), let next = first[attempt + 1] else { continue }
                let least = Duration.milliseconds(min(retry.base << (attempt - 1), retry.most))
                #expect(next - time >= least, "attempt \(attempt + 1) of \(message) came after \(next - time) \(note)")
            }
        }
    }

    private static func answer(_ random: inout SeededRandom) -> Receiver.Answer {
        switch Int.random(in: 0..<20, using: &random) {
        case 0: .status(500)
        case 1: .status(503)
        case 2: .status(429)
        case 3: .status(400)
        case 4: .reset
        case 5: .close
        case 6: .cutHead
        case 7: .slow(.milliseconds(Int.random(in: 1...700, using: &random)))
        case 8: .status(302)
        case 9: .stuckBody
        default: .status(200)
        }
    }
}

extension String {
    /// The same in every run, as `hashValue` is not (FNV-1a).
    fileprivate var hashOfBytes: UInt64 {
        utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x0000_0100_0000_01B3 }
    }
}
