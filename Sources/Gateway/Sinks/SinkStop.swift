// Why a sink delivers nothing although it is defined: it was paused, or its receiver is gone. Kept in Redis beside the
// definitions, so that all replicas hold; what this one writes is also what it reads.

import Net

struct SinkStop: Sendable, Equatable {
    enum Kind: String, Sendable {
        case paused
        /// The receiver answered 410 (SINKS.md §2).
        case disabled
    }

    var kind: Kind
    /// One sentence.
    var reason: String
    /// Ms since 1970.
    var since: Int
    /// What is disabled is this definition, and no other of the same name: see `SinkRoster.fingerprint`.
    var fingerprint = ""

    var json: String {
        "{\"state\":\"\(kind.rawValue)\",\"reason\":\(jsonText(reason)),\"since_ms\":\(since),\"fingerprint\":\(jsonText(fingerprint))}"
    }

    init(_ kind: Kind, _ reason: String, since wall: Duration, fingerprint: String = "") {
        self.kind = kind
        self.reason = reason
        self.since = Int(wall.milliseconds)
        self.fingerprint = fingerprint
    }

    /// Nil for what no gateway has written.
    init?(json bytes: UnsafeRawBufferPointer) {
        guard let row = JSONRow(bytes), let kind = row["state"]?.text.flatMap({ Kind(rawValue: $0) }) else { return nil }
        self.kind = kind
        reason = row["reason"]?.text ?? ""
        since = row["since_ms"]?.integer ?? 0
        fingerprint = row["fingerprint"]?.text ?? ""
    }

    /// Whether it holds for a sink with this definition.
    func concerns(_ fingerprint: String) -> Bool { kind == .paused || self.fingerprint == fingerprint }
}
