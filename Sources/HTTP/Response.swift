// A reply as a handler gives it; the connection frames it.

public import Net

/// Gives a reply's body piece by piece.
public protocol ChunkSource: AnyObject {
    /// The next piece, given to the connection (which gives it to the pool); nil ends the reply. Called
    /// only when the output has drained below `HTTPLimits.outputMark`. Empty pieces are skipped.
    func next() async -> ByteBuffer?
    /// Asked once `next` was nil: true cuts the connection, so that the client sees that the reply is incomplete.
    var failed: Bool { get }
}

/// A reply that comes without a task waiting for it: `Answer.soon` and `.later`.
public protocol LaterResponse: AnyObject {
    /// The request is over but for its reply, which is given to `client.answer` once. On the loop.
    func begin(_ client: HTTPConnection)
    /// FIN or RST was seen before the answer. It is still answered, so that the connection ends.
    func clientGone()
}

/// A reply without an end of its own: its owner writes whenever there is something to write, and ends it with
/// `HTTPConnection.end`. Between two writes the connection has no task, no buffer and none of the request's bytes.
public protocol OpenReply: AnyObject {
    /// The head is under way: `client` may be written to. On the loop.
    func begin(_ client: HTTPConnection)
    /// What `write` took last was less than it was given, and there is room again.
    func clientTakes()
    /// FIN or RST was seen, nothing was taken for `HTTPLimits.writeTime`, or it was gone before the reply began.
    /// After `begin` it must be ended all the same.
    func clientGone()
}

/// What becomes of a request.
public enum Answer {
    case response(Response)
    /// Its reply comes within the time that a server takes to be asked. The request, and all pointers into it,
    /// live until then; nothing else is asked of this client meanwhile.
    case soon(any LaterResponse)
    /// Its reply comes perhaps in a minute: long-polling. Meanwhile the connection has no task, no buffer and none of the
    /// request's bytes.
    case later(any LaterResponse)
    /// What answers it must suspend, and so takes a task.
    case task(() async -> Answer)
}

public struct Response {
    public enum Body {
        /// Content-Length: 0, or no length where the status has no content (204, 304).
        case empty
        /// Sent with its length, then given to the loop's pool.
        case bytes(ByteBuffer)
        /// Chunked in HTTP/1.1, ended by closing in HTTP/1.0. Not asked for anything when the method is HEAD.
        case stream(any ChunkSource)
        /// Goes on for as long as its owner likes: a live tail. Framed as a stream; the connection closes after it. Not
        /// begun when the method is HEAD.
        case open(any OpenReply)
    }

    /// 200 … 599.
    public var status: Int
    /// Nil sends no Content-Type.
    public var contentType: StaticString?
    public var body: Body
    /// Whole header lines, each ending in CRLF, e.g. `"Cache-Control: no-store\r\n"`. Copied as they are.
    public var literalHeaders: StaticString = ""
    /// Further header lines; see `addHeader`.
    public private(set) var extraHeaders: [UInt8] = []
    /// Sends `Connection: close` and closes after the reply.
    public var closesConnection = false
    /// Called on the loop when the connection broke before the client's kernel had the whole reply: for replies whose content
    /// must be handed back. At most once; not called after a reply that came, nor where nobody can tell.
    public var onLost: (() -> Void)?

    public init(status: Int = 200, contentType: StaticString? = nil, body: Body = .empty) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// Adds a header line. Bytes that no value may hold (CR, LF, NUL, other controls; RFC 9110 §5.5) become spaces.
    public mutating func addHeader(_ name: StaticString, _ value: UnsafeRawBufferPointer) {
        name.withUTF8Buffer { extraHeaders.append(contentsOf: $0) }
        extraHeaders.append(UInt8(ascii: ":"))
        extraHeaders.append(ASCII.space)
        for byte in value {
            let isAllowed = (byte >= 0x20 && byte != 0x7F) || byte == ASCII.tab
            extraHeaders.append(isAllowed ? byte : ASCII.space)
        }
        extraHeaders.append(ASCII.carriageReturn)
        extraHeaders.append(ASCII.lineFeed)
    }

    public mutating func addHeader(_ name: StaticString, _ value: String) {
        var value = value
        value.withUTF8 { addHeader(name, UnsafeRawBufferPointer($0)) }
    }
}

/// What answers the requests of a connection: the gateway.
public protocol HTTPResponder: AnyObject {
    /// The request, and all pointers into it, live until the reply is sent (a stream's: until it has ended).
    /// Its body may not have come yet: whoever needs it asks `collectedAlready`, and collects it in a task.
    func respond(to request: Request) -> Answer
    /// The reply to a request whose head is refused, or to a connection too many: the connection closes
    /// after it, and `request` is nil. (What is wrong with a body is thrown to the handler, which may call
    /// this itself.) Never called with `connectionLost`.
    func respond(to error: HTTPError, request: Request?) -> Response
}
