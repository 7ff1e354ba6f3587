// A strict pull reader of one JSON text (RFC 8259): the caller asks for what it expects, and nothing is built.
//
// Strict means: UTF-8 checked, no byte order mark (§8.1), no lone surrogate escapes, no control characters in
// strings, numbers by the grammar, nothing after the value, nesting bounded (§9 allows it). It never reads
// outside its bytes. Owned by the handler that reads; good for as long as the bytes are.
//
// Repeated member names are the caller's to judge: only it knows which matter.

import Net

struct JSONReader {
    enum Kind {
        case object, array, string, number, boolean, null
    }

    let bytes: UnsafeRawBufferPointer
    /// Where the next byte is read: after an answer, just past it.
    var offset = 0
    private let depthLimit: Int
    private var depth = 0
    /// Just entered a container: its next member or element has no comma before it.
    private var isAtFirst = false
    /// Bytes of whitespace passed over so far: tells `appendCompact` whether there is any to drop.
    private var whitespacePassed = 0

    /// `depthLimit`: containers within containers. Skipping recurses, so at most 1,000.
    init(_ bytes: UnsafeRawBufferPointer, depthLimit: Int = 64) {
        precondition((1...1000).contains(depthLimit), "a depth limit of 1 to 1000")
        self.bytes = bytes
        self.depthLimit = depthLimit
    }

    // MARK: What comes next

    /// The kind of the value that comes next, which stays unread.
    mutating func peek() throws(JSONError) -> Kind {
        skipWhitespace()
        guard offset < bytes.count else { throw truncated("where a value should be") }
        switch bytes[offset] {
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .boolean
        case UInt8(ascii: "n"): return .null
        default: throw notAValue()
        }
    }

    // MARK: Containers

    /// Then call `nextMember` until it answers nil, reading or skipping one value after each name.
    mutating func enterObject() throws(JSONError) {
        try expect(.object)
        try enter()
    }

    /// The next member's name, its value coming next; nil once the object has ended.
    mutating func nextMember() throws(JSONError) -> JSONString? {
        guard try advance(until: UInt8(ascii: "}"), "',' or '}' after a member of an object") else { return nil }
        guard bytes[offset] == UInt8(ascii: "\"") else {
            throw syntax("expected a member's name in double quotes, found \(found())")
        }
        let name = try scanString()
        skipWhitespace()
        guard offset < bytes.count else { throw truncated("where a ':' should be") }
        guard bytes[offset] == UInt8(ascii: ":") else {
            throw syntax("expected ':' after a member's name, found \(found())")
        }
        offset += 1
        return name
    }

    /// Then call `nextElement` until it answers false, reading or skipping one value after each true.
    mutating func enterArray() throws(JSONError) {
        try expect(.array)
        try enter()
    }

    /// Whether an element comes next; false once the array has ended.
    mutating func nextElement() throws(JSONError) -> Bool {
        try advance(until: UInt8(ascii: "]"), "',' or ']' after an element of an array")
    }

    private mutating func enter() throws(JSONError) {
        guard depth < depthLimit else {
            throw JSONError(kind: .tooDeep, offset: offset, reason: "nested deeper than \(depthLimit) levels")
        }
        depth += 1
        offset += 1
        isAtFirst = true
    }

    /// Past a comma, or past `close`: then the container has ended, and this is false.
    private mutating func advance(until close: UInt8, _ wanted: StaticString) throws(JSONError) -> Bool {
        skipWhitespace()
        guard offset < bytes.count else { throw truncated("where there should be \(wanted)") }
        if bytes[offset] == close {
            offset += 1
            depth -= 1
            isAtFirst = false
            return false
        }
        if isAtFirst {
            isAtFirst = false
            return true
        }
        guard bytes[offset] == UInt8(ascii: ",") else { throw syntax("expected \(wanted), found \(found())") }
        offset += 1
        skipWhitespace()
        guard offset < bytes.count else { throw truncated("after a ','") }
        guard bytes[offset] != close else { throw syntax("no ',' may come after the last of a list") }
        return true
    }

    // MARK: Scalars

    mutating func string() throws(JSONError) -> JSONString {
        skipWhitespace()
        guard offset < bytes.count, bytes[offset] == UInt8(ascii: "\"") else { throw try mismatch(.string) }
        return try scanString()
    }

    /// The literal as written: `99.990` stays `99.990`.
    mutating func number() throws(JSONError) -> UnsafeRawBufferPointer {
        try expect(.number)
        return try scanNumber()
    }

    /// A number written without fraction and exponent.
    mutating func integer() throws(JSONError) -> Int {
        try expect(.number)
        let start = offset
        let literal = try scanNumber()
        var value = 0
        let isNegative = literal[0] == UInt8(ascii: "-")
        for byte in literal.dropFirst(isNegative ? 1 : 0) {
            let digit = Int(byte) - Int(UInt8(ascii: "0"))
            guard (0...9).contains(digit) else {
                throw JSONError(
                    kind: .mismatch, offset: start, reason: "expected an integer, found a number with fraction or exponent")
            }
            let (tens, tooLarge) = value.multipliedReportingOverflow(by: 10)
            let (sum, tooLargeStill) =
                isNegative ? tens.subtractingReportingOverflow(digit) : tens.addingReportingOverflow(digit)
            guard !tooLarge && !tooLargeStill else {
                throw JSONError(kind: .outOfRange, offset: start, reason: "an integer of at most 64 bits is expected")
            }
            value = sum
        }
        return value
    }

    mutating func boolean() throws(JSONError) -> Bool {
        try expect(.boolean)
        let isTrue = bytes[offset] == UInt8(ascii: "t")
        try scanLiteral(isTrue ? "true" : "false")
        return isTrue
    }

    mutating func null() throws(JSONError) {
        try expect(.null)
        try scanLiteral("null")
    }

    // MARK: Whole values

    /// Reads a value of any kind and answers it as written.
    @discardableResult
    mutating func skip() throws(JSONError) -> UnsafeRawBufferPointer {
        skipWhitespace()
        let start = offset
        try skipValue()
        return UnsafeRawBufferPointer(rebasing: bytes[start..<offset])
    }

    private mutating func skipValue() throws(JSONError) {
        switch try peek() {
        case .object:
            try enter()
            while try nextMember() != nil { try skipValue() }
        case .array:
            try enter()
            while try nextElement() { try skipValue() }
        case .string: _ = try scanString()
        case .number: _ = try scanNumber()
        case .boolean: _ = try boolean()
        case .null: try null()
        }
    }

    /// Reads a value of any kind and appends it without the whitespace around its tokens, otherwise as written.
    mutating func appendCompact(to buffer: ByteBuffer) throws(JSONError) {
        skipWhitespace()
        let before = whitespacePassed
        let value = try skip()
        guard whitespacePassed > before else { return buffer.append(value) }
        var index = 0
        while index < value.count {
            let start = index
            if value[index] == UInt8(ascii: "\"") {
                index = endOfString(value, from: index)
            } else {
                while index < value.count, value[index] > UInt8(ascii: " "), value[index] != UInt8(ascii: "\"") { index += 1 }
            }
            buffer.append(UnsafeRawBufferPointer(rebasing: value[start..<index]))
            while index < value.count, value[index] <= UInt8(ascii: " ") { index += 1 }
        }
    }

    /// Past the closing quote of the string that `skip` has checked.
    private func endOfString(_ value: UnsafeRawBufferPointer, from start: Int) -> Int {
        var index = value.firstToEscape(from: start + 1)
        while value[index] == UInt8(ascii: "\\") { index = value.firstToEscape(from: index + 2) }
        return index + 1
    }

    /// Nothing but whitespace may follow.
    mutating func end() throws(JSONError) {
        skipWhitespace()
        guard offset == bytes.count else { throw syntax("expected the end of the text, found \(found())") }
    }

    // MARK: Pieces

    @inline(__always)
    mutating func skipWhitespace() {
        // Compact text, the usual case, is let go at the first comparison.
        guard offset < bytes.count, bytes[offset] <= UInt8(ascii: " ") else { return }
        let start = offset
        while offset < bytes.count, isWhitespace(bytes[offset]) { offset += 1 }
        whitespacePassed += offset - start
    }

    private func isWhitespace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09  // RFC 8259 §2
    }

    private mutating func expect(_ kind: Kind) throws(JSONError) {
        let next = try peek()
        guard next == kind else { throw mismatch(kind, next) }
    }
}
