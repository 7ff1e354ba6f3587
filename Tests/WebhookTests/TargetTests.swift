// Where a webhook may go: address classes, networks, and their disguises.

import Glibc
import Testing

@testable import Webhook

@Suite(.serialized) struct TargetTests {
    @Test(arguments: [
        ("0.0.0.0", AddressClass.unspecified), ("10.1.2.3", .private), ("100.64.0.1", .sharedNAT),
        ("100.127.255.255", .sharedNAT), ("127.0.0.1", .loopback), ("127.255.255.254", .loopback),
        ("169.254.169.254", .linkLocal), ("172.16.0.1", .private), ("172.31.255.255", .private),
        ("192.0.0.8", .protocolAssignment), ("192.0.2.1", .documentation), ("192.88.99.1", .sixToFour),
        ("192.168.1.1", .private), ("198.18.0.1", .benchmarking), ("198.19.255.255", .benchmarking),
        ("198.51.100.7", .documentation), ("203.0.113.7", .documentation), ("224.0.0.1", .multicast),
        ("239.255.255.255", .multicast), ("240.0.0.1", .reserved), ("255.255.255.255", .broadcast),
        ("::", .unspecified), ("::1", .loopback), ("::ffff:8.8.8.8", .v4Mapped), ("::ffff:7f00:1", .v4Mapped),
        ("::ffff:0:127.0.0.1", .v4Translated), ("::127.0.0.1", .v4Compatible), ("64:ff9b::8.8.8.8", .nat64),
        ("64:ff9b:1::1", .nat64), ("100::1", .discard), ("2001::1", .teredo), ("2001:2::1", .benchmarking),
        ("2001:db8::1", .documentation), ("2001:10::1", .protocolAssignment), ("2002:7f00:1::", .sixToFour),
        ("3fff::1", .documentation), ("fc00::1", .uniqueLocal), ("fdff::1", .uniqueLocal), ("fe80::1", .linkLocal),
        ("febf::1", .linkLocal), ("fec0::1", .siteLocal), ("ff02::1", .multicast), ("4000::1", .reserved),
        ("1::1", .reserved),
    ]) func `an address that is not public unicast is refused by its kind`(_ text: String, _ kind: AddressClass) throws {
        let refusal = try #require(TargetGuard().check(literal: text))
        #expect(refusal.kind == kind)
    }

    @Test(arguments: [
        "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
        "128.0.0.1", "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
        "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111", "2001:4860:4860::8888", "2a00::1",
    ]) func `a public address is not`(_ text: String) {
        #expect(TargetGuard().check(literal: text) == nil)
    }

    @Test(arguments: ["", "localhost", "127.1", "0x7f.1", "010.0.0.1", "[::1]", "fe80::1%eth0", "1.2.3.4 "])
    func `what is no address in presentation form is refused`(_ text: String) {
        #expect(TargetGuard().check(literal: text)?.kind == .some(nil))
    }

    @Test func `a named network may be reached, its neighbours may not`() throws {
        let target = TargetGuard(allowing: [try IPNetwork(parsing: "10.1.0.0/16"), try IPNetwork(parsing: "fd00::/8")])
        #expect(target.check(literal: "10.1.255.255") == nil)
        #expect(target.check(literal: "10.2.0.0")?.kind == .private)
        #expect(target.check(literal: "::ffff:10.1.0.1") == nil)
        #expect(target.check(literal: "::ffff:10.2.0.1")?.kind == .v4Mapped)
        #expect(target.check(literal: "fd12::1") == nil)
        #expect(target.check(literal: "fc00::1")?.kind == .uniqueLocal)
    }

    @Test(arguments: ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "fd00::/8", "::1/128"])
    func `a network reads back as it was written`(_ text: String) throws {
        #expect(try IPNetwork(parsing: text).description == text)
    }

    @Test(arguments: [
        ("10.0.0.0", IPNetworkError.noPrefix("10.0.0.0")), ("10.0.0/8", .notAnAddress("10.0.0/8")),
        ("10.0.0.0/33", .badPrefix("10.0.0.0/33", width: 32)), ("10.0.0.0/", .badPrefix("10.0.0.0/", width: 32)),
        ("10.0.0.0/+8", .badPrefix("10.0.0.0/+8", width: 32)), ("10.0.0.0/08", .badPrefix("10.0.0.0/08", width: 32)),
        ("::/129", .badPrefix("::/129", width: 128)), ("10.0.0.0/8/8", .badPrefix("10.0.0.0/8/8", width: 32)),
        ("10.1.2.3/8", .hostBits("10.1.2.3/8", meant: "10.0.0.0/8")),
        ("fd00::1/8", .hostBits("fd00::1/8", meant: "fd00::/8")),
    ]) func `what is no network is refused with a reason`(_ text: String, _ reason: IPNetworkError) {
        #expect(throws: reason) { try IPNetwork(parsing: text) }
    }

    @Test func `a network lies inside a wider one`() throws {
        let wide = try IPNetwork(parsing: "10.0.0.0/8")
        #expect(wide.contains(try IPNetwork(parsing: "10.3.0.0/16")))
        #expect(!wide.contains(try IPNetwork(parsing: "0.0.0.0/0")))
        #expect(!wide.contains(try IPNetwork(parsing: "::/0")))
    }

    @Test(arguments: [
        "127.0.0.1", "localhost", "2130706433", "0x7f.1", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "LOCALHOST", "inner.test",
    ]) func `no spelling of this machine gets past the guard`(_ host: String) throws {
        let bench = try Bench()
        var request = bench.request(host)
        request.target = TargetGuard()
        let result = try bench.post(request)
        #expect(result.failure == .refusedTarget, "\(result.message)")
        #expect(result.message.contains("is refused") == true)
        #expect(bench.receiver.accepted == 0)
    }

    @Test func `an allowed network is reached through the guard`() throws {
        let bench = try Bench()
        var request = bench.request()
        request.target = TargetGuard(allowing: [try IPNetwork(parsing: "127.0.0.0/8")])
        #expect(try bench.post(request).answer?.status == 200)
        #expect(try bench.post(request).newConnection == false)
    }

    @Test func `a connection made without a guard is not for one with`() throws {
        let bench = try Bench()
        #expect(try bench.post(bench.request()).answer?.status == 200)
        var request = bench.request()
        request.target = TargetGuard()
        let result = try bench.post(request)
        #expect(result.failure == .refusedTarget)
        #expect(bench.receiver.received.count == 1)
    }
}
