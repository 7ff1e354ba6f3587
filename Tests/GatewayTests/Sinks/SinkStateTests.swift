// The sink's machine under a scheduler that reorders everything, and the transitions worth a test of their own.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis

struct SinkStateTests {
    static func definition(streams: [String] = ["a", "b"], _ change: (inout SinkDefinition) -> Void = { _ in }) -> SinkDefinition {
        var definition = SinkDefinition(name: "test")
        definition.streams = streams
        definition.concurrency = 4
        definition.maxHeld = 12
        definition.retry.maxDeliveries = 4
        definition.retry.max = .seconds(20)
        change(&definition)
        return definition
    }

    private func run(
        seeds: Int = 60, messages: Int = 30, _ mood: SinkWorld.Mood, crashes: Bool = false, drains: Bool = false,
        _ change: (inout SinkDefinition) -> Void = { _ in }
    ) {
        let first = simulationSeed() ?? 1
        for seed in first..<first + UInt64(seeds) {
            var world = SinkWorld(SinkStateTests.definition(change), messages: messages, seed: seed)
            world.mood = mood
            var steps = 0
            while world.step(), steps < 20_000 {
                steps += 1
                if crashes, steps % 150 == 149, steps < 2000 { world.crash() }
                if drains, steps % 120 == 119, steps < 2000 { drain(&world) }
            }
            drain(&world)
            let verdict = world.verdict(messages: messages)
            #expect(verdict.isEmpty, "SEED=\(seed): \(verdict.prefix(5).joined(separator: "; ")); \(steps) steps")
            if !verdict.isEmpty { return }
        }
    }

    private func drain(_ world: inout SinkWorld) {
        world.handle(.drain)
        var steps = 0
        while !world.isDrained, steps < 5000 {
            _ = world.step()
            steps += 1
            if steps == 20 {
                // Those requests are given up, and may have arrived.
                for key in world.flying where world.machine.held[key]?.phase == .inFlight {
                    world.spent[key] = (world.spent[key] ?? 0) + 1
                    world.notBefore[key] = nil
                }
                world.handle(.abandon)
                world.tasks.removeAll { task in
                    switch task {
                    case .attempt, .batch: true
                    case .read, .write, .keepAlive: false
                    }
                }
                world.machine.inFlight = 0
            }
        }
        #expect(world.isDrained && world.machine.held.isEmpty)
        let isSettled = world.isSettled
        if !isSettled { world.restart() }
    }

    @Test func `every message ends in a 2xx or one dead letter, spaced by its backoff, within the bounds`() {
        run(SinkWorld.Mood())
    }

    @Test func `a Redis that refuses or leaves unanswered every third write changes nothing`() {
        run(.init(redisFailures: 33))
    }

    @Test func `messages trimmed while they are held end as dead letters`() {
        run(.init(trims: 20))
    }

    @Test func `a killed process loses nothing, and neither resets nor skips a backoff`() {
        run(.init(trims: 5), crashes: true)
    }

    @Test func `what a stopping sink hands back, the next one finishes, with the counts it left`() {
        run(SinkWorld.Mood(), drains: true)
    }

    @Test func `messages that others take over are not lost`() {
        run(.init(thefts: 3))
    }

    @Test(arguments: [2, 5, 16]) func `in batches every message ends in a 2xx or one dead letter, whatever Redis and the receiver do`(size: Int) {
        func batched(_ definition: inout SinkDefinition) {
            definition.batch = .init(maxMessages: size, maxBytes: 1500, linger: .milliseconds(size == 5 ? 20 : 0))
            definition.maxHeld = 40
        }
        run(seeds: 30, SinkWorld.Mood(), batched)
        run(seeds: 20, .init(redisFailures: 33, trims: 10), batched)
        run(seeds: 20, .init(trims: 5), crashes: true, batched)
        run(seeds: 20, SinkWorld.Mood(), drains: true, batched)
        run(seeds: 20, .init(thefts: 3), batched)
    }

    @Test func `one slot and one message at a time is enough`() {
        run(seeds: 10, messages: 15, .init(redisFailures: 20)) {
            $0.concurrency = 1
            $0.maxHeld = 1
        }
    }
}
