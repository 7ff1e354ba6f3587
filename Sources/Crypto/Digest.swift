// Digests, keyed digests, comparison and randomness: a thin face over OpenSSL's libcrypto.
//
// A leaf: it knows bytes and nothing of who asks. libcrypto fails here only when memory is out or its
// provider can't be loaded; both end the process, since no caller could sign or check anything.

import COpenSSL

public enum Digest {
    /// SHA-256 (FIPS 180-4): 32 bytes.
    public static func sha256(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: Int(SHA256_DIGEST_LENGTH)) { room, count in
            let status = EVP_Q_digest(nil, "SHA256", nil, bytes.orEmpty, bytes.count, room.baseAddress, &count)
            precondition(status == 1, "libcrypto has no SHA-256.")
        }
    }

    public static func sha256(_ bytes: [UInt8]) -> [UInt8] { bytes.withUnsafeBytes { sha256($0) } }

    /// SHA-1 (FIPS 180-4) as 40 lower-case hex digits: what EVALSHA calls a script. Not for security.
    public static func sha1Hex(_ bytes: UnsafeRawBufferPointer) -> String {
        let digest = [UInt8](unsafeUninitializedCapacity: Int(SHA_DIGEST_LENGTH)) { room, count in
            let status = EVP_Q_digest(nil, "SHA1", nil, bytes.orEmpty, bytes.count, room.baseAddress, &count)
            precondition(status == 1, "libcrypto has no SHA-1.")
        }
        return hex(digest)
    }

    public static func sha1Hex(_ bytes: [UInt8]) -> String { bytes.withUnsafeBytes { sha1Hex($0) } }

    /// HMAC-SHA256 (RFC 2104): 32 bytes. Several pieces: `HMACSHA256`.
    public static func hmacSHA256(key: [UInt8], _ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        let mac = HMACSHA256(key: key)
        mac.update(bytes)
        return mac.finalize()
    }

    public static func hmacSHA256(key: [UInt8], _ bytes: [UInt8]) -> [UInt8] {
        bytes.withUnsafeBytes { hmacSHA256(key: key, $0) }
    }

    /// Lower-case hex digits, two a byte.
    public static func hex(_ bytes: [UInt8]) -> String {
        String(unsafeUninitializedCapacity: bytes.count * 2) { room in
            for (index, byte) in bytes.enumerated() {
                room[index * 2] = hexDigit(byte >> 4)
                room[index * 2 + 1] = hexDigit(byte & 15)
            }
            return bytes.count * 2
        }
    }

    private static func hexDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? UInt8(ascii: "0") + nibble : UInt8(ascii: "a") + nibble - 10
    }
}

/// SHA-256 of what begins alike every time: the beginning is digested once. Loop-confined.
public final class PrefixedSHA256 {
    private let beginning: OpaquePointer
    private let scratch: OpaquePointer

    public init(_ prefix: [UInt8]) {
        guard let beginning = EVP_MD_CTX_new(), let scratch = EVP_MD_CTX_new(),
            EVP_DigestInit_ex(beginning, EVP_sha256(), nil) == 1, EVP_DigestUpdate(beginning, prefix, prefix.count) == 1
        else { preconditionFailure("libcrypto has no SHA-256.") }
        self.beginning = beginning
        self.scratch = scratch
    }

    deinit {
        EVP_MD_CTX_free(beginning)
        EVP_MD_CTX_free(scratch)
    }

    /// Of the prefix and `rest`, into the first 32 bytes of `room`.
    public func digest(_ rest: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) {
        precondition(room.count >= Int(SHA256_DIGEST_LENGTH), "A SHA-256 has 32 bytes.")
        let status =
            EVP_MD_CTX_copy_ex(scratch, beginning) & EVP_DigestUpdate(scratch, rest.orEmpty, rest.count)
            & EVP_DigestFinal_ex(scratch, room.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
        precondition(status == 1, "libcrypto failed to digest.")
    }
}

/// An HMAC-SHA256 (RFC 2104) over pieces: a body is signed where it lies.
public struct HMACSHA256: ~Copyable {
    private let context: OpaquePointer

    /// `key`: any length; RFC 2104 hashes what is longer than 64 bytes.
    public init(key: [UInt8]) {
        guard let context = key.withUnsafeBytes({ sluice_hmac_sha256($0.baseAddress, $0.count) }) else {
            preconditionFailure("libcrypto has no HMAC-SHA256.")
        }
        self.context = context
    }

    deinit { EVP_MAC_CTX_free(context) }

    public func update(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        let status = EVP_MAC_update(context, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), bytes.count)
        precondition(status == 1, "libcrypto failed to digest.")
    }

    public func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The 32 bytes of the code.
    public consuming func finalize() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 32) { room, count in
            let status = EVP_MAC_final(context, room.baseAddress, &count, 32)
            precondition(status == 1, "libcrypto failed to finish a digest.")
        }
    }
}

/// Whether two secrets are equal, in a time that depends on their lengths alone.
public func constantTimeEquals(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0
}

/// `count` bytes from libcrypto's generator, good for keys.
public func randomBytes(_ count: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: count) { room, filled in
        precondition(RAND_bytes(room.baseAddress, Int32(count)) == 1, "libcrypto has no entropy.")
        filled = count
    }
}

extension UnsafeRawBufferPointer {
    /// libcrypto wants an address even where there is nothing to read.
    fileprivate var orEmpty: UnsafeRawPointer {
        baseAddress ?? UnsafeRawPointer(bitPattern: 1).unsafelyUnwrapped
    }
}
