// Which of a cluster's 16,384 slots a key lives in, and short tags that land in a given slot.

/// The slot of a key: CRC16 (XMODEM) of its hash tag, else of all of it (Redis Cluster specification, "Hash tags").
public struct HashSlot: Hashable, Sendable {
    public static let count = 16_384
    public let number: UInt16

    public init(of key: [UInt8]) {
        number = UInt16(HashSlot.crc16(HashSlot.hashed(key)) % UInt16(HashSlot.count))
    }

    /// A short string whose slot is this one: put in braces, it makes a key of ours live beside a user's
    /// key, whatever braces that holds itself.
    public var tag: [UInt8] { HashSlot.text(HashSlot.tags[Int(number)]) }

    private static func hashed(_ key: [UInt8]) -> ArraySlice<UInt8> {
        guard let open = key.firstIndex(of: UInt8(ascii: "{")),
            let close = key[(open + 1)...].firstIndex(of: UInt8(ascii: "}")), close > open + 1
        else { return key[...] }
        return key[(open + 1)..<close]
    }

    /// For each slot the first number that lands there, as text. Numbers below 200,000 cover all slots; made
    /// once, in a millisecond or two, when first asked. (As arrays of bytes they would take 2 MB.)
    private static let tags: [UInt32] = {
        var tags = [UInt32](repeating: .max, count: count)
        var missing = count
        let digits = Array("0123456789abcdefghijklmnopqrstuvwxyz".utf8)
        // Numbers that differ in their last digit alone begin alike: that much is hashed once for all of them.
        var front: UInt32 = 0
        while missing > 0 {
            let begun = front == 0 ? 0 : crc16(text(front)[...])
            for (last, digit) in digits.enumerated() {
                let slot = Int(crc16(begun, digit) % UInt16(count))
                guard tags[slot] == .max else { continue }
                tags[slot] = front * 36 + UInt32(last)
                missing -= 1
            }
            front += 1
        }
        return tags
    }()

    private static func text(_ number: UInt32) -> [UInt8] { Array(String(number, radix: 36).utf8) }

    private static let table: [UInt16] = (0..<256).map { index in
        (0..<8).reduce(UInt16(index) << 8) { crc, _ in
            crc & 0x8000 != 0 ? crc << 1 ^ 0x1021 : crc << 1
        }
    }

    private static func crc16(_ bytes: ArraySlice<UInt8>) -> UInt16 {
        bytes.reduce(0) { crc16($0, $1) }
    }

    private static func crc16(_ crc: UInt16, _ byte: UInt8) -> UInt16 { crc << 8 ^ table[Int(UInt8(crc >> 8) ^ byte)] }
}
