// What the server at hand means for the calls: the options that it has, and what follows from its version where it
// can't be asked for in another way.

import Redis

extension ServerFeatures {
    /// Since 7.2 XREADGROUP creates its consumer also when it finds nothing.
    var emptyReadCreatesConsumer: Bool { isAtLeast(7, 2) }

    /// The commands and options in use that not every server has; what is not among them is done by other means, or is 501.
    var nativeOptions: [String] {
        let options = [("XADD", "KEEPREF"), ("XTRIM", "KEEPREF"), ("XSETID", "ENTRIESADDED")]
        return (commands.contains("XDELEX") ? ["XDELEX"] : []) + options.filter { offers($0.0, $0.1) }.map { "\($0.0) \($0.1)" }
    }

    func isAtLeast(_ major: Int, _ minor: Int) -> Bool {
        let parts = version.split(separator: ".").compactMap { Int($0) }
        guard parts.count >= 2 else { return false }
        return (parts[0], parts[1]) >= (major, minor)
    }
}
