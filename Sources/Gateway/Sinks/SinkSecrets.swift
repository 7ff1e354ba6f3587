// A sink's signing keys, fetched when it starts: from the definition, the environment or a file.

import Glibc
import Webhook

enum SinkSecrets {
    static func resolve(_ definition: SinkDefinition) throws(SinkError) -> [WebhookSecret] {
        var secrets: [WebhookSecret] = []
        for (place, secret) in definition.secrets.enumerated() {
            let (text, source) = try text(secret, "secret \(place + 1)", definition.name)
            do throws(WebhookSecretError) {
                secrets.append(try WebhookSecret(parsing: text))
            } catch {
                throw SinkError(sink: definition.name, problem: "\(source): \(error)")
            }
        }
        return secrets
    }

    /// - Parameter what: what to call it in sentences.
    static func text(
        _ secret: SinkDefinition.Secret, _ what: String, _ sink: String
    ) throws(SinkError) -> (text: String, source: String) {
        do throws(SecretProblem) {
            switch secret {
            case .literal(let text): return (text, what)
            case .environment(let name):
                return (try SecretPlace.variable(name), "\(what), from the environment variable \(name)")
            case .file(let path):
                return (String(decoding: try SecretPlace.firstLine(path), as: UTF8.self), "\(what), from the file \(path)")
            }
        } catch {
            throw SinkError(sink: sink, problem: "\(what): \(error.reason)")
        }
    }
}

/// What a definition only names, fetched: made anew whenever a sink starts, on the replica that it starts on.
struct SinkResources {
    var secrets: [WebhookSecret]
    /// Nil: the operator's own sink may reach anything.
    var target: TargetGuard?
    /// The value of `Authorization`; nil: there is none, or it is to be fetched (`SinkTokens`).
    var authorization: String?
    var tls: WebhookTLS

    init(_ definition: SinkDefinition) throws(SinkError) {
        secrets = try SinkSecrets.resolve(definition)
        if let scheme = definition.auth?.scheme { authorization = try SinkCredential.header(scheme, definition.name) }
        if case .oauth2(let oauth) = definition.auth?.scheme {
            _ = try SinkSecrets.text(oauth.clientSecret, "auth.oauth2.client_secret", definition.name)
        }
        let certificate = definition.auth?.certificate
        for path in [certificate?.file, certificate?.keyFile] { try SinkResources.requireFile(path, "auth", definition.name) }
        try SinkResources.requireFile(definition.tls.authorityFile, "tls", definition.name)
        tls = WebhookTLS(
            authorityFile: definition.tls.authorityFile, certificateFile: certificate?.file, keyFile: certificate?.keyFile,
            verifies: definition.tls.verifies)
        guard definition.isGuarded || !definition.allowNetworks.isEmpty else { return }
        var networks: [IPNetwork] = []
        for text in definition.allowNetworks {
            do throws(IPNetworkError) {
                networks.append(try IPNetwork(parsing: text))
            } catch {
                throw SinkError(sink: definition.name, problem: "allow_networks: \(error)")
            }
        }
        target = TargetGuard(allowing: networks)
    }

    /// libcurl would tell only at the first connection.
    private static func requireFile(_ path: String?, _ key: String, _ sink: String) throws(SinkError) {
        guard let path, access(path, R_OK) != 0 else { return }
        throw SinkError(sink: sink, problem: "\(key): cannot read \(path): \(String(cString: strerror(errno)))", key: key)
    }
}
