// Classes of bytes, as the grammars of RFC 9110 §5.6 and RFC 3986 name them. Everything here works on
// bytes: `"\r\n"` is one Swift Character.

import Glibc

enum ASCII {
    static let tab = UInt8(ascii: "\t")
    static let lineFeed = UInt8(ascii: "\n")
    static let carriageReturn = UInt8(ascii: "\r")
    static let space = UInt8(ascii: " ")

    /// `tchar` (RFC 9110 §5.6.2), as two bitmaps of 64: no table in memory, no lazily made global.
    @inline(__always) static func isToken(_ byte: UInt8) -> Bool {
        let low: UInt64 = 0x03FF_6CFA_0000_0000  // ! # $ % & ' * + - . 0…9
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE  // A…Z ^ _ ` a…z | ~
        let map = byte < 64 ? low : high
        return byte < 128 && (map >> UInt64(byte & 63)) & 1 == 1
    }

    @inline(__always) static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

    @inline(__always) static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 97 < 26 }

    @inline(__always) static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    /// The value of a hex digit; nil for any other byte.
    @inline(__always) static func hexValue(_ byte: UInt8) -> UInt8? {
        if isDigit(byte) { return byte &- 48 }
        let letter = (byte | 0x20) &- 97
        return letter < 6 ? letter &+ 10 : nil
    }

    @inline(__always) static func lowercase(_ byte: UInt8) -> UInt8 {
        byte &- 65 < 26 ? byte | 0x20 : byte
    }

    /// `lower` is in lower case; `bytes` may be in any.
    @inline(__always) static func equals(_ bytes: UnsafeRawBufferPointer, lower: StaticString) -> Bool {
        let count = lower.utf8CodeUnitCount
        guard bytes.count == count else { return false }
        let expected = lower.utf8Start
        for index in 0..<count where lowercase(bytes[index]) != expected[index] { return false }
        return true
    }

    /// Byte for byte.
    @inline(__always) static func equals(_ bytes: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard bytes.count == text.utf8CodeUnitCount, let base = bytes.baseAddress else { return false }
        return memcmp(base, text.utf8Start, bytes.count) == 0
    }

    /// True when a byte may not stand in a field's value: a control character other than a tab, or DEL
    /// (RFC 9110 §5.5). Bytes above 127 may (`obs-text`).
    static func hasControl(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            // Eight at a time: a byte below 0x20 or equal to 0x7F sets its top bit in `found`.
            let word = bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let below = (word &- 0x2020_2020_2020_2020) & ~word
            let delete = ((word ^ 0x7F7F_7F7F_7F7F_7F7F) &- 0x0101_0101_0101_0101) & ~(word ^ 0x7F7F_7F7F_7F7F_7F7F)
            // Borrows can flag an innocent neighbour, never miss a guilty byte: the loop below decides.
            if (below | delete) & 0x8080_8080_8080_8080 != 0 { break }
            index += 8
        }
        while index < bytes.count {
            let byte = bytes[index]
            if (byte < 0x20 && byte != tab) || byte == 0x7F { return true }
            index += 1
        }
        return false
    }

    /// Without the blanks around it (`OWS`).
    @inline(__always) static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var start = 0
        var end = bytes.count
        while start < end && isBlank(bytes[start]) { start += 1 }
        while end > start && isBlank(bytes[end - 1]) { end -= 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    }
}

extension UnsafeRawBufferPointer {
    /// The bytes from `start` up to `end`, which must lie within.
    @inline(__always) func part(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[start..<end])
    }

    /// The first place of `byte` at or after `start`.
    @inline(__always) func firstPlace(of byte: UInt8, from start: Int) -> Int? {
        guard start < count, let base = baseAddress, let hit = memchr(base + start, Int32(byte), count - start)
        else { return nil }
        return UnsafeRawPointer(hit) - base
    }
}
