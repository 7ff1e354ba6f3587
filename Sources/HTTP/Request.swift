// One request, reused by its connection for the next.
//
// Its bytes lie in the connection's input buffer, which stays where it is until the reply is sent: what
// comes of a body in the meantime goes elsewhere (see `RequestBody`).

public import Net

public final class Request {
    var head = RequestHead()
    /// A bit for each field's name; see `nameBit`.
    @usableFromInline var names: UInt64 = 0
    /// The head's bytes.
    var bytes = UnsafeRawBufferPointer.empty
    /// Unsafe: it owns this, and takes itself away from here before it goes (`detach`).
    unowned(unsafe) var connection: HTTPConnection?
    /// Only of a request made by a test: what `bytes` points into.
    private var own: ByteBuffer?

    public let body = RequestBody()

    /// Called on the loop when FIN or RST comes while the handler runs or its reply is streamed; cleared
    /// when the reply is sent. Ask `isClientGone` when you set it: what came before is not told again.
    public var onClientGone: (() -> Void)?

    init() {}

    func attach(to connection: HTTPConnection) {
        self.connection = connection
        body.connection = connection
    }

    /// Whoever kept the request longer than he was told asks nobody.
    func detach() {
        connection = nil
        body.connection = nil
    }

    /// `buffer` begins with a whole head of `length` bytes.
    func begin(in buffer: ByteBuffer, _ length: Int, _ limits: HTTPLimits) throws(HTTPError) {
        bytes = buffer.bytes.part(0, length)
        try head.parse(bytes, limits)
        names = head.names
        body.begin(head.contentLength, isChunked: head.flags.contains(.chunked), in: buffer, at: length, limits)
    }

    /// Its bytes are gone after this.
    func end() {
        bytes = .empty
        onClientGone = nil
        // A client with a hundred fields must not keep their table for as long as it is idle.
        if head.fields.capacity > Request.keptFields { head.fields = [] }
    }

    /// While its reply is to come later: what the reply needs (method, version, persistence) stays.
    func forgetBytes() {
        end()
        head.fields = []
    }

    /// Fields of a request of the usual size; their table is kept between requests.
    private static let keptFields = 32

    /// A request out of thin air, for tests: a head up to and with its empty line, and the body's raw bytes
    /// (framed as the head says: with `Transfer-Encoding: chunked` they are chunks).
    public init(head text: [UInt8], body content: [UInt8] = [], limits: HTTPLimits = HTTPLimits()) throws(HTTPError) {
        let buffer = ByteBuffer(capacity: text.count + content.count)
        buffer.append(text)
        buffer.append(content)
        own = buffer
        try begin(in: buffer, text.count, limits)
    }

    // MARK: The request line

    public var method: Method { head.method }

    /// The method as it was sent.
    public var methodName: UnsafeRawBufferPointer { span(head.methodSpan) }

    /// As sent, percent-encoded, beginning with `/` (of an absolute-form target its path); `*` only for OPTIONS.
    public var path: UnsafeRawBufferPointer {
        guard head.flags.contains(.impliedPath) else { return span(head.path) }
        // RFC 9112 §3.2.4: an absolute-form OPTIONS without a path and query means the server as a whole.
        let isServer = head.method == .options && !hasQuery
        return Request.literal(isServer ? "*" : "/")
    }

    /// After `?`, as sent; empty when there is none.
    public var query: UnsafeRawBufferPointer { span(head.query) }
    public var hasQuery: Bool { head.flags.contains(.hasQuery) }

    /// Host, or the authority of an absolute-form target (RFC 9112 §3.2.2). Empty when HTTP/1.0 sent none.
    public var host: UnsafeRawBufferPointer { span(head.host) }

    /// False: it is of HTTP/1.0, which knows no chunks and closes by default (RFC 9112 §9.3).
    var isHTTP11: Bool { head.minorVersion > 0 }

    // MARK: Header fields

    /// The first field of that name, without surrounding blanks; nil when there is none. `name` in lower case.
    @inlinable @inline(__always) public func header(_ name: StaticString) -> UnsafeRawBufferPointer? {
        mayHave(name) ? find(name) : nil
    }

    @usableFromInline func find(_ name: StaticString) -> UnsafeRawBufferPointer? {
        let count = name.utf8CodeUnitCount
        for field in head.fields where Int(field.nameEnd &- field.nameStart) == count {
            if bytes.part(Int(field.nameStart), Int(field.nameEnd)).equalsIgnoringCase(name) {
                return bytes.part(Int(field.valueStart), Int(field.valueEnd))
            }
        }
        return nil
    }

    /// How many fields have that name.
    public func headerCount(_ name: StaticString) -> Int {
        guard mayHave(name) else { return 0 }
        var found = 0
        for field in head.fields
        where bytes.part(Int(field.nameStart), Int(field.nameEnd)).equalsIgnoringCase(name) { found += 1 }
        return found
    }

    /// False when no field has that name: most lookups are for fields that are not there, and end here. Of a
    /// literal the compiler knows the bit.
    @inlinable @inline(__always) func mayHave(_ name: StaticString) -> Bool {
        let count = name.utf8CodeUnitCount
        return names & Request.nameBit(name.utf8Start[0], name.utf8Start[count - 1], count) != 0
    }

    /// The bit of a name, letter case aside; several names share one.
    @inlinable @inline(__always) static func nameBit(_ first: UInt8, _ last: UInt8, _ count: Int) -> UInt64 {
        1 << ((UInt64(first | 0x20) &+ 7 &* UInt64(last | 0x20) &+ 3 &* UInt64(truncatingIfNeeded: count)) & 63)
    }

    /// All fields, in the order sent: `for index in 0..<request.headerCount`.
    public var headerCount: Int { head.fields.count }

    /// As sent, in any case.
    public func headerName(_ index: Int) -> UnsafeRawBufferPointer {
        bytes.part(Int(head.fields[index].nameStart), Int(head.fields[index].nameEnd))
    }

    public func headerValue(_ index: Int) -> UnsafeRawBufferPointer {
        bytes.part(Int(head.fields[index].valueStart), Int(head.fields[index].valueEnd))
    }

    // MARK: The client

    /// Asks the kernel: has the client sent FIN or RST, unread bytes or not?
    public func isClientGone() -> Bool { connection?.isClientGone() ?? false }

    /// Who it comes from: the client, or the last proxy before us. Nil when the connection has broken meanwhile.
    public var clientAddress: ClientAddress? {
        connection.flatMap { SocketAddress(of: $0.socket.descriptor, peer: true) }.map { ClientAddress($0) }
    }

    private func span(_ span: RequestHead.Span) -> UnsafeRawBufferPointer {
        bytes.part(Int(span.start), Int(span.end))
    }

    private static func literal(_ text: StaticString) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
    }
}
