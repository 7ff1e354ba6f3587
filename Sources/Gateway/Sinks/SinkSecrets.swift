// A sink's signing keys, fetched when it starts: from the definition, the environment or a file.

import Glibc
import Webhook

enum SinkSecrets {
    /// No secret is longer; who names a log file or a device gets a sentence.
    private static let fileLimit = 16 * 1024

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
        switch secret {
        case .literal(let text): return (text, what)
        case .environment(let name):
            guard let value = getenv(name) else {
                throw SinkError(sink: sink, problem: "\(what): the environment variable \(name) is not set")
            }
            return (String(cString: value), "\(what), from the environment variable \(name)")
        case .file(let path):
            return (try firstLine(path, what, sink), "\(what), from the file \(path)")
        }
    }

    private static func firstLine(_ path: String, _ what: String, _ sink: String) throws(SinkError) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)  // A pipe that nobody writes to would hold the loop.
        guard file >= 0 else { throw SinkError(sink: sink, problem: "\(what): cannot open \(path): \(reason())") }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: fileLimit)
        let count = read(file, &bytes, fileLimit)
        guard count >= 0 else { throw SinkError(sink: sink, problem: "\(what): cannot read \(path): \(reason())") }
        guard count < fileLimit else { throw SinkError(sink: sink, problem: "\(what): \(path) has \(fileLimit) bytes or more") }
        let line = bytes[..<count].prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        return String(decoding: line, as: UTF8.self)
    }

    private static func reason() -> String { String(cString: strerror(errno)) }
}

/// What a definition only names, fetched: made anew whenever a sink starts, on the replica that it starts on.
struct SinkMeans {
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
        for path in [certificate?.file, certificate?.keyFile] { try SinkMeans.requireFile(path, "auth", definition.name) }
        try SinkMeans.requireFile(definition.tls.authorityFile, "tls", definition.name)
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
