// The way out of a sink: a seam, so that its tests need no network. `WebhookClient` is the real one.

import Webhook

protocol Outbound: AnyObject {
    /// Never throws: what went wrong is an outcome.
    func send(_ request: WebhookRequest) async -> WebhookResult
}

extension WebhookClient: Outbound {}
