// Access tokens by the client's own credentials (RFC 6749 §4.4). At most one request for a token is under way, and all
// who want one wait for it.
//
// Who gets none is told why, and his message spends no attempt: the receiver has no part in it (SINKS.md §2, "our
// fault"), and the whole endpoint pauses as it does for any of our faults, which keeps the token's server from a storm.

import Crypto
import Net
import Webhook

final class SinkTokens {
    struct Token: Sendable {
        /// The value of `Authorization`.
        let header: String
        fileprivate let number: Int
    }

    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    private let oauth: SinkAuth.OAuth2
    private let sink: String
    private let loop: EventLoop
    private let outbound: any Outbound
    private let endpoint: WebhookEndpoint
    private var held: (token: Token, until: EventLoop.Instant)?
    private var waiting: [(Result<Token, Failure>) -> Void] = []
    private var number = 0

    /// A token that is told no end is used so long, or until the receiver refuses it.
    private static let defaultLife = Duration.seconds(3600)
    private static let longestLife = 30.0 * 86_400
    /// So long before its end a token counts as ended, or for a tenth of its life where that is less: it has a way to go.
    private static let margin = Duration.seconds(30)
    /// Of an answer: tokens that are signed lists of rights take kilobytes.
    private static let answerBytes = 64 * 1024

    init(_ oauth: SinkAuth.OAuth2, _ definition: SinkDefinition, _ resources: SinkResources, _ loop: EventLoop, _ outbound: any Outbound) {
        self.oauth = oauth
        sink = definition.name
        self.loop = loop
        self.outbound = outbound
        endpoint = WebhookEndpoint(
            url: oauth.tokenURL,
            headers: [
                ("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"), ("User-Agent", SinkWire.userAgent),
            ],
            timeout: definition.timeout, connectTimeout: definition.connectTimeout, guard: resources.target,
            tls: WebhookTLS(authorityFile: resources.tls.authorityFile, verifies: resources.tls.verifies), keptBodyBytes: SinkTokens.answerBytes)
    }

    /// `done` is called now, or when the request for a token has ended.
    func take(_ done: @escaping (Result<Token, Failure>) -> Void) {
        if let held, loop.now < held.until { return done(.success(held.token)) }
        waiting.append(done)
        if waiting.count == 1 { fetch() }
    }

    /// The receiver does not take it. One that has replaced it stays.
    func refused(_ token: Token) {
        if held?.token.number == token.number { held = nil }
    }

    // MARK: Fetching

    private func fetch() {
        let secret: String
        do throws(SinkError) {
            // Read each time: it may be in a file, and be another by now.
            secret = try SinkSecrets.text(oauth.clientSecret, "auth.oauth2.client_secret", sink).text
        } catch {
            return finish(.failure(Failure(description: error.problem)))
        }
        outbound.send(request(secret)) { [self] result in finish(token(of: result)) }
    }

    private func finish(_ result: Result<Token, Failure>) {
        // Any of them may want another token at once, and be the first to.
        let all = waiting
        waiting = []
        for done in all { done(result) }
    }

    private func request(_ secret: String) -> WebhookRequest {
        func encoded(_ text: String) -> String { Array(text.utf8).percentEncoded }
        var form = "grant_type=client_credentials"
        if let scope = oauth.scope { form += "&scope=\(encoded(scope))" }
        if let audience = oauth.audience { form += "&audience=\(encoded(audience))" }
        var fields = WebhookFields()
        switch oauth.clientAuth {
        case .basic: fields.append("Authorization", SinkCredential.basic(encoded(oauth.clientID), encoded(secret)))  // RFC 6749 §2.3.1
        case .post: form += "&client_id=\(encoded(oauth.clientID))&client_secret=\(encoded(secret))"
        }
        return WebhookRequest(to: endpoint, fields: fields, body: Array(form.utf8))
    }

    private func token(of result: WebhookResult) -> Result<Token, Failure> {
        switch result.outcome {
        case .failed(_, let message): return .failure(Failure(description: "oauth2: no token: \(message)"))
        case .answered(let answer):
            let reply = TokenReply(answer.body)
            guard (200..<300).contains(answer.status) else {
                let word = reply?.error.map { " (\(printable(String($0.prefix(60)))))" } ?? ""
                return .failure(Failure(description: "oauth2: the token endpoint answered \(answer.status)\(word)"))
            }
            guard let text = reply?.token, SinkCredential.isToken(text) else {
                return .failure(Failure(description: "oauth2: the token endpoint answered \(answer.status) without an access_token"))
            }
            guard reply?.type.map({ $0.lowercased() == "bearer" }) != false else {
                return .failure(Failure(description: "oauth2: the token is not of type Bearer"))
            }
            number += 1
            let token = Token(header: "Bearer \(text)", number: number)
            let life = reply?.seconds.map { Duration.seconds(min(max($0, 0), SinkTokens.longestLife)) } ?? SinkTokens.defaultLife
            held = (token, loop.now + life - min(SinkTokens.margin, life / 10))
            return .success(token)
        }
    }
}

/// RFC 6749 §5.1 and §5.2.
private struct TokenReply {
    var token: String?
    var type: String?
    var seconds: Double?
    var error: String?

    /// Nil: it is no JSON object.
    init?(_ body: [UInt8]) {
        guard let reply = try? body.withUnsafeBytes({ try TokenReply(reading: $0) }) else { return nil }  // Why does not matter.
        self = reply
    }

    private init(reading bytes: UnsafeRawBufferPointer) throws(JSONError) {
        var reader = JSONReader(bytes)
        try reader.enterObject()
        while let member = try reader.nextMember() { try read(member, &reader) }
        try reader.end()
    }

    private mutating func read(_ member: JSONString, _ reader: inout JSONReader) throws(JSONError) {
        switch try reader.peek() {
        case .string:
            let text = try reader.string().text()
            if member == "access_token" { token = text }
            if member == "token_type" { type = text }
            if member == "error" { error = text }
            if member == "expires_in" { seconds = Double(text) }  // As some servers write it.
        case .number where member == "expires_in":
            seconds = Double(String(decoding: try reader.number(), as: UTF8.self))
        default: try reader.skip()
        }
    }
}
