// A string inside a JSON text, checked and not yet decoded: most are compared or copied once, so nothing is
// allocated for them. Good for as long as the text's bytes are.

import Net

/// A validated JSON string (RFC 8259 §7), still as written.
struct JSONString {
    /// Between the quotes, escapes and all: valid UTF-8 with valid escapes.
    let raw: UnsafeRawBufferPointer
    let hasEscapes: Bool

    /// How many bytes of UTF-8 it stands for.
    var count: Int {
        guard hasEscapes else { return raw.count }
        var count = 0
        var pieces = Pieces(raw)
        while let piece = pieces.next() {
            switch piece {
            case .run(let run): count += run.count
            case .scalar(let scalar): count += scalar.utf8.count
            }
        }
        return count
    }

    /// Appends the decoded bytes.
    func append(to buffer: ByteBuffer) {
        guard hasEscapes else { return buffer.append(raw) }
        var pieces = Pieces(raw)
        while let piece = pieces.next() {
            switch piece {
            case .run(let run): buffer.append(run)
            case .scalar(let scalar): for byte in scalar.utf8 { buffer.append(byte) }
            }
        }
    }

    /// The decoded bytes.
    func bytes() -> [UInt8] {
        guard hasEscapes else { return Array(raw) }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(raw.count)
        var pieces = Pieces(raw)
        while let piece = pieces.next() {
            switch piece {
            case .run(let run): bytes.append(contentsOf: run)
            case .scalar(let scalar): bytes.append(contentsOf: scalar.utf8)
            }
        }
        return bytes
    }

    /// The decoded text.
    func text() -> String {
        hasEscapes ? String(decoding: bytes(), as: UTF8.self) : String(decoding: raw, as: UTF8.self)
    }

    static func == (string: JSONString, literal: StaticString) -> Bool {
        string.equals(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    static func == (string: JSONString, text: String) -> Bool {
        var text = text
        return text.withUTF8 { string.equals(UnsafeRawBufferPointer($0)) }
    }

    /// By decoded bytes: `"a"` and `"\u0061"` are the same name (RFC 8259 §8.3).
    static func == (a: JSONString, b: JSONString) -> Bool {
        if !b.hasEscapes { return a.equals(b.raw) }
        if !a.hasEscapes { return b.equals(a.raw) }
        return a.bytes() == b.bytes()
    }

    /// Whether the decoded bytes are `other`.
    func equals(_ other: UnsafeRawBufferPointer) -> Bool {
        guard hasEscapes else { return raw.isSame(as: other) }
        return bytes().elementsEqual(other)
    }

    /// Runs as written and escapes decoded, one after the other. Trusts that the reader checked them.
    private struct Pieces {
        enum Piece {
            case run(UnsafeRawBufferPointer)
            case scalar(Unicode.Scalar)
        }

        private let raw: UnsafeRawBufferPointer
        private var index = 0

        init(_ raw: UnsafeRawBufferPointer) { self.raw = raw }

        mutating func next() -> Piece? {
            guard index < raw.count else { return nil }
            if raw[index] == UInt8(ascii: "\\") { return .scalar(escape()) }
            let end = raw.firstToEscape(from: index)
            defer { index = end }
            return .run(UnsafeRawBufferPointer(rebasing: raw[index..<end]))
        }

        private mutating func escape() -> Unicode.Scalar {
            let letter = raw[index + 1]
            index += 2
            switch letter {
            case UInt8(ascii: "b"): return "\u{08}"
            case UInt8(ascii: "f"): return "\u{0C}"
            case UInt8(ascii: "n"): return "\n"
            case UInt8(ascii: "r"): return "\r"
            case UInt8(ascii: "t"): return "\t"
            case UInt8(ascii: "u"): return unicode()
            default: return Unicode.Scalar(letter)  // `"`, `\` and `/` stand for themselves.
            }
        }

        private mutating func unicode() -> Unicode.Scalar {
            var value = fourHexDigits()
            if value & 0xFC00 == 0xD800 {  // A pair of surrogates (RFC 8259 §7): the other half follows.
                index += 2
                value = 0x10000 + (value & 0x3FF) << 10 + fourHexDigits() & 0x3FF
            }
            guard let scalar = Unicode.Scalar(value) else {
                preconditionFailure("the reader let a lone surrogate pass")
            }
            return scalar
        }

        private mutating func fourHexDigits() -> UInt32 {
            defer { index += 4 }
            return JSONReader.fourHexDigits(raw, at: index) ?? 0
        }
    }
}
