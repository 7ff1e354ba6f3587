// Hundreds of short simulations a run, new ones each time. `SEED=` repeats one; the canaries show that the simulation can fail.

import Support
import Testing

@testable import Gateway

struct WaitHomeSimulationTests {
    private static func shape(_ seed: UInt64) -> WaitHomeSimulation.Shape {
        var random = SeededRandom(seed: ~seed)
        var shape = WaitHomeSimulation.Shape()
        shape.processes = Int.random(in: 1...2, using: &random)
        shape.loops = Int.random(in: 1...2, using: &random)
        shape.streams = Int.random(in: 1...3, using: &random)
        shape.groups = Int.random(in: 1...2, using: &random)
        shape.operations = Int.random(in: 5...40, using: &random)
        shape.breaks = Bool.random(using: &random)
        shape.destroys = Bool.random(using: &random)
        shape.isTracking = Int.random(in: 0..<8, using: &random) > 0
        shape.claims = Bool.random(using: &random)
        return shape
    }

    @Test func `no wake-up is lost, and every message reaches one waiter`() throws {
        if let seed = simulationSeed() {
            return try WaitHomeSimulation(seed: seed, shape: Self.shape(seed)).run()
        }
        let first = UInt64.random(in: 0..<1 << 40)
        for seed in first..<first + 500 {
            try WaitHomeSimulation(seed: seed, shape: Self.shape(seed)).run()
        }
    }

    @Test(arguments: WaitHomeSimulation.Sabotage.allCases)
    func `a sabotaged home is found out`(_ sabotage: WaitHomeSimulation.Sabotage) {
        let wasFoundOut = (0..<6_000 as Range<UInt64>).contains { seed in
            do {
                try WaitHomeSimulation(seed: seed, shape: Self.shape(seed), sabotage: sabotage).run()
                return false
            } catch {
                return true
            }
        }
        #expect(wasFoundOut)
    }
}
