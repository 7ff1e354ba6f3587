// The order of a sink's messages (`order_by`): replicas of its machine under a scheduler that does them harm, and the
// transitions worth a test of their own.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

struct SinkOrderTests {
    private static func definition(_ order: SinkDefinition.Order, _ change: (inout SinkDefinition) -> Void = { _ in }) -> SinkDefinition {
        SinkStateTests.definition(streams: ["a", "b"]) {
            $0.orderBy = order
            $0.lease = .seconds(6)
            $0.timeout = .seconds(2)
            $0.connectTimeout = .seconds(1)
            change(&$0)
        }
    }

    /// Returns whether messages had to wait for one another.
    @discardableResult
    private func run(
        seeds: Int = 4, messages: Int = 40, replicas: Int = 2, order: SinkDefinition.Order = .field("key"), _ mood: SinkOrderWorld.Mood,
        _ change: (inout SinkDefinition) -> Void = { _ in }
    ) -> Bool {
        let first = simulationSeed() ?? 1
        var hasBlocked = false
        for seed in first..<first + UInt64(seeds) {
            var world = SinkOrderWorld(SinkOrderTests.definition(order, change), messages: messages, keys: 4, replicas: replicas, seed: seed)
            world.mood = mood
            var steps = 0
            while world.step(), steps < 20_000 {
                steps += 1
                // In the end the world is kind.
                if steps == 8000 { world.mood = .init(failures: 10) }
            }
            hasBlocked = hasBlocked || world.mostBlocked > 0
            let verdict = world.verdict(messages: messages)
            #expect(verdict.isEmpty, "SEED=\(seed): \(verdict.prefix(5).joined(separator: "; ")); \(steps) steps")
            if !verdict.isEmpty { break }
        }
        return hasBlocked
    }

    @Test(arguments: [SinkDefinition.Order.field("key"), .stream]) func `messages of a key go one after the other, through retries and dead letters`(order: SinkDefinition.Order) {
        #expect(run(replicas: 1, order: order, .init()))
        #expect(run(order: order, .init(rejects: 20, redrives: 30, trims: 30)))
    }

    @Test(arguments: [SinkDefinition.Order.field("key"), .stream]) func `the order outlives processes that are killed, and those that end well`(order: SinkDefinition.Order) {
        run(order: order, .init(kills: 30))
        run(replicas: 3, order: order, .init(drains: 30))
        run(replicas: 3, order: order, .init(kills: 15, drains: 15, trims: 20))
    }

    @Test(arguments: [SinkDefinition.Order.field("key"), .stream]) func `who was stopped and goes on sends nothing more`(order: SinkDefinition.Order) {
        run(order: order, .init(stops: 40))
        run(replicas: 3, order: order, .init(kills: 10, stops: 30, redrives: 10))
    }

    @Test(arguments: [SinkDefinition.Order.field("key"), .stream]) func `answers of Redis that are lost, and calls that it carries out late, don't change the order`(order: SinkDefinition.Order) {
        run(order: order, .init(redisFailures: 20))
        run(replicas: 3, order: order, .init(redisFailures: 20, kills: 10, stops: 10, drains: 10))
    }

    @Test(arguments: [SinkDefinition.Order.field("key"), .stream]) func `a lease that Redis forgets before its end changes no order`(order: SinkDefinition.Order) {
        run(seeds: 8, order: order, .init(forgottenLeases: 40))
        run(replicas: 3, order: order, .init(redisFailures: 10, kills: 10, drains: 10, forgottenLeases: 30))
    }

    @Test func `of a key a batch has one message at most`() {
        func batched(_ definition: inout SinkDefinition) {
            definition.batch = .init(maxMessages: 5, maxBytes: 1 << 20, linger: .milliseconds(5))
            definition.maxHeld = 30
        }
        run(.init(), batched)
        run(.init(redisFailures: 15, kills: 15, stops: 15, drains: 15), batched)
    }

    @Test func `one slot and one message at a time is enough`() {
        for order in [SinkDefinition.Order.field("key"), .stream] {
            run(seeds: 4, messages: 15, order: order, .init(kills: 10, drains: 10)) {
                $0.concurrency = 1
                $0.maxHeld = 2
            }
        }
    }
}
