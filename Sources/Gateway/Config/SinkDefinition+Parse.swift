// Reading a sink's definition from the tree: key by key, then what several keys say together.

import Net
import Webhook

extension SinkDefinition {
    /// `node` is the map of the definition's keys.
    static func parse(name: String, _ node: ConfigNode, by author: Author) throws(ConfigError) -> SinkDefinition {
        var sink = SinkDefinition(name: name)
        let reader = ConfigMapReader(node)
        if !isName(name) { reader.report([node.problem(nameRule)]) }
        reader.require("streams", into: &sink.streams, streamNames)
        reader.read("group", into: &sink.group, redisName)
        reader.read("start", into: &sink.start, startID)
        reader.require("url", into: &sink.url, webURL)
        reader.read("method", into: &sink.method) { (node) throws(ConfigProblem) in try node.choice() }
        reader.read("headers", into: &sink.headers, headerList)
        reader.read("format", into: &sink.format, format)
        reader.read("content_type", into: &sink.contentType, mediaType)
        if let node = reader.take("batch") {
            let batch = ConfigMapReader(node)
            sink.batch.read(batch)
            reader.report(batch.problems)
        }
        reader.read("concurrency", into: &sink.concurrency) { (node) throws(ConfigProblem) in try node.integer(in: 1...1000) }
        reader.read("rate_per_s", into: &sink.ratePerSecond) { (node) throws(ConfigProblem) in
            node.isNull ? nil : try node.number(in: 0.01...100_000)
        }
        reader.read("breaker_failures", into: &sink.breakerFailures) { (node) throws(ConfigProblem) in try node.integer(in: 1...1_000_000) }
        reader.read("max_held", into: &sink.maxHeld) { (node) throws(ConfigProblem) in try node.integer(in: 1...100_000) }
        reader.read("order_by", into: &sink.orderBy, order)
        reader.read("timeout_ms", into: &sink.timeout) { (node) throws(ConfigProblem) in try node.duration(in: 1...3_600_000) }
        reader.read("connect_timeout_ms", into: &sink.connectTimeout) { (node) throws(ConfigProblem) in
            try node.duration(in: 1...3_600_000)
        }
        reader.read("lease_ms", into: &sink.lease) { (node) throws(ConfigProblem) in try node.duration(in: 1000...86_400_000) }
        if let node = reader.take("retry") {
            let retry = ConfigMapReader(node)
            sink.retry.read(retry)
            reader.report(retry.problems)
        }
        reader.read("dead_letter", into: &sink.deadLetter) { (node) throws(ConfigProblem) in
            node.isNull ? .none : .stream(try redisName(node))
        }
        reader.read("dead_letter_on", into: &sink.deadLetterOn, statuses)
        reader.read("on_success", into: &sink.onSuccess) { (node) throws(ConfigProblem) in try node.choice() }
        reader.read("reply_status", into: &sink.honoursReplies) { (node) throws(ConfigProblem) in try node.boolean() }
        reader.read("http_version", into: &sink.httpVersion) { (node) throws(ConfigProblem) in try node.choice() }
        sink.readAccess(reader, by: author)
        reader.read("secrets", into: &sink.secrets) { (node) throws(ConfigProblem) in try secretList(node, by: author) }
        reader.read("allow_networks", into: &sink.allowNetworks) { (node) throws(ConfigProblem) in try networks(node, by: author) }
        sink.isGuarded = !author.isOperator || !sink.allowNetworks.isEmpty
        if case .raw = sink.format, sink.contentType == nil { sink.contentType = "application/octet-stream" }
        sink.checkTogether(reader)
        reader.finish()
        guard reader.problems.isEmpty else { throw ConfigError(problems: reader.problems) }
        return sink
    }

    private func checkTogether(_ reader: ConfigMapReader) {
        checkFormat(reader)
        checkBatch(reader)
        checkOrder(reader)
        checkAccess(reader)
        checkStreams(reader)
        if lease <= timeout + connectTimeout {
            reader.object(
                "lease_ms", "must be above timeout_ms + connect_timeout_ms, or two replicas would deliver the same message")
        }
        if maxHeld < concurrency { reader.object("max_held", "must be at least concurrency (\(concurrency))") }
    }

    // MARK: Values

    static let nameRule = "a sink's name is 1 to 128 letters, digits, dots, dashes and underscores"

    /// It stands in paths, keys and consumers' names.
    static func isName(_ name: String) -> Bool {
        (1...128).contains(name.utf8.count) && name.utf8.allSatisfy {
            ($0 | 0x20 >= 0x61 && $0 | 0x20 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || "._-".utf8.contains($0)
        }
    }

    /// A name by the rules of API.md §1.3.
    static func redisName(_ node: ConfigNode) throws(ConfigProblem) -> String {
        let name = try node.text("a name")
        guard name.utf8.count <= Limits.nameBytes, !name.utf8.contains(0) else {
            throw node.problem("a name is at most \(Limits.nameBytes) bytes, without NUL")
        }
        guard !name.hasPrefix("sluice:") else {
            throw node.problem("names that begin with \"sluice:\" are the gateway's own")
        }
        return name
    }

    private static func startID(_ node: ConfigNode) throws(ConfigProblem) -> Start {
        let text = try node.text("earliest, latest or an id")
        switch text {
        case "earliest", "0", "-": return .earliest
        case "latest", "$": return .latest
        default:
            let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            // UInt64 alone would take a sign.
            guard parts.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } && UInt64($0) != nil }) else {
                throw node.problem("expected earliest, latest or an id as 1709251200000-0, found \"\(printable(text))\"")
            }
            return .id(text)
        }
    }

    static func webURL(_ node: ConfigNode) throws(ConfigProblem) -> String {
        let url = try node.text("a URL")
        let lowered = url.lowercased()
        guard let scheme = ["http://", "https://"].first(where: { lowered.hasPrefix($0) }) else {
            throw node.problem("expected a URL that begins with https:// or http://")
        }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw node.problem("a URL is visible ASCII; percent-encode the rest")
        }
        guard !url.utf8.contains(UInt8(ascii: "#")) else { throw node.problem("a URL to post to has no #fragment") }
        let authority = url.dropFirst(scheme.count).prefix { $0 != "/" && $0 != "?" }
        // The URL is shown in replies and logs: credentials belong elsewhere.
        guard !authority.contains("@") else { throw node.problem("no user or password in a URL; use headers or secrets") }
        guard !authority.isEmpty, authority.first != ":" else { throw node.problem("the URL names no host") }
        return url
    }

    private static func headerList(_ node: ConfigNode) throws(ConfigProblem) -> [Header] {
        var headers: [Header] = []
        for member in try node.members() {
            let name = member.name.lowercased()
            guard !name.isEmpty, name.utf8.allSatisfy(ASCII.isToken) else { throw member.value.problem("not a header's name") }
            guard !isReservedHeader(name) else {
                throw member.value.problem("this header is set by the sink itself")
            }
            guard !headers.contains(where: { $0.name.lowercased() == name }) else { throw member.value.problem("given twice") }
            let value = try member.value.text("a header's value")
            guard value != mask else { throw member.value.problem(maskRule) }
            guard value.utf8.allSatisfy({ $0 == 0x09 || $0 >= 0x20 && $0 != 0x7F }) else {
                throw member.value.problem("a header's value has no line breaks and no control characters")  // RFC 9110 §5.5
            }
            if let problem = templateProblem(value) { throw member.value.problem(problem) }
            headers.append(Header(name: member.name, value: value))
        }
        return headers
    }

    private static func statuses(_ node: ConfigNode) throws(ConfigProblem) -> [Int] {
        var statuses: [Int] = []
        // 410 disables the sink and a 2xx acknowledges; neither can be a dead letter.
        for node in try node.list() {
            let status = try node.integer(in: 300...599, "a status")
            guard status != 410 else { throw node.problem("410 disables the sink; it can't make dead letters") }
            statuses.append(status)
        }
        return statuses
    }

    static func networks(_ node: ConfigNode, by author: Author) throws(ConfigProblem) -> [String] {
        let texts = try node.texts()
        for text in texts {
            guard let network = network(text) else {
                throw node.problem("expected networks as 10.0.0.0/8 or fd00::/8, found \"\(printable(text))\"")
            }
            if author.isOperator || author.networks.contains(where: { SinkDefinition.network($0)?.contains(network) == true }) { continue }
            throw node.problem("\(text) is not inside the gateway's own sink_networks")
        }
        return texts
    }

    /// Of networks that were checked, nil for none of them.
    private static func network(_ text: String) -> IPNetwork? {
        // What is wrong with it is said in words that fit here.
        try? IPNetwork(parsing: text)
    }

    private static func secretList(_ node: ConfigNode, by author: Author) throws(ConfigProblem) -> [Secret] {
        var secrets: [Secret] = []
        for node in try node.list() {
            let text = try node.text("a secret")
            if let place = try secretPlace(node, text, by: author) {
                secrets.append(place)
                continue
            }
            do throws(WebhookSecretError) { _ = try WebhookSecret(parsing: text) } catch {
                throw node.problem("expected whsec_ and the base64 of 24 to 64 bytes, or env:NAME, or file:PATH: \(error)")
            }
            secrets.append(.literal(text))
        }
        return secrets
    }

    /// Where a secret is, when its text says so; nil: the text is the secret.
    static func secretPlace(_ node: ConfigNode, _ text: String, by author: Author) throws(ConfigProblem) -> Secret? {
        switch (text.prefix(4), text.prefix(5), author.isOperator) {
        case ("env:", _, true): return .environment(String(text.dropFirst(4)))
        case (_, "file:", true): return .file(String(text.dropFirst(5)))
        case (_, "file:", false) where author.secretsDirectory != nil:
            return .file(try secretFile(node, String(text.dropFirst(5)), below: author.secretsDirectory!))
        case ("env:", _, false), (_, "file:", false):
            throw node.problem("env: and file: belong in the gateway's own configuration")
        default:
            guard text != mask else { throw node.problem(maskRule) }
            return nil
        }
    }

    /// A caller's file: where it lies is judged by its path alone, since the directory's links are the operator's.
    private static func secretFile(_ node: ConfigNode, _ path: String, below directory: String) throws(ConfigProblem) -> String {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false)
        guard path.hasPrefix(directory + "/"), !parts.contains(".."), !path.utf8.contains(0) else {
            throw node.problem("a file: must lie below the gateway's own secrets_dir")
        }
        return path
    }
}

extension SinkDefinition.Batch {
    fileprivate mutating func read(_ reader: ConfigMapReader) {
        reader.read("max_messages", into: &maxMessages) { (node) throws(ConfigProblem) in try node.integer(in: 1...1000) }
        reader.read("max_bytes", into: &maxBytes) { (node) throws(ConfigProblem) in try node.integer(in: 1...67_108_864) }
        reader.read("linger_ms", into: &linger) { (node) throws(ConfigProblem) in try node.duration(in: 0...60_000) }
        reader.finish()
    }
}

extension SinkDefinition.Retry {
    fileprivate mutating func read(_ reader: ConfigMapReader) {
        reader.read("base_ms", into: &base) { (node) throws(ConfigProblem) in try node.duration() }
        reader.read("factor", into: &factor) { (node) throws(ConfigProblem) in try node.number(in: 1...10) }
        reader.read("max_ms", into: &max) { (node) throws(ConfigProblem) in try node.duration() }
        reader.read("jitter", into: &jitter) { (node) throws(ConfigProblem) in try node.number(in: 0...1) }
        reader.read("max_deliveries", into: &maxDeliveries) { (node) throws(ConfigProblem) in try node.integer(in: 1...1000) }
        reader.read("max_age_ms", into: &maxAge) { (node) throws(ConfigProblem) in
            node.isNull ? nil : try node.duration(in: 1...31_536_000_000)
        }
        if max < base { reader.object("max_ms", "must be at least base_ms") }
        reader.finish()
    }
}
