// A sink's effective definition as YAML: every key, and no secret.

extension SinkDefinition {
    /// `  name: {…}` in lines, to stand below `sinks:`.
    var yamlLines: [String] {
        func list(_ texts: [String]) -> String { "[\(texts.map(ConfigOption.quoted).joined(separator: ", "))]" }
        let retryKeys = [
            "base_ms: \(retry.base.wholeMilliseconds)", "factor: \(retry.factor)", "max_ms: \(retry.max.wholeMilliseconds)",
            "jitter: \(retry.jitter)", "max_deliveries: \(retry.maxDeliveries)",
            "max_age_ms: \(retry.maxAge.map { "\($0.wholeMilliseconds)" } ?? "null")",
        ]
        var keys = [
            "streams: \(list(streams))", "group: \(ConfigOption.quoted(group))", "start: \(startText)",
            "url: \(ConfigOption.quoted(url))", "method: \(method.rawValue)", "format: \(ConfigOption.quoted(format.rawValue))",
            "concurrency: \(concurrency)", "max_held: \(maxHeld)", "timeout_ms: \(timeout.wholeMilliseconds)",
            "connect_timeout_ms: \(connectTimeout.wholeMilliseconds)", "lease_ms: \(lease.wholeMilliseconds)",
            "retry: {\(retryKeys.joined(separator: ", "))}", "dead_letter: \(deadLetterText)",
            "dead_letter_on: \(list(deadLetterOn.map(String.init)))", "allow_networks: \(list(allowNetworks))",
        ]
        if let contentType { keys.append("content_type: \(ConfigOption.quoted(contentType))") }
        // A header's value may be a credential, as Authorization's is.
        if !headers.isEmpty { keys.append("# headers, values not shown: \(headers.map { printable($0.name) }.joined(separator: ", "))") }
        if !secrets.isEmpty { keys.append("# secrets, not shown: \(secrets.count)") }
        return ["  \(name):"] + keys.map { "    " + $0 }
    }

    private var startText: String {
        switch start {
        case .earliest: "earliest"
        case .latest: "latest"
        case .id(let id): id
        }
    }

    private var deadLetterText: String {
        switch deadLetter {
        case .stream(let name): ConfigOption.quoted(name)
        case .none: "null"
        }
    }
}
