// Random numbers that a failure can repeat: SplitMix64 (Steele, Lea, Flood 2014).

import Glibc

/// Random numbers from a seed: that of the environment (`SEED=`), one at hand, or a new one, which is printed.
package struct SeededRandom: RandomNumberGenerator {
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    package init(_ test: String = #function) {
        self.init(seed: simulationSeed() ?? UInt64.random(in: 0...UInt64.max))
        print("\(test): SEED=\(seed)")
    }

    /// For a failure's words.
    package var note: String { " (SEED=\(seed))" }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// The seed of the environment, to repeat a run that failed.
package func simulationSeed() -> UInt64? {
    guard let text = getenv("SEED") else { return nil }
    return UInt64(String(cString: text))
}

/// One round of a random test; where `SLUICE_SOAK` says for how many seconds, one after the other for so long.
package func soak(_ round: () throws -> Void) rethrows {
    let seconds = getenv("SLUICE_SOAK").flatMap { Int(String(cString: $0)) } ?? 0
    let end = ContinuousClock.now + .seconds(seconds)
    repeat { try round() } while ContinuousClock.now < end
}
