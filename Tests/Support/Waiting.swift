// How tests wait: for another process, and for a machine that lets them be in time.

import Glibc

/// What did not happen in time.
package struct Impatience: Error, CustomStringConvertible {
    package let description: String
}

/// Looks again and again until `condition` holds: for what another process does, of which nothing tells us.
package func waitUntil(
    _ what: String, atMost limit: Duration = .seconds(60), _ condition: () throws -> Bool
) throws {
    let clock = ContinuousClock()
    let end = clock.now + limit
    while try !condition() {
        guard clock.now < end else { throw Impatience(description: "not within \(limit): \(what)") }
        poll(nil, 0, 5)
    }
}

/// Until a round counts. It does not where this machine stood still for longer than what it is about: then it says false, and
/// has expected only what holds all the same.
package func inSomeRound(_ round: (Int) throws -> Bool) throws {
    for number in 0..<6 where try round(number) { return }
    throw Impatience(description: "this machine stood still in each round")
}
