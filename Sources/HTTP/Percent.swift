// Percent-encoding (RFC 3986 §2.1), decoded once.

import Glibc
public import Net

/// Appends the decoded bytes to `output`. `+` is a plus unless `plusIsSpace` (forms only). A `%` without two
/// hex digits behind it is `malformedPercentEncoding`; what was decoded before it has been appended.
public func percentDecode(
    _ raw: UnsafeRawBufferPointer, into output: ByteBuffer, plusIsSpace: Bool = false
) throws(HTTPError) {
    var start = 0
    var place = 0
    while place < raw.count {
        let byte = raw[place]
        if byte == UInt8(ascii: "%") || (plusIsSpace && byte == UInt8(ascii: "+")) {
            output.append(raw.part(start, place))
            var decoder = Percent.Decoder(raw, at: place, plusIsSpace: plusIsSpace)
            guard let decoded = try decoder.next() else { return }
            output.append(decoded)
            place = decoder.place
            start = place
        } else {
            place += 1
        }
    }
    output.append(raw.part(start, place))
}

/// The same as a fresh array.
public func percentDecode(_ raw: UnsafeRawBufferPointer, plusIsSpace: Bool = false) throws(HTTPError) -> [UInt8] {
    // Most hold nothing to decode.
    guard plusIsSpace || raw.firstPlace(of: UInt8(ascii: "%"), from: 0) != nil else { return Array(raw) }
    var output: [UInt8] = []
    output.reserveCapacity(raw.count)
    var decoder = Percent.Decoder(raw, plusIsSpace: plusIsSpace)
    while let byte = try decoder.next() { output.append(byte) }
    return output
}

enum Percent {
    /// One decoded byte after another.
    struct Decoder {
        private let raw: UnsafeRawBufferPointer
        private let plusIsSpace: Bool
        private(set) var place: Int

        init(_ raw: UnsafeRawBufferPointer, at place: Int = 0, plusIsSpace: Bool = false) {
            self.raw = raw
            self.place = place
            self.plusIsSpace = plusIsSpace
        }

        mutating func next() throws(HTTPError) -> UInt8? {
            guard place < raw.count else { return nil }
            let byte = raw[place]
            place += 1
            if byte == UInt8(ascii: "+"), plusIsSpace { return ASCII.space }
            guard byte == UInt8(ascii: "%") else { return byte }
            guard place + 1 < raw.count, let high = ASCII.hexValue(raw[place]), let low = ASCII.hexValue(raw[place + 1])
            else { throw .malformedPercentEncoding }
            place += 2
            return high << 4 | low
        }
    }

    /// Compares decoded, allocating nothing. What is malformed equals nothing.
    static func equals(_ raw: UnsafeRawBufferPointer, _ text: UnsafeRawBufferPointer, plusIsSpace: Bool = false) -> Bool {
        // An escape is longer than what it stands for, so what is of one length has none or differs.
        let count = text.count
        guard raw.count >= count else { return false }
        guard raw.count > count || plusIsSpace else {
            guard let start = raw.baseAddress, let expected = text.baseAddress else { return true }
            return memcmp(start, expected, count) == 0 && raw.firstPlace(of: UInt8(ascii: "%"), from: 0) == nil
        }
        var decoder = Decoder(raw, plusIsSpace: plusIsSpace)
        do throws(HTTPError) {
            for expected in text {
                guard try decoder.next() == expected else { return false }
            }
        } catch {
            return false
        }
        return decoder.place == raw.count
    }
}
