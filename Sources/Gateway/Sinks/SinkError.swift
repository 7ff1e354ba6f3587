// Why a sink can't be started. The sentences are for the operator, and never quote a secret.

import Webhook

struct SinkError: Error, Equatable, CustomStringConvertible {
    let sink: String
    let problem: String
    /// The key of the definition that it is about.
    var key = "secrets"

    var description: String { "sink \(sink): \(problem)" }
}
