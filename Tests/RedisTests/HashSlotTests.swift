// Slots as Redis Cluster computes them, and tags that land in them.

import Testing

@testable import Redis

struct HashSlotTests {
    /// CRC16/XMODEM of "123456789" is 0x31C3 (Redis Cluster specification, appendix A); the others by
    /// `CLUSTER KEYSLOT` of Redis 7.0.15.
    @Test(arguments: [
        ("123456789", 0x31C3), ("foo", 12182), ("{user1000}.following", 3443), ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015),
        ("foo{bar}{zap}", 5061),
    ])
    func `a key's slot is the cluster's`(key: String, slot: Int) {
        #expect(HashSlot(of: Array(key.utf8)).number == slot)
    }

    @Test func `a tag in braces lands in its slot, whatever braces the key holds`() {
        for key in ["orders:payments", "a{b}c", "{", "}{", "{}", "x{y", "a}b{c}"] {
            let slot = HashSlot(of: Array(key.utf8))
            let ours = Array("sluice:{".utf8) + slot.tag + Array("}:due:\(key)".utf8)
            #expect(HashSlot(of: ours) == slot, "\(key)")
        }
    }

    @Test func `every slot has a tag of its own`() {
        var tags = Set<[UInt8]>()
        for number in 0..<100_000 { tags.insert(HashSlot(of: Array("key:\(number)".utf8)).tag) }
        #expect(tags.count > 16_000, "A hundred thousand keys reach nearly all slots.")
        #expect(tags.allSatisfy { $0.count <= 4 })
    }
}
