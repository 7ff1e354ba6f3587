// Bytes that came from clients, as text that people read: in sentences, URLs and shell lines.

extension Array where Element == UInt8 {
    /// In quotes, for a sentence; cut after 80 characters, bytes that are not UTF-8 replaced.
    var quoted: String {
        let text = String(decoding: prefix(320), as: UTF8.self)
        return text.count > 80 ? "'\(text.prefix(80))…'" : "'\(text)'"
    }

    /// All but unreserved bytes percent-encoded (RFC 3986 §2.3): safe in a URL and between single quotes.
    var percentEncoded: String {
        var text = ""
        for byte in self {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                text.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                let digits = String(byte, radix: 16, uppercase: true)
                text += digits.count == 1 ? "%0\(digits)" : "%\(digits)"
            }
        }
        return text
    }
}
