// The client of one loop. Loop-confined.

public import Net

public final class WebhookClient {
    public init(loop: EventLoop, limits: WebhookLimits = WebhookLimits()) {}
    public var counters: WebhookCounters { WebhookCounters() }
    /// Posts and waits for the answer. Never throws: what went wrong is an outcome.
    public func send(_ request: WebhookRequest) async -> WebhookResult {
        WebhookResult(outcome: .failed(.cancelled, message: "closed"), duration: .zero, newConnection: false)
    }
    /// Cancels what is in flight: each `send` returns `.cancelled`.
    public func close() {}
}
