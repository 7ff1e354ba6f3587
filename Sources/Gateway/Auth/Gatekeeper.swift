// Who may call (API.md §8): hosts, origins, tokens. Judged before any handler runs.

import Crypto
import HTTP
import Net

struct Gatekeeper {
    /// A token that may call; of the secret only its digest is kept.
    struct Token {
        var name: String
        var digest: [UInt8]
        var scopes: [TokenDefinition.Scope]
        var streams: [Glob]
    }

    private let tokens: [Token]
    private let isLoopback: Bool
    private let allowedHosts: [String]
    let allowedOrigins: AllowedOrigins

    init(_ config: Config, tokens: [Token]) {
        self.tokens = tokens
        isLoopback = config.isLoopback
        allowedHosts = config.allowedHosts.map { $0.lowercased() }
        allowedOrigins = AllowedOrigins(config)
    }

    /// Refuses a call that may not be made. Every POST with a plain or empty body is a "simple request" that
    /// any web page could send here: a page is not a caller. Streams that the path does not name are the handler's to
    /// check, by what this returns.
    func check(_ request: Request, _ route: Route, _ parameters: PathParameters) throws(Problem) -> Caller {
        if isLoopback { try checkHost(request) }
        if route.access == .page { return Caller() }
        try checkOrigin(request)
        if route.method == .get, route.events == .only { try checkPage(request) }
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
        if let origin, allowedOrigins.contains(origin) { return }
        if let site = request.header("sec-fetch-site"), site.isSame(as: "cross-site") || site.isSame(as: "same-site") {
            throw Problem(.forbiddenOrigin, "Web pages of other sites may not call; add theirs to allowed_origins.")
        }
        guard let origin, !isOwn(origin, request) else { return }
        throw Problem(.forbiddenOrigin, "The origin \(Array(origin).quoted) may not call; add it to allowed_origins.")
    }

    private func isOwn(_ origin: UnsafeRawBufferPointer, _ request: Request) -> Bool {
        origin.isSame(as: request.host, afterScheme: ["http://", "https://"])
    }

    /// Of the GET that changes a group, where it needs no token. Any page can have a browser send one without an Origin (by
    /// `fetch` in the mode no-cors, which may set Accept), and over plain http, but to loopback, without Sec-Fetch-Site.
    /// Then its page must be one of ours by the Referer, which no page can forge. Who is no browser sends none of these.
    private func checkPage(_ request: Request) throws(Problem) {
        guard tokens.isEmpty, request.header("origin") == nil, request.header("sec-fetch-site") == nil else { return }
        guard let agent = request.header("user-agent"), agent.starts(with: "Mozilla/".utf8) else { return }
        if let origin = request.header("referer")?.origin, isOwn(origin, request) || allowedOrigins.contains(origin) { return }
        throw Problem(.forbiddenOrigin, "A browser sent this without a word on whose page it is for; send the Referer, use https, or POST …/stream.")
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
        return token.streams.contains { $0.matches(stream) }
    }

    /// Whether it may use whatever `streams` matches.
    func mayUse(all streams: Glob) -> Bool {
        streams.isName ? mayUse(streams.prefix) : token?.streams.contains { $0.covers(streams) } ?? true
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

    /// Of a URL: its scheme and authority.
    fileprivate var origin: UnsafeRawBufferPointer {
        var slashes = 0
        let end = firstIndex { byte in
            if byte == UInt8(ascii: "/") { slashes += 1 }
            return slashes == 3
        }
        return UnsafeRawBufferPointer(rebasing: self[..<(end ?? count)])
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
