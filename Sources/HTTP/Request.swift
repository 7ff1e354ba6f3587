// One request, reused by its connection for the next. Its bytes lie in the connection's input buffer.

import Net

public final class Request {
    public internal(set) var method = Method.other
    /// The method as it was sent.
    public var methodName: UnsafeRawBufferPointer { preconditionFailure("skeleton") }
    /// As sent, percent-encoded, beginning with `/` (of an absolute-form target its path; `*` only for OPTIONS).
    public var path: UnsafeRawBufferPointer { preconditionFailure("skeleton") }
    /// After `?`; empty when there is none.
    public var query: UnsafeRawBufferPointer { preconditionFailure("skeleton") }
    public var hasQuery: Bool { preconditionFailure("skeleton") }
    /// Host, or the authority of an absolute-form target (RFC 9112 §3.2.2). Empty when HTTP/1.0 sent none.
    public var host: UnsafeRawBufferPointer { preconditionFailure("skeleton") }
    /// 0 or 1.
    public internal(set) var minorVersion: UInt8 = 1
    public let body: RequestBody

    /// The first field of that name, without surrounding blanks; nil when there is none. `name` in lower case.
    public func header(_ name: StaticString) -> UnsafeRawBufferPointer? { preconditionFailure("skeleton") }
    /// How many fields have that name.
    public func headerCount(_ name: StaticString) -> Int { preconditionFailure("skeleton") }
    /// All fields in the order sent: `for i in 0..<request.headerCount { request.headerName(i) … }`.
    public var headerCount: Int { preconditionFailure("skeleton") }
    public func headerName(_ index: Int) -> UnsafeRawBufferPointer { preconditionFailure("skeleton") }
    public func headerValue(_ index: Int) -> UnsafeRawBufferPointer { preconditionFailure("skeleton") }

    /// Asks the kernel: has the client sent FIN or RST, unread bytes or not?
    public func isClientGone() -> Bool { preconditionFailure("skeleton") }
    /// Called on the loop when FIN or RST comes while the handler runs; cleared when it has replied. Ask
    /// `isClientGone` when you set it: what came before is not told again.
    public var onClientGone: (() -> Void)?

    /// A request out of thin air, for tests of handlers: the head's bytes up to and with the empty line, and a body.
    public init(head: [UInt8], body: [UInt8] = [], limits: HTTPLimits = HTTPLimits()) throws(HTTPError) {
        preconditionFailure("skeleton")
    }
}

/// What follows the head: pulled by the handler, so a slow handler slows its client and not the loop.
public final class RequestBody {
    /// True when the request has none (RFC 9112 §6.3): neither Content-Length above 0 nor chunks announced.
    public var isEmpty: Bool { preconditionFailure("skeleton") }
    /// Content-Length; nil when chunked.
    public var length: Int? { preconditionFailure("skeleton") }

    /// The next bytes, valid until the next call; nil at the end.
    public func next() async throws(HTTPError) -> UnsafeRawBufferPointer? { preconditionFailure("skeleton") }

    /// All that is left, in one piece, valid until the reply is sent. More than `limit` bytes (default:
    /// `HTTPLimits.body`) is `bodyTooLarge`, at once when Content-Length tells.
    public func collected(upTo limit: Int? = nil) async throws(HTTPError) -> UnsafeRawBufferPointer {
        preconditionFailure("skeleton")
    }

    init() {}
}
