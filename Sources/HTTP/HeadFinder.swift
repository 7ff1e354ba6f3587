// Finds where a request's head ends, before anything of it is judged.
//
// It remembers how far it looked, so that a client that sends one byte at a time costs one look a byte,
// not one look at everything a byte. An empty line written with bare LFs ends a head too: the parser
// must see it to refuse it.

import Net

struct HeadFinder {
    /// Empty lines ignored before a request line (RFC 9112 §2.2: "at least one").
    static let emptyLines = 4

    private var scanned = 0
    private var emptyLinesSeen = 0
    private var hasCheckedLine = false

    enum Found: Equatable {
        /// Empty lines, to be thrown away before looking again.
        case emptyLine(length: Int)
        /// The length of the head with its empty line.
        case head(length: Int)
        case incomplete
    }

    /// Looks at all that has come since the last request.
    mutating func look(at bytes: UnsafeRawBufferPointer, _ limits: HTTPLimits) throws(HTTPError) -> Found {
        guard let first = bytes.first else { return .incomplete }
        if scanned == 0 {
            if first == ASCII.carriageReturn { return try emptyLine(bytes) }
            if first == ASCII.lineFeed { throw .bareLineFeed }
            guard ASCII.isToken(first) else { throw .malformedRequestLine }
        }
        if let length = end(in: bytes) {
            guard length <= limits.head else { throw tooLarge(bytes, limits) }
            return .head(length: length)
        }
        guard bytes.count <= limits.head else { throw tooLarge(bytes, limits) }
        if bytes.count > limits.target, tooLarge(bytes, limits) == .targetTooLong { throw .targetTooLong }
        try checkLineEarly(bytes, limits)
        return .incomplete
    }

    private mutating func emptyLine(_ bytes: UnsafeRawBufferPointer) throws(HTTPError) -> Found {
        guard bytes.count > 1 else { return .incomplete }
        guard bytes[1] == ASCII.lineFeed, emptyLinesSeen < HeadFinder.emptyLines else { throw .malformedRequestLine }
        emptyLinesSeen += 1
        return .emptyLine(length: 2)
    }

    private mutating func end(in bytes: UnsafeRawBufferPointer) -> Int? {
        while let place = bytes.firstPlace(of: ASCII.lineFeed, from: scanned) {
            let next = place + 1
            scanned = place
            guard next < bytes.count else { return nil }
            if bytes[next] == ASCII.lineFeed { return next + 1 }
            if bytes[next] == ASCII.carriageReturn {
                guard next + 1 < bytes.count else { return nil }
                if bytes[next + 1] == ASCII.lineFeed { return next + 2 }
            }
            scanned = next
        }
        scanned = bytes.count
        return nil
    }

    /// What speaks no HTTP at all is told at its first line, not after the time for a head has passed.
    private mutating func checkLineEarly(_ bytes: UnsafeRawBufferPointer, _ limits: HTTPLimits) throws(HTTPError) {
        guard !hasCheckedLine, let place = bytes.firstPlace(of: ASCII.lineFeed, from: 0) else { return }
        hasCheckedLine = true
        var line = RequestHead()
        _ = try line.parseRequestLine(bytes.part(0, place + 1), limits)
    }

    /// The target is to blame when it alone is over its limit.
    private func tooLarge(_ bytes: UnsafeRawBufferPointer, _ limits: HTTPLimits) -> HTTPError {
        guard let start = bytes.firstPlace(of: ASCII.space, from: 0) else { return .headTooLarge }
        let rest = bytes.part(start + 1, min(bytes.count, start + limits.target + 2))
        let isLonger = rest.count > limits.target && !rest.contains { $0 == ASCII.space || $0 == ASCII.lineFeed }
        return isLonger ? .targetTooLong : .headTooLarge
    }
}
