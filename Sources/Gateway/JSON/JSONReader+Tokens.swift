// The tokens of JSON: strings, numbers, the three names, and what is said when they are wrong.

import Net

extension JSONReader {
    // MARK: Strings (RFC 8259 §7)

    /// From the opening quote to past the closing one.
    mutating func scanString() throws(JSONError) -> JSONString {
        let start = offset + 1
        var index = start
        var hasEscapes = false
        while true {
            index = bytes.firstNotPlain(from: index)
            guard index < bytes.count else { throw truncated("inside the string that begins at byte \(offset)") }
            switch bytes[index] {
            case UInt8(ascii: "\""):
                offset = index + 1
                return JSONString(raw: UnsafeRawBufferPointer(rebasing: bytes[start..<index]), hasEscapes: hasEscapes)
            case UInt8(ascii: "\\"):
                hasEscapes = true
                index = try endOfEscape(index)
            case 0x80...:
                let length = utf8SequenceLength(bytes, at: index)
                guard length > 0 else {
                    throw JSONError(
                        kind: .encoding, offset: index, reason: "not UTF-8; send bytes as base64, with \"encoding\":\"base64\"")
                }
                index += length
            default:
                throw JSONError(
                    kind: .syntax, offset: index,
                    reason: "a control character inside a string must be escaped, as in \\n or \\u001f")
            }
        }
    }

    private func endOfEscape(_ start: Int) throws(JSONError) -> Int {
        guard start + 1 < bytes.count else { throw truncated("inside an escape") }
        switch bytes[start + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            return start + 2
        case UInt8(ascii: "u"):
            return try endOfUnicodeEscape(start)
        default:
            throw JSONError(
                kind: .syntax, offset: start, reason: "no such escape; there are \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\uXXXX")
        }
    }

    private func endOfUnicodeEscape(_ start: Int) throws(JSONError) -> Int {
        let first = try hexDigits(start + 2)
        guard first & 0xF800 == 0xD800 else { return start + 6 }
        let lone = JSONError(
            kind: .encoding, offset: start, reason: "half a pair of surrogates stands for no character; write both halves")
        guard first & 0xFC00 == 0xD800 else { throw lone }
        guard start + 6 < bytes.count else { throw truncated("inside a pair of surrogates") }
        guard bytes[start + 6] == UInt8(ascii: "\\") else { throw lone }
        guard start + 7 < bytes.count else { throw truncated("inside a pair of surrogates") }
        guard bytes[start + 7] == UInt8(ascii: "u") else { throw lone }
        let second = try hexDigits(start + 8)
        guard second & 0xFC00 == 0xDC00 else { throw lone }
        return start + 12
    }

    private func hexDigits(_ start: Int) throws(JSONError) -> UInt32 {
        guard start + 4 <= bytes.count else { throw truncated("inside an escape") }
        guard let value = JSONReader.fourHexDigits(bytes, at: start) else {
            throw JSONError(kind: .syntax, offset: start, reason: "expected four hexadecimal digits after \\u")
        }
        return value
    }

    /// Four digits of either case, which must be there to read; nil when one is no digit.
    static func fourHexDigits(_ bytes: UnsafeRawBufferPointer, at start: Int) -> UInt32? {
        var value: UInt32 = 0
        for byte in bytes[start..<start + 4] {
            guard let digit = ASCII.hexValue(byte) else { return nil }
            value = value << 4 | UInt32(digit)
        }
        return value
    }

    // MARK: Numbers (RFC 8259 §6) and names (§3)

    mutating func scanNumber() throws(JSONError) -> UnsafeRawBufferPointer {
        var index = offset
        if bytes[index] == UInt8(ascii: "-") { index += 1 }
        if index < bytes.count, bytes[index] == UInt8(ascii: "0") {
            index += 1
            guard index == bytes.count || !ASCII.isDigit(bytes[index]) else {
                throw JSONError(kind: .syntax, offset: index, reason: "a number may not begin with a zero; write 7 for 07")
            }
        } else {
            index = try endOfDigits(index)
        }
        if index < bytes.count, bytes[index] == UInt8(ascii: ".") { index = try endOfDigits(index + 1) }
        if index < bytes.count, bytes[index] | 0x20 == UInt8(ascii: "e") {
            index += 1
            if index < bytes.count, bytes[index] == UInt8(ascii: "+") || bytes[index] == UInt8(ascii: "-") { index += 1 }
            index = try endOfDigits(index)
        }
        defer { offset = index }
        return UnsafeRawBufferPointer(rebasing: bytes[offset..<index])
    }

    /// Past one digit or more.
    private func endOfDigits(_ start: Int) throws(JSONError) -> Int {
        guard start < bytes.count else { throw truncated("inside a number") }
        guard ASCII.isDigit(bytes[start]) else {
            throw JSONError(kind: .syntax, offset: start, reason: "expected a digit, found \(found(at: start))")
        }
        var index = start + 1
        while index < bytes.count, ASCII.isDigit(bytes[index]) { index += 1 }
        return index
    }

    /// `true`, `false` or `null`, whose first byte is there already.
    mutating func scanLiteral(_ name: StaticString) throws(JSONError) {
        for index in 0..<name.utf8CodeUnitCount {
            guard offset + index < bytes.count else { throw truncated("inside \(name)") }
            guard bytes[offset + index] == name.utf8Start[index] else {
                throw syntax("expected \(name); text is written in double quotes")
            }
        }
        offset += name.utf8CodeUnitCount
    }

    // MARK: What is said

    func syntax(_ reason: String) -> JSONError {
        JSONError(kind: .syntax, offset: offset, reason: reason)
    }

    func truncated(_ place: String) -> JSONError {
        JSONError(kind: .truncated, offset: bytes.count, reason: "the text ends \(place)")
    }

    func mismatch(_ wanted: Kind, _ next: Kind) -> JSONError {
        JSONError(kind: .mismatch, offset: offset, reason: "expected \(wanted.name), found \(next.name)")
    }

    /// What is wrong with a value that is not of the kind asked for, or with none at all.
    mutating func mismatch(_ wanted: Kind) throws(JSONError) -> JSONError {
        mismatch(wanted, try peek())
    }

    func notAValue() -> JSONError {
        switch bytes[offset] {
        case UInt8(ascii: "'"): syntax("expected a value, found a single quote; strings are in double quotes")
        case 0xEF where offset == 0: syntax("expected a value, found a byte order mark; leave it out")
        case UInt8(ascii: "/"): syntax("expected a value, found '/'; JSON has no comments")
        case UInt8(ascii: "}"), UInt8(ascii: "]"): syntax("expected a value, found \(found())")
        default: syntax("expected a value (an object, an array, \"text\", a number, true, false or null), found \(found())")
        }
    }

    /// The byte at `index` in a way that can be printed anywhere.
    func found(at index: Int? = nil) -> String {
        let byte = bytes[index ?? offset]
        if byte > 0x20 && byte < 0x7F { return "'\(Unicode.Scalar(byte))'" }
        let digits = String(byte, radix: 16)
        return "the byte 0x\(digits.count < 2 ? "0" : "")\(digits)"
    }
}

extension JSONReader.Kind {
    /// With its article, for sentences.
    var name: String {
        switch self {
        case .object: "an object"
        case .array: "an array"
        case .string: "a string"
        case .number: "a number"
        case .boolean: "true or false"
        case .null: "null"
        }
    }
}
