// A sink's definition written down: as JSON for Redis, for replies and, since YAML takes JSON, for `check-config`.
// Every key is there, also those left at their default: a later version's defaults change nothing that is defined.

import Net

extension SinkDefinition {
    /// Stands in replies where a secret is, and is taken back in none of them.
    static let mask = "••••"
    static let maskRule = "\(mask) only stands for it in replies; send the value itself"

    /// The definition as one JSON object. `showsSecrets` is for Redis alone: a header's value may be a credential too,
    /// as Authorization's is.
    func json(showsSecrets: Bool) -> String {
        "{\(members(showsSecrets).map { "\"\($0.key)\":\($0.json)" }.joined(separator: ","))}"
    }

    /// `  name: {…}` in lines, to stand below `sinks:`.
    var yamlLines: [String] {
        let shown = members(false).filter { !["headers", "secrets", "auth"].contains($0.key) }
        var lines = shown.map { "\($0.key): \($0.json)" }
        if !headers.isEmpty { lines.append("# headers, values not shown: \(headers.map { printable($0.name) }.joined(separator: ", "))") }
        if auth != nil { lines.append("# auth, not shown") }
        if !secrets.isEmpty { lines.append("# secrets, not shown: \(secrets.count)") }
        return ["  \(name):"] + lines.map { "    " + $0 }
    }

    /// In the order of SINKS.md §1.
    private func members(_ showsSecrets: Bool) -> [(key: String, json: String)] {
        [
            ("streams", list(streams.map(text))), ("group", text(group)), ("start", text(start.text)), ("url", text(url)),
            ("method", text(method.rawValue)),
            ("headers", object(headers.map { ($0.name, text(showsSecrets ? $0.value : SinkDefinition.mask)) })),
            ("format", text(format.rawValue)), ("content_type", contentType.map(text) ?? "null"), ("batch", batch.json), ("concurrency", "\(concurrency)"),
            ("rate_per_s", ratePerSecond.map { "\($0)" } ?? "null"), ("breaker_failures", "\(breakerFailures)"), ("max_held", "\(maxHeld)"),
            ("order_by", text(orderBy.text)),
            ("timeout_ms", "\(timeout.milliseconds)"), ("connect_timeout_ms", "\(connectTimeout.milliseconds)"),
            ("retry", retry.json), ("dead_letter", deadLetter.text.map(text) ?? "null"),
            ("dead_letter_on", list(deadLetterOn.map { "\($0)" })), ("lease_ms", "\(lease.milliseconds)"),
            ("on_success", text(onSuccess.rawValue)), ("reply_status", "\(honoursReplies)"), ("http_version", text(httpVersion.rawValue)),
            ("auth", auth?.json(showsSecrets: showsSecrets) ?? "null"), ("tls", tls.json),
            ("secrets", list(secrets.map { text(showsSecrets ? $0.text : SinkDefinition.mask) })),
            ("allow_networks", list(allowNetworks.map(text))),
        ]
    }

    private func text(_ text: String) -> String { jsonText(text) }
    private func list(_ values: [String]) -> String { "[\(values.joined(separator: ","))]" }
    private func object(_ members: [(String, String)]) -> String {
        "{\(members.map { "\(text($0.0)):\($0.1)" }.joined(separator: ","))}"
    }
}

extension SinkDefinition.Batch {
    fileprivate var json: String {
        "{\"max_messages\":\(maxMessages),\"max_bytes\":\(maxBytes),\"linger_ms\":\(linger.milliseconds)}"
    }
}

extension SinkDefinition.Retry {
    fileprivate var json: String {
        "{\"base_ms\":\(base.milliseconds),\"factor\":\(factor),\"max_ms\":\(max.milliseconds),\"jitter\":\(jitter),"
            + "\"max_deliveries\":\(maxDeliveries),\"max_age_ms\":\(maxAge.map { "\($0.milliseconds)" } ?? "null")}"
    }
}

extension SinkDefinition.Start {
    fileprivate var text: String {
        switch self {
        case .earliest: "earliest"
        case .latest: "latest"
        case .id(let id): id
        }
    }
}

extension SinkDefinition.DeadLetter {
    /// Nil: there is none.
    fileprivate var text: String? {
        switch self {
        case .stream(let name): name
        case .none: nil
        }
    }
}

extension SinkDefinition.Secret {
    /// As it is written.
    var text: String {
        switch self {
        case .literal(let text): text
        case .environment(let name): "env:\(name)"
        case .file(let path): "file:\(path)"
        }
    }
}
