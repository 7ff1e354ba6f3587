// The request target (RFC 9112 §3.2) and the Host it names (RFC 9110 §7.2).
//
// Targets are visible ASCII without `#`. Characters that RFC 3986 wants percent-encoded and that curl
// sends as they are (`[ ] { } | ^`) pass: they are ambiguous to nobody, and globs are written with them.

import Net

extension RequestHead {
    /// The target is `line[start..<end]`, not empty.
    mutating func parseTarget(_ line: UnsafeRawBufferPointer, _ start: Int, _ end: Int) throws(HTTPError) {
        guard RequestHead.isVisible(line.part(start, end)) else { throw .malformedTarget }
        switch line[start] {
        case UInt8(ascii: "/"):
            splitQuery(line, start, end)
        case UInt8(ascii: "*"):
            guard end - start == 1, method == .options else { throw .malformedTarget }
            splitQuery(line, start, end)
        default:
            try parseAbsoluteForm(line, start, end)
        }
    }

    /// Visible ASCII without `#`, looked at eight bytes at a time.
    private static func isVisible(_ text: UnsafeRawBufferPointer) -> Bool {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var index = 0
        while index &+ 8 <= text.count {
            // The top bit of each byte tells: above 127; below 0x21 (a byte minus 0x21 borrows); 127; `#`. A borrow
            // can flag a byte wrongly only where another is flagged rightly.
            let word = text.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let hash = word ^ (ones &* UInt64(UInt8(ascii: "#")))
            let flags = word | (word &- ones &* 0x21) | (word &+ ones) | ((hash &- ones) & ~hash)
            if flags & (ones << 7) != 0 { return false }
            index &+= 8
        }
        while index < text.count {
            if text[index] &- 0x21 > 0x5D || text[index] == UInt8(ascii: "#") { return false }
            index &+= 1
        }
        return true
    }

    private mutating func splitQuery(_ line: UnsafeRawBufferPointer, _ start: Int, _ end: Int) {
        let limited = line.part(0, end)
        guard let mark = limited.firstPlace(of: UInt8(ascii: "?"), from: start) else {
            path = Span(start, end)
            query = Span()
            return
        }
        path = Span(start, mark)
        query = Span(mark + 1, end)
        flags.insert(.hasQuery)
    }

    /// RFC 9112 §3.2.2: every server must accept it. RFC 9110 §4.2.4: `user@` is an error.
    private mutating func parseAbsoluteForm(_ line: UnsafeRawBufferPointer, _ start: Int, _ end: Int) throws(HTTPError) {
        let authority: Int
        if end - start > 7, line.part(start, start + 7).equalsIgnoringCase("http://") {
            authority = start + 7
        } else if end - start > 8, line.part(start, start + 8).equalsIgnoringCase("https://") {
            authority = start + 8
        } else {
            throw .malformedTarget
        }
        var place = authority
        while place < end, line[place] != UInt8(ascii: "/"), line[place] != UInt8(ascii: "?") { place += 1 }
        guard Authority.isValid(line.part(authority, place)) else { throw .malformedTarget }
        host = Span(authority, place)
        flags.insert(.absoluteForm)
        splitQuery(line, place, end)
        if path.isEmpty { flags.insert(.impliedPath) }
    }
}

/// `uri-host [ ":" port ]` (RFC 9110 §7.2, RFC 3986 §3.2.2), never empty (RFC 9110 §4.2.1).
enum Authority {
    static func isValid(_ text: UnsafeRawBufferPointer) -> Bool {
        guard let first = text.first else { return false }
        var place = 0
        if first == UInt8(ascii: "[") {
            guard let end = text.firstPlace(of: UInt8(ascii: "]"), from: 1), end > 2 else { return false }
            for index in 1..<end where !isInLiteral(text[index]) { return false }
            place = end + 1
        } else {
            guard let end = nameEnd(text), end > 0 else { return false }
            place = end
        }
        guard place < text.count else { return true }
        guard text[place] == UInt8(ascii: ":"), text.count - place <= 6 else { return false }
        for index in (place + 1)..<text.count where !ASCII.isDigit(text[index]) { return false }
        return true
    }

    /// Where a `reg-name` ends; nil for a byte that may stand in none.
    private static func nameEnd(_ text: UnsafeRawBufferPointer) -> Int? {
        var place = 0
        while place < text.count, text[place] != UInt8(ascii: ":") {
            if text[place] == UInt8(ascii: "%") {
                guard place + 2 < text.count, ASCII.hexValue(text[place + 1]) != nil, ASCII.hexValue(text[place + 2]) != nil
                else { return nil }
                place += 2
            } else if !isInName(text[place]) {
                return nil
            }
            place += 1
        }
        return place
    }

    /// `unreserved` and `sub-delims`, as two bitmaps of 64.
    @inline(__always) private static func isInName(_ byte: UInt8) -> Bool {
        let low: UInt64 = 0x2BFF_7FD2_0000_0000  // ! $ & ' ( ) * + , - . 0…9 ; =
        let high: UInt64 = 0x47FF_FFFE_87FF_FFFE  // A…Z _ a…z ~
        let map = byte < 64 ? low : high
        return byte < 128 && (map >> UInt64(byte & 63)) & 1 == 1
    }

    /// An IP literal in brackets: what addresses and IPvFuture are written with.
    private static func isInLiteral(_ byte: UInt8) -> Bool {
        isInName(byte) || byte == UInt8(ascii: ":")
    }
}
