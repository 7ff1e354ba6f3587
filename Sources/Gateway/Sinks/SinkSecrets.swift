// A sink's signing keys, fetched when it starts: from the definition, the environment or a file.

import Glibc
import Webhook

enum SinkSecrets {
    /// No secret is longer; who names a log file or a device gets a sentence.
    private static let fileLimit = 4096

    static func resolve(_ definition: SinkDefinition) throws(SinkError) -> [WebhookSecret] {
        var secrets: [WebhookSecret] = []
        for (place, secret) in definition.secrets.enumerated() {
            let (text, source) = try fetch(secret, place + 1, definition.name)
            do throws(WebhookSecretError) {
                secrets.append(try WebhookSecret(parsing: text))
            } catch {
                throw SinkError(sink: definition.name, problem: "\(source): \(error)")
            }
        }
        return secrets
    }

    private static func fetch(
        _ secret: SinkDefinition.Secret, _ number: Int, _ sink: String
    ) throws(SinkError) -> (text: String, source: String) {
        switch secret {
        case .literal(let text): return (text, "secret \(number)")
        case .environment(let name):
            guard let value = getenv(name) else {
                throw SinkError(sink: sink, problem: "secret \(number): the environment variable \(name) is not set")
            }
            return (String(cString: value), "secret \(number), from the environment variable \(name)")
        case .file(let path):
            return (try firstLine(path, "secret \(number)", sink), "secret \(number), from the file \(path)")
        }
    }

    private static func firstLine(_ path: String, _ what: String, _ sink: String) throws(SinkError) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw SinkError(sink: sink, problem: "\(what): cannot open \(path): \(reason())") }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: fileLimit)
        let count = read(file, &bytes, fileLimit)
        guard count >= 0 else { throw SinkError(sink: sink, problem: "\(what): cannot read \(path): \(reason())") }
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

    init(_ definition: SinkDefinition) throws(SinkError) {
        secrets = try SinkSecrets.resolve(definition)
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
}
