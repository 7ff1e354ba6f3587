// What can become of a command, in the one distinction that callers need: was nothing executed, did
// Redis refuse it, or does nobody know.

/// The module's error.
public enum RedisError: Error, Equatable, Sendable {
    /// Nothing was executed, or it was a read: the command may be sent again.
    case unavailable(Reason)
    /// The command was sent and no answer came: it may have been executed, or may yet be.
    case outcomeUnknown(RedisCommand.Effect, Reason)
    /// Too much is in flight to this server already; nothing was sent.
    case overloaded
    /// Redis answered with an error. `message` is its whole line, code included.
    case reply(code: RedisErrorCode, message: String)

    /// Why there is no answer.
    public enum Reason: Equatable, Sendable {
        /// No connection now (yet, or again): the last thing known of why, for people.
        case notConnected(String)
        /// The connection broke.
        case connectionLost(String)
        /// What the server sent is not RESP2, so the connection was given up.
        case protocolError(String)
        /// No answer within `RedisLimits.timeout`, or the caller's patience.
        case timedOut
        /// Tracking was asked for, and this server does not offer it to us.
        case noTracking
        /// `close()` was called.
        case closed
    }

    /// No answer came in the time there was.
    public var isTimeout: Bool {
        switch self {
        case .unavailable(.timedOut), .outcomeUnknown(_, .timedOut): true
        default: false
        }
    }

    /// Why Redis was not there to answer; nil: it did.
    public var absence: Reason? {
        switch self {
        case .unavailable(let reason), .outcomeUnknown(_, let reason): reason
        case .overloaded, .reply: nil
        }
    }

    /// The command may have been executed, or may yet be.
    public var isOutcomeUnknown: Bool {
        if case .outcomeUnknown = self { true } else { false }
    }

    /// The key is not there, though the command asks for it to be.
    public var isNoSuchKey: Bool {
        guard case .reply(.err, let line) = self else { return false }
        return line.contains("no such key") || line.contains("requires the key to exist")
    }

    /// An ACL keeps the command itself from us, whatever its keys.
    public var isForbiddenCommand: Bool {
        guard case .reply(.noPerm, let line) = self else { return false }
        return line.contains("to run")
    }

    /// From an error reply's line, e.g. `WRONGTYPE Operation against a key …`.
    init(errorLine: UnsafeRawBufferPointer) {
        self = .reply(code: RedisErrorCode(errorLine: errorLine), message: String(decoding: errorLine, as: UTF8.self))
    }
}

/// The first word of an error reply. The words are Redis' own; `other` is any that we treat alike.
public enum RedisErrorCode: String, Sendable, CaseIterable {
    case err = "ERR"
    case loading = "LOADING"
    case readOnly = "READONLY"
    case busy = "BUSY"
    case unkillable = "UNKILLABLE"
    case misconf = "MISCONF"
    case noReplicas = "NOREPLICAS"
    case clusterDown = "CLUSTERDOWN"
    case masterDown = "MASTERDOWN"
    case tryAgain = "TRYAGAIN"
    case noAuth = "NOAUTH"
    case wrongPass = "WRONGPASS"
    case noPerm = "NOPERM"
    case outOfMemory = "OOM"
    case wrongType = "WRONGTYPE"
    case noGroup = "NOGROUP"
    case busyGroup = "BUSYGROUP"
    case noScript = "NOSCRIPT"
    case other = ""

    /// Nothing was executed, and the same command may succeed later: the server is starting, failing
    /// over, misconfigured, busy in a script, or refuses our own credentials.
    public var meansTryLater: Bool {
        switch self {
        case .loading, .readOnly, .busy, .unkillable, .misconf, .noReplicas, .clusterDown, .masterDown, .tryAgain,
            .noAuth, .wrongPass, .noPerm:
            true
        default: false
        }
    }

    /// From an error reply's line. Of what a script's command was refused for, 6.2 says
    /// `@user_script: 7: -OOM command not allowed …`.
    public init(errorLine: UnsafeRawBufferPointer) {
        var rest = errorLine[...]
        if rest.first == UInt8(ascii: "@"), let dash = rest.firstIndex(of: UInt8(ascii: "-")) { rest = rest[(dash + 1)...] }
        let word = UnsafeRawBufferPointer(rebasing: rest.prefix { $0 != UInt8(ascii: " ") })
        self = RedisErrorCode(rawValue: String(decoding: word, as: UTF8.self)) ?? .other
    }
}

extension RedisError {
    /// The code of an error reply; nil for the others.
    public var code: RedisErrorCode? {
        if case .reply(let code, _) = self { code } else { nil }
    }
}

// MARK: In words

extension RedisError.Reason: CustomStringConvertible {
    public var description: String {
        switch self {
        case .notConnected(let why): why.isEmpty ? "not connected" : why
        case .connectionLost(let why), .protocolError(let why):
            why.isEmpty ? "the connection broke" : "the connection broke: \(why)"
        case .timedOut: "no answer in time"
        case .noTracking: "it does not track keys for us"
        case .closed: "the gateway is shutting down"
        }
    }
}

extension RedisError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unavailable(let reason): "Redis can't be reached (\(reason))"
        case .outcomeUnknown(_, let reason): "outcome unknown (\(reason))"
        case .overloaded: "too many commands are waiting for Redis"
        case .reply(_, let message): message
        }
    }
}
