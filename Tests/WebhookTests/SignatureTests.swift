// Standard Webhooks 1.0: the signature's vector, and secrets that are none.

import Testing

@testable import Webhook

struct SignatureTests {
    private let body = Array("{\"test\": 2432232314}".utf8)
    private let id = "msg_p5jXN8AQM9LWM0D4loKWxJek"

    /// The vector of the Standard Webhooks libraries.
    @Test func `the signature agrees with the Standard Webhooks vector`() throws {
        let secret = try WebhookSecret(parsing: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        let value = WebhookSignature.header(id: id, timestamp: 1_614_265_330, body: body, secrets: [secret])
        #expect(value == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
    }

    @Test func `every secret signs, newest first`() throws {
        let old = try WebhookSecret(parsing: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        let new = try WebhookSecret(parsing: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
        let both = WebhookSignature.header(id: id, timestamp: 1_614_265_330, body: body, secrets: [new, old])
        let alone = WebhookSignature.header(id: id, timestamp: 1_614_265_330, body: body, secrets: [new])
        #expect(both == alone + " v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        #expect(alone.hasPrefix("v1,"))
    }

    @Test func `a secret that is none is refused with the reason, and never quoted`() {
        #expect(throws: WebhookSecretError.noPrefix) { try WebhookSecret(parsing: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") }
        #expect(throws: WebhookSecretError.notBase64) { try WebhookSecret(parsing: "whsec_nope!") }
        #expect(throws: WebhookSecretError.badLength(23)) {
            try WebhookSecret(parsing: "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
        }
        #expect(throws: WebhookSecretError.badLength(66)) {
            try WebhookSecret(parsing: "whsec_" + String(repeating: "A", count: 88))
        }
    }

    @Test func `a secret does not print its key`() throws {
        let secret = try WebhookSecret(parsing: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        var dumped = ""
        dump(secret, to: &dumped)
        #expect("\(secret)" == "whsec_••••")
        #expect(!dumped.contains("49"), "the key's first byte is 49")
    }
}
