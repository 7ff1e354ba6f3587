// The configuration for people: the effective values as YAML that can be read again, and the help.

extension Config {
    /// The effective configuration, a line an option, each with where it comes from. Holds no secrets.
    public var yaml: String {
        var lines: [String] = []
        var section = ""
        for option in ConfigOption.all {
            let parts = option.key.split(separator: ".").map(String.init)
            if parts.count > 1, parts[0] != section {
                section = parts[0]
                lines.append("\(section):")
            }
            let line = (parts.count > 1 ? "  " : "") + "\(option.name): \(option.show(self))"
            let origin = places[option.key].map(\.description) ?? "default"
            lines.append(line + String(repeating: " ", count: max(40 - line.count, 1)) + "# \(printable(origin))")
        }
        if !tokens.isEmpty { lines.append("tokens:") }
        lines += tokens.map {
            "  - {name: \(ConfigOption.quoted($0.name)), scopes: [\($0.scopes.map(\.rawValue).joined(separator: ", "))], "
                + "streams: [\($0.streams.map(ConfigOption.quoted).joined(separator: ", "))]}  # secret not shown"
        }
        if !sinks.isEmpty { lines.append("sinks:") }
        lines += sinks.map {
            "  \($0.name): {streams: [\($0.streams.map(ConfigOption.quoted).joined(separator: ", "))], "
                + "url: \(ConfigOption.quoted($0.url)), group: \(ConfigOption.quoted($0.group))}  # \($0.secrets.count) secrets not shown"
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// All options, grouped, with their three names and defaults.
    public static var help: String {
        let defaults = Config()
        let groups: [(String, [ConfigOption])] = [
            ("LISTENING", ConfigOption.listening), ("REDIS", ConfigOption.redis), ("READING", ConfigOption.reading),
            ("ACCESS", ConfigOption.access), ("LOGGING", ConfigOption.logging), ("LIMITS (in sluice.yaml under limits:)", ConfigOption.limits),
        ]
        return groups.map { title, options in
            "\(title)\n" + options.map { option in
                let call = "  \(option.flag)" + (option.isFlag ? "" : " \(option.shape)")
                let column = 32
                let gap = call.count + 2 <= column
                    ? String(repeating: " ", count: column - call.count) : "\n" + String(repeating: " ", count: column)
                let value = option.show(defaults)
                return call + gap + option.help + (option.isFlag || value == "null" || value == "[]" ? "" : " [\(value)]")
            }.joined(separator: "\n")
        }.joined(separator: "\n\n")
    }
}
