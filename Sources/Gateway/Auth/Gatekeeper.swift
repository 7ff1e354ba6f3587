// Who may call (API.md §8): hosts, origins, tokens. Judged before any handler runs.

import Crypto
import HTTP

struct Gatekeeper {
    /// A token that may call; of the secret only its digest is kept.
    struct Token {
        var name: String
        var digest: [UInt8]
        var scopes: [TokenDefinition.Scope]
        var streams: [String]
    }

    private let tokens: [Token]
    private let isLoopback: Bool
    private let allowedHosts: [String]
    private let allowedOrigins: [String]

    init(_ config: Config, tokens: [Token]) {
        self.tokens = tokens
        isLoopback = config.isLoopback
        allowedHosts = config.allowedHosts.map { $0.lowercased() }
        allowedOrigins = config.allowedOrigins.map { $0.lowercased() }
    }

    /// Refuses a call that may not be made. Every POST with a plain or empty body is a "simple request" that
    /// any web page could send here: a page is not a caller. Streams that the path does not name are the handler's to
    /// check, by what this returns.
    func check(_ request: Request, _ route: Route, _ parameters: PathParameters) throws(Problem) -> Caller {
        if isLoopback { try checkHost(request) }
        if route.access == .page { return Caller() }
        try checkOrigin(request)
        guard !tokens.isEmpty, route.access != .open else { return Caller() }
        let token = try authenticate(request)
        let caller = Caller(token: token)
        guard case .scope(let scope) = route.access else { return caller }
        guard token.scopes.contains(scope) else {
            throw Problem(.forbidden, "The token '\(token.name)' lacks the scope '\(scope.rawValue)'.")
        }
        guard route.namesStream else { return caller }
        let stream: [UInt8]
        do { stream = try percentDecode(parameters[0]) } catch { throw Problem(error) }
        try caller.require(stream)
        return caller
    }

    /// Against DNS rebinding: a page of another name that resolves to us.
    private func checkHost(_ request: Request) throws(Problem) {
        let host = request.host.withoutPort
        if host.isEmpty || host.equalsIgnoringCase("localhost") || host.isSame(as: "127.0.0.1") || host.isSame(as: "[::1]") { return }
        let name = String(decoding: host, as: UTF8.self).lowercased()
        guard allowedHosts.contains(name) else {
            throw Problem(.misdirected, "This gateway serves localhost; \(Array(host).quoted) would have to be in allowed_hosts.")
        }
    }

    private func checkOrigin(_ request: Request) throws(Problem) {
        let origin = request.header("origin")
        let isAllowed = origin.map { allowedOrigins.contains(String(decoding: $0, as: UTF8.self).lowercased()) } ?? false
        if isAllowed { return }
        if let site = request.header("sec-fetch-site"), site.isSame(as: "cross-site") || site.isSame(as: "same-site") {
            throw Problem(.forbiddenOrigin, "Web pages of other sites may not call; add theirs to allowed_origins.")
        }
        guard let origin, !origin.isSame(as: request.host, afterScheme: ["http://", "https://"]) else { return }
        throw Problem(.forbiddenOrigin, "The origin \(Array(origin).quoted) may not call; add it to allowed_origins.")
    }

    private func authenticate(_ request: Request) throws(Problem) -> Token {
        guard let header = request.header("authorization") else {
            throw Problem(.unauthenticated, "Send Authorization: Bearer with one of the configured tokens.")
        }
        let scheme = UnsafeRawBufferPointer(rebasing: header.prefix(7))
        guard scheme.equalsIgnoringCase("bearer ") else {
            throw Problem(.unauthenticated, "The one scheme taken is Bearer.")
        }
        let digest = Digest.sha256(UnsafeRawBufferPointer(rebasing: header.dropFirst(7)).trimmed)
        var found: Token?
        for token in tokens where constantTimeEquals(token.digest, digest) { found = token }  // Every one is compared.
        guard let found else { throw Problem(.unauthenticated, "The token is not one of the configured.") }
        return found
    }
}

/// Who makes a call, as far as a handler needs to know.
struct Caller {
    /// Nil where no token is asked for.
    var token: Gatekeeper.Token?

    func mayUse(_ stream: [UInt8]) -> Bool {
        guard let token else { return true }
        return token.streams.contains { globMatches(Array($0.utf8), stream) }
    }

    func require(_ stream: [UInt8]) throws(Problem) {
        guard let token, !mayUse(stream) else { return }
        throw Problem(.forbidden, "The token '\(token.name)' is not for the stream \(stream.quoted).")
    }
}

extension UnsafeRawBufferPointer {
    /// Of `host:port` or `[v6]:port` the host, brackets kept.
    fileprivate var withoutPort: UnsafeRawBufferPointer {
        var end = count
        while end > 0, self[end - 1] != UInt8(ascii: ":") {
            // Of `[::1]` no colon is a port's.
            if self[end - 1] == UInt8(ascii: "]") { return self }
            end -= 1
        }
        return end > 0 ? UnsafeRawBufferPointer(rebasing: self[..<(end - 1)]) : self
    }

    /// Whether this is one of `schemes` followed by `authority`, letter case aside.
    fileprivate func isSame(as authority: UnsafeRawBufferPointer, afterScheme schemes: [StaticString]) -> Bool {
        schemes.contains { scheme in
            count == scheme.utf8CodeUnitCount + authority.count
                && UnsafeRawBufferPointer(rebasing: prefix(scheme.utf8CodeUnitCount)).equalsIgnoringCase(scheme)
                && String(decoding: dropFirst(scheme.utf8CodeUnitCount), as: UTF8.self).lowercased()
                    == String(decoding: authority, as: UTF8.self).lowercased()
        }
    }
}

/// Redis' own globs as far as they are needed: `*` any run, `?` any byte, `\` before a literal one.
func globMatches(_ pattern: [UInt8], _ name: [UInt8]) -> Bool {
    var (p, n) = (0, 0)
    var star: (pattern: Int, name: Int)?
    while n < name.count {
        if p < pattern.count, pattern[p] == UInt8(ascii: "*") {
            star = (p, n)
            p += 1
            continue
        }
        let isEscaped = p + 1 < pattern.count && pattern[p] == UInt8(ascii: "\\")
        let wanted = isEscaped ? pattern[p + 1] : p < pattern.count ? pattern[p] : nil
        if let wanted, wanted == name[n] || wanted == UInt8(ascii: "?") && !isEscaped {
            p += isEscaped ? 2 : 1
            n += 1
        } else if let last = star {
            star = (last.pattern, last.name + 1)
            (p, n) = (last.pattern + 1, last.name + 1)
        } else {
            return false
        }
    }
    return pattern[p...].allSatisfy { $0 == UInt8(ascii: "*") }
}
