// A stream entry's ID: milliseconds and a sequence number, both unsigned 64-bit.

public struct StreamID: Hashable, Comparable, Sendable, CustomStringConvertible {
    public var milliseconds: UInt64
    public var sequence: UInt64

    public init(_ milliseconds: UInt64, _ sequence: UInt64) {
        self.milliseconds = milliseconds
        self.sequence = sequence
    }

    /// `0-0`, before every entry.
    public static let zero = StreamID(0, 0)
    /// The largest there is.
    public static let max = StreamID(.max, .max)

    /// `ms-seq`, decimal digits only, each part at most 2^64 − 1. Nil for anything else.
    /// - Parameter missingSequence: what a bare `ms` means; nil: a bare `ms` is not taken.
    public init?(_ bytes: UnsafeRawBufferPointer, missingSequence: UInt64? = nil) {
        var place = 0
        guard let milliseconds = StreamID.number(bytes, &place) else { return nil }
        if place == bytes.count {
            guard let missingSequence else { return nil }
            self.init(milliseconds, missingSequence)
            return
        }
        guard bytes[place] == UInt8(ascii: "-") else { return nil }
        place += 1
        guard let sequence = StreamID.number(bytes, &place), place == bytes.count else { return nil }
        self.init(milliseconds, sequence)
    }

    /// The same, from text.
    public init?(_ text: String, missingSequence: UInt64? = nil) {
        var text = text
        guard let id = text.withUTF8({ StreamID(UnsafeRawBufferPointer($0), missingSequence: missingSequence) }) else {
            return nil
        }
        self = id
    }

    /// The ID right after this one; nil after the largest.
    public var next: StreamID? {
        if sequence < .max { return StreamID(milliseconds, sequence + 1) }
        return milliseconds < .max ? StreamID(milliseconds + 1, 0) : nil
    }

    /// The ID right before this one; nil before `0-0`.
    public var previous: StreamID? {
        if sequence > 0 { return StreamID(milliseconds, sequence - 1) }
        return milliseconds > 0 ? StreamID(milliseconds - 1, .max) : nil
    }

    public static func < (a: StreamID, b: StreamID) -> Bool {
        a.milliseconds != b.milliseconds ? a.milliseconds < b.milliseconds : a.sequence < b.sequence
    }

    public var description: String { "\(milliseconds)-\(sequence)" }

    /// The digits from `place` on; nil without one, or past 2^64 − 1.
    private static func number(_ bytes: UnsafeRawBufferPointer, _ place: inout Int) -> UInt64? {
        var value: UInt64 = 0
        let first = place
        while place < bytes.count, case let digit = bytes[place] &- UInt8(ascii: "0"), digit <= 9 {
            place &+= 1
            if place &- first <= 19 {  // So many nines fit.
                value = value &* 10 &+ UInt64(digit)
                continue
            }
            let (tenfold, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tenfold.addingReportingOverflow(UInt64(digit))
            guard !overflow, !carry else { return nil }
            value = sum
        }
        return place > first ? value : nil
    }
}
