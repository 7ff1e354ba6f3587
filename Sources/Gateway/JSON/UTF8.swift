// Well-formed UTF-8, by table 3-7 of the Unicode Standard (§3.9): no overlong forms, no surrogates, nothing
// above U+10FFFF. Redis' strings are bytes, so every message is asked this before it may go out as text.

/// Whether all of `bytes` is well-formed UTF-8. ASCII is passed over eight bytes at a time.
func isValidUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var index = bytes.firstNotASCII(from: 0)
    while index < bytes.count {
        let length = utf8SequenceLength(bytes, at: index)
        guard length > 0 else { return false }
        index += length
        if index < bytes.count, bytes[index] < 0x80 { index = bytes.firstNotASCII(from: index) }
    }
    return true
}

/// The length of the well-formed sequence of more than one byte at `index`; 0 when there is none.
func utf8SequenceLength(_ bytes: UnsafeRawBufferPointer, at index: Int) -> Int {
    let lead = bytes[index]
    let left = bytes.count - index
    func follows(_ distance: Int) -> Bool { bytes[index + distance] & 0xC0 == 0x80 }
    switch lead {
    case 0xC2...0xDF:
        return left >= 2 && follows(1) ? 2 : 0
    case 0xE0...0xEF:
        guard left >= 3 else { return 0 }
        let second = bytes[index + 1]
        let lowest: UInt8 = lead == 0xE0 ? 0xA0 : 0x80   // Below: an overlong form.
        let highest: UInt8 = lead == 0xED ? 0x9F : 0xBF  // Above: a surrogate.
        return second >= lowest && second <= highest && follows(2) ? 3 : 0
    case 0xF0...0xF4:
        guard left >= 4 else { return 0 }
        let second = bytes[index + 1]
        let lowest: UInt8 = lead == 0xF0 ? 0x90 : 0x80   // Below: an overlong form.
        let highest: UInt8 = lead == 0xF4 ? 0x8F : 0xBF  // Above: past U+10FFFF.
        return second >= lowest && second <= highest && follows(2) && follows(3) ? 4 : 0
    default:
        return 0
    }
}
