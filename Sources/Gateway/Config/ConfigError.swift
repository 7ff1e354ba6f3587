// What a configuration can have wrong with it. All of it is told at once: nobody wants to start a gateway
// five times to learn of five mistakes.

/// Where a value was written.
struct ConfigPlace: Sendable, Equatable, CustomStringConvertible {
    /// A file's path, `SLUICE_…`, `--…` or `request body`.
    var source: String
    /// From 1; nil where lines mean nothing.
    var line: Int?
    /// In a body, an RFC 6901 pointer.
    var pointer: String?

    var description: String { line.map { "\(source):\($0)" } ?? source }
}

/// One mistake: where, in which key, and what would be right. Never holds a secret.
struct ConfigProblem: Error, Sendable, Equatable, CustomStringConvertible {
    let place: ConfigPlace
    /// With its sections, `sinks.orders.url`; empty for the whole document.
    let key: String
    let reason: String

    var description: String { key.isEmpty ? "\(place): \(reason)" : "\(place): \(key): \(reason)" }
}

/// A refused configuration. Its description has a line a mistake.
public struct ConfigError: Error, Sendable, CustomStringConvertible {
    let problems: [ConfigProblem]
    /// The command line has an option that there is none of, or one without its value.
    public private(set) var isUsage = false

    init(problems: [ConfigProblem], isUsage: Bool = false) {
        self.problems = problems
        self.isUsage = isUsage
    }

    public var description: String { problems.map(\.description).joined(separator: "\n") }
}
