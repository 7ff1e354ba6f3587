// Which addresses are one client, and which are two.

import Net
import Testing

struct ClientAddressTests {
    private func client(_ host: String, _ port: UInt16 = 1) -> ClientAddress? { SocketAddress(literal: host, port: port).map { ClientAddress($0) } }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("192.0.2.1", "::ffff:192.0.2.1"), ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"), ("::1", "::1"),
        ("::ffff:0:0", "0.0.0.0"),
    ]) func `one client, from whatever port`(first: String, second: String) {
        #expect(client(first, 1) == client(second, 2))
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.2"), ("2001:db8:1:2::1", "2001:db8:1:3::1"), ("fe80::1", "fe80::2"), ("::1", "::2"), ("::1", "127.0.0.1"),
        ("::", "0.0.0.0"),
    ]) func `two clients`(first: String, second: String) {
        #expect(client(first) != client(second))
    }

    @Test func `it says what it counts`() throws {
        for (host, text) in [
            ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::1", "2001:db8:1:2::/64"),
            ("fe80::1", "fe80::1"), ("::1", "::1"),
        ] { #expect(client(host)?.description == text) }
        let local = try #require(SocketAddress(unixPath: "/tmp/a"))
        #expect(ClientAddress(local) == ClientAddress(try #require(SocketAddress(unixPath: "/tmp/b"))))
        #expect(ClientAddress(local).description == "this machine")
    }
}
