// Base64 and Base32 (RFC 4648), over bytes.
//
// Strict: standard alphabets, padding required, no line breaks (§3.3), and no stray bits in the last
// group (§3.5), so that one value has one text. Written with tables and pointers: message payloads of
// megabytes go through here.

public enum Base64 {
    /// How many bytes `count` bytes become.
    public static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Writes the text of `bytes` into `room`, which must hold `encodedCount` bytes; returns how many.
    @discardableResult
    public static func encode(_ bytes: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) -> Int {
        precondition(room.count >= encodedCount(bytes.count), "Base64 needs four bytes for three.")
        guard let source = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
            let target = room.baseAddress?.assumingMemoryBound(to: UInt8.self)
        else { return 0 }
        let whole = bytes.count / 3 * 3
        var from = 0
        var to = 0
        digits.withUnsafeBufferPointer { digits in
            while from < whole {
                let a = source[from], b = source[from + 1], c = source[from + 2]
                target[to] = digits[Int(a >> 2)]
                target[to + 1] = digits[Int((a & 3) << 4 | b >> 4)]
                target[to + 2] = digits[Int((b & 15) << 2 | c >> 6)]
                target[to + 3] = digits[Int(c & 63)]
                from += 3
                to += 4
            }
            guard from < bytes.count else { return }
            let a = source[from]
            let b = from + 1 < bytes.count ? source[from + 1] : 0
            target[to] = digits[Int(a >> 2)]
            target[to + 1] = digits[Int((a & 3) << 4 | b >> 4)]
            target[to + 2] = from + 1 < bytes.count ? digits[Int((b & 15) << 2)] : pad
            target[to + 3] = pad
            to += 4
        }
        return to
    }

    public static func encode(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: encodedCount(bytes.count)) { room, count in
            count = encode(bytes, into: UnsafeMutableRawBufferPointer(room))
        }
    }

    public static func encode(_ bytes: [UInt8]) -> String {
        String(decoding: bytes.withUnsafeBytes { encode($0) }, as: UTF8.self)
    }

    /// Nil when `text` is not exactly what `encode` would have made of some bytes.
    public static func decode(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count > 0 else { return [] }
        guard text.count % 4 == 0 else { return nil }
        let padding = text[text.count - 1] != pad ? 0 : text[text.count - 2] != pad ? 1 : 2
        var isValid = false
        let bytes = [UInt8](unsafeUninitializedCapacity: text.count / 4 * 3) { room, count in
            isValid = decode(text, padding: padding, into: room)
            count = isValid ? text.count / 4 * 3 - padding : 0
        }
        return isValid ? bytes : nil
    }

    public static func decode(_ text: [UInt8]) -> [UInt8]? { text.withUnsafeBytes { decode($0) } }

    public static func decode(_ text: String) -> [UInt8]? { decode(Array(text.utf8)) }

    private static func decode(
        _ text: UnsafeRawBufferPointer, padding: Int, into room: UnsafeMutableBufferPointer<UInt8>
    ) -> Bool {
        let whole = padding == 0 ? text.count : text.count - 4
        return values.withUnsafeBufferPointer { values in
            var wrong: UInt8 = 0  // Gathered, so that the loop has no branch: bit 7 marks a foreign byte.
            var to = 0
            for from in stride(from: 0, to: whole, by: 4) {
                let a = values[Int(text[from])], b = values[Int(text[from + 1])]
                let c = values[Int(text[from + 2])], d = values[Int(text[from + 3])]
                wrong |= a | b | c | d
                room[to] = a << 2 | b >> 4
                room[to + 1] = b << 4 | c >> 2
                room[to + 2] = c << 6 | d
                to += 3
            }
            if padding > 0 {
                let a = values[Int(text[whole])], b = values[Int(text[whole + 1])]
                let c = padding == 1 ? values[Int(text[whole + 2])] : 0
                wrong |= a | b | c
                // §3.5: the bits that no byte takes must be zero.
                guard padding == 1 ? c & 3 == 0 : b & 15 == 0 else { return false }
                room[to] = a << 2 | b >> 4
                if padding == 1 { room[to + 1] = b << 4 | c >> 2 }
            }
            return wrong & 0x80 == 0
        }
    }

    private static let pad = UInt8(ascii: "=")
    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    /// Byte → value of the digit; 0x80 for what is none.
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 0x80, count: 256)
        for (value, digit) in digits.enumerated() { values[Int(digit)] = UInt8(value) }
        return values
    }()
}

public enum Base32 {
    /// RFC 4648 §6, upper case: the first digits that fit into `room`, without padding. `bytes` must have enough bits.
    public static func encode(_ bytes: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count * 8 >= room.count * 5, "More digits are wanted than there are bits.")
        var bits: UInt32 = 0
        var held = 0
        var next = 0
        for place in room.indices {
            if held < 5 {
                bits = bits << 8 | UInt32(bytes[next])
                next += 1
                held += 8
            }
            held -= 5
            let digit = UInt8(truncatingIfNeeded: bits >> UInt32(held) & 31)
            room[place] = digit < 26 ? UInt8(ascii: "A") + digit : UInt8(ascii: "2") + digit - 26
        }
    }

    /// All digits, padded with `=` to a multiple of eight.
    public static func encode(_ bytes: [UInt8]) -> String {
        let digits = (bytes.count * 8 + 4) / 5
        var text = [UInt8](repeating: UInt8(ascii: "="), count: (bytes.count + 4) / 5 * 8)
        let padded = bytes + [0]  // The last digit may need bits of its own.
        text.withUnsafeMutableBytes { room in
            padded.withUnsafeBytes { encode($0, into: UnsafeMutableRawBufferPointer(rebasing: room[..<digits])) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
