// Everything that can be wrong with a request before a handler has judged it.
//
// Each case has one sentence for the person who wrote the client, and the status that RFC 9110 and
// RFC 9112 suggest. The text never repeats what the client sent: it may be anything.

/// Why a request could not be taken. The connection closes after the reply unless `keepsConnection`.
public enum HTTPError: Error, Sendable, CaseIterable {
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

    /// The status that the standards suggest.
    public var status: Int {
        switch self {
        case .targetTooLong: 414
        case .headTooLarge, .tooManyHeaders: 431
        case .bodyTooLarge: 413
        case .headTimeout, .bodyTimeout: 408
        case .unknownTransferCoding, .connectNotSupported: 501
        case .unsupportedVersion: 505
        case .tooManyConnections: 503
        default: 400
        }
    }

    /// True where what follows on the connection can still be told apart: it goes on.
    public var keepsConnection: Bool { self == .malformedPercentEncoding }

    /// One sentence: what was wrong, and what would be right.
    public var detail: String {
        switch self {
        default: ""
        }
    }
}
