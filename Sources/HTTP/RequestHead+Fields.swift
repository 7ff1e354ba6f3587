// Header fields (RFC 9112 §5) and what they say of the message's length (RFC 9112 §6).

import Net

extension RequestHead {
    /// `start`: the first byte after the request line.
    mutating func parseFields(
        _ bytes: UnsafeRawBufferPointer, from start: Int, _ limits: HTTPLimits
    ) throws(HTTPError) {
        var line = start
        while true {
            guard let lineFeed = bytes.firstPlace(of: ASCII.lineFeed, from: line) else { throw .malformedHeader }
            guard lineFeed > line, bytes[lineFeed - 1] == ASCII.carriageReturn else { throw .bareLineFeed }
            if lineFeed == line + 1 { return }
            guard fields.count < limits.headers else { throw .tooManyHeaders }
            try parseField(bytes, line, lineFeed - 1)
            line = lineFeed + 1
        }
    }

    /// One line without its CRLF, not empty.
    private mutating func parseField(_ bytes: UnsafeRawBufferPointer, _ start: Int, _ end: Int) throws(HTTPError) {
        var colon = start
        while colon < end && ASCII.isToken(bytes[colon]) { colon += 1 }
        guard colon > start, colon < end, bytes[colon] == UInt8(ascii: ":") else {
            throw RequestHead.blame(bytes.part(start, end), at: colon - start)
        }
        var first = colon + 1
        var last = end
        while first < last && ASCII.isBlank(bytes[first]) { first += 1 }
        while last > first && ASCII.isBlank(bytes[last - 1]) { last -= 1 }
        let value = bytes.part(first, last)
        if ASCII.hasControl(value) { throw .controlInHeader }
        fields.append(
            Field(
                nameStart: UInt16(truncatingIfNeeded: start), nameEnd: UInt16(truncatingIfNeeded: colon),
                valueStart: UInt16(truncatingIfNeeded: first), valueEnd: UInt16(truncatingIfNeeded: last)))
        names |= Request.nameBit(bytes[start], bytes[colon - 1], colon - start)
        try note(bytes.part(start, colon), value, first, last)
    }

    /// What is wrong with a line whose name ends, at `place`, in something else than a colon.
    private static func blame(_ line: UnsafeRawBufferPointer, at place: Int) -> HTTPError {
        guard place < line.count else { return .malformedHeader }
        if ASCII.isBlank(line[place]) {
            // RFC 9112 §5.2 (obs-fold) and §2.2 (blanks before the first field); §5.1 (blanks before the colon).
            return place == 0 ? .obsoleteFolding : .spaceBeforeColon
        }
        return .malformedHeaderName
    }

    /// The fields that frame the message; they differ in length, so most fields cost one comparison.
    private mutating func note(
        _ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ first: Int, _ last: Int
    ) throws(HTTPError) {
        switch name.count {
        case 4 where name.equalsIgnoringCase("host"): try noteHost(value, first, last)
        case 6 where name.equalsIgnoringCase("expect"): noteExpectation(value)
        case 10 where name.equalsIgnoringCase("connection"): noteConnection(value)
        case 14 where name.equalsIgnoringCase("content-length"): try noteLength(value)
        case 17 where name.equalsIgnoringCase("transfer-encoding"): noteTransferEncoding(value)
        default: break
        }
    }

    /// RFC 9112 §3.2: exactly one, and valid. An absolute-form target's authority goes before it.
    private mutating func noteHost(_ value: UnsafeRawBufferPointer, _ first: Int, _ last: Int) throws(HTTPError) {
        guard !flags.contains(.hasHost) else { throw .repeatedHost }
        guard Authority.isValid(value) else { throw .malformedHost }
        flags.insert(.hasHost)
        if !flags.contains(.absoluteForm) { host = Span(first, last) }
    }

    /// RFC 9110 §10.1.1: in HTTP/1.0 it is ignored.
    private mutating func noteExpectation(_ value: UnsafeRawBufferPointer) {
        guard minorVersion > 0 else { return }
        flags.insert(value.equalsIgnoringCase("100-continue") ? .expectsContinue : .unknownExpectation)
    }

    private mutating func noteConnection(_ value: UnsafeRawBufferPointer) {
        var start = 0
        while start <= value.count {
            let end = value.firstPlace(of: UInt8(ascii: ","), from: start) ?? value.count
            let option = value.part(start, end).trimmed
            if option.equalsIgnoringCase("close") { flags.insert(.close) }
            if option.equalsIgnoringCase("keep-alive") { flags.insert(.keepAlive) }
            start = end + 1
        }
    }

    /// RFC 9110 §8.6: digits only. A repeated one is refused, alike or not: §6.3 of RFC 9112 allows that.
    private mutating func noteLength(_ value: UnsafeRawBufferPointer) throws(HTTPError) {
        guard !flags.contains(.hasLength) else { throw .conflictingContentLength }
        flags.insert(.hasLength)
        guard !value.isEmpty else { throw .malformedContentLength }
        var length = 0
        for byte in value {
            if byte == UInt8(ascii: ",") { throw .conflictingContentLength }
            guard ASCII.isDigit(byte) else { throw .malformedContentLength }
            let (tens, overflow) = length.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tens.addingReportingOverflow(Int(byte &- 48))
            guard !overflow, !carry else { throw .malformedContentLength }
            length = sum
        }
        contentLength = length
    }

    /// RFC 9112 §6.1 and §6.3: a coding that we do not know is 501; anything that leaves `chunked`
    /// elsewhere than at the end, or there twice, has no length that two readers would agree on.
    private mutating func noteTransferEncoding(_ value: UnsafeRawBufferPointer) {
        guard !flags.contains(.hasTransferEncoding) else { return flags.formUnion(.misplacedChunked) }
        flags.insert(.hasTransferEncoding)
        if value.equalsIgnoringCase("chunked") {
            flags.insert(.chunked)
            return
        }
        var start = 0
        var codings = 0
        var chunked = 0
        var endsChunked = false
        while start <= value.count {
            let end = value.firstPlace(of: UInt8(ascii: ","), from: start) ?? value.count
            endsChunked = value.part(start, end).trimmed.equalsIgnoringCase("chunked")
            if endsChunked { chunked += 1 }
            if end > start { codings += 1 }
            start = end + 1
        }
        let isAmbiguous = codings == 0 || chunked > 1 || (chunked == 1 && !endsChunked) || chunked == codings
        flags.insert(isAmbiguous ? .misplacedChunked : .unknownCoding)
    }

    /// What only all fields together tell.
    func checkWhole() throws(HTTPError) {
        if flags.contains(.hasTransferEncoding) {
            // RFC 9112 §6.1: faulty framing, even if a length is there too.
            guard minorVersion > 0 else { throw .transferEncodingInHTTP10 }
            // RFC 9112 §6.3: an attempt at request smuggling or response splitting, or worth as little.
            guard !flags.contains(.hasLength) else { throw .lengthAndTransferEncoding }
            guard !flags.contains(.misplacedChunked) else { throw .chunkedNotLast }
            guard !flags.contains(.unknownCoding) else { throw .unknownTransferCoding }
        }
        guard minorVersion == 0 || flags.contains(.hasHost) else { throw .missingHost }
        guard !flags.contains(.unknownExpectation) else { throw .unsupportedExpectation }
    }
}
