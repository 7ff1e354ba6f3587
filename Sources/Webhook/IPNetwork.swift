// IPv4 and IPv6 addresses as numbers, and networks of them.

public import Glibc

public struct IPAddress: Sendable, Equatable, CustomStringConvertible {
    public let isV4: Bool
    /// Host order; an IPv4 address lies in the low 32 bits.
    public let bits: UInt128

    init(isV4: Bool, bits: UInt128) {
        self.isV4 = isV4
        self.bits = bits
    }

    /// Presentation form, as inet_pton(3) takes it: no octal or hexadecimal disguise, no brackets, no zone.
    public init?(_ text: String) {
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, text, &v4) == 1 {
            self.init(isV4: true, bits: UInt128(UInt32(bigEndian: v4.s_addr)))
        } else if inet_pton(AF_INET6, text, &v6) == 1 {
            self.init(v6)
        } else {
            return nil
        }
    }

    /// Nil for families other than AF_INET and AF_INET6.
    public init?(_ address: UnsafePointer<sockaddr>) {
        let raw = UnsafeRawPointer(address)
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            let v4 = raw.loadUnaligned(as: sockaddr_in.self).sin_addr
            self.init(isV4: true, bits: UInt128(UInt32(bigEndian: v4.s_addr)))
        case AF_INET6:
            self.init(raw.loadUnaligned(as: sockaddr_in6.self).sin6_addr)
        default:
            return nil
        }
    }

    private init(_ address: in6_addr) {
        self.init(isV4: false, bits: withUnsafeBytes(of: address) { $0.reduce(0) { $0 << 8 | UInt128($1) } })
    }

    /// The IPv4 address inside `::ffff:0:0/96` (RFC 4291 §2.5.5.2); nil for all others.
    var mapped: IPAddress? {
        guard !isV4, bits >> 32 == 0xFFFF else { return nil }
        return IPAddress(isV4: true, bits: bits & 0xFFFF_FFFF)
    }

    public var description: String {
        var text = [CChar](repeating: 0, count: 64)
        if isV4 {
            var address = in_addr(s_addr: UInt32(truncatingIfNeeded: bits).bigEndian)
            inet_ntop(AF_INET, &address, &text, socklen_t(text.count))
        } else {
            var address = bits.bigEndian
            inet_ntop(AF_INET6, &address, &text, socklen_t(text.count))
        }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }
}

/// A network in CIDR notation (RFC 4632 §3.1).
public struct IPNetwork: Sendable, Equatable, CustomStringConvertible {
    public let base: IPAddress
    public let prefix: Int

    /// `10.0.0.0/8`, `fd00::/8`. The length is required, and the bits after it must be zero: what reads like
    /// one address must not allow a network.
    public init(parsing text: String) throws(IPNetworkError) {
        guard let slash = text.firstIndex(of: "/") else { throw .noPrefix(text) }
        guard let base = IPAddress(String(text[..<slash])) else { throw .notAnAddress(text) }
        let digits = text[text.index(after: slash)...].utf8
        let width = base.isV4 ? 32 : 128
        let isNumber = (1...3).contains(digits.count) && digits.allSatisfy { (0x30...0x39).contains($0) }
            && (digits.count == 1 || digits.first != 0x30)
        guard isNumber, let prefix = Int(Substring(digits)), prefix <= width else { throw .badPrefix(text, width: width) }
        self.init(base: base, prefix: prefix)
        guard base.bits & ~mask == 0 else {
            let network = IPAddress(isV4: base.isV4, bits: base.bits & mask)
            throw .hostBits(text, meant: "\(network)/\(prefix)")
        }
    }

    init(base: IPAddress, prefix: Int) {
        self.base = base
        self.prefix = prefix
    }

    /// An IPv4 network holds no IPv6 address, v4-mapped ones included, and the other way round.
    public func contains(_ address: IPAddress) -> Bool {
        address.isV4 == base.isV4 && address.bits & mask == base.bits
    }

    /// True when every address of `other` is in this one.
    public func contains(_ other: IPNetwork) -> Bool {
        other.prefix >= prefix && contains(other.base)
    }

    private var mask: UInt128 {
        let width = base.isV4 ? 32 : 128
        let all: UInt128 = base.isV4 ? 0xFFFF_FFFF : .max
        return prefix == 0 ? 0 : all & ~((UInt128(1) << UInt128(width - prefix)) &- 1)
    }

    public var description: String { "\(base)/\(prefix)" }
}

/// Why a text is no network. The description is a sentence for whoever wrote it.
public enum IPNetworkError: Error, Equatable, CustomStringConvertible {
    case noPrefix(String)
    case notAnAddress(String)
    case badPrefix(String, width: Int)
    case hostBits(String, meant: String)

    public var description: String {
        switch self {
        case .noPrefix(let text):
            "\"\(text)\" has no prefix length; one address is written \"\(text)/\(text.contains(":") ? 128 : 32)\"."
        case .notAnAddress(let text): "\"\(text)\" does not begin with an IPv4 or IPv6 address."
        case .badPrefix(let text, let width): "\"\(text)\" needs a prefix length from 0 to \(width)."
        case .hostBits(let text, let meant): "\"\(text)\" has bits set after its prefix; the network is \"\(meant)\"."
        }
    }
}
