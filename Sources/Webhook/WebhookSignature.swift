// Standard Webhooks 1.0: the symmetric signature ("v1").

import Crypto

/// A signing key, as it is handed around: `whsec_` and base64 of 24 to 64 bytes.
public struct WebhookSecret: Sendable, Equatable {
    let key: [UInt8]

    public init(parsing text: String) throws(WebhookSecretError) {
        guard text.hasPrefix("whsec_") else { throw .noPrefix }
        guard let key = Base64.decode(String(text.dropFirst(6))) else { throw .notBase64 }
        guard (24...64).contains(key.count) else { throw .badLength(key.count) }
        self.key = key
    }
}

extension WebhookSecret: CustomStringConvertible, CustomReflectable {
    /// Never the key: a secret printed by accident must not be one that leaks.
    public var description: String { "whsec_••••" }
    public var customMirror: Mirror { Mirror(self, children: []) }
}

/// Why a text is no secret. The descriptions never quote it.
public enum WebhookSecretError: Error, Equatable, CustomStringConvertible {
    case noPrefix
    case notBase64
    /// The length of the key in bytes.
    case badLength(Int)

    public var description: String {
        switch self {
        case .noPrefix: "A webhook secret begins with \"whsec_\"."
        case .notBase64: "What follows \"whsec_\" must be standard base64 with its padding."
        case .badLength(let count): "A webhook secret holds a key of 24 to 64 bytes; this one has \(count)."
        }
    }
}

public enum WebhookSignature {
    /// The value of `webhook-signature`: one `v1,…` for each of `secrets`, in their order, separated by spaces.
    /// `timestamp`: Unix seconds of this attempt, the text of `webhook-timestamp`.
    public static func header(
        id: String, timestamp: Int, body: UnsafeRawBufferPointer, secrets: [WebhookSecret]
    ) -> String {
        let head = Array("\(id).\(timestamp).".utf8)
        return secrets.map { secret in
            let mac = HMACSHA256(key: secret.key)
            mac.update(head)
            mac.update(body)
            return "v1," + Base64.encode(mac.finalize())
        }.joined(separator: " ")
    }

    public static func header(id: String, timestamp: Int, body: [UInt8], secrets: [WebhookSecret]) -> String {
        body.withUnsafeBytes { header(id: id, timestamp: timestamp, body: $0, secrets: secrets) }
    }
}
