// Where a webhook may connect: checked on addresses, after resolution, for every connection and every
// use of one. A name says nothing: it can resolve to anything, and to something else a second later.

public import Glibc

/// Refuses every address that is not plain public unicast, unless a network is allowed by name.
public struct TargetGuard: Sendable, Equatable {
    public let allowed: [IPNetwork]

    public init(allowing allowed: [IPNetwork] = []) { self.allowed = allowed }

    /// Why an address is refused.
    public struct Refusal: Error, Equatable, Sendable, CustomStringConvertible {
        /// In presentation form.
        public let address: String
        /// Nil: it is no IP address at all.
        public let kind: AddressClass?

        public var description: String {
            guard let kind else { return "\(address) is not an IP address" }
            return "\(address) is refused: \(kind.rawValue) address"
        }
    }

    /// Nil when `address` may be connected to. Anything but IPv4 and IPv6 is refused.
    public func check(_ address: UnsafePointer<sockaddr>) -> Refusal? {
        guard let address = IPAddress(address) else { return Refusal(address: "a non-IP socket", kind: nil) }
        return check(address)
    }

    /// Nil when the address in presentation form (no brackets, no zone) may be connected to.
    public func check(literal text: String) -> Refusal? {
        guard let address = IPAddress(text) else { return Refusal(address: text, kind: nil) }
        return check(address)
    }

    public func check(_ address: IPAddress) -> Refusal? {
        guard let kind = AddressClass(of: address) else { return nil }
        // The kernel takes a v4-mapped address to the IPv4 one: who allowed that, allowed this.
        let also = address.mapped
        for network in allowed where network.contains(address) || also.map(network.contains) == true { return nil }
        return Refusal(address: address.description, kind: kind)
    }
}
