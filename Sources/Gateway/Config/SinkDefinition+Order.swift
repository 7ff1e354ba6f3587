// `order_by`: which messages of a stream go one after the other. What it is read from, written as, and rules out.

extension SinkDefinition {
    /// Order is of one stream: entry IDs have none beyond it.
    enum Order: Sendable, Equatable {
        case none
        /// All of its messages.
        case stream
        /// Those with the same value of this field, the first one of that name. A message without it has no order.
        case field(String)
    }

    /// Such a sink runs on one replica at a time (`SinkLeaseScript`).
    var isOrdered: Bool { orderBy != .none }

    static func order(_ node: ConfigNode) throws(ConfigProblem) -> Order {
        let wanted = "none, stream or a field's name"
        guard !node.isNull else { throw node.problem("expected \(wanted), found nothing") }
        let text = try node.text(wanted)
        switch text {
        case "none": return .none
        case "stream": return .stream
        default: break
        }
        // Two words have a meaning of their own: who writes them otherwise means them, or has a field that can't be named.
        let meant = ["none", "stream"].first { $0 == text.lowercased() }
        if let meant { throw node.problem("expected \(wanted), found \"\(printable(text))\"; did you mean \"\(meant)\"?") }
        guard text.utf8.count <= Limits.nameBytes else { throw node.problem("a field's name is at most \(Limits.nameBytes) bytes here") }
        return .field(text)
    }

    /// What an order rules out. By a field, a batch has at most one message of each key: its failure is its key's alone.
    func checkOrder(_ reader: ConfigMapReader) {
        guard orderBy == .stream, isBatched else { return }
        reader.object(
            "order_by",
            "stream goes with batch.max_messages of 1: messages of a batch that fails in part would be delivered out of order; order by a field, of which a batch has one message a value")
    }
}

extension SinkDefinition.Order {
    /// As it is written.
    var text: String {
        switch self {
        case .none: "none"
        case .stream: "stream"
        case .field(let name): name
        }
    }
}
