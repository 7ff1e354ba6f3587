// What follows from the server's version, where it can't be asked for in another way.

import Redis

extension ServerFeatures {
    /// Since 7.2 XREADGROUP creates its consumer also when it finds nothing.
    var emptyReadCreatesConsumer: Bool { isAtLeast(7, 2) }

    func isAtLeast(_ major: Int, _ minor: Int) -> Bool {
        let parts = version.split(separator: ".").compactMap { Int($0) }
        guard parts.count >= 2 else { return false }
        return (parts[0], parts[1]) >= (major, minor)
    }
}
