// Eight bytes at a time: the two scans that reading and writing JSON strings spend their time in.
//
// The tests are the classic ones on a word ("has a zero byte", "has a byte below n"). A borrow can flag a byte
// wrongly only above one that is flagged rightly, and memory's first byte is the word's lowest, so the
// lowest flag is always true.

private let ones: UInt64 = 0x0101_0101_0101_0101
private let highs: UInt64 = 0x8080_8080_8080_8080
private let quotes = ones &* UInt64(UInt8(ascii: "\""))
private let backslashes = ones &* UInt64(UInt8(ascii: "\\"))

/// Flags the bytes that a JSON string may not hold as they are: `"`, `\` and controls (RFC 8259 §7).
@inline(__always)
private func flaggedForEscape(_ word: UInt64) -> UInt64 {
    let quote = word ^ quotes
    let backslash = word ^ backslashes
    let control = (word &- ones &* 0x20) & ~word
    return (((quote &- ones) & ~quote) | ((backslash &- ones) & ~backslash) | control) & highs
}

@inline(__always)
private func isFlaggedForEscape(_ byte: UInt8) -> Bool {
    byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
}

extension UnsafeRawBufferPointer {
    @inline(__always)
    private func word(at index: Int) -> UInt64 {
        UInt64(littleEndian: loadUnaligned(fromByteOffset: index, as: UInt64.self))
    }

    /// The first byte from `index` on that a JSON string must escape, or `count`.
    @inline(__always)
    func firstToEscape(from index: Int) -> Int {
        var index = index
        while index &+ 8 <= count {
            let flags = flaggedForEscape(word(at: index))
            if flags != 0 { return index &+ flags.trailingZeroBitCount >> 3 }
            index &+= 8
        }
        while index < count, !isFlaggedForEscape(self[index]) { index &+= 1 }
        return index
    }

    /// The same, or the first byte outside ASCII.
    @inline(__always)
    func firstNotPlain(from index: Int) -> Int {
        var index = index
        while index &+ 8 <= count {
            let word = word(at: index)
            let flags = flaggedForEscape(word) | word & highs
            if flags != 0 { return index &+ flags.trailingZeroBitCount >> 3 }
            index &+= 8
        }
        while index < count, self[index] < 0x80, !isFlaggedForEscape(self[index]) { index &+= 1 }
        return index
    }

    /// The first byte outside ASCII from `index` on, or `count`.
    @inline(__always)
    func firstNotASCII(from index: Int) -> Int {
        var index = index
        while index &+ 8 <= count {
            let flags = word(at: index) & highs
            if flags != 0 { return index &+ flags.trailingZeroBitCount >> 3 }
            index &+= 8
        }
        while index < count, self[index] < 0x80 { index &+= 1 }
        return index
    }
}
