// Everything a client of the gateway can be told went wrong (RFC 9457 problem details).
//
// Codes are part of the contract: openapi.yaml lists each one. A handler throws a `Problem`; what the
// layers below throw is translated here, and nowhere else.

import HTTP
import Net
import Redis

/// A stable, machine-readable cause. The raw value is what clients see.
enum ProblemCode: String, CaseIterable {
    case invalidRequest = "INVALID_REQUEST"
    case invalidParameter = "INVALID_PARAMETER"
    case invalidID = "INVALID_ID"
    case invalidJSON = "INVALID_JSON"
    case unauthenticated = "UNAUTHENTICATED"
    case forbidden = "FORBIDDEN"
    case forbiddenOrigin = "FORBIDDEN_ORIGIN"
    case reservedName = "RESERVED_NAME"
    case notFound = "NOT_FOUND"
    case streamNotFound = "STREAM_NOT_FOUND"
    case groupNotFound = "GROUP_NOT_FOUND"
    case consumerNotFound = "CONSUMER_NOT_FOUND"
    case messageNotFound = "MESSAGE_NOT_FOUND"
    case sinkNotFound = "SINK_NOT_FOUND"
    case policyNotFound = "POLICY_NOT_FOUND"
    case methodNotAllowed = "METHOD_NOT_ALLOWED"
    case notAcceptable = "NOT_ACCEPTABLE"
    case unsupportedMediaType = "UNSUPPORTED_MEDIA_TYPE"
    case requestTimeout = "REQUEST_TIMEOUT"
    case notAStream = "NOT_A_STREAM"
    case idTooSmall = "ID_TOO_SMALL"
    case leaseLost = "LEASE_LOST"
    case consumerHasPending = "CONSUMER_HAS_PENDING"
    case sinkInConfig = "SINK_IN_CONFIG"
    case groupExists = "GROUP_EXISTS"
    case tooLarge = "TOO_LARGE"
    case misdirected = "MISDIRECTED"
    case idempotencyMismatch = "IDEMPOTENCY_MISMATCH"
    case tooManyWaiters = "TOO_MANY_WAITERS"
    case internalError = "INTERNAL"
    case notSupportedByRedis = "NOT_SUPPORTED_BY_REDIS"
    case unsupportedHTTPVersion = "UNSUPPORTED_HTTP_VERSION"
    case redisUnavailable = "REDIS_UNAVAILABLE"
    case overloaded = "OVERLOADED"
    case outcomeUnknown = "OUTCOME_UNKNOWN"
    case replicationTimeout = "REPLICATION_TIMEOUT"
    case redisOutOfMemory = "REDIS_OUT_OF_MEMORY"

    /// The status it usually comes with; a `Problem` may carry another (413, 414 and 431 share a code).
    var status: Int {
        switch self {
        case .invalidRequest, .invalidParameter, .invalidID, .invalidJSON: 400
        case .unauthenticated: 401
        case .forbidden, .forbiddenOrigin, .reservedName: 403
        case .notFound, .streamNotFound, .groupNotFound, .consumerNotFound, .messageNotFound, .sinkNotFound, .policyNotFound: 404
        case .methodNotAllowed: 405
        case .notAcceptable: 406
        case .requestTimeout: 408
        case .notAStream, .idTooSmall, .leaseLost, .consumerHasPending, .sinkInConfig: 409
        case .groupExists: 412
        case .tooLarge: 413
        case .unsupportedMediaType: 415
        case .misdirected: 421
        case .idempotencyMismatch: 422
        case .tooManyWaiters: 429
        case .internalError: 500
        case .notSupportedByRedis: 501
        case .redisUnavailable, .overloaded: 503
        case .outcomeUnknown, .replicationTimeout: 504
        case .unsupportedHTTPVersion: 505
        case .redisOutOfMemory: 507
        }
    }

    /// A short human-readable summary, the same for every occurrence (RFC 9457 §3.1.3).
    var title: String {
        switch self {
        case .invalidRequest: "Malformed request"
        case .invalidParameter: "Invalid parameter"
        case .invalidID: "Invalid ID"
        case .invalidJSON: "Invalid JSON"
        case .unauthenticated: "Credentials needed"
        case .forbidden: "Not allowed"
        case .forbiddenOrigin: "Foreign origin"
        case .reservedName: "Reserved name"
        case .notFound: "No such path"
        case .streamNotFound: "No such stream"
        case .groupNotFound: "No such group"
        case .consumerNotFound: "No such consumer"
        case .messageNotFound: "No such message"
        case .sinkNotFound: "No such sink"
        case .policyNotFound: "No recovery policy"
        case .methodNotAllowed: "Method not allowed"
        case .notAcceptable: "Not acceptable"
        case .unsupportedMediaType: "Unsupported media type"
        case .requestTimeout: "The request came too slowly"
        case .notAStream: "The key holds another type"
        case .idTooSmall: "ID not above the last"
        case .leaseLost: "The messages belong to others by now"
        case .consumerHasPending: "The consumer holds messages"
        case .sinkInConfig: "The sink is one of the configuration"
        case .groupExists: "The group exists"
        case .tooLarge: "Too large"
        case .misdirected: "Not our host"
        case .idempotencyMismatch: "The key was used for another message"
        case .tooManyWaiters: "Too many waiters"
        case .internalError: "Internal error"
        case .notSupportedByRedis: "Not supported by this Redis"
        case .unsupportedHTTPVersion: "Unsupported HTTP version"
        case .redisUnavailable: "Redis is unavailable"
        case .overloaded: "Overloaded"
        case .outcomeUnknown: "Outcome unknown"
        case .replicationTimeout: "Too few replicas have it"
        case .redisOutOfMemory: "Redis is out of memory"
        }
    }

    /// Whether the very same request may succeed later, without harm if it succeeded before.
    var isRetryable: Bool {
        switch self {
        case .requestTimeout, .tooManyWaiters, .redisUnavailable, .overloaded, .redisOutOfMemory: true
        default: false
        }
    }
}

struct Problem: Error, @unchecked Sendable {  // Unchecked: a box with two owners is never changed.
    /// `curl OPTIONS 'http://HOST/PATH'`: options as they stand in a shell, a path whose names are percent-encoded.
    struct Hint {
        var options: String
        var path: String

        func line(host: [UInt8]) -> String {
            let host = host.percentEncoded.replacing("%3A", with: ":").replacing("%5B", with: "[").replacing("%5D", with: "]")
            return "curl \(options) 'http://\(host)\(path)'"
        }
    }

    private struct Facts {
        var code: ProblemCode
        var status: Int
        var detail: String
        var retryable: Bool
        var redisError: String?
        var errors: [(pointer: String, detail: String)] = []
        var hint: Hint?
        var retryAfter: Int?
        var allow: String?
        var members: [(name: StaticString, json: String)] = []
        var closesConnection: Bool = false
    }

    private final class Box {
        var facts: Facts
        init(_ facts: Facts) { self.facts = facts }
    }

    /// A problem is one word, since nearly every call may throw one and nearly none does. Copied when it is changed.
    private var box: Box
    private var facts: Facts {
        get { box.facts }
        _modify {
            if !isKnownUniquelyReferenced(&box) { box = Box(box.facts) }
            yield &box.facts
        }
    }

    var code: ProblemCode { get { facts.code } set { facts.code = newValue } }
    var status: Int { get { facts.status } set { facts.status = newValue } }
    /// What was wrong, and what would be right.
    var detail: String { get { facts.detail } set { facts.detail = newValue } }
    var retryable: Bool { get { facts.retryable } set { facts.retryable = newValue } }
    /// Redis' own line.
    var redisError: String? { get { facts.redisError } set { facts.redisError = newValue } }
    /// Where in a body it went wrong: RFC 6901 pointers.
    var errors: [(pointer: String, detail: String)] { get { facts.errors } set { facts.errors = newValue } }
    /// A curl line that works, once it is known under which name we are called.
    var hint: Hint? { get { facts.hint } set { facts.hint = newValue } }
    /// Seconds for `Retry-After`.
    var retryAfter: Int? { get { facts.retryAfter } set { facts.retryAfter = newValue } }
    /// `Allow`, on a 405.
    var allow: String? { get { facts.allow } set { facts.allow = newValue } }
    /// Further members, each a name and its JSON.
    var members: [(name: StaticString, json: String)] { get { facts.members } set { facts.members = newValue } }
    var closesConnection: Bool { get { facts.closesConnection } set { facts.closesConnection = newValue } }

    init(_ code: ProblemCode, _ detail: String, status: Int? = nil) {
        box = Box(Facts(code: code, status: status ?? code.status, detail: detail, retryable: code.isRetryable))
        if retryable && code != .requestTimeout { retryAfter = 1 }
    }

    static func parameter(_ name: String, _ reason: String) -> Problem {
        Problem(.invalidParameter, "\(name): \(reason)")
    }

    static func streamNotFound(_ stream: StreamName) -> Problem {
        Problem(.streamNotFound, "There is no stream \(stream.bytes.quoted); adding a message or creating a group with ?mkstream makes it.")
    }

    static func groupNotFound(_ group: GroupName, of stream: StreamName) -> Problem {
        var problem = Problem(.groupNotFound, "The stream \(stream.bytes.quoted) has no group \(group.bytes.quoted); PUT creates it.")
        problem.hint = Hint(
            options: "-X PUT",
            path: "/v1/streams/\(stream.bytes.percentEncoded)/groups/\(group.bytes.percentEncoded)?mkstream")
        return problem
    }

    static func notAStream(_ stream: StreamName) -> Problem {
        Problem(.notAStream, "The key \(stream.bytes.quoted) holds a type other than a stream.")
    }
}

// MARK: Translation

extension Problem {
    /// A call that may be repeated without harm may be repeated when nobody knows what became of it.
    var ofIdempotentCall: Problem {
        var problem = self
        if code == .outcomeUnknown { problem.retryable = true }
        return problem
    }

    /// Of a Redis failure that the caller has no better words for.
    init(_ error: RedisError) {
        switch error {
        case .unavailable(let reason):
            self.init(.redisUnavailable, "Redis can't be reached (\(reason)); nothing was executed.")
        case .overloaded:
            self.init(.overloaded, "Too many commands are waiting for Redis already; nothing was executed.")
        case .outcomeUnknown(.read, let reason):
            self.init(.redisUnavailable, "Redis did not answer (\(reason)).")
        case .outcomeUnknown(.write, let reason):
            self.init(.outcomeUnknown, "The command was sent and Redis did not answer (\(reason)): it may have been executed.")
        case .outcomeUnknown(.idempotent, let reason):
            self.init(
                .outcomeUnknown,
                "The command was sent and Redis did not answer (\(reason)): it may have been executed; the same call with the same key adds nothing twice.")
            retryable = true
        case .outcomeUnknown(.consume, let reason):
            self.init(
                .outcomeUnknown,
                "Messages may have been delivered to this consumer without reaching you (\(reason)); reading with ?id=pending gives them again.")
        case .reply(let code, let line):
            self.init(code, line)
        }
    }

    private init(_ code: RedisErrorCode, _ line: String) {
        switch code {
        case .outOfMemory: self.init(.redisOutOfMemory, "Redis has reached its memory limit; nothing was written.")
        case .wrongType: self.init(.notAStream, "The key holds a type other than a stream.")
        case .noGroup: self.init(.groupNotFound, "There is no such stream or group.")
        case let code where code.meansTryLater:
            self.init(.redisUnavailable, "Redis refuses commands for now; nothing was executed.")
        default: self.init(.internalError, "Redis refused a command of the gateway.")
        }
        redisError = line
    }

    /// Of what the HTTP layer could not take.
    init(_ error: HTTPError) {
        let code: ProblemCode =
            switch error.status {
            case 405: .methodNotAllowed
            case 408: .requestTimeout
            case 413, 414, 431: .tooLarge
            case 503: .overloaded
            case 505: .unsupportedHTTPVersion
            default: error == .malformedPercentEncoding ? .invalidParameter : .invalidRequest
            }
        self.init(code, error.detail, status: error.status)
        closesConnection = !error.keepsConnection
    }

    init(_ error: JSONError) {
        self.init(.invalidJSON, "\(error)")
    }
}

// MARK: On the wire

extension Problem {
    /// - Parameter host: what the caller called us, for the hint; without it there is none.
    func response(requestID: String, host: [UInt8]?) -> Response {
        let body = ByteBuffer(capacity: 512)
        write(to: body, requestID: requestID, host: host)
        body.append(UInt8(ascii: "\n"))
        var response = Response(status: status, contentType: "application/problem+json", body: .bytes(body))
        response.closesConnection = closesConnection
        if let retryAfter { response.addHeader("Retry-After", String(retryAfter)) }
        if let allow { response.addHeader("Allow", allow) }
        if code == .unauthenticated { response.addHeader("WWW-Authenticate", "Bearer realm=\"sluice\"") }
        return response
    }

    /// The document as one JSON object. Without a request's ID it is an item of a batch.
    func write(to body: ByteBuffer, requestID: String?, host: [UInt8]? = nil) {
        body.append(literal: "{\"type\":\"/docs/errors#")
        body.append(code.rawValue)
        body.append(literal: "\",\"title\":")
        body.appendJSON(code.title)
        body.append(literal: ",\"status\":")
        body.append(decimal: status)
        body.append(literal: ",\"detail\":")
        body.appendJSON(detail)
        body.append(literal: ",\"code\":\"")
        body.append(code.rawValue)
        body.append(literal: "\",\"retryable\":")
        body.append(retryable ? "true" : "false")
        if let requestID {
            body.append(literal: ",\"request_id\":")
            body.appendJSON(requestID)
        }
        if let redisError {
            body.append(literal: ",\"redis_error\":")
            body.appendJSON(redisError)
        }
        if let hint, let host, !host.isEmpty {
            body.append(literal: ",\"hint\":")
            body.appendJSON(hint.line(host: host))
        }
        for member in members {
            body.append(literal: ",\"")
            body.append(literal: member.name)
            body.append(literal: "\":")
            body.append(member.json)
        }
        if !errors.isEmpty { writeErrors(to: body) }
        body.append(UInt8(ascii: "}"))
    }

    private func writeErrors(to body: ByteBuffer) {
        body.append(literal: ",\"errors\":[")
        for (index, error) in errors.enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            body.append(literal: "{\"pointer\":")
            body.appendJSON(error.pointer)
            body.append(literal: ",\"detail\":")
            body.appendJSON(error.detail)
            body.append(UInt8(ascii: "}"))
        }
        body.append(UInt8(ascii: "]"))
    }
}
