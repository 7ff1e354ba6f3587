// Writes a reply's head straight into the connection's output buffer: literals, and a few numbers.

import Net

/// How the reply's end is told (RFC 9112 §6).
enum ReplyFraming {
    /// 204 and 304: the status says it.
    case noContent
    case length(Int)
    case chunked
    /// HTTP/1.0 knows no chunks: the connection's end is the body's.
    case close
}

/// What `Connection` says (RFC 9112 §9.3): nothing, where the version's default is what we do.
enum Persistence {
    case byDefault, keepAlive, close
}

enum ResponseEncoder {
    static func appendHead(
        of response: borrowing Response, _ framing: ReplyFraming, _ persistence: Persistence, date: borrowing [UInt8],
        to output: ByteBuffer
    ) {
        appendStatusLine(response.status, to: output)
        output.append(date)
        if let type = response.contentType {
            output.append(literal: "Content-Type: ")
            output.append(literal: type)
            output.append(literal: "\r\n")
        }
        switch framing {
        case .length(let length):
            output.append(literal: "Content-Length: ")
            output.append(decimal: length)
            output.append(literal: "\r\n")
        case .chunked: output.append(literal: "Transfer-Encoding: chunked\r\n")
        case .noContent, .close: break
        }
        switch persistence {
        case .byDefault: break
        case .keepAlive: output.append(literal: "Connection: keep-alive\r\n")
        case .close: output.append(literal: "Connection: close\r\n")
        }
        output.append(literal: response.literalHeaders)
        if !response.extraHeaders.isEmpty { output.append(response.extraHeaders) }
        output.append(literal: "\r\n")
    }

    /// `chunk-size CRLF` (RFC 9112 §7.1).
    static func appendChunkSize(_ size: Int, to output: ByteBuffer) {
        var shift = (Int.bitWidth - max(size, 1).leadingZeroBitCount - 1) / 4 * 4
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: (size >> shift) & 15)
            output.append(digit < 10 ? digit &+ 48 : digit &+ 87)
            shift -= 4
        }
        output.append(literal: "\r\n")
    }

    private static func appendStatusLine(_ status: Int, to output: ByteBuffer) {
        if let line = statusLine(status) { return output.append(literal: line) }
        // RFC 9112 §4: the reason may be empty, its space may not be missing.
        output.append(literal: "HTTP/1.1 ")
        output.append(decimal: status)
        output.append(literal: " \r\n")
    }

    private static func statusLine(_ status: Int) -> StaticString? {
        switch status {
        case 200: "HTTP/1.1 200 OK\r\n"
        case 201: "HTTP/1.1 201 Created\r\n"
        case 202: "HTTP/1.1 202 Accepted\r\n"
        case 204: "HTTP/1.1 204 No Content\r\n"
        case 207: "HTTP/1.1 207 Multi-Status\r\n"
        case 301: "HTTP/1.1 301 Moved Permanently\r\n"
        case 302: "HTTP/1.1 302 Found\r\n"
        case 304: "HTTP/1.1 304 Not Modified\r\n"
        case 400: "HTTP/1.1 400 Bad Request\r\n"
        case 401: "HTTP/1.1 401 Unauthorized\r\n"
        case 403: "HTTP/1.1 403 Forbidden\r\n"
        case 404: "HTTP/1.1 404 Not Found\r\n"
        case 405: "HTTP/1.1 405 Method Not Allowed\r\n"
        case 406: "HTTP/1.1 406 Not Acceptable\r\n"
        case 408: "HTTP/1.1 408 Request Timeout\r\n"
        case 409: "HTTP/1.1 409 Conflict\r\n"
        case 412: "HTTP/1.1 412 Precondition Failed\r\n"
        case 413: "HTTP/1.1 413 Content Too Large\r\n"
        case 414: "HTTP/1.1 414 URI Too Long\r\n"
        case 415: "HTTP/1.1 415 Unsupported Media Type\r\n"
        case 421: "HTTP/1.1 421 Misdirected Request\r\n"
        case 422: "HTTP/1.1 422 Unprocessable Content\r\n"
        case 429: "HTTP/1.1 429 Too Many Requests\r\n"
        case 431: "HTTP/1.1 431 Request Header Fields Too Large\r\n"
        case 500: "HTTP/1.1 500 Internal Server Error\r\n"
        case 501: "HTTP/1.1 501 Not Implemented\r\n"
        case 503: "HTTP/1.1 503 Service Unavailable\r\n"
        case 504: "HTTP/1.1 504 Gateway Timeout\r\n"
        case 505: "HTTP/1.1 505 HTTP Version Not Supported\r\n"
        case 507: "HTTP/1.1 507 Insufficient Storage\r\n"
        default: nil
        }
    }
}
