// Whole numbers as decimal digits: two digits a division, straight to where they belong.

public enum Decimal {
    /// How many digits `number` has. Four a division: entry IDs have thirteen and more.
    @inlinable @inline(__always) public static func digits(_ number: UInt64) -> Int {
        var rest = number
        var count = 1
        while rest >= 10_000 {
            rest /= 10_000
            count &+= 4
        }
        return rest < 10 ? count : rest < 100 ? count + 1 : rest < 1000 ? count + 2 : count + 3
    }

    /// Writes `number`, which has `count` digits, to `place`.
    @inlinable @inline(__always) public static func write(_ number: UInt64, count: Int, to place: UnsafeMutablePointer<UInt8>) {
        var rest = number
        var left = count
        while left >= 2 {
            left &-= 2
            let (hundreds, pair) = rest.quotientAndRemainder(dividingBy: 100)
            UnsafeMutableRawPointer(place + left).copyMemory(from: pairs.utf8Start + 2 * Int(truncatingIfNeeded: pair), byteCount: 2)
            rest = hundreds
        }
        if left > 0 { place.pointee = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest) }
    }

    /// 00 to 99. Computed: a stored one would be looked for at every use.
    @inlinable @inline(__always) static var pairs: StaticString {
        """
        0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
        5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899
        """
    }
}
