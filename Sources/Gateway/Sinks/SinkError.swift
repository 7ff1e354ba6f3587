// Why a sink can't be started. The sentences are for the operator, and never quote a secret.

import Webhook

struct SinkError: Error, Equatable, CustomStringConvertible {
    let sink: String
    let problem: String

    var description: String { "sink \(sink): \(problem)" }
}
