// What a sink is (SINKS.md §1): the same keys in sluice.yaml and in `PUT /v1/sinks/{name}`.
//
// `author` matters: one who calls over HTTP has less power than the operator who writes the file.

/// A checked definition of a sink.
struct SinkDefinition: Sendable, Equatable {
    /// Who wrote a definition, and what such a one may say.
    struct Author: Sendable {
        /// The operator, in sluice.yaml.
        static let configuration = Author(isOperator: true)
        /// One who calls, where the operator has granted nothing.
        static let caller = Author(isOperator: false)

        let isOperator: Bool
        /// A caller's `file:` lies below this (`secrets_dir`); nil: there is none.
        var secretsDirectory: String?
        /// A caller's `allow_networks` lie inside these (`sink_networks`).
        var networks: [String] = []

        /// One who calls, with what the configuration grants.
        static func caller(_ config: Config) -> Author {
            Author(isOperator: false, secretsDirectory: config.secretsDirectory, networks: config.sinkNetworks)
        }
    }

    /// Where a group that the sink creates begins.
    enum Start: Sendable, Equatable {
        case earliest, latest
        case id(String)
    }

    enum Method: String, Sendable, CaseIterable { case post = "POST", put = "PUT", patch = "PATCH" }

    /// What a request's body is.
    enum Format: Sendable, Equatable {
        case json
        /// The same in a line of its own.
        case ndjson
        /// CloudEvents 1.0: the whole event in the body, or its attributes in headers and its data in the body.
        case cloudEvents, cloudEventsBinary
        /// The value of this field.
        case raw(field: String)
    }

    /// What becomes of a message that was delivered.
    enum OnSuccess: String, Sendable, CaseIterable {
        case ack
        /// Acknowledged and deleted.
        case delete
        /// Deleted as soon as every group has acknowledged it.
        case deleteWhenAcked = "delete_when_acked"
    }

    enum HTTPVersion: String, Sendable, CaseIterable { case one = "1.1", two = "2" }

    struct Header: Sendable, Equatable {
        var name: String
        var value: String
    }

    struct Retry: Sendable, Equatable {
        var base: Duration = .milliseconds(1000)
        var factor = 2.0
        var max: Duration = .milliseconds(300_000)
        /// The share of a delay that may be added to it at random; never taken off.
        var jitter = 0.2
        var maxDeliveries = 8
        /// A message older than this, by its id, is a dead letter; nil: none is.
        var maxAge: Duration?
    }

    /// How many messages a request has.
    struct Batch: Sendable, Equatable {
        var maxMessages = 1
        /// Of the body, but for a message that is longer by itself.
        var maxBytes = 1 << 20
        /// How long a message may wait for others.
        var linger = Duration.zero
    }

    enum DeadLetter: Sendable, Equatable {
        /// `{stream}` stands for the stream the message came from.
        case stream(String)
        /// Keep retrying for ever.
        case none
    }

    enum Secret: Sendable, Equatable {
        /// `whsec_…`.
        case literal(String)
        case environment(String)
        case file(String)
    }

    var name: String
    /// Names and globs, as they are written.
    var streams: [String] = []
    var group: String
    var start = Start.latest
    var url = ""
    var method = Method.post
    var headers: [Header] = []
    var format = Format.json
    /// Of `raw`'s body; nil with every other format.
    var contentType: String?
    var batch = Batch()
    /// Most requests in flight.
    var concurrency = 16
    /// Requests begun a second, at most; nil: any number.
    var ratePerSecond: Double?
    /// Failures in a row that open the breaker.
    var breakerFailures = 20
    var maxHeld = 1000
    var orderBy = Order.none
    var timeout: Duration = .milliseconds(15_000)
    var connectTimeout: Duration = .milliseconds(5000)
    var lease: Duration = .milliseconds(60_000)
    var retry = Retry()
    var deadLetter = DeadLetter.stream("{stream}:dlq")
    var deadLetterOn = [400, 413, 415, 422]
    var onSuccess = OnSuccess.ack
    /// A 2xx may say in its body that it is none (`reply_status`).
    var honoursReplies = false
    var httpVersion = HTTPVersion.one
    var auth: SinkAuth?
    var tls = SinkTLS()
    /// Newest first; all of them sign.
    var secrets: [Secret] = []
    /// CIDRs that may be reached although they are private.
    var allowNetworks: [String] = []
    /// No private network is reached but `allowNetworks`: always so where a caller wrote it. Not a key: who wrote it says so.
    var isGuarded = false

    init(name: String) {
        self.name = name
        group = "sink:\(name)"
    }

    /// A request may have several messages.
    var isBatched: Bool { batch.maxMessages > 1 }
}
