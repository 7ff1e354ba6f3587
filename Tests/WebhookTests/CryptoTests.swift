// Digests, MACs and encodings against the known answers of their standards.

import Crypto
import Testing

struct CryptoTests {
    private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

    /// NIST's examples for FIPS 180-4: "abc", the empty message, and two blocks.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
    ]) func `SHA-256 agrees with FIPS 180`(_ text: String, _ digest: String) {
        #expect(Digest.hex(Digest.sha256(bytes(text))) == digest)
    }

    @Test(arguments: [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "84983e441c3bd26ebaae4aa1f95129e5e54670f1"),
    ]) func `SHA-1 agrees with FIPS 180`(_ text: String, _ digest: String) {
        #expect(Digest.sha1Hex(bytes(text)) == digest)
    }

    /// RFC 4231 §4.2, §4.3, §4.4, §4.7 and §4.8 (a key longer than a block).
    @Test(arguments: [
        ([UInt8](repeating: 0x0b, count: 20), Array("Hi There".utf8),
         "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (Array("Jefe".utf8), Array("what do ya want for nothing?".utf8),
         "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        ([UInt8](repeating: 0xaa, count: 20), [UInt8](repeating: 0xdd, count: 50),
         "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        ([UInt8](repeating: 0xaa, count: 131), Array("Test Using Larger Than Block-Size Key - Hash Key First".utf8),
         "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    ]) func `HMAC-SHA256 agrees with RFC 4231, in one piece and in two`(_ key: [UInt8], _ text: [UInt8], _ code: String) {
        #expect(Digest.hex(Digest.hmacSHA256(key: key, text)) == code)
        let mac = HMACSHA256(key: key)
        mac.update(Array(text.prefix(3)))
        mac.update(Array(text.dropFirst(3)))
        #expect(Digest.hex(mac.finalize()) == code)
    }

    /// RFC 4648 §10.
    @Test(arguments: [
        ("", "", ""), ("f", "Zg==", "MY======"), ("fo", "Zm8=", "MZXQ===="), ("foo", "Zm9v", "MZXW6==="),
        ("foob", "Zm9vYg==", "MZXW6YQ="), ("fooba", "Zm9vYmE=", "MZXW6YTB"), ("foobar", "Zm9vYmFy", "MZXW6YTBOI======"),
    ]) func `base64 and base32 agree with RFC 4648`(_ text: String, _ base64: String, _ base32: String) {
        #expect(Base64.encode(bytes(text)) == base64)
        #expect(Base64.decode(base64) == bytes(text))
        #expect(Base32.encode(bytes(text)) == base32)
    }

    @Test(arguments: ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Zm 9", "Zm9v\n", "Zm-_", "=Zg=", "Z===", "====", "Zg==Zg==", "Zm9v===="])
    func `base64 that RFC 4648 would not have written is refused`(_ text: String) {
        #expect(Base64.decode(text) == nil)
    }

    @Test func `every length and every byte goes through base64 and back`() {
        let all = (0..<1024).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for count in 0...258 {
            let piece = Array(all.prefix(count))
            #expect(Base64.decode(Base64.encode(piece)) == piece)
        }
    }

    @Test func `secrets are compared whole`() {
        #expect(constantTimeEquals(bytes("abc"), bytes("abc")))
        #expect(!constantTimeEquals(bytes("abc"), bytes("abd")))
        #expect(!constantTimeEquals(bytes("abc"), bytes("ab")))
        #expect(constantTimeEquals([], []))
    }

    @Test func `random bytes differ`() {
        #expect(randomBytes(32).count == 32)
        #expect(randomBytes(32) != randomBytes(32))
    }
}
