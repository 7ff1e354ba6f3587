// Who a connection comes from, as far as counting clients by their addresses goes.
//
// IPv6 counts by /64: that is what one host is given (RFC 7421), and it may take any address in it. Link-local
// addresses share one /64 and belong to a host each, so they count whole. An IPv4 address is itself, also where a
// dual-stack socket tells it as `::ffff:192.0.2.1`. Whoever comes over a Unix socket is on this machine: one client.

import Glibc

public struct ClientAddress: Hashable, Sendable, CustomStringConvertible {
    private let bytes: [UInt8]
    private let isNetwork: Bool

    public init(_ address: SocketAddress) {
        var (all, isNetwork) = (address.addressBytes, false)
        if all.count == 16 {
            let isMapped = all[..<10].allSatisfy { $0 == 0 } && all[10] == 0xFF && all[11] == 0xFF
            let isLinkLocal = all[0] == 0xFE && all[1] & 0xC0 == 0x80
            let isLoopback = all[..<15].allSatisfy { $0 == 0 } && all[15] == 1
            if isMapped {
                all.removeFirst(12)
            } else if !isLinkLocal && !isLoopback {
                (all, isNetwork) = (Array(all[..<8]) + [UInt8](repeating: 0, count: 8), true)
            }
        }
        bytes = all
        self.isNetwork = isNetwork
    }

    /// As people write it: `192.0.2.1`, `2001:db8:1:2::/64`.
    public var description: String {
        guard !bytes.isEmpty else { return "this machine" }
        var text = [CChar](repeating: 0, count: 64)
        inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count))
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) + (isNetwork ? "/64" : "")
    }
}

extension SocketAddress {
    /// The address without its port, in network order: 4 or 16 bytes, none of a Unix socket's.
    fileprivate var addressBytes: [UInt8] {
        switch family {
        case AF_INET: withUnsafeBytes(of: read(sockaddr_in.self).sin_addr) { Array($0) }
        case AF_INET6: withUnsafeBytes(of: read(sockaddr_in6.self).sin6_addr) { Array($0) }
        default: []
        }
    }
}
