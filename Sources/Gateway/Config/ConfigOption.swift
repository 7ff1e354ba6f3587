// THE table of options: one row each, read by the YAML file, the environment, the command line and the help.
//
// From the key (the last part of it) come the other two names: `max_count` is `SLUICE_MAX_COUNT` and
// `--max-count`. A new option is a new row, and nothing else.

import Net
import Redis

/// One option of the gateway.
struct ConfigOption: Sendable {
    /// In sluice.yaml, with its section: `limits.max_count`.
    let key: String
    /// The shape of its value, for the help: `N`, `MS`, `PATH`, …; empty for a flag.
    let shape: String
    /// What it is for, in a sentence.
    let help: String
    /// The value as one writes it in YAML; secrets masked.
    let show: @Sendable (Config) -> String
    let set: @Sendable (ConfigNode, inout Config) throws(ConfigProblem) -> Void

    var name: String { key.split(separator: ".").last.map(String.init) ?? key }
    var environment: String { "SLUICE_" + name.uppercased() }
    var flag: String { "--" + String(name.map { $0 == "_" ? "-" : $0 }) }
    var isFlag: Bool { shape.isEmpty }

    // MARK: Kinds of options

    private typealias Path<Value> = WritableKeyPath<Config, Value> & Sendable

    private static func text(_ key: String, _ path: any Path<String>, _ shape: String, _ help: String) -> ConfigOption {
        ConfigOption(key: key, shape: shape, help: help, show: { quoted($0[keyPath: path]) }) { (node, config) throws(ConfigProblem) in
            config[keyPath: path] = try node.text()
        }
    }

    private static func texts(_ key: String, _ path: any Path<[String]>, _ shape: String, _ help: String) -> ConfigOption {
        ConfigOption(key: key, shape: shape, help: help, show: { "[\($0[keyPath: path].map(quoted).joined(separator: ", "))]" }) {
            (node, config) throws(ConfigProblem) in
            config[keyPath: path] = try node.texts()
        }
    }

    private static func integer(
        _ key: String, _ path: any Path<Int>, in range: ClosedRange<Int> = 1...Int.max, _ help: String
    ) -> ConfigOption {
        ConfigOption(key: key, shape: "N", help: help, show: { "\($0[keyPath: path])" }) { (node, config) throws(ConfigProblem) in
            config[keyPath: path] = try node.integer(in: range)
        }
    }

    private static func duration(
        _ key: String, _ path: any Path<Duration>, in range: ClosedRange<Int> = 1...86_400_000, _ help: String
    ) -> ConfigOption {
        ConfigOption(key: key, shape: "MS", help: help, show: { "\($0[keyPath: path].milliseconds)" }) {
            (node, config) throws(ConfigProblem) in
            config[keyPath: path] = try node.duration(in: range)
        }
    }

    private static func choice<Choice: CaseIterable & RawRepresentable<String> & Sendable>(
        _ key: String, _ path: any Path<Choice>, _ help: String
    ) -> ConfigOption {
        let shape = Choice.allCases.map(\.rawValue).joined(separator: "|")
        return ConfigOption(key: key, shape: shape, help: help, show: { $0[keyPath: path].rawValue }) {
            (node, config) throws(ConfigProblem) in
            config[keyPath: path] = try node.choice()
        }
    }

    private static func flag(_ key: String, _ path: any Path<Bool>, _ help: String) -> ConfigOption {
        ConfigOption(key: key, shape: "", help: help, show: { "\($0[keyPath: path])" }) { (node, config) throws(ConfigProblem) in
            config[keyPath: path] = try node.boolean()
        }
    }

    /// A YAML scalar that reads back as `text`.
    static func quoted(_ text: String) -> String {
        let isPlain = !text.isEmpty && text.utf8.allSatisfy {
            ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || "._/-".utf8.contains($0)
        }
        return isPlain && text != "null" ? text : "\"" + text.reduce(into: "") { text, character in
            if character == "\"" || character == "\\" { text.append("\\") }
            text.append(character)
        } + "\""
    }

    /// Origins as browsers send them (RFC 6454 §6.2): scheme, host and port, lower case, without a path.
    private static func origins(_ node: ConfigNode) throws(ConfigProblem) -> [String] {
        let texts = try node.texts()
        for text in texts {
            let host = ["https://", "http://"].first { text.hasPrefix($0) }.map { text.dropFirst($0.count) } ?? ""
            guard !host.isEmpty, text == text.lowercased(), !host.utf8.contains(where: { "/?#@* ".utf8.contains($0) }) else {
                throw node.problem("expected origins as https://app.example.com, found \"\(printable(text))\"")
            }
        }
        return texts
    }

    // MARK: The table

    static let all: [ConfigOption] = listening + redis + reading + access + sinks + logging + limits

    static let listening: [ConfigOption] = [
        .text("host", \.host, "ADDRESS", "Address to listen on. Anything but loopback needs tokens."),
        .integer("port", \.port, in: 0...65535, "Port to listen on; 0 takes a free one."),
        .integer("loops", \.loops, in: 1...1024, "Event loops, one thread each. By default one a core."),
    ]

    static let redis: [ConfigOption] = [
        ConfigOption(
            key: "redis", shape: "URL",
            help: "Redis or Valkey to use (redis://, unix://). Without it a private redis-server is started.",
            show: { $0.redis.map { quoted(RedisURL.masked($0)) } ?? "null" },
            set: { (node, config) throws(ConfigProblem) in config.redis = node.isNull ? nil : try RedisURL.checked(node) }),
        .duration("redis_timeout_ms", \.limits.redisTimeout, "How long Redis may take to answer a command."),
        .text("redis_server", \.redisServer, "PATH", "Program of the private Redis."),
        .text("data_dir", \.dataDirectory, "PATH", "Where the private Redis keeps its data ($XDG_STATE_HOME/sluice)."),
        .choice("fsync", \.fsync, "How the private Redis writes to disk: everysec may lose two seconds in a power cut, always nothing."),
    ]

    static let reading: [ConfigOption] = [
        .duration("max_block_ms", \.limits.block, in: 0...86_400_000, "Longest wait of a read; 0 is for ever."),
        .duration("lease_ms", \.lease, in: 1...86_400_000 * 7, "How long a message stays with its consumer before others may claim it."),
        .duration("poll_ms", \.poll, in: 10...60_000, "How often waiting groups are read where Redis refuses to track keys."),
        .duration("tail_comment_ms", \.tailComment, in: 10...3_600_000, "How often a live tail gets a comment, which keeps its connection alive."),
        .duration("idempotency_ttl_ms", \.idempotencyLife, in: 1...86_400_000 * 7, "How long an Idempotency-Key is remembered."),
    ]

    static let access: [ConfigOption] = [
        .flag("insecure_no_auth", \.isOpenToAll, "Serve without tokens on an address that others can reach."),
        ConfigOption(
            key: "allowed_origins", shape: "ORIGIN,…", help: "Web origins whose pages may call and read, as https://app.example.com.",
            show: { "[\($0.allowedOrigins.map(quoted).joined(separator: ", "))]" },
            set: { (node, config) throws(ConfigProblem) in config.allowedOrigins = try origins(node) }),
        .texts("allowed_hosts", \.allowedHosts, "HOST,…", "Names that Host may carry on loopback, besides localhost."),
    ]

    static let sinks: [ConfigOption] = [
        ConfigOption(
            key: "sink_networks", shape: "CIDR,…", help: "Private networks that sinks made over HTTP may name in their allow_networks.",
            show: { "[\($0.sinkNetworks.map(quoted).joined(separator: ", "))]" },
            set: { (node, config) throws(ConfigProblem) in config.sinkNetworks = try SinkDefinition.networks(node, by: .configuration) }),
        .flag("strict_networks", \.isStrictOnNetworks, "Sinks of sluice.yaml too reach no private network that they do not name."),
        ConfigOption(
            key: "secrets_dir", shape: "PATH", help: "Where the files lie that sinks made over HTTP may name as secrets.",
            show: { $0.secretsDirectory.map(quoted) ?? "null" },
            set: { (node, config) throws(ConfigProblem) in config.secretsDirectory = node.isNull ? nil : try directory(node) }),
        .duration("sink_scan_ms", \.sinkScan, in: 10...3_600_000, "How often Redis' keys are walked over for streams that sinks' globs match."),
    ]

    /// An absolute path, no slash at its end.
    private static func directory(_ node: ConfigNode) throws(ConfigProblem) -> String {
        var path = try node.text("a path")
        guard path.hasPrefix("/"), !path.split(separator: "/").isEmpty else {
            throw node.problem("expected an absolute path, found \"\(printable(path))\"")
        }
        while path.hasSuffix("/") { path.removeLast() }
        return path
    }

    static let logging: [ConfigOption] = [
        .choice("log_level", \.logLevel, "Least severe events that are logged."),
        .choice("log_format", \.logFormat, "Log lines for people or for programs; auto looks whether stderr is a terminal."),
        .flag("log_requests", \.logsRequests, "Log a line a request."),
    ]

    static let limits: [ConfigOption] = [
        .integer("limits.max_connections", \.limits.connections, "Open client connections."),
        .integer("limits.max_waiters", \.limits.waiters, "Parked reads and live tails."),
        .integer("limits.max_stream_waiters", \.limits.streamWaiters, in: 0...Int.max, "Of these, for one stream; 0 is as many as may wait at all."),
        .integer(
            "limits.max_client_waiters", \.limits.clientWaiters, in: 0...Int.max,
            "Of these, from one client address (IPv6: one /64); 0 is as many as may wait at all."),
        .integer("limits.max_tail_backlog_bytes", \.limits.tailBacklog, in: 1...1 << 30, "Bytes that a live tail may be behind."),
        .integer("limits.max_count", \.limits.count, in: 1...1_000_000, "Largest count of a read."),
        .integer("limits.max_reply_bytes", \.limits.replyBytes, in: 1024...1 << 30, "Bytes of messages in one reply."),
        .integer("limits.max_body_bytes", \.limits.bodyBytes, in: 1024...1 << 30, "Bytes of a request's body (NDJSON streams past it)."),
        .integer("limits.max_batch", \.limits.batch, in: 1...1_000_000, "Messages of a JSON batch."),
        .integer("limits.max_ndjson_lines", \.limits.ndjsonLines, "Lines of an NDJSON batch."),
        .integer("limits.max_fields", \.limits.fields, in: 1...100_000, "Fields of a message."),
        .integer("limits.max_ids", \.limits.ids, in: 1...100_000, "Ids of one call."),
        .integer("limits.max_streams", \.limits.streams, in: 1...10_000, "Streams of one read."),
        .integer("limits.max_json_depth", \.limits.jsonDepth, in: 1...1000, "JSON containers within containers."),
        .integer("limits.max_head_bytes", \.limits.headBytes, in: 1024...1 << 20, "Bytes of a request's line and headers."),
        .integer("limits.max_url_bytes", \.limits.urlBytes, in: 256...1 << 20, "Bytes of a request's target."),
        .integer("limits.max_headers", \.limits.headers, in: 10...10_000, "Headers of a request."),
        .duration("limits.header_timeout_ms", \.limits.headTimeout, "Time for a request's head to arrive."),
        .duration("limits.body_timeout_ms", \.limits.bodyTimeout, "Time without progress in a request's body."),
        .duration("limits.keepalive_timeout_ms", \.limits.keepAliveTimeout, "Time that an idle connection stays open."),
        .integer("limits.max_commands_in_flight", \.limits.commandsInFlight, "Commands in flight per Redis node."),
        .integer("limits.max_bytes_in_flight", \.limits.bytesInFlight, in: 1 << 20...1 << 40, "Bytes of commands in flight per Redis node."),
    ]
}

/// The URL of a Redis, as the configuration keeps and shows it.
enum RedisURL {
    static func checked(_ node: ConfigNode) throws(ConfigProblem) -> String {
        let url = try node.text("a URL")
        // Not quoted: it may hold a password. What the error says does not quote it either.
        do throws(RedisEndpoint.InvalidURL) { _ = try RedisEndpoint(url: url) } catch {
            throw node.problem("expected a URL as redis://127.0.0.1:6379 or unix:///path: \(error)")
        }
        return url
    }

    /// Without its password.
    static func masked(_ url: String) -> String {
        guard let at = url.lastIndex(of: "@"), let start = url.ranges(of: "://").first?.upperBound, start < at else { return url }
        let user = url[start..<at].prefix { $0 != ":" }
        return url[..<start] + user + ":••••" + url[at...]
    }
}
