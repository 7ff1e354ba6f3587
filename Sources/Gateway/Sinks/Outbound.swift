// The way out of a sink: a seam, so that its tests need no network. `WebhookClient` is the real one.

import Webhook

protocol Outbound: AnyObject {
    /// `done` is called once, possibly before this returns: what went wrong is an outcome. It may send, and no more.
    func send(_ request: WebhookRequest, done: @escaping (WebhookResult) -> Void)
}

extension WebhookClient: Outbound {}
