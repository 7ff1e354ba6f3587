// Look-ups that are slow, down or wrong, with a resolver that the test scripts.

import Glibc
import Net
import Testing

@testable import Webhook

@Suite(.serialized) struct ResolvingTests {
    @Test func `a name is resolved once, however many want it`() throws {
        let bench = try Bench()
        let results = try bench.postAll((0..<20).map { _ in bench.request("here.test") })
        #expect(results.allSatisfy { $0.answer?.status == 200 })
        #expect(bench.client.counters.lookups == 1)
        #expect(bench.receiver.received.count == 20)
    }

    @Test func `only so many names are looked up at once, and all get their turn`() throws {
        var limits = WebhookLimits()
        limits.maxLookups = 3
        let bench = try Bench(limits: limits)
        ScriptedResolver.hold(true)
        defer { ScriptedResolver.hold(false) }
        bench.begin((0..<12).map { bench.request("slow\($0 / 2).test") })
        try #require(bench.wait { ScriptedResolver.under == 3 })
        ScriptedResolver.hold(false)
        try #require(bench.wait { bench.finished == 12 })
        #expect(bench.take().allSatisfy { $0.answer?.status == 200 })
        #expect(bench.client.counters.mostLookups == 3)
        #expect(bench.client.counters.lookups == 6)
    }

    @Test func `a resolver that hangs holds nobody up, and is our fault`() throws {
        var times: [Duration] = []
        for _ in 0..<6 where times.allSatisfy({ $0 >= .seconds(1) }) {  // A busy machine may take longer.
            let bench = try Bench()
            ScriptedResolver.hold(true)
            defer { ScriptedResolver.hold(false) }
            var request = bench.request("slow.test")
            request.timeout = .milliseconds(50)
            let start = bench.loop.clock.now
            // Without QUICK_EXIT libcurl joins the resolver's thread in here.
            let result = try bench.post(request)
            #expect(result.failure == .resolverDown)
            times.append(bench.loop.clock.now - start)
        }
        #expect(times.contains { $0 < .seconds(1) }, "the loop stood still: \(times)")
    }

    @Test func `who waits for another's look-up shares its failure`() throws {
        let bench = try Bench()
        let results = try bench.postAll((0..<5).map { _ in bench.request("nowhere.test") })
        #expect(results.allSatisfy { $0.failure == .hostNotFound })
        #expect(bench.client.counters.lookups == 1)
    }

    @Test func `a resolver that is down is told from a name that does not exist`() throws {
        let bench = try Bench()
        #expect(try bench.post(bench.request("down.test")).failure == .resolverDown)
        #expect(try bench.post(bench.request("nowhere.test")).failure == .hostNotFound)
    }

    @Test(arguments: [
        (EAI_NONAME, Int32(0), WebhookFailure.hostNotFound), (-5, 0, .hostNotFound), (EAI_AGAIN, 0, .resolverDown),
        (EAI_FAIL, 0, .resolverDown), (0, 0, .resolverDown), (EAI_MEMORY, 0, .outOfMemory),
        (EAI_SYSTEM, EMFILE, .noDescriptors), (EAI_SYSTEM, ECONNREFUSED, .resolverDown),
    ]) func `getaddrinfo's codes tell whose fault it is`(_ code: Int32, _ error: Int32, _ failure: WebhookFailure) {
        #expect(ResolverProbe.failure(code: code, errno: error) == failure)
    }

    @Test(arguments: [
        ("http://Example.COM/", "Example.COM:80"), ("https://a.b/", "a.b:443"), ("http://a:8080/x", "a:8080"),
        ("http://1.2.3.4/", nil), ("http://2130706433/", nil), ("http://[::1]:80/", nil),
    ] as [(String, String?)]) func `a URL names what must be resolved`(_ url: String, _ name: String?) {
        #expect(RequestRules.nameToResolve(url)?.lowercased() == name?.lowercased())
    }
}
