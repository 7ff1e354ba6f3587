// One exchange with a receiver: what is asked for, and what came of it. Plain values.

public import Net

/// What to post, and where.
public struct WebhookRequest: Sendable {
    public enum Method: String, Sendable { case post = "POST", put = "PUT", patch = "PATCH" }

    public var endpoint: WebhookEndpoint
    /// Sent as well as the endpoint's own headers.
    public var fields: WebhookFields
    public var body: [UInt8]
    /// On whose behalf: who share the room there is. Where there is not room for all, those who have less of it go first.
    public var sender: UInt = 0
    /// From then on it is not begun, and ends as `.cancelled`; nil: it may wait for its turn for any time.
    public var notAfter: EventLoop.Instant?

    public init(to endpoint: WebhookEndpoint, fields: WebhookFields = WebhookFields(), body: [UInt8]) {
        self.endpoint = endpoint
        self.fields = fields
        self.body = body
    }
}

/// How a receiver proves itself over TLS, and how we do. Paths to PEM files, read at connect.
public struct WebhookTLS: Sendable, Equatable {
    /// Certificates to trust instead of the system's.
    public var authorityFile: String?
    /// Our own certificate and its key (mutual TLS).
    public var certificateFile: String?
    public var keyFile: String?
    /// False accepts any certificate for any name.
    public var verifies: Bool

    public init(
        authorityFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil, verifies: Bool = true
    ) {
        self.authorityFile = authorityFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.verifies = verifies
    }
}

public struct WebhookResult: Sendable {
    public enum Outcome: Sendable {
        case answered(WebhookAnswer)
        /// `message`: one line for the log; may quote the receiver's address, never the body.
        case failed(WebhookFailure, message: String)
    }

    public var outcome: Outcome
    /// From the moment the exchange was begun (waiting for its turn is not counted).
    public var duration: Duration
    /// False when a kept connection was used again.
    public var newConnection: Bool

    public init(outcome: Outcome, duration: Duration = .zero, newConnection: Bool = false) {
        self.outcome = outcome
        self.duration = duration
        self.newConnection = newConnection
    }
}

/// A whole head was received, and the body to its end, or up to where we give up on it.
public struct WebhookAnswer: Sendable, Equatable {
    public var status: Int
    /// The text of `Retry-After`, as sent.
    public var retryAfter: String?
    /// The first bytes of the body: `WebhookLimits.keptBodyBytes` of them at most, or the endpoint's own number.
    public var body: [UInt8]
    /// The body went on after `body`.
    public var bodyTruncated: Bool
}

/// Why there is no answer.
public enum WebhookFailure: Sendable, Equatable {
    /// Every address of the target is one the guard refuses.
    case refusedTarget
    /// The URL or a header cannot be sent at all.
    case malformedRequest
    /// The resolver says that the name has no address.
    case hostNotFound
    /// The resolver did not answer, or not now: our fault.
    case resolverDown
    case connect
    case timeout
    case tls
    /// The connection was cut, or what came is not HTTP.
    case brokenReply
    /// This process or machine is out of file descriptors, sockets or threads: our fault.
    case noDescriptors
    case outOfMemory
    /// What the request needs to be let in could not be had: its caller's word.
    case noCredential
    /// `WebhookClient.close()` while it was under way, or `notAfter` passed before it was begun.
    case cancelled

    /// True when the receiver has no part in it: no attempt is spent.
    public var isOurs: Bool {
        switch self {
        case .resolverDown, .noDescriptors, .outOfMemory, .noCredential, .cancelled: true
        case .refusedTarget, .malformedRequest, .hostNotFound, .connect, .timeout, .tls, .brokenReply: false
        }
    }
}

/// The bounds of one client, with the reason for each.
public struct WebhookLimits: Sendable {
    /// Exchanges under way; more wait, and their time does not run yet. (libcurl's own waiting would count in the
    /// timeout.) Twice what one sender may want; a ninth of it is never theirs who have the most, see `Senders`.
    public var maxInFlight = 2048
    /// Name look-ups under way: libcurl takes a thread for each.
    public var maxLookups = 8
    /// Connections kept open, busy or idle: those under way, and one for each of a thousand receivers that are idle just
    /// now, or each new connection would close the one that is needed next. Pinned: libcurl's default shrinks with the load.
    public var maxConnections = 3072
    /// Easy handles kept for the next exchange (about 6 KB each, and at most 32 KB of their last requests).
    public var maxSpareHandles = 128
    /// A reply's head, 1xx heads included; beyond it the reply is broken.
    public var maxHeadBytes = 64 * 1024
    /// Of a reply's body, what is kept for logs and for `reply_status`.
    public var keptBodyBytes = 4096
    /// A body beyond this is given up; the answer counts.
    public var maxBodyBytes = 1024 * 1024
    /// A kept connection idle for longer is not used again: one that dies just as it is used makes libcurl
    /// send the POST twice.
    public var maxIdleAge = Duration.seconds(45)
    /// A connection older than this is not used again: it would never see a change in DNS.
    public var maxConnectionAge = Duration.seconds(300)

    public init() {}
}

/// What one client has done since it was made.
public struct WebhookCounters: Sendable, Equatable {
    public var sent = 0
    public var newConnections = 0
    /// Name look-ups begun, and the most that were under way at once.
    public var lookups = 0
    public var mostLookups = 0
    /// How often libcurl went through all names that it knows: about once a second.
    public var forgettings = 0
    /// `epoll_ctl` calls: about none a request on kept connections.
    public var pollChanges = 0
    /// Exchanges under way, and those waiting for their turn.
    public var inFlight = 0
    public var waiting = 0
    public var openSockets = 0
}
