// Writing JSON: strings are all there is to it; the rest is literals and `append(decimal:)`.

import Net

extension ByteBuffer {
    /// A JSON string, quoted and escaped (RFC 8259 §7). `bytes` must be valid UTF-8, see `isValidUTF8`.
    func appendJSON(string bytes: UnsafeRawBufferPointer) {
        appendJSON(string: bytes, plainUpTo: 0)
    }

    /// The same for any bytes; false, and nothing is appended, when they are not UTF-8.
    func appendJSONIfUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let plain = bytes.firstNotPlain(from: 0)
        if plain == bytes.count {  // As most strings are.
            append(UInt8(ascii: "\""))
            append(bytes)
            append(UInt8(ascii: "\""))
            return true
        }
        guard isValidUTF8(UnsafeRawBufferPointer(rebasing: bytes[plain...])) else { return false }
        appendJSON(string: bytes, plainUpTo: plain)
        return true
    }

    private func appendJSON(string bytes: UnsafeRawBufferPointer, plainUpTo plain: Int) {
        append(UInt8(ascii: "\""))
        var start = 0
        while true {
            let end = bytes.firstToEscape(from: max(start, plain))
            if end > start { append(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) }
            guard end < bytes.count else { break }
            appendEscape(bytes[end])
            start = end + 1
        }
        append(UInt8(ascii: "\""))
    }

    /// A JSON string, quoted and escaped.
    func appendJSON(_ text: String) {
        var text = text
        text.withUTF8 { appendJSON(string: UnsafeRawBufferPointer($0)) }
    }

    private func appendEscape(_ byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): append(byte)
        case 0x08: append(UInt8(ascii: "b"))
        case 0x09: append(UInt8(ascii: "t"))
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0C: append(UInt8(ascii: "f"))
        case 0x0D: append(UInt8(ascii: "r"))
        default:
            append(literal: "u00")
            append(byte >> 4 + UInt8(ascii: "0"))  // 0 or 1: only controls come here.
            let low = byte & 15
            append(low < 10 ? low + UInt8(ascii: "0") : low - 10 + UInt8(ascii: "a"))
        }
    }
}

/// The text as a JSON string.
func jsonText(_ text: String) -> String {
    let buffer = ByteBuffer(capacity: text.utf8.count + 16)
    buffer.appendJSON(text)
    return String(decoding: buffer.bytes, as: UTF8.self)
}

extension Optional<Int> {
    /// Itself, or null.
    var json: String { map { "\($0)" } ?? "null" }
}
