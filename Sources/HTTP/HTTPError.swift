// Everything that can be wrong with a request before a handler has judged it.
//
// Each case has one sentence for the person who wrote the client, and the status that RFC 9110 and
// RFC 9112 suggest. The text never repeats what the client sent: it may be anything.

/// Why a request could not be taken. The connection closes after the reply unless `keepsConnection`.
public enum HTTPError: Int, Error, Sendable, CaseIterable {
    // The request line.
    case malformedRequestLine, malformedTarget, connectNotSupported, unsupportedVersion, targetTooLong
    // Header fields.
    case malformedHeader, bareLineFeed, obsoleteFolding, spaceBeforeColon, malformedHeaderName, controlInHeader
    case headTooLarge, tooManyHeaders
    case missingHost, repeatedHost, malformedHost
    case unsupportedExpectation
    // The length of the body.
    case malformedContentLength, conflictingContentLength, lengthAndTransferEncoding
    case unknownTransferCoding, chunkedNotLast, transferEncodingInHTTP10
    // The body.
    case malformedChunk, chunkSizeTooLarge, chunkExtensionTooLong, trailerTooLarge
    case bodyTooLarge, bodyIncomplete
    // Decoding of paths, queries and forms.
    case malformedPercentEncoding
    // Time and room.
    case headTimeout, bodyTimeout, tooManyConnections
    /// The connection broke: no reply can be sent, and none is asked for.
    case connectionLost

    /// The status that the standards suggest. (An expectation not met is 400 here: API.md has no 417.)
    public var status: Int {
        switch self {
        case .targetTooLong: 414
        case .headTooLarge, .tooManyHeaders: 431
        case .bodyTooLarge: 413
        case .headTimeout, .bodyTimeout: 408
        case .connectNotSupported: 405
        case .unknownTransferCoding: 501
        case .unsupportedVersion: 505
        case .tooManyConnections: 503
        default: 400
        }
    }

    /// True where only a parameter is wrong and the connection goes on.
    public var keepsConnection: Bool { self == .malformedPercentEncoding }

    /// One sentence: what was wrong, and what would be right.
    public var detail: String {
        switch self {
        case .malformedRequestLine:
            "The first line is no HTTP/1.1 request line: a method, one space, a target, one space, and HTTP/1.1."
        case .malformedTarget:
            "The request target must begin with / (or http://), and may hold visible ASCII characters only: percent-encode all others."
        case .connectNotSupported: "CONNECT is for proxies; this server is none."
        case .unsupportedVersion: "This server speaks HTTP/1.1 and HTTP/1.0 only."
        case .targetTooLong: "The URL is too long; put long lists into the body."
        case .malformedHeader: "A header line has no colon; each is a name, a colon and a value."
        case .bareLineFeed: "A line ends in a bare LF; lines of an HTTP head end in CR LF."
        case .obsoleteFolding: "A header line begins with a blank; a header may not be folded over several lines."
        case .spaceBeforeColon: "A header name is followed by a blank; the colon must come right after the name."
        case .malformedHeaderName: "A header name is empty or holds a character that no token may hold."
        case .controlInHeader: "A header value holds a control character, such as NUL or a bare CR."
        case .headTooLarge: "The request line and headers together are too large."
        case .tooManyHeaders: "The request has too many header lines."
        case .missingHost: "An HTTP/1.1 request must have a Host header."
        case .repeatedHost: "The request has more than one Host header; exactly one is right."
        case .malformedHost: "The Host header is no host name or address with an optional port."
        case .unsupportedExpectation: "The only expectation this server knows is 100-continue."
        case .malformedContentLength: "Content-Length must be one decimal number."
        case .conflictingContentLength: "Content-Length is there more than once; exactly one is right."
        case .lengthAndTransferEncoding: "Content-Length and Transfer-Encoding exclude each other; send one of them."
        case .unknownTransferCoding: "The only transfer coding this server knows is chunked."
        case .chunkedNotLast: "Transfer-Encoding must be exactly chunked, once; otherwise the body's end is ambiguous."
        case .transferEncodingInHTTP10: "HTTP/1.0 has no Transfer-Encoding; send Content-Length, or HTTP/1.1."
        case .malformedChunk:
            "The chunked body is malformed: a chunk is its size in hex digits, CR LF, that many bytes, and CR LF."
        case .chunkSizeTooLarge: "A chunk's size is too large to be true."
        case .chunkExtensionTooLong: "A chunk's extension is too long; this server needs none."
        case .trailerTooLarge: "The trailers of the chunked body are too large; this server ignores them."
        case .bodyTooLarge: "The body is larger than this server takes in one request."
        case .bodyIncomplete: "The connection's end came before the body's; Content-Length must be the body's size."
        case .malformedPercentEncoding: "A % must be followed by two hex digits; a literal percent sign is %25."
        case .headTimeout: "The request line and headers did not come in time."
        case .bodyTimeout: "The body stopped coming."
        case .tooManyConnections: "This server has as many connections open as it may; try again later."
        case .connectionLost: "The connection broke."
        }
    }
}
