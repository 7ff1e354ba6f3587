// A request's head, parsed: offsets into its bytes, nothing copied, no memory taken but the field table.
//
// Strict by RFC 9110 and RFC 9112; whatever leaves room for two readings is refused, because the other
// reading may be a proxy's. Offsets are 16 bits: `HTTPLimits.head` is at most 65,535.

import Net

struct RequestHead {
    /// A header field: where its name and its trimmed value lie.
    struct Field {
        var nameStart: UInt16
        var nameEnd: UInt16
        var valueStart: UInt16
        var valueEnd: UInt16
    }

    /// A stretch of the head.
    struct Span {
        var start: UInt16 = 0
        var end: UInt16 = 0
        init() {}
        init(_ start: Int, _ end: Int) {
            self.start = UInt16(truncatingIfNeeded: start)
            self.end = UInt16(truncatingIfNeeded: end)
        }
        var isEmpty: Bool { start == end }
    }

    struct Flags: OptionSet {
        var rawValue: UInt16
        static let hasQuery = Flags(rawValue: 1)
        /// An absolute-form target without a path: `/` is meant (RFC 9110 §4.2.3), or `*` for OPTIONS.
        static let impliedPath = Flags(rawValue: 2)
        static let absoluteForm = Flags(rawValue: 4)
        static let hasHost = Flags(rawValue: 8)
        static let hasLength = Flags(rawValue: 16)
        static let hasTransferEncoding = Flags(rawValue: 32)
        static let chunked = Flags(rawValue: 64)
        static let close = Flags(rawValue: 128)
        static let keepAlive = Flags(rawValue: 256)
        static let expectsContinue = Flags(rawValue: 512)
        static let unknownExpectation = Flags(rawValue: 1024)
        static let misplacedChunked = Flags(rawValue: 2048)
        static let unknownCoding = Flags(rawValue: 4096)
    }

    var method = Method.other
    var minorVersion: UInt8 = 1
    var flags: Flags = []
    var methodSpan = Span()
    var path = Span()
    var query = Span()
    var host = Span()
    var contentLength = 0
    var fields: [Field] = []
    /// A bit for each field's name; see `Request.nameBit`.
    var names: UInt64 = 0

    /// True when the connection may carry another request after this one (RFC 9112 §9.3).
    var wantsKeepAlive: Bool {
        if flags.contains(.close) { return false }
        return minorVersion > 0 || flags.contains(.keepAlive)
    }

    /// `bytes`: a whole head, from its first byte to the LF of its empty line.
    mutating func parse(_ bytes: UnsafeRawBufferPointer, _ limits: HTTPLimits) throws(HTTPError) {
        fields.removeAll(keepingCapacity: true)
        names = 0
        flags = []
        contentLength = 0
        host = Span()
        method = .other  // A request line that fails below has none.
        let next = try parseRequestLine(bytes, limits)
        try parseFields(bytes, from: next, limits)
        try checkWhole()
    }

    // MARK: The request line (RFC 9112 §3)

    /// Returns where the next line begins. Exactly one space between the parts: §3 lets a server be
    /// lenient, and names response splitting and request smuggling as the price.
    mutating func parseRequestLine(_ bytes: UnsafeRawBufferPointer, _ limits: HTTPLimits) throws(HTTPError) -> Int {
        guard let lineFeed = bytes.firstPlace(of: ASCII.lineFeed, from: 0) else { throw .malformedRequestLine }
        guard lineFeed > 0, bytes[lineFeed - 1] == ASCII.carriageReturn else { throw .bareLineFeed }
        let line = bytes.part(0, lineFeed - 1)
        var place = 0
        while place < line.count && ASCII.isToken(line[place]) { place += 1 }
        guard place > 0, place < line.count, line[place] == ASCII.space else { throw .malformedRequestLine }
        methodSpan = Span(0, place)
        let method = Method(token: line.part(0, place))
        let target = place + 1
        guard let end = line.firstPlace(of: ASCII.space, from: target), end > target else {
            throw line.count - target > limits.target ? .targetTooLong : .malformedRequestLine
        }
        guard end - target <= limits.target else { throw .targetTooLong }
        try parseVersion(line.part(end + 1, line.count))
        self.method = method
        guard !line.part(0, place).isSame(as: "CONNECT") else { throw .connectNotSupported }
        try parseTarget(line, target, end)
        return lineFeed + 1
    }

    /// RFC 9110 §2.5: a higher minor version of our major one is read as 1.1.
    private mutating func parseVersion(_ text: UnsafeRawBufferPointer) throws(HTTPError) {
        guard text.count == 8, text.part(0, 5).isSame(as: "HTTP/"), text[6] == UInt8(ascii: "."),
            ASCII.isDigit(text[5]), ASCII.isDigit(text[7])
        else { throw .malformedRequestLine }
        guard text[5] == UInt8(ascii: "1") else { throw .unsupportedVersion }
        minorVersion = text[7] == UInt8(ascii: "0") ? 0 : 1
    }
}

extension Method {
    /// Methods are case-sensitive (RFC 9110 §9.1).
    init(token: UnsafeRawBufferPointer) {
        switch token.count {
        case 3 where token.isSame(as: "GET"): self = .get
        case 3 where token.isSame(as: "PUT"): self = .put
        case 4 where token.isSame(as: "POST"): self = .post
        case 4 where token.isSame(as: "HEAD"): self = .head
        case 5 where token.isSame(as: "PATCH"): self = .patch
        case 6 where token.isSame(as: "DELETE"): self = .delete
        case 7 where token.isSame(as: "OPTIONS"): self = .options
        default: self = .other
        }
    }
}
