// `auth`, `tls`, `on_success`, `reply_status` and `http_version` of a sink: what is taken, what is refused, and what is shown.

import Testing

@testable import Gateway
@testable import Webhook

private let least = "streams: [orders]\nurl: https://example.com/hook\n"

private func sink(_ yaml: String, by author: SinkDefinition.Author = .configuration) throws -> SinkDefinition {
    try .parse(name: "s", try .parse(yaml: yaml, source: "f"), by: author)
}

private func refusal(_ yaml: String, by author: SinkDefinition.Author = .configuration) -> String {
    #expect(throws: ConfigError.self) { try sink(yaml, by: author) }?.description ?? ""
}

struct ConfigSinkAccessTests {
    private static let oauth = "token_url: https://id.example/token, client_id: me, client_secret: hush"

    @Test func `every scheme is read, and the defaults are none`() throws {
        let plain = try sink(least)
        #expect(plain.auth == nil && plain.tls == SinkTLS() && plain.onSuccess == .ack && !plain.honoursReplies && plain.httpVersion == .one)
        #expect(try sink(least + "auth: {basic: {username: me, password: \"env:PW\"}}").auth?.scheme == .basic(user: "me", password: .environment("PW")))
        #expect(try sink(least + "auth: {bearer: \"file:/run/token\"}").auth?.scheme == .bearer(.file("/run/token")))
        let oauth = try sink(least + "auth: {oauth2: {\(Self.oauth), scope: a b, audience: x, client_auth: client_secret_post}}").auth?.scheme
        #expect(oauth == .oauth2(.init(
            tokenURL: "https://id.example/token", clientID: "me", clientSecret: .literal("hush"), clientAuth: .post, scope: "a b", audience: "x")))
        let both = try sink(least + "auth: {bearer: t, mtls: {cert_file: /c, key_file: /k}}\ntls: {ca_file: /a}").auth
        #expect(both == SinkAuth(scheme: .bearer(.literal("t")), certificate: .init(file: "/c", keyFile: "/k")))
        #expect(try sink(least + "tls: {insecure_skip_verify: true}").tls == SinkTLS(verifies: false))
        let rest = try sink(least + "on_success: delete_when_acked\nreply_status: true\nhttp_version: 2")
        #expect(rest.onSuccess == .deleteWhenAcked && rest.honoursReplies && rest.httpVersion == .two)
        #expect(try sink(least + "http_version: 1.1\nauth: null").httpVersion == .one)
    }

    @Test(arguments: [
        ("auth: {}", "auth: expected basic, bearer, oauth2 or mtls"), ("auth: basic", "auth: expected a map"),
        ("auth: {beerer: x}", "unknown key \"beerer\"; did you mean \"bearer\"?"), ("auth: {bearer: [x]}", "auth.bearer: expected a secret"),
        ("auth: {bearer: hush, basic: {username: a, password: hush}}", "auth.bearer: one of basic, bearer and oauth2; basic is there already"),
        ("auth: {basic: {username: a}}", "auth.basic: \"password\" is missing"), ("auth: {basic: {username: \"a:b\", password: hush}}", "no colon"),
        ("auth: {basic: {username: a, pasword: hush}}", "did you mean \"password\"?"), ("auth: {bearer: \"hush\\r\\nX: y\"}", "no line breaks"),
        ("auth: {oauth2: {token_url: ftp://x, client_id: a, client_secret: hush}}", "auth.oauth2.token_url: expected a URL"),
        ("auth: {oauth2: {client_id: a, client_secret: hush}}", "\"token_url\" is missing"),
        ("auth: {oauth2: {token_url: https://x, client_id: a, client_secret: hush, client_auth: header}}", "one of client_secret_basic, client_secret_post"),
        ("auth: {oauth2: {token_url: https://x, client_id: a, client_secret: hush, scopes: a}}", "did you mean \"scope\"?"),
        ("auth: {mtls: {cert_file: /c}}", "\"key_file\" is missing"), ("auth: {mtls: /c}", "auth.mtls: expected a map"),
        ("auth: {bearer: hush}\nheaders: {AUTHORIZATION: x}", "headers: Authorization is set by auth"),
        ("tls: {ca_fil: /x}", "did you mean \"ca_file\"?"), ("tls: {insecure_skip_verify: 1}", "expected true or false"),
        ("tls: {ca_file: /x, insecure_skip_verify: true}", "tls.ca_file: means nothing with insecure_skip_verify"),
        ("on_success: acked", "on_success: expected one of ack, delete, delete_when_acked"), ("reply_status: yes", "expected true or false"),
        ("http_version: 3", "http_version: expected one of 1.1, 2"), ("http_version: 2.0", "expected one of 1.1, 2"),
        ("on_sucess: ack", "did you mean \"on_success\"?"),
    ])
    func `a wrong key is refused by name, without its secret`(yaml: String, words: String) {
        let text = refusal(least + yaml)
        #expect(text.contains(words) && !text.contains("hush"), "\(text)")
    }

    @Test(arguments: [
        ("tls: {ca_file: /x}", "tls: needs a url"), ("auth: {mtls: {cert_file: /c, key_file: /k}}", "auth: mtls needs a url"),
        ("http_version: 2", "http_version: 2 is agreed on in TLS"),
    ])
    func `what is of TLS needs an https URL`(yaml: String, words: String) {
        let text = refusal("streams: [a]\nurl: http://h/\n" + yaml)
        #expect(text.contains(words), "\(text)")
    }

    @Test(arguments: [
        ("auth: {bearer: \"env:HOME\"}", "auth.bearer: env: and file:"), ("auth: {bearer: \"file:/etc/passwd\"}", "auth.bearer: env: and file:"),
        ("auth: {basic: {username: a, password: \"env:HOME\"}}", "auth.basic.password: env:"),
        ("auth: {oauth2: {token_url: https://x, client_id: a, client_secret: \"file:/x\"}}", "auth.oauth2.client_secret: env:"),
        ("auth: {mtls: {cert_file: /c, key_file: /k}}", "auth.mtls: belongs in the gateway's own configuration"),
        ("tls: {ca_file: /x}", "tls.ca_file: belongs in"), ("tls: {insecure_skip_verify: true}", "tls.insecure_skip_verify: belongs in"),
        ("auth: {bearer: \"••••\"}", "only stands for it in replies"),
    ])
    func `a caller has no way to our files and environment, nor to trust less`(yaml: String, words: String) throws {
        let text = refusal(least + yaml, by: .caller)
        #expect(text.contains(words), "\(text)")
    }

    @Test func `a caller may send a secret itself, name a file where the operator lets him, and repeat the defaults`() throws {
        #expect(try sink(least + "auth: {bearer: t}\ntls: {ca_file: null, insecure_skip_verify: false}", by: .caller).auth?.scheme == .bearer(.literal("t")))
        let granted = SinkDefinition.Author(isOperator: false, secretsDirectory: "/run/secrets")
        #expect(try sink(least + "auth: {bearer: \"file:/run/secrets/t\"}", by: granted).auth?.scheme == .bearer(.file("/run/secrets/t")))
        #expect(refusal(least + "auth: {bearer: \"file:/run/secrets/../t\"}", by: granted).contains("below the gateway's own secrets_dir"))
    }

    @Test(arguments: [
        "auth: {basic: {username: \"a\\\"b\", password: hush}}", "auth: {bearer: \"env:T\", mtls: {cert_file: /c, key_file: /k}}\ntls: {ca_file: /a}",
        "auth: {oauth2: {\(oauth), scope: a}}\non_success: delete\nreply_status: true\nhttp_version: 2", "tls: {insecure_skip_verify: true}",
        "format: \"raw:a\\\"b\"\ncontent_type: text/plain", "format: cloudevents-binary",
    ])
    func `what Redis keeps reads back as it was, and what is shown has no secret`(yaml: String) throws {
        let one = try sink(least + yaml)
        let json = Array(one.json(showsSecrets: true).utf8)
        let node = try json.withUnsafeBytes { try ConfigNode.parse(json: $0, source: "Redis") }
        #expect(try SinkDefinition.parse(name: "s", node, by: .configuration) == one)
        #expect(!one.json(showsSecrets: false).contains("hush") && !one.yamlLines.joined().contains("hush"))
    }

    @Test func `a sink whose credential can't be had does not start, and a sentence says why`() throws {
        func problem(_ yaml: String) throws -> (String, String)? {
            let definition = try sink(least + yaml)
            do throws(SinkError) {
                _ = try SinkResources(definition)
                return nil
            } catch {
                return (error.problem, error.key)
            }
        }
        #expect(try problem("auth: {bearer: t}") == nil)
        #expect(try problem("auth: {bearer: \"file:/nonexistent\"}")?.0 == "auth.bearer: cannot open /nonexistent: No such file or directory")
        #expect(try problem("auth: {bearer: \"a b\"}")?.0 == "auth.bearer: a token is visible ASCII, and not empty")
        #expect(try problem("auth: {basic: {username: a, password: \"env:SLUICE_NO_SUCH_NAME\"}}")?.0.contains("SLUICE_NO_SUCH_NAME is not set") == true)
        #expect(try problem("auth: {oauth2: {token_url: https://x, client_id: a, client_secret: \"file:/nonexistent\"}}")?.0.contains("auth.oauth2.client_secret") == true)
        #expect(try problem("auth: {mtls: {cert_file: /nonexistent, key_file: /k}}")?.1 == "auth")
        #expect(try problem("tls: {ca_file: /nonexistent}")?.1 == "tls")
    }

    @Test func `a credential that stays is a header of the endpoint's; one that may change is not`() throws {
        func endpoint(_ yaml: String) throws -> WebhookEndpoint {
            let definition = try sink(least + yaml)
            return SinkWire(definition, stream: "orders", resources: try SinkResources(definition)).endpoint
        }
        // RFC 7617 §2's own example.
        let basic = try endpoint("auth: {basic: {username: Aladdin, password: open sesame}}\nhttp_version: 2")
        #expect(basic.headers.contains { $0 == ("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==") } && basic.http2)
        #expect(try !endpoint("auth: {oauth2: {\(Self.oauth)}}").headers.contains { $0.0 == "Authorization" })
        #expect(try endpoint("tls: {insecure_skip_verify: true}").tls == WebhookTLS(verifies: false))
    }
}
