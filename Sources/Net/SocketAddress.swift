// An IPv4, IPv6 or Unix address, and its text.

import CLinux
import Glibc

public struct SocketAddress: Sendable, Equatable, CustomStringConvertible {
    private var storage = sockaddr_storage()
    private var size: socklen_t = 0

    public var family: Int32 { Int32(storage.ss_family) }

    /// `host` is an IPv4 or IPv6 literal, without brackets. Nil for anything else: names are resolved by `resolve`.
    public init?(literal host: String, port: UInt16) {
        var v4 = sockaddr_in()
        var v6 = sockaddr_in6()
        if inet_pton(AF_INET, host, &v4.sin_addr) == 1 {
            v4.sin_family = sa_family_t(AF_INET)
            v4.sin_port = port.bigEndian
            self.init(copying: v4)
        } else if inet_pton(AF_INET6, host, &v6.sin6_addr) == 1 {
            v6.sin6_family = sa_family_t(AF_INET6)
            v6.sin6_port = port.bigEndian
            self.init(copying: v6)
        } else {
            return nil
        }
    }

    /// A Unix socket. Nil when `path` is 108 bytes or longer: the kernel has no room for it.
    public init?(unixPath path: String) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return nil }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        self.init(copying: address)
    }

    /// The local or the peer's end of a socket.
    public init?(of descriptor: Int32, peer: Bool) {
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                peer ? getpeername(descriptor, $0, &size) : getsockname(descriptor, $0, &size)
            }
        }
        guard status == 0 else { return nil }
        self.size = size
    }

    private init<Address>(copying address: Address) {
        size = socklen_t(MemoryLayout<Address>.size)
        withUnsafeMutableBytes(of: &storage) { target in
            withUnsafeBytes(of: address) { target.copyMemory(from: $0) }
        }
    }

    /// Blocks while it asks the resolver: call it on a helper thread, never on a loop.
    public static func resolve(_ host: String, port: UInt16) throws(ResolveError) -> [SocketAddress] {
        if let literal = SocketAddress(literal: host, port: port) { return [literal] }
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else { throw ResolveError(host: host, reason: String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var found: [SocketAddress] = []
        var entry = list
        while let info = entry?.pointee {
            var address = SocketAddress()
            address.size = info.ai_addrlen
            withUnsafeMutableBytes(of: &address.storage) {
                $0.copyMemory(from: UnsafeRawBufferPointer(start: info.ai_addr, count: Int(info.ai_addrlen)))
            }
            found.append(address)
            entry = info.ai_next
        }
        return found
    }

    private init() {}

    func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
        withUnsafePointer(to: storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) }
        }
    }

    public var port: UInt16 {
        switch family {
        case AF_INET: read(sockaddr_in.self).sin_port.bigEndian
        case AF_INET6: read(sockaddr_in6.self).sin6_port.bigEndian
        default: 0
        }
    }

    /// The address without its port, as text: `127.0.0.1`, `::1`, or a Unix path.
    public var host: String {
        var text = [CChar](repeating: 0, count: 64)
        switch family {
        case AF_INET:
            var address = read(sockaddr_in.self).sin_addr
            inet_ntop(AF_INET, &address, &text, socklen_t(text.count))
        case AF_INET6:
            var address = read(sockaddr_in6.self).sin6_addr
            inet_ntop(AF_INET6, &address, &text, socklen_t(text.count))
        default:
            return withUnsafeBytes(of: read(sockaddr_un.self).sun_path) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
        }
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// True for 127.0.0.0/8, ::1 and Unix sockets: only this machine can reach them.
    public var isLoopback: Bool {
        switch family {
        case AF_INET: UInt32(bigEndian: read(sockaddr_in.self).sin_addr.s_addr) >> 24 == 127
        case AF_INET6: host == "::1"
        default: true
        }
    }

    public var description: String {
        switch family {
        case AF_INET: "\(host):\(port)"
        case AF_INET6: "[\(host)]:\(port)"
        default: host
        }
    }

    public static func == (a: SocketAddress, b: SocketAddress) -> Bool {
        a.family == b.family && a.host == b.host && a.port == b.port
    }

    func read<Address>(_: Address.Type) -> Address {
        withUnsafeBytes(of: storage) { $0.loadUnaligned(as: Address.self) }
    }
}

/// The resolver's answer that a host's name has no address now.
public struct ResolveError: Error, Equatable {
    public let host: String
    /// The resolver's own words, e.g. "Name or service not known".
    public let reason: String
}
