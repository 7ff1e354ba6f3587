// Chance that can be had again: the seed is printed, and taken back from `SEED=`.

import Glibc

struct Seed: CustomStringConvertible {
    let value: UInt64
    var description: String { "SEED=\(value)" }

    static func next() -> Seed {
        let given = getenv("SEED").flatMap { UInt64(String(cString: $0)) }
        let seed = Seed(value: given ?? UInt64.random(in: 0...UInt64.max))
        print(seed)
        return seed
    }

    var generator: Generator { Generator(state: value) }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    struct Generator: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var z = state
            z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
            z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
            return z ^ (z >> 31)
        }
    }
}
