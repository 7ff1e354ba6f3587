// Definitions of sinks, by SINKS.md §1.

import Testing

@testable import Gateway

private let least = "streams: [orders]\nurl: https://example.com/hook\n"

private func sink(_ yaml: String, by author: SinkDefinition.Author = .configuration) throws -> SinkDefinition {
    try .parse(name: "s", try .parse(yaml: yaml, source: "f"), by: author)
}

private func refusal(_ yaml: String, by author: SinkDefinition.Author = .configuration) -> String {
    #expect(throws: ConfigError.self) { try sink(yaml, by: author) }?.description ?? ""
}

struct ConfigSinkTests {
    @Test func `the least definition has the contract's defaults`() throws {
        let sink = try sink(least)
        #expect(sink.streams == ["orders"] && sink.group == "sink:s" && sink.start == .latest && sink.method == .post)
        #expect(sink.concurrency == 16 && sink.maxHeld == 1000 && sink.timeout == .seconds(15) && sink.connectTimeout == .seconds(5))
        #expect(sink.retry == SinkDefinition.Retry() && sink.ratePerSecond == nil && sink.batch == .init(maxMessages: 1, maxBytes: 1 << 20, linger: .zero) && sink.breakerFailures == 20)
        #expect(sink.retry.base == .seconds(1) && sink.retry.max == .seconds(300) && sink.retry.maxDeliveries == 8)
        #expect(sink.deadLetterStream(of: "orders:payments") == "orders:payments:dlq")
        #expect(sink.deadLetterOn == [400, 413, 415, 422] && sink.lease == .seconds(60))
    }

    @Test func `every key is read`() throws {
        let sink = try sink(
            """
            streams: [a, b]
            group: g
            start: 1709251200000-0
            url: http://127.0.0.1:9000/x?y=z
            method: PUT
            headers: {X-From: "sluice {stream}", authorization: Bearer x}
            format: json
            concurrency: 2
            max_held: 2
            order_by: "order id"
            batch: {max_messages: 2, max_bytes: 3, linger_ms: 4}
            rate_per_s: 0.5
            breaker_failures: 7
            timeout_ms: 100
            connect_timeout_ms: 50
            lease_ms: 1000
            retry: {base_ms: 10, factor: 1.5, max_ms: 20, jitter: 0, max_deliveries: 3, max_age_ms: 1000}
            dead_letter: null
            dead_letter_on: [404]
            secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, "env:HOOK", "file:/run/key"]
            allow_networks: [10.0.0.0/8, "fd00::/8"]
            """)
        #expect(sink.batch == .init(maxMessages: 2, maxBytes: 3, linger: .milliseconds(4)))
        #expect(sink.orderBy == .field("order id") && sink.json(showsSecrets: false).contains(#""order_by":"order id""#))
        #expect(sink.ratePerSecond == 0.5 && sink.breakerFailures == 7)
        #expect(sink.streams == ["a", "b"] && sink.start == .id("1709251200000-0") && sink.method == .put)
        #expect(sink.headers == [.init(name: "X-From", value: "sluice {stream}"), .init(name: "authorization", value: "Bearer x")])
        #expect(sink.retry == .init(
            base: .milliseconds(10), factor: 1.5, max: .milliseconds(20), jitter: 0, maxDeliveries: 3, maxAge: .seconds(1)))
        #expect(sink.deadLetter == .none && sink.deadLetterStream(of: "a") == nil && sink.deadLetterOn == [404])
        #expect(sink.secrets == [.literal("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), .environment("HOOK"), .file("/run/key")])
        #expect(sink.allowNetworks == ["10.0.0.0/8", "fd00::/8"])
    }

    @Test(arguments: [
        ("ulr: x", "f:3: ulr: unknown key \"ulr\"; did you mean \"url\"?"), ("retry: {base: 5}", "unknown key \"base\"; did you mean"),
        ("batch: 5", "f:3: batch: expected a map"), ("batch: {max_messages: 0}", "batch.max_messages: expected a whole number from 1 to 1000"),
        ("batch: {max_bytes: 0}", "batch.max_bytes: expected a whole number from 1 to 67108864"), ("batch: {linger_ms: -1}", "batch.linger_ms: expected whole milliseconds from 0 to 60000"),
        ("batch: {size: 5}", "unknown key \"size\""), ("batch: {max_messages: 2}\nformat: raw:x", "batch: goes with format: json, ndjson or cloudevents"),
        ("batch: {max_messages: 2}\nformat: cloudevents-binary", "cloudevents-binary has one message a request"),
        ("batch: {max_messages: 2}\nheaders: {X: \"{id}\"}", "headers: X names {id} or {field:NAME} of one message"),
        ("batch: {max_messages: 2}\nretry: {max_deliveries: 1}", "batch: needs retry.max_deliveries of at least 2"),
        ("batch: {max_messages: 50}\nmax_held: 20", "max_held: must be at least batch.max_messages (50)"),
        ("format: ndjsn", "did you mean \"ndjson\"?"),
        ("rate_per_s: 0", "rate_per_s: expected a number from 0.01 to 100000"),
        ("rate_per_s: fast", "rate_per_s: expected a number"), ("breaker_failures: 0", "breaker_failures: expected a whole number from 1 to 1000000"),
        ("breaker_failures: 2.5", "expected a whole number"), ("breaker_failure: 2", "did you mean \"breaker_failures\"?"),
        ("order_by: None", "f:3: order_by: expected none, stream or a field's name, found \"None\"; did you mean \"none\"?"),
        ("order_by: [a]", "order_by: expected none, stream or a field's name"), ("order_by: null", "order_by: expected none, stream or a field's name, found nothing"), ("order_by: \"\"", "order_by: expected"),
        ("orderby: a", "did you mean \"order_by\"?"), ("order_by: \(String(repeating: "a", count: 513))", "a field's name is at most 512 bytes"),
        ("batch: {max_messages: 2}\norder_by: stream", "order_by: stream goes with batch.max_messages of 1"), ("format: cloudevent", "did you mean \"cloudevents\"?"),
        ("method: GET", "expected one of POST, PUT, PATCH"), ("lease_ms: 20000", "f:3: lease_ms: must be above timeout_ms + connect_timeout_ms"),
        ("timeout_ms: 60000", "must be above timeout_ms + connect_timeout_ms"), ("max_held: 5", "max_held: must be at least concurrency (16)"),
        ("headers: {Host: x}", "headers.Host: this header is set by the sink itself"),
        ("headers: {webhook-id: x}", "set by the sink itself"), ("headers: {Transfer-Encoding: x}", "set by the sink itself"),
        ("headers: {X: \"a\\r\\nB: c\"}", "no line breaks"), ("headers: {\"X Y\": a}", "not a header's name"),
        ("dead_letter: orders", "which the sink reads itself"), ("dead_letter: \"{stream}\"", "which the sink reads itself"),
        ("dead_letter: sluice:x", "the gateway's own"), ("dead_letter_on: [200]", "a status from 300 to 599"),
        ("dead_letter_on: [410]", "410 disables"), ("allow_networks: [10.0.0.0]", "expected networks as"),
        ("allow_networks: [10.0.0.0/33]", "expected networks as"), ("secrets: [hush]", "expected whsec_"),
        ("secrets: [whsec_aHVzaA==]", "has 4"), ("secrets: [whsec_\(String(repeating: "A", count: 33))B==]", "must be standard base64"),
        ("start: sometime", "expected earliest, latest or an id"),
        ("start: 1-", "expected earliest"), ("retry: {base_ms: 10, max_ms: 5}", "retry.max_ms: must be at least base_ms"),
        ("retry: {jitter: 2}", "a number from 0.0 to 1.0"), ("concurrency: 0", "a whole number from 1 to 1000"),
    ])
    func `a wrong key is refused by name`(yaml: String, words: String) {
        let text = refusal(least + yaml)
        #expect(text.contains(words), "\(text)")
        #expect(!text.contains("hush") && !text.contains("aHVzaA"))
    }

    @Test func `a format is one of four, and a raw one has a content type`() throws {
        #expect(try sink(least).format == .json && sink(least).contentType == nil)
        #expect(try sink(least + "format: ndjson").format == .ndjson && SinkDefinition.Format.ndjson.rawValue == "ndjson")
        #expect(try sink(least + "format: cloudevents").format == .cloudEvents)
        #expect(try sink(least + "format: cloudevents-binary").format == .cloudEventsBinary)
        let raw = try sink(least + "format: \"raw:a:b\"")
        #expect(raw.format == .raw(field: "a:b") && raw.contentType == "application/octet-stream")
        #expect(try sink(least + "format: raw:x\ncontent_type: text/plain; charset=utf-8").contentType == "text/plain; charset=utf-8")
        #expect(try sink(least + "headers: {Content-Type: text/x}").headers.count == 1)
    }

    @Test(arguments: [
        ("format: cloudevent", "format: expected one of json, ndjson, cloudevents, cloudevents-binary, raw:FIELD, found \"cloudevent\"; did you mean \"cloudevents\"?"),
        ("format: \"raw:\"", "format: expected one of"), ("format: raw", "expected one of"), ("format: [json]", "found a list"), ("format: xml", "found \"xml\""),
        ("content_type: text/plain", "content_type: goes with format: raw:FIELD"), ("format: cloudevents\ncontent_type: text/plain", "goes with format: raw:FIELD"),
        ("format: raw:x\ncontent_type: plain", "expected a media type"), ("format: raw:x\ncontent_type: text/", "expected a media type"),
        ("format: raw:x\ncontent_type: \"text/plain\\r\\nX: y\"", "expected a media type"), ("format: raw:x\ncontent_type: 5", "expected a media type"),
        ("format: raw:x\ncontent_typ: text/plain", "did you mean \"content_type\"?"),
        ("format: raw:x\nheaders: {Content-Type: text/x}", "headers: Content-Type is set by format: raw:x; write content_type"),
        ("format: cloudevents\nheaders: {content-type: text/x}", "Content-Type is set by format: cloudevents"),
        ("format: cloudevents-binary\nheaders: {CE-Foo: x}", "CE-Foo is set by format: cloudevents-binary"),
        ("headers: {Expect: x}", "set by the sink itself"), ("headers: {Sluice-Delivery-Count: x}", "set by the sink itself"),
        ("headers: {X: \"{streem}\"}", "headers.X: {streem} is no template; did you mean \"{stream}\"?"),
        ("headers: {X: \"{ID}\"}", "did you mean \"{id}\"?"), ("headers: {X: \"{filed:a}\"}", "did you mean \"{field:NAME}\"?"),
        ("headers: {X: \"{field:}\"}", "{field:} needs a field's name"), ("headers: {X: \"{field}\"}", "{field} needs a field's name"),
    ])
    func `a wrong format or template is refused, saying what would be right`(yaml: String, words: String) {
        let text = refusal(least + yaml)
        #expect(text.contains(words), "\(text)")
    }

    @Test(arguments: [
        "ftp://h/", "example.com", "https://u:p@h/", "https://u@h", "http:///x", "http://:80/", "https://h/#x", "https://h/a b", "https://h/é",
    ])
    func `a URL must be one that can be posted to`(url: String) {
        #expect(refusal("streams: [a]\nurl: \"\(url)\"").contains("url:"))
    }

    @Test(arguments: ["sluice:x", "sluice:*", "a[b", "[]"])
    func `a stream is a name of the user's own, or a glob`(name: String) {
        #expect(refusal("url: http://h/\nstreams: [\"\(name)\"]").contains("streams[0]"))
    }

    @Test func `globs are streams, and so are the dead-letter streams of what they match`() throws {
        let sink = try sink("url: http://h/\nstreams: [orders, \"o:*\", 'a\\?b']\ndead_letter: \"x[{stream}\"")
        #expect(sink.names == ["orders"] && sink.globs.map(\.text) == ["o:*", #"a\?b"#])
        #expect(sink.mayRead("orders") && sink.mayRead("o:1") && !sink.mayRead("o"))
        #expect(sink.deadLetterStreams.map(\.text) == ["x\\[orders", "x\\[o:*", #"x\[a\?b"#])
        #expect(sink.deadLetterStream(of: "o:1") == "x[o:1")
        #expect(refusal("url: http://h/\nstreams: [\"a*\"]\ndead_letter: \"{stream}\"").contains("dead_letter"))
    }

    @Test func `a caller over HTTP has no way to our environment and files`() throws {
        for secret in ["env:HOME", "file:/etc/passwd"] {
            #expect(refusal(least + "secrets: [\"\(secret)\"]", by: .caller).contains("gateway's own configuration"))
        }
        #expect(try sink(least + "secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]", by: .caller).secrets.count == 1)
    }

    @Test func `a caller has what the configuration grants, and no more`() throws {
        var author = SinkDefinition.Author.caller
        author.secretsDirectory = "/run/secrets"
        author.networks = ["10.0.0.0/8", "fd00::/8"]
        let granted = try sink(least + "secrets: [\"file:/run/secrets/hook\"]\nallow_networks: [10.1.0.0/16, \"fd00::/8\"]", by: author)
        #expect(granted.secrets == [.file("/run/secrets/hook")] && granted.isGuarded)
        for path in ["/run/secrets/../key", "/run/secretsx/key", "key", "/run/secrets", "/etc/passwd"] {
            #expect(refusal(least + "secrets: [\"file:\(path)\"]", by: author).contains("secrets_dir"), "\(path)")
        }
        #expect(refusal(least + "secrets: [\"env:HOME\"]", by: author).contains("gateway's own configuration"))
        for network in ["10.0.0.0/7", "11.0.0.0/8", "0.0.0.0/0", "::/0", "fc00::/7"] {
            #expect(refusal(least + "allow_networks: [\"\(network)\"]", by: author).contains("sink_networks"), "\(network)")
        }
        #expect(try sink(least, by: .caller).isGuarded && !sink(least).isGuarded)
    }

    @Test func `what is kept in Redis reads back as itself, and what is shown holds no secret`() throws {
        let one = try sink(
            least + """
                headers: {X: "a\\"b", Authorization: hush}
                retry: {max_age_ms: 7000, factor: 1.5, jitter: 0.00001}
                dead_letter: null
                start: 5-1
                secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, "env:HOOK", "file:/run/key"]
                """)
        let kept = Array(one.json(showsSecrets: true).utf8)
        #expect(try kept.withUnsafeBytes { try SinkDefinition.parse(name: "s", .parse(json: $0, source: "f"), by: .configuration) } == one)
        let shown = one.json(showsSecrets: false)
        for secret in ["hush", "MfKQ", "HOOK", "/run/key"] { #expect(!shown.contains(secret)) }
        #expect(shown.contains(#""secrets":["••••","••••","••••"]"#))
    }

    @Test func `a sink's name can stand in a path`() throws {
        for name in ["", "a b", "a/b", "é", String(repeating: "a", count: 129)] {
            #expect(throws: ConfigError.self) { try SinkDefinition.parse(name: name, .parse(yaml: least, source: "f"), by: .caller) }
        }
    }

    @Test func `JSON is read as YAML is`() throws {
        let json = #"""
            {"streams":["a"],"url":"http://h/","start":"earliest","headers":{"X":"1"},"dead_letter":null,"concurrency":3,
             "retry":{"factor":1.5,"base_ms":5},"dead_letter_on":[400],"secrets":["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]}
            """#
        func parsed(_ text: String) throws -> ConfigNode {
            try Array(text.utf8).withUnsafeBytes { try ConfigNode.parse(json: $0, source: "request body") }
        }
        let yaml = """
            {streams: [a], url: "http://h/", start: earliest, headers: {X: "1"}, dead_letter: null, concurrency: 3,
             retry: {factor: 1.5, base_ms: 5}, dead_letter_on: [400], secrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]}
            """
        #expect(try SinkDefinition.parse(name: "s", parsed(json), by: .caller) == sink(yaml, by: .caller))
        let wrong = #"{"streams":["a"],"url":"http://h/","url":"http://i/","retry":{"factor":"2"},"timeout_ms":1.5}"#
        let error = #expect(throws: ConfigError.self) { try SinkDefinition.parse(name: "s", parsed(wrong), by: .caller) }
        #expect(
            error?.description == """
                request body: url: given twice
                request body: timeout_ms: expected whole milliseconds from 1 to 3600000, found "1.5"
                request body: retry.factor: expected a number from 1.0 to 10.0, found the text "2"
                """)
    }

    @Test func `the effective definition reads back as itself and shows no secret`() throws {
        let yaml = least + "start: earliest\ndead_letter: \"x:{stream}\"\nretry: {max_age_ms: 7000}\nformat: \"raw:a b\"\ncontent_type: text/plain\nallow_networks: [\"fd00::/8\"]"
        let one = try sink(yaml)
        let lines = one.yamlLines.dropFirst().map { $0.dropFirst(4) }.joined(separator: "\n")
        #expect(try sink(lines) == one)
        let secretive = try sink(least + "headers: {Authorization: hush}\nsecrets: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]")
        #expect(!secretive.yamlLines.joined().contains("hush") && !secretive.yamlLines.joined().contains("MfKQ"))
    }
}
