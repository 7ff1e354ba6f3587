// A loop, a client and a receiver, and the way to wait for what they do.

import Net
import Testing

@testable import Webhook

/// Unchecked: all of it stays on the test's thread, which is the loop's.
final class Bench: @unchecked Sendable {
    let loop: EventLoop
    let client: WebhookClient
    let receiver: ScriptedReceiver
    private var results: [Int: WebhookResult] = [:]

    init(limits: WebhookLimits = WebhookLimits(), clock: any LoopClock = MonotonicClock()) throws {
        loop = try EventLoop(clock: clock)
        client = WebhookClient(loop: loop, limits: limits)
        receiver = try ScriptedReceiver(loop: loop)
    }

    deinit {
        client.close()
        receiver.stop()
    }

    func url(_ host: String = "127.0.0.1", _ path: String = "/hook") -> String {
        "http://\(host):\(receiver.port)\(path)"
    }

    func request(_ host: String = "127.0.0.1", body: String = "{}") -> WebhookRequest {
        WebhookRequest(to: WebhookEndpoint(url: url(host)), body: Array(body.utf8))
    }

    func post(_ request: WebhookRequest) throws -> WebhookResult {
        try #require(postAll([request]).first)
    }

    /// All at once; the results in the order of the requests.
    func postAll(_ requests: [WebhookRequest]) throws -> [WebhookResult] {
        begin(requests)
        try #require(wait { self.results.count == requests.count })
        return take()
    }

    func begin(_ requests: [WebhookRequest]) {
        for (index, request) in requests.enumerated() {
            loop.spawn { await self.send(request, index) }
        }
    }

    /// The last job of a task comes after what it was waited for: a loop dropped before that leaks it.
    func wait(_ condition: () -> Bool) -> Bool {
        defer { loop.runUntilIdle() }
        return loop.run(atMost: .seconds(60), until: condition)
    }

    var finished: Int { results.count }

    func take() -> [WebhookResult] {
        defer { results = [:] }
        return results.sorted { $0.key < $1.key }.map(\.value)
    }

    private func send(_ request: WebhookRequest, _ index: Int) async {
        results[index] = await client.send(request)
    }
}

extension WebhookResult {
    var answer: WebhookAnswer? {
        if case .answered(let answer) = outcome { answer } else { nil }
    }
    var failure: WebhookFailure? {
        if case .failed(let kind, _) = outcome { kind } else { nil }
    }
    var message: String {
        if case .failed(_, let message) = outcome { message } else { "" }
    }
}

// Each change makes another endpoint: only a test does so.
extension WebhookRequest {
    init(url: String, headers: [(String, String)] = [], body: [UInt8]) {
        self.init(to: WebhookEndpoint(url: url, headers: headers), body: body)
    }

    var url: String {
        get { endpoint.url }
        set { change(url: newValue) }
    }
    var method: Method {
        get { endpoint.method }
        set { change(method: newValue) }
    }
    var headers: [(String, String)] {
        get { endpoint.headers }
        set { change(headers: newValue) }
    }
    var timeout: Duration {
        get { endpoint.timeout }
        set { change(timeout: newValue) }
    }
    var target: TargetGuard? {
        get { endpoint.target }
        set { change(target: .some(newValue)) }
    }
    var tls: WebhookTLS {
        get { endpoint.tls }
        set { change(tls: newValue) }
    }

    private mutating func change(
        url: String? = nil, method: Method? = nil, headers: [(String, String)]? = nil, timeout: Duration? = nil,
        target: TargetGuard?? = nil, tls: WebhookTLS? = nil
    ) {
        endpoint = WebhookEndpoint(
            url: url ?? self.url, method: method ?? self.method, headers: headers ?? self.headers,
            timeout: timeout ?? self.timeout, connectTimeout: endpoint.connectTimeout, guard: target ?? self.target,
            http2: endpoint.http2, tls: tls ?? self.tls)
    }
}
