// The keys of a sink that say what its requests look like: `format`, `content_type`, `headers`.

import Net

extension SinkDefinition.Format: RawRepresentable {
    /// As it is written, `raw:FIELD` among them; nil for what is none, and for a field without a name.
    init?(rawValue: String) {
        switch rawValue {
        case "json": self = .json
        case "ndjson": self = .ndjson
        case "cloudevents": self = .cloudEvents
        case "cloudevents-binary": self = .cloudEventsBinary
        default:
            guard rawValue.hasPrefix("raw:"), rawValue != "raw:" else { return nil }
            self = .raw(field: String(rawValue.dropFirst(4)))
        }
    }

    var rawValue: String {
        switch self {
        case .json: "json"
        case .ndjson: "ndjson"
        case .cloudEvents: "cloudevents"
        case .cloudEventsBinary: "cloudevents-binary"
        case .raw(let field): "raw:\(field)"
        }
    }
}

extension SinkDefinition {
    static func format(_ node: ConfigNode) throws(ConfigProblem) -> Format {
        let names = ["json", "ndjson", "cloudevents", "cloudevents-binary", "raw:FIELD"]
        let wanted = "one of \(names.joined(separator: ", "))"
        let text = try node.text(wanted)
        if let format = Format(rawValue: text) { return format }
        let meant = nearestName(to: text, among: names).map { "; did you mean \"\($0)\"?" } ?? ""
        throw node.problem("expected \(wanted), found \"\(printable(text))\"\(meant)")
    }

    /// `type/subtype` and what parameters there are (RFC 9110 §8.3.1).
    static func mediaType(_ node: ConfigNode) throws(ConfigProblem) -> String? {
        if node.isNull { return nil }
        let text = try node.text("a media type, as in text/plain")
        let parts = text.prefix { $0 != ";" }.split(separator: "/", omittingEmptySubsequences: false)
        let isType = parts.count == 2 && parts.allSatisfy { part in
            let name = part.drop { $0 == " " }
            return !name.isEmpty && name.utf8.allSatisfy { ASCII.isToken($0) || $0 == UInt8(ascii: " ") }
        }
        guard isType, text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) }) else {
            throw node.problem("expected a media type, as in text/plain; charset=utf-8, found \"\(printable(text))\"")
        }
        return text
    }

    /// What a format rules out.
    func checkFormat(_ reader: ConfigMapReader) {
        if case .raw = format {} else if contentType != nil {
            reader.object("content_type", "goes with format: raw:FIELD; \(format.rawValue) has its own")
        }
        if format != .json, headers.contains(where: { $0.name.lowercased() == "content-type" }) {
            let instead = if case .raw = format { "; write content_type" } else { "" }
            reader.object("headers", "Content-Type is set by format: \(format.rawValue)\(instead)")
        }
        if format == .cloudEventsBinary, let header = headers.first(where: { $0.name.lowercased().hasPrefix("ce-") }) {
            reader.object("headers", "\(header.name) is set by format: \(format.rawValue)")
        }
    }

    /// What several messages in a request rule out.
    func checkBatch(_ reader: ConfigMapReader) {
        if maxHeld < batch.maxMessages { reader.object("max_held", "must be at least batch.max_messages (\(batch.maxMessages))") }
        guard isBatched else { return }
        switch format {
        case .json, .ndjson, .cloudEvents: break
        case .cloudEventsBinary, .raw:
            reader.object("batch", "goes with format: json, ndjson or cloudevents; \(format.rawValue) has one message a request")
        }
        let isOne = { (header: Header) in SinkWire.pieces(of: header.value, stream: "", group: "").contains { if case .text = $0 { false } else { true } } }
        if let header = headers.first(where: isOne) {
            reader.object("headers", "\(printable(header.name)) names {id} or {field:NAME} of one message, and a batch has several")
        }
        if retry.maxDeliveries < 2, deadLetter != .none {
            reader.object("batch", "needs retry.max_deliveries of at least 2: a message's last attempt is its own")
        }
    }

    // MARK: Headers

    /// Set by the client, by HTTP itself or by the sink; a second one would contradict it.
    private static let reservedHeaders = [
        "host", "content-length", "transfer-encoding", "connection", "expect", "sluice-delivery-count",
    ]

    static func isReservedHeader(_ lowered: String) -> Bool { reservedHeaders.contains(lowered) || lowered.hasPrefix("webhook-") }

    /// What a header's value has wrong with what stands in braces; nil: nothing. Braces that are not nearly a name of ours
    /// are text.
    static func templateProblem(_ value: String) -> String? {
        var rest = value[...]
        while let open = rest.firstIndex(of: "{") {
            rest = rest[rest.index(after: open)...]
            guard let close = rest.firstIndex(of: "}") else { return nil }
            let word = String(rest[..<close])
            if ["stream", "group", "id"].contains(word) { continue }
            let colon = word.firstIndex(of: ":")
            let name = colon.map { String(word[..<$0]) } ?? word
            if colon != nil, name == "field" {
                if word == "field:" { return "{field:} needs a field's name, as in {field:orderID}" }
                continue
            }
            if colon == nil, name == "field" { return "{field} needs a field's name, as in {field:orderID}" }
            let known = colon == nil ? ["{stream}", "{group}", "{id}"] : ["{field}"]
            guard let meant = nearestName(to: "{\(name.lowercased())}", among: known) else { continue }
            return "{\(printable(word))} is no template; did you mean \"\(colon == nil ? meant : "{field:NAME}")\"?"
        }
        return nil
    }
}
