// The special-purpose addresses (RFC 6890 and its IANA registries): none is a place for a webhook.

/// What an address is, when it is not plain public unicast.
public enum AddressClass: String, Sendable, CaseIterable {
    case unspecified, loopback
    case linkLocal = "link-local"
    case `private`
    case uniqueLocal = "unique local"
    case siteLocal = "site-local"
    case sharedNAT = "carrier NAT"
    case multicast, broadcast, documentation, benchmarking
    case protocolAssignment = "protocol assignment"
    case v4Mapped = "IPv4-mapped"
    case v4Compatible = "IPv4-compatible"
    case v4Translated = "IPv4-translated"
    case nat64 = "NAT64"
    case sixToFour = "6to4"
    case teredo = "Teredo"
    case discard = "discard-only"
    case reserved

    /// Nil for public unicast.
    init?(of address: IPAddress) {
        if address.isV4 {
            for (network, kind) in AddressClass.v4 where network.contains(address) {
                self = kind
                return
            }
            return nil
        }
        for (network, kind) in AddressClass.v6 where network.contains(address) {
            self = kind
            return
        }
        // RFC 4291 §2.4: global unicast is given out of 2000::/3 alone.
        guard address.bits >> 125 != 1 else { return nil }
        self = .reserved
    }

    /// The first that matches counts: the narrower stand before the wider.
    private static let v4: [(IPNetwork, AddressClass)] = table([
        ("0.0.0.0/8", .unspecified),          // RFC 791 §3.2; Linux takes 0.0.0.0 to itself.
        ("10.0.0.0/8", .private),             // RFC 1918
        ("100.64.0.0/10", .sharedNAT),        // RFC 6598
        ("127.0.0.0/8", .loopback),           // RFC 1122 §3.2.1.3
        ("169.254.0.0/16", .linkLocal),       // RFC 3927; the clouds' metadata services.
        ("172.16.0.0/12", .private),          // RFC 1918
        ("192.0.0.0/24", .protocolAssignment),  // RFC 6890 §2.1
        ("192.0.2.0/24", .documentation),     // RFC 5737
        ("192.88.99.0/24", .sixToFour),       // RFC 7526: the old relays.
        ("192.168.0.0/16", .private),         // RFC 1918
        ("198.18.0.0/15", .benchmarking),     // RFC 2544
        ("198.51.100.0/24", .documentation),  // RFC 5737
        ("203.0.113.0/24", .documentation),   // RFC 5737
        ("224.0.0.0/4", .multicast),          // RFC 5771
        ("255.255.255.255/32", .broadcast),   // RFC 919 §7
        ("240.0.0.0/4", .reserved),           // RFC 1112 §4
    ])

    private static let v6: [(IPNetwork, AddressClass)] = table([
        ("::/128", .unspecified),             // RFC 4291 §2.5.2
        ("::1/128", .loopback),               // RFC 4291 §2.5.3
        ("::ffff:0:0/96", .v4Mapped),         // RFC 4291 §2.5.5.2
        ("::ffff:0:0:0/96", .v4Translated),   // RFC 2765 §2.1
        ("::/96", .v4Compatible),             // RFC 4291 §2.5.5.1
        ("64:ff9b::/96", .nat64),             // RFC 6052 §2.1
        ("64:ff9b:1::/48", .nat64),           // RFC 8215
        ("100::/64", .discard),               // RFC 6666
        ("2001::/32", .teredo),               // RFC 4380: an IPv4 address inside.
        ("2001:2::/48", .benchmarking),       // RFC 5180
        ("2001:db8::/32", .documentation),    // RFC 3849
        ("2001::/23", .protocolAssignment),   // RFC 2928
        ("2002::/16", .sixToFour),            // RFC 3056: an IPv4 address inside.
        ("3fff::/20", .documentation),        // RFC 9637
        ("fc00::/7", .uniqueLocal),           // RFC 4193
        ("fe80::/10", .linkLocal),            // RFC 4291 §2.5.6
        ("fec0::/10", .siteLocal),            // RFC 3879
        ("ff00::/8", .multicast),             // RFC 4291 §2.7
    ])

    private static func table(_ rows: [(String, AddressClass)]) -> [(IPNetwork, AddressClass)] {
        rows.map { text, kind in
            do throws(IPNetworkError) {
                return (try IPNetwork(parsing: text), kind)
            } catch {
                preconditionFailure("The table of special addresses: \(error)")
            }
        }
    }
}
