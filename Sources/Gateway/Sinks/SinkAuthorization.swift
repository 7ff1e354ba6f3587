// What lets a sink's requests in, where it may change while the sink runs: a credential from a file, read again when
// the file has changed, or a token that is fetched. A credential that stays as it is, is one of the endpoint's headers.
//
// One a sink; owned by it, loop-confined.

import Crypto
import Glibc
import Logging
import Net
import Webhook

final class SinkAuthorization {
    private enum Kind {
        case file(CredentialFile)
        case tokens(SinkTokens)
    }

    private let kind: Kind
    private let loop: EventLoop
    private let outbound: any Outbound

    /// Nil: nothing changes, see `SinkResources.authorization`.
    init?(_ definition: SinkDefinition, _ resources: SinkResources, _ loop: EventLoop, _ outbound: any Outbound, _ log: Logger) {
        self.loop = loop
        self.outbound = outbound
        switch definition.auth?.scheme {
        case .oauth2(let oauth): kind = .tokens(SinkTokens(oauth, definition, resources, loop, outbound))
        case .basic(_, .file(let path)), .bearer(.file(let path)):
            guard let scheme = definition.auth?.scheme, let header = resources.authorization else { return nil }
            kind = .file(CredentialFile(path, scheme, definition.name, header, log))
        default: return nil
        }
    }

    /// Posts what `make` makes of the value of `Authorization`; nil: it is no longer to be sent. A token that the receiver
    /// answers 401 to is replaced, and the request made and sent once more.
    func post(_ make: @escaping (String) -> WebhookRequest?, done: @escaping (WebhookResult) -> Void) {
        switch kind {
        case .file(let file): send(make(file.header(at: loop.now)), done)
        case .tokens(let tokens): post(make, tokens, mayRepeat: true, done)
        }
    }

    private func post(
        _ make: @escaping (String) -> WebhookRequest?, _ tokens: SinkTokens, mayRepeat: Bool, _ done: @escaping (WebhookResult) -> Void
    ) {
        tokens.take { [self] result in
            switch result {
            case .failure(let failure): done(WebhookResult(outcome: .failed(.noCredential, message: failure.description)))
            case .success(let token):
                send(make(token.header)) { [self] result in
                    guard mayRepeat, result.isUnauthorized else { return done(result) }
                    tokens.refused(token)
                    post(make, tokens, mayRepeat: false, done)
                }
            }
        }
    }

    private func send(_ request: WebhookRequest?, _ done: @escaping (WebhookResult) -> Void) {
        guard let request else { return done(WebhookResult(outcome: .failed(.cancelled, message: "It is no longer to be sent."))) }
        outbound.send(request, done: done)
    }
}

extension WebhookResult {
    fileprivate var isUnauthorized: Bool { if case .answered(let answer) = outcome { answer.status == 401 } else { false } }
}

/// A credential in a file. While the file can't be read, what it held last is used.
private final class CredentialFile {
    /// What tells one content from another.
    private struct Stamp: Equatable {
        var inode: UInt64
        var size: Int64
        var seconds: Int
        var nanoseconds: Int

        init?(_ path: String) {
            var info = stat()
            guard stat(path, &info) == 0 else { return nil }
            inode = UInt64(info.st_ino)
            size = Int64(info.st_size)
            seconds = info.st_mtim.tv_sec
            nanoseconds = info.st_mtim.tv_nsec
        }
    }

    private let path: String
    private let scheme: SinkAuth.Scheme
    private let sink: String
    private let log: Logger
    private var value: String
    private var stamp: Stamp?
    private var lookedAt: EventLoop.Instant?

    /// How often the file is looked at, at most: a system call.
    private static let interval = Duration.seconds(1)

    init(_ path: String, _ scheme: SinkAuth.Scheme, _ sink: String, _ header: String, _ log: Logger) {
        self.path = path
        self.scheme = scheme
        self.sink = sink
        self.log = log
        value = header
    }

    func header(at now: EventLoop.Instant) -> String {
        if let lookedAt, now - lookedAt < CredentialFile.interval { return value }
        lookedAt = now
        let found = Stamp(path)
        guard found != stamp else { return value }
        stamp = found
        do throws(SinkError) {
            value = try SinkCredential.header(scheme, sink) ?? value
        } catch {
            log.warning("a credential can't be read again; the one before is used", metadata: ["problem": "\(error.problem)"])
        }
        return value
    }
}

/// `Authorization` of what needs no asking.
enum SinkCredential {
    /// Nil: a token has to be fetched.
    static func header(_ scheme: SinkAuth.Scheme, _ sink: String) throws(SinkError) -> String? {
        switch scheme {
        case .basic(let user, let password):
            return basic(user, try SinkSecrets.text(password, "auth.basic.password", sink).text)
        case .bearer(let token):
            let (text, source) = try SinkSecrets.text(token, "auth.bearer", sink)
            guard isToken(text) else { throw SinkError(sink: sink, problem: "\(source): a token is visible ASCII, and not empty", key: "auth") }
            return "Bearer \(text)"
        case .oauth2: return nil
        }
    }

    /// RFC 7617 §2.
    static func basic(_ user: String, _ password: String) -> String { "Basic " + Base64.encode(Array("\(user):\(password)".utf8)) }

    /// Nothing that could end a header; RFC 6750 §2.1 has a narrower alphabet, which not every server keeps to.
    static func isToken(_ text: String) -> Bool { !text.isEmpty && text.utf8.allSatisfy { (0x21...0x7E).contains($0) } }
}
