// Exchanges with a receiver that does what the test says: what each comes to.

import Glibc
import Net
import Testing

@testable import Webhook

@Suite(.serialized) struct ExchangeTests {
    @Test func `a request arrives byte for byte, and its answer comes back`() throws {
        let bench = try Bench()
        var request = bench.request(body: "hello")
        request.headers = [("webhook-id", "msg_1"), ("X-Empty", ""), ("Content-Type", "text/plain")]
        let result = try bench.post(request)
        #expect(result.answer == WebhookAnswer(status: 200, retryAfter: nil, body: Array("hi".utf8), bodyTruncated: false))
        #expect(result.newConnection)
        let received = try #require(bench.receiver.received.first)
        #expect(received.body == Array("hello".utf8))
        let lines = received.head.split(separator: "\r\n").sorted()
        #expect(lines == [
            "Content-Length: 5", "Content-Type: text/plain", "Host: 127.0.0.1:\(bench.receiver.port)",
            "POST /hook HTTP/1.1", "X-Empty:", "webhook-id: msg_1",
        ])
    }

    @Test(arguments: [WebhookRequest.Method.put, .patch]) func `the other methods carry bodies too`(
        _ method: WebhookRequest.Method
    ) throws {
        let bench = try Bench()
        var request = bench.request(body: "b")
        request.method = method
        #expect(try bench.post(request).answer?.status == 200)
        #expect(try bench.post(bench.request()).answer?.status == 200)
        #expect(bench.receiver.received.map { $0.head.prefix(while: { $0 != " " }) } == [method.rawValue[...], "POST"])
        #expect(bench.receiver.received.first?.body == Array("b".utf8))
    }

    @Test func `an empty body is a body of no bytes`() throws {
        let bench = try Bench()
        #expect(try bench.post(bench.request(body: "")).answer?.status == 200)
        #expect(bench.receiver.received.first?.head.contains("Content-Length: 0\r\n") == true)
    }

    @Test func `a kept connection is used again, and costs hardly an epoll_ctl`() throws {
        let bench = try Bench()
        _ = try bench.post(bench.request())
        let before = bench.client.counters.pollChanges
        for _ in 0..<50 {
            let result = try bench.post(bench.request())
            #expect(result.answer?.status == 200)
            #expect(!result.newConnection)
        }
        #expect(bench.receiver.accepted == 1)
        #expect(bench.client.counters.newConnections == 1)
        #expect(bench.client.counters.pollChanges - before <= 2)
    }

    @Test func `a connection that its peer closed while idle is not used again`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in [.send(ScriptedReceiver.ok), .close] }
        for _ in 0..<10 { #expect(try bench.post(bench.request()).answer?.status == 200) }
        #expect(bench.receiver.accepted == 10)
        #expect(bench.receiver.received.count == 10)
        #expect(bench.client.counters.openSockets <= 1)
    }

    @Test func `a body over 1 MiB goes out at once, without Expect`() throws {
        var times: [Duration] = []
        for _ in 0..<6 where times.allSatisfy({ $0 >= .milliseconds(900) }) {  // A busy machine may take longer.
            let bench = try Bench()
            let request = WebhookRequest(url: bench.url(), body: [UInt8](repeating: 0x41, count: 3 << 20))
            let result = try bench.post(request)
            #expect(result.answer?.status == 200)
            let received = try #require(bench.receiver.received.first)
            #expect(received.body == request.body)
            #expect(!received.head.lowercased().contains("expect"))
            times.append(result.duration)
        }
        #expect(times.contains { $0 < .milliseconds(900) }, "libcurl waits a second for a 100 (Continue): \(times)")
    }

    @Test func `no reply in time is a timeout`() throws {
        let bench = try Bench()
        for steps: [Step] in [[], [.send("HTTP/1.1 200 OK\r\n")], [.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nslow")]] {
            bench.receiver.script = { _ in steps }
            var request = bench.request()
            request.timeout = .milliseconds(60)
            let result = try bench.post(request)
            #expect(result.failure == .timeout)
            #expect(result.duration >= .milliseconds(55))
        }
    }

    @Test func `an endless body is given up past its bound, and still counts as the answer`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in [.send("HTTP/1.1 202 Accepted\r\n\r\n"), .endless] }
        let answer = try #require(try bench.post(bench.request()).answer)
        #expect(answer.status == 202)
        #expect(answer.body == [UInt8](repeating: UInt8(ascii: "x"), count: 4096))
        #expect(answer.bodyTruncated)
    }

    @Test func `a body is kept up to 4 KiB and read to its end`() throws {
        let bench = try Bench()
        let body = String(repeating: "y", count: 5000)
        bench.receiver.script = { _ in [.send("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + body)] }
        let answer = try #require(try bench.post(bench.request()).answer)
        #expect(answer.body.count == 4096)
        #expect(answer.bodyTruncated)
        #expect(try bench.post(bench.request()).newConnection == false)
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "HTTP/1.1 200",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Le", "", "200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
    ]) func `a reply that is cut or no HTTP is broken, whatever its status said`(_ reply: String) throws {
        let bench = try Bench()
        bench.receiver.script = { _ in [.send(reply), .close] }
        #expect(try bench.post(bench.request()).failure == .brokenReply)
    }

    @Test func `a reset is a broken reply`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in [.reset] }
        #expect(try bench.post(bench.request()).failure == .brokenReply)
    }

    @Test func `a head without end is a broken reply`() throws {
        let bench = try Bench()
        let line = "X-Filler: " + String(repeating: "z", count: 990) + "\r\n"
        bench.receiver.script = { _ in
            [.send("HTTP/1.1 200 OK\r\n" + String(repeating: line, count: 80) + "Content-Length: 0\r\n\r\n")]
        }
        let result = try bench.post(bench.request())
        #expect(result.failure == .brokenReply)
        #expect(result.message == "The reply's head is larger than 65536 bytes.")
    }

    @Test func `1xx heads without end are a broken reply too`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in
            [.send(String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 4000) + ScriptedReceiver.ok)]
        }
        #expect(try bench.post(bench.request()).failure == .brokenReply)
    }

    @Test func `a 1xx is not the answer`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in
            [.send("HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")]
        }
        let answer = try #require(try bench.post(bench.request()).answer)
        #expect(answer == WebhookAnswer(status: 204, retryAfter: nil, body: [], bodyTruncated: false))
    }

    @Test func `a redirect is an answer, never followed`() throws {
        let bench = try Bench()
        bench.receiver.script = { [unowned bench] request in
            let target = "Location: \(bench.url("127.0.0.1", "/elsewhere"))"
            return [.send("HTTP/1.1 307 Temporary Redirect\r\n\(target)\r\nContent-Length: 0\r\n\r\n")]
        }
        #expect(try bench.post(bench.request()).answer?.status == 307)
        #expect(bench.receiver.received.count == 1)
    }

    @Test func `Retry-After comes back as it was sent`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in
            [.send("HTTP/1.1 503 Busy\r\nretry-AFTER:  Wed, 21 Oct 2015 07:28:00 GMT \r\nContent-Length: 0\r\n\r\n")]
        }
        #expect(try bench.post(bench.request()).answer?.retryAfter == "Wed, 21 Oct 2015 07:28:00 GMT")
    }

    @Test func `nobody listening is a failure to connect`() throws {
        let bench = try Bench()
        let request = bench.request()
        bench.receiver.stop()
        let other = try Bench()
        var gone = request
        do {
            let socket = try ListeningSocket(binding: #require(SocketAddress(literal: "127.0.0.1", port: 0)))
            gone.url = "http://127.0.0.1:\(socket.address.port)/"
            shutdown(socket.descriptor, Int32(SHUT_RDWR))  // A child on its way to exec has a copy of it.
        }
        let result = try other.post(gone)
        #expect(result.failure == .connect)
        #expect(!result.message.isEmpty)
    }

    @Test func `https to what speaks no TLS is a TLS failure`() throws {
        let bench = try Bench()
        bench.receiver.script = { _ in [] }
        var request = bench.request()
        request.url = "https" + request.url.dropFirst(4)
        request.timeout = .milliseconds(200)
        let failure = try bench.post(request).failure
        // The receiver waits for a blank line that TLS does not send: either end may give up first.
        #expect(failure == .tls || failure == .timeout)
    }

    @Test(arguments: [
        "ftp://127.0.0.1/", "127.0.0.1/", "file:///etc/passwd", "http://user:secret@127.0.0.1/", "http://a b/", "",
        "http://", "http://127.0.0.1:99999/",
    ]) func `what is no plain web URL is never sent`(_ url: String) throws {
        let bench = try Bench()
        #expect(try bench.post(WebhookRequest(url: url, body: [])).failure == .malformedRequest)
        #expect(bench.client.counters.newConnections == 0)
    }

    @Test(arguments: [
        ("X-A", "b\r\nX-C: d"), ("X-A", "b\0c"), ("X A", "b"), ("", "b"), ("X-A:", "b"), ("host", "b"),
        ("Transfer-Encoding", "chunked"), ("content-length", "1"),
    ]) func `a header that would break the request is never sent`(_ name: String, _ value: String) throws {
        let bench = try Bench()
        var request = bench.request()
        request.headers = [(name, value)]
        #expect(try bench.post(request).failure == .malformedRequest)
        #expect(bench.receiver.accepted == 0)
    }

    @Test func `a proxy in the environment is ignored`() throws {
        let bench = try Bench()
        let proxy = try ScriptedReceiver(loop: bench.loop)
        defer { proxy.stop() }
        // Other tests of this process have clients of their own, which talk to addresses, not to names.
        setenv("no_proxy", "127.0.0.1,localhost", 1)
        setenv("http_proxy", "http://127.0.0.1:\(proxy.port)", 1)
        defer { unsetenv("http_proxy") }
        var request = bench.request()
        request.url = "http://here.test:\(bench.receiver.port)/"
        #expect(try bench.post(request).answer?.status == 200)
        #expect(bench.receiver.accepted == 1 && proxy.accepted == 0)
    }

    @Test func `more than may be in flight wait their turn, and their time does not run`() throws {
        var limits = WebhookLimits()
        limits.maxInFlight = 2
        let bench = try Bench(limits: limits)
        var seen = 0
        bench.receiver.script = { [unowned bench] _ in
            seen = max(seen, bench.client.counters.inFlight)
            return [.send(ScriptedReceiver.ok)]
        }
        let results = try bench.postAll((0..<40).map { _ in bench.request() })
        #expect(results.allSatisfy { $0.answer?.status == 200 })
        #expect(seen == 2)
        #expect(bench.receiver.accepted <= 2)
    }

    @Test func `what has waited for its turn until it is too late is not sent, and the next is`() throws {
        var limits = WebhookLimits()
        limits.maxInFlight = 1
        let bench = try Bench(limits: limits)
        bench.receiver.script = { _ in [.send(ScriptedReceiver.ok)] }
        var late = bench.request()
        late.notAfter = .zero
        var early = bench.request()
        early.notAfter = .seconds(Int64.max / 4)
        let results = try bench.postAll([early, late, late, early])
        #expect(results.count { $0.answer?.status == 200 } == 2 && results.count { $0.failure == .cancelled } == 2)
        #expect(try bench.post(late).failure == .cancelled)
        #expect(bench.receiver.received.count == 2)
    }

    @Test func `closing cancels what is in flight and what waits`() throws {
        var limits = WebhookLimits()
        limits.maxInFlight = 2
        let bench = try Bench(limits: limits)
        bench.receiver.script = { _ in [] }
        bench.begin((0..<5).map { _ in bench.request() })
        try #require(bench.wait { bench.receiver.received.count == 2 })
        #expect(bench.client.counters.waiting == 3)
        bench.client.close()
        try #require(bench.wait { bench.finished == 5 })
        #expect(bench.take().allSatisfy { $0.failure == .cancelled })
        #expect(try bench.post(bench.request()).failure == .cancelled)
        #expect(bench.client.counters.openSockets == 0)
    }

    @Test func `a client goes with its last owner, kept connections and all`() throws {
        weak var client: WebhookClient?
        do {
            let bench = try Bench()
            client = bench.client
            bench.receiver.script = { [.send(ScriptedReceiver.ok)] + ($0.connection % 2 == 0 ? [.close] : []) }
            for _ in 0..<5 { _ = try bench.postAll((0..<20).map { _ in bench.request() }) }
            #expect(bench.client.counters.inFlight == 0)
        }
        #expect(client == nil)
    }
}
