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
        lines += sinks.flatMap(\.yamlLines)
        return lines.joined(separator: "\n") + "\n"
    }

    /// All options, grouped, with their three names and defaults.
    public static var help: String {
        let defaults = Config()
        let groups: [(String, [ConfigOption])] = [
            ("LISTENING", ConfigOption.listening), ("REDIS", ConfigOption.redis), ("READING", ConfigOption.reading),
            ("ACCESS", ConfigOption.access), ("SINKS (their definitions: in sluice.yaml, or over HTTP)", ConfigOption.sinks), ("LOGGING", ConfigOption.logging),
            ("LIMITS (in sluice.yaml under limits:)", ConfigOption.limits),
        ]
        return groups.map { title, options in
            ([title] + options.map { helpLines($0, of: defaults) }).joined(separator: "\n")
        }.joined(separator: "\n\n")
    }

    /// The call on the left, the sentence on the right, within 79 columns.
    private static func helpLines(_ option: ConfigOption, of defaults: Config) -> String {
        let column = 30, width = 79
        let value = option.show(defaults)
        let hasDefault = !option.isFlag && value != "null" && value != "[]"
        var lines = ["  \(option.flag)" + (option.isFlag ? "" : " \(option.shape)")]
        if lines[0].count + 2 > column { lines.append("") }
        for word in (option.help + (hasDefault ? " [\(value)]" : "")).split(separator: " ") {
            var last = lines[lines.count - 1]
            if last.count + 1 + word.count > width {
                lines.append("")
                last = ""
            }
            let gap = max(last.count > column ? 1 : column - last.count, 1)
            lines[lines.count - 1] = last + String(repeating: " ", count: gap) + word
        }
        return lines.joined(separator: "\n")
    }
}
