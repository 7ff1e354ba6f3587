// Text as bytes: their classes, as the grammars of RFC 9110 §5.6 and RFC 3986 name them, and what is asked of a stretch of
// them. Everything here works on bytes: `"\r\n"` is one Swift Character.

public import Glibc

public enum ASCII {
    @inlinable public static var tab: UInt8 { UInt8(ascii: "\t") }
    @inlinable public static var lineFeed: UInt8 { UInt8(ascii: "\n") }
    @inlinable public static var carriageReturn: UInt8 { UInt8(ascii: "\r") }
    @inlinable public static var space: UInt8 { UInt8(ascii: " ") }

    /// `tchar` (RFC 9110 §5.6.2), as two bitmaps of 64: no table in memory, no lazily made global.
    @inlinable @inline(__always) public static func isToken(_ byte: UInt8) -> Bool {
        let low: UInt64 = 0x03FF_6CFA_0000_0000  // ! # $ % & ' * + - . 0…9
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE  // A…Z ^ _ ` a…z | ~
        let map = byte < 64 ? low : high
        return byte < 128 && (map >> UInt64(byte & 63)) & 1 == 1
    }

    @inlinable @inline(__always) public static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

    @inlinable @inline(__always) public static func isBlank(_ byte: UInt8) -> Bool { byte == space || byte == tab }

    /// The value of a hex digit; nil for any other byte.
    @inlinable @inline(__always) public static func hexValue(_ byte: UInt8) -> UInt8? {
        if isDigit(byte) { return byte &- 48 }
        let letter = (byte | 0x20) &- 97
        return letter < 6 ? letter &+ 10 : nil
    }

    @inlinable @inline(__always) public static func lowercase(_ byte: UInt8) -> UInt8 {
        byte &- 65 < 26 ? byte | 0x20 : byte
    }

    /// True when a byte may not stand in a field's value: a control character other than a tab, or DEL
    /// (RFC 9110 §5.5). Bytes above 127 may (`obs-text`).
    public static func hasControl(_ bytes: UnsafeRawBufferPointer) -> Bool {
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
}

extension UnsafeRawBufferPointer {
    /// No bytes, nowhere.
    @inlinable public static var empty: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

    /// Byte for byte.
    @inlinable @inline(__always) public func isSame(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count, let here = baseAddress, let there = other.baseAddress else { return count == other.count }
        return memcmp(here, there, count) == 0
    }

    @inlinable @inline(__always) public func isSame(as literal: StaticString) -> Bool {
        isSame(as: UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// `lower` is in lower case; these may be in any.
    @inlinable @inline(__always) public func equalsIgnoringCase(_ lower: StaticString) -> Bool {
        guard count == lower.utf8CodeUnitCount else { return false }
        let expected = lower.utf8Start
        for index in 0..<count where ASCII.lowercase(self[index]) != expected[index] { return false }
        return true
    }

    /// Without the blanks around it (`OWS`, RFC 9110 §5.6.3).
    @inlinable @inline(__always) public var trimmed: UnsafeRawBufferPointer {
        var start = 0
        var end = count
        while start < end && ASCII.isBlank(self[start]) { start += 1 }
        while end > start && ASCII.isBlank(self[end - 1]) { end -= 1 }
        return part(start, end)
    }

    /// The bytes from `start` up to `end`, which must lie within.
    @inlinable @inline(__always) public func part(_ start: Int, _ end: Int) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: self[start..<end])
    }

    /// The first place of `byte` at or after `start`.
    @inlinable @inline(__always) public func firstPlace(of byte: UInt8, from start: Int) -> Int? {
        guard start < count, let base = baseAddress, let hit = memchr(base + start, Int32(byte), count - start)
        else { return nil }
        return UnsafeRawPointer(hit) - base
    }
}
