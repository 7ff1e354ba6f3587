// What libcurl does unless it is told otherwise (SINKS.md §5): each of these fails where its cure is taken out. (Of the
// timer, where the deadline is forgotten after an early call. libcurl 7.88.1 tells it anew after each; older ones don't.)

import Glibc
import Net
import Synchronization
import Testing

@testable import Webhook

@Suite(.serialized) struct CureTests {
    /// Runs ahead of the clock that libcurl reads.
    private final class FastClock: LoopClock {
        private let ahead = Mutex<Duration>(.zero)
        var now: Duration { MonotonicClock().now + ahead.withLock { $0 } }
        var wallTime: Duration { MonotonicClock().wallTime }
        func skip(_ duration: Duration) { ahead.withLock { $0 += duration } }
    }

    @Test func `libcurl, called before its deadline, says nothing, and is called again`() throws {
        var isEarly = false
        for _ in 0..<6 where !isEarly {
            let clock = FastClock()
            let bench = try Bench(clock: clock)
            bench.receiver.script = { _ in [] }
            var request = bench.request()
            request.timeout = .milliseconds(400)
            let begin = MonotonicClock().now
            bench.begin([request])
            try #require(bench.wait { bench.receiver.received.count == 1 || bench.finished == 1 })
            clock.skip(.milliseconds(500))
            bench.loop.runUntilIdle()
            let finished = bench.finished
            isEarly = MonotonicClock().now - begin < .milliseconds(400)  // By the clock that libcurl reads.
            #expect(finished == 0 || !isEarly)
            try #require(bench.wait { bench.finished == 1 }, "the timer was forgotten")
            #expect(bench.take().first?.failure == .timeout)
        }
        #expect(isEarly)
    }

    @Test func `a connection idle for longer than most receivers keep theirs is not used again`() throws {
        let bench = try Bench()
        try ScriptedClock.withMovableTime { (pass: (Int) -> Void) throws in
            #expect(try bench.post(bench.request()).newConnection)
            pass(40)
            #expect(try bench.post(bench.request()).newConnection == false)
            pass(50)
            #expect(try bench.post(bench.request()).newConnection)
        }
    }

    @Test func `a connection that is busy all the time is left after its lifetime`() throws {
        let bench = try Bench()
        try ScriptedClock.withMovableTime { (pass: (Int) -> Void) throws in
            #expect(try bench.post(bench.request()).newConnection)
            for _ in 0..<7 {  // 280 of its 300 seconds.
                pass(40)
                #expect(try bench.post(bench.request()).newConnection == false)
            }
            pass(40)
            #expect(try bench.post(bench.request()).newConnection)
        }
    }

    /// How old a name is, libcurl tells by `time`, which nobody moves here.
    @Test func `libcurl goes through the names that it knows once a second, not with every exchange`() throws {
        let bench = try Bench()
        try ScriptedClock.withMovableTime { (pass: (Int) -> Void) throws in
            var most = 1
            for _ in 0..<3 {
                let began = bench.loop.clock.now
                for _ in 0..<40 { #expect(try bench.post(bench.request("here.test")).answer?.status == 200) }
                most += Int((bench.loop.clock.now - began).components.seconds)
                #expect(bench.client.counters.forgettings <= most)
                pass(2)
                #expect(try bench.post(bench.request("here.test")).answer?.status == 200)
                most += 1
            }
            #expect(bench.client.counters.forgettings >= 4)
        }
    }

    @Test(arguments: ["ftp", "telnet", "gopher", "dict"]) func `libcurl itself speaks nothing but HTTP`(_ scheme: String) throws {
        let bench = try Bench()
        let endpoint = WebhookEndpoint(unchecked: "\(scheme)://127.0.0.1:\(bench.receiver.port)/x")
        #expect(try bench.post(WebhookRequest(to: endpoint, body: [])).failure == .malformedRequest)
        #expect(bench.receiver.accepted == 0)
    }

    @Test func `what one request had is not sent with the next, which may have less of everything`() throws {
        let bench = try Bench()
        let endpoint = WebhookEndpoint(url: bench.url(), headers: [("X-Fixed", "1")])
        for (fields, body) in [(20, 40_000), (0, 0), (3, 7), (1, 100_000), (2, 1)] {
            var request = WebhookRequest(to: endpoint, body: [UInt8](repeating: UInt8(ascii: "b"), count: body))
            for number in 0..<fields { request.fields.append("X-\(number)", number % 2 == 0 ? "value \(number)" : "") }
            #expect(try bench.post(request).answer?.status == 200)
            let received = try #require(bench.receiver.received.last)
            let lines = received.head.split(separator: "\r\n").filter { $0.hasPrefix("X-") }
            let expected = (0..<fields).map { $0 % 2 == 0 ? "X-\($0): value \($0)" : "X-\($0):" } + ["X-Fixed: 1"]
            #expect(lines.map(String.init) == expected)
            #expect(received.body == request.body)
        }
        #expect(bench.receiver.accepted == 1)
    }

    @Test func `a handle goes from one endpoint to another with nothing of the first`() throws {
        let bench = try Bench()
        for round in 0..<3 {
            var first = bench.request()
            first.headers = [("X-First", "\(round)")]
            first.method = .put
            first.tls = WebhookTLS(authorityFile: "/nonexistent", verifies: false)
            #expect(try bench.post(first).answer?.status == 200)
            #expect(try bench.post(bench.request(body: "two")).answer?.status == 200)
            let head = try #require(bench.receiver.received.last?.head)
            #expect(head.hasPrefix("POST ") && !head.contains("X-First"))
            #expect(bench.receiver.received.last?.body == Array("two".utf8))
        }
    }

    @Test(arguments: [("X-A", "b\r\nX-C: d"), ("X-A", "b\0c"), ("X A", "b"), ("host", "b")])
    func `a request's own header that would break it is never sent`(_ name: String, _ value: String) throws {
        let bench = try Bench()
        var request = bench.request()
        request.fields.append(name, value)
        #expect(try bench.post(request).failure == .malformedRequest)
        #expect(bench.receiver.accepted == 0)
    }
}
