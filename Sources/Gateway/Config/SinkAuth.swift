// How a sink is let in at its receiver, and whom it trusts there: the keys `auth` and `tls` of its definition.

/// What proves a sink to its receiver. At most one scheme, and a certificate beside it or alone.
struct SinkAuth: Sendable, Equatable {
    enum Scheme: Sendable, Equatable {
        case basic(user: String, password: SinkDefinition.Secret)
        case bearer(SinkDefinition.Secret)
        case oauth2(OAuth2)
    }

    /// The client credentials grant (RFC 6749 §4.4).
    struct OAuth2: Sendable, Equatable {
        /// Where the client's own credentials stand in the request for a token (RFC 7591 §2 has the names).
        enum ClientAuth: String, Sendable, CaseIterable {
            case basic = "client_secret_basic"
            case post = "client_secret_post"
        }

        var tokenURL = ""
        var clientID = ""
        var clientSecret = SinkDefinition.Secret.literal("")
        var clientAuth = ClientAuth.basic
        var scope: String?
        var audience: String?
    }

    /// Mutual TLS: paths of PEM files, read at connect.
    struct Certificate: Sendable, Equatable {
        var file = ""
        var keyFile = ""
    }

    var scheme: Scheme?
    var certificate: Certificate?
}

/// Whom a sink trusts.
struct SinkTLS: Sendable, Equatable {
    /// PEM file of the certificates to trust instead of the system's.
    var authorityFile: String?
    /// False accepts any certificate for any name.
    var verifies = true
}

extension SinkDefinition {
    /// `Authorization` may change while the sink runs: it is none of the headers that are the same for every message.
    var authorizationMayChange: Bool {
        switch auth?.scheme {
        case .basic(_, .file), .bearer(.file), .oauth2: true
        case .basic, .bearer, nil: false
        }
    }
}

// MARK: Reading

extension SinkDefinition {
    mutating func readAccess(_ reader: ConfigMapReader, by author: Author) {
        if let node = reader.take("auth"), !node.isNull {
            let keys = ConfigMapReader(node)
            var read = SinkAuth()
            read.read(keys, node, by: author)
            auth = read
            reader.report(keys.problems)
        }
        if let node = reader.take("tls") {
            let keys = ConfigMapReader(node)
            tls.read(keys, by: author)
            reader.report(keys.problems)
        }
    }

    /// What they say together with the other keys.
    func checkAccess(_ reader: ConfigMapReader) {
        if auth?.scheme != nil, headers.contains(where: { $0.name.lowercased() == "authorization" }) {
            reader.object("headers", "Authorization is set by auth")
        }
        guard url.lowercased().hasPrefix("http:") else { return }
        if auth?.certificate != nil { reader.object("auth", "mtls needs a url that begins with https://") }
        if tls != SinkTLS(), auth?.tokenURL?.lowercased().hasPrefix("https:") != true {
            reader.object("tls", "needs a url that begins with https://")
        }
        if httpVersion == .two { reader.object("http_version", "2 is agreed on in TLS: it needs a url that begins with https://") }
    }

    /// A secret's text, or where it is.
    static func credential(_ node: ConfigNode, by author: Author) throws(ConfigProblem) -> Secret {
        let text = try node.text("a secret, or env:NAME, or file:PATH")
        if let place = try secretPlace(node, text, by: author) { return place }
        guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { throw node.problem("a secret has no line breaks and no control characters") }
        return .literal(text)
    }

    fileprivate static func file(_ node: ConfigNode, by author: Author) throws(ConfigProblem) -> String {
        let path = try node.text("a file's path")
        guard author.isOperator else { throw node.problem(operatorRule) }
        guard !path.utf8.contains(0) else { throw node.problem("a path has no NUL") }
        return path
    }

    fileprivate static let operatorRule = "belongs in the gateway's own configuration"

    fileprivate static func plainText(_ node: ConfigNode) throws(ConfigProblem) -> String {
        let text = try node.text()
        guard text.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { throw node.problem("no line breaks and no control characters") }
        return text
    }
}

extension SinkAuth {
    fileprivate var tokenURL: String? { if case .oauth2(let oauth) = scheme { oauth.tokenURL } else { nil } }

    fileprivate mutating func read(_ keys: ConfigMapReader, _ node: ConfigNode, by author: SinkDefinition.Author) {
        let given = ["basic", "bearer", "oauth2"].filter { keys.take($0) != nil }
        if let last = given.dropFirst().last { keys.object(last, "one of basic, bearer and oauth2; \(given[0]) is there already") }
        if let node = keys.take("basic") { readBasic(keys, ConfigMapReader(node), by: author) }
        keys.read("bearer", into: &scheme) { (node) throws(ConfigProblem) in
            .bearer(try SinkDefinition.credential(node, by: author))
        }
        if let node = keys.take("oauth2") { readOAuth2(keys, ConfigMapReader(node), by: author) }
        if let node = keys.take("mtls") {
            if author.isOperator { readCertificate(keys, ConfigMapReader(node), by: author) } else { keys.report([node.problem(SinkDefinition.operatorRule)]) }
        }
        keys.finish()
        if keys.problems.isEmpty, given.isEmpty, certificate == nil { keys.report([node.problem("expected basic, bearer, oauth2 or mtls")]) }
    }

    private mutating func readBasic(_ keys: ConfigMapReader, _ reader: ConfigMapReader, by author: SinkDefinition.Author) {
        var (user, password) = ("", SinkDefinition.Secret.literal(""))
        reader.require("username", into: &user) { (node) throws(ConfigProblem) in
            let text = try SinkDefinition.plainText(node)
            guard !text.contains(":") else { throw node.problem("a user name has no colon (RFC 7617 §2)") }
            return text
        }
        reader.require("password", into: &password) { (node) throws(ConfigProblem) in try SinkDefinition.credential(node, by: author) }
        reader.finish()
        keys.report(reader.problems)
        scheme = .basic(user: user, password: password)
    }

    private mutating func readOAuth2(_ keys: ConfigMapReader, _ reader: ConfigMapReader, by author: SinkDefinition.Author) {
        var oauth = OAuth2()
        reader.require("token_url", into: &oauth.tokenURL, SinkDefinition.webURL)
        reader.require("client_id", into: &oauth.clientID, SinkDefinition.plainText)
        reader.require("client_secret", into: &oauth.clientSecret) { (node) throws(ConfigProblem) in try SinkDefinition.credential(node, by: author) }
        reader.read("client_auth", into: &oauth.clientAuth) { (node) throws(ConfigProblem) in try node.choice() }
        reader.read("scope", into: &oauth.scope) { (node) throws(ConfigProblem) in node.isNull ? nil : try SinkDefinition.plainText(node) }
        reader.read("audience", into: &oauth.audience) { (node) throws(ConfigProblem) in node.isNull ? nil : try SinkDefinition.plainText(node) }
        reader.finish()
        keys.report(reader.problems)
        scheme = .oauth2(oauth)
    }

    private mutating func readCertificate(_ keys: ConfigMapReader, _ reader: ConfigMapReader, by author: SinkDefinition.Author) {
        var certificate = Certificate()
        reader.require("cert_file", into: &certificate.file) { (node) throws(ConfigProblem) in try SinkDefinition.file(node, by: author) }
        reader.require("key_file", into: &certificate.keyFile) { (node) throws(ConfigProblem) in try SinkDefinition.file(node, by: author) }
        reader.finish()
        keys.report(reader.problems)
        self.certificate = certificate
    }
}

extension SinkTLS {
    fileprivate mutating func read(_ keys: ConfigMapReader, by author: SinkDefinition.Author) {
        keys.read("ca_file", into: &authorityFile) { (node) throws(ConfigProblem) in
            node.isNull ? nil : try SinkDefinition.file(node, by: author)
        }
        keys.read("insecure_skip_verify", into: &verifies) { (node) throws(ConfigProblem) in
            guard try node.boolean() else { return true }
            guard author.isOperator else { throw node.problem(SinkDefinition.operatorRule) }
            return false
        }
        if !verifies, authorityFile != nil { keys.object("ca_file", "means nothing with insecure_skip_verify") }
        keys.finish()
    }
}

// MARK: Showing

extension SinkAuth {
    /// `showsSecrets` is for Redis alone.
    func json(showsSecrets: Bool) -> String {
        func secret(_ secret: SinkDefinition.Secret) -> String { jsonText(showsSecrets ? secret.text : SinkDefinition.mask) }
        var members: [String] = []
        switch scheme {
        case .basic(let user, let password): members.append("\"basic\":{\"username\":\(jsonText(user)),\"password\":\(secret(password))}")
        case .bearer(let token): members.append("\"bearer\":\(secret(token))")
        case .oauth2(let oauth): members.append("\"oauth2\":\(oauth.json(secret(oauth.clientSecret)))")
        case nil: break
        }
        if let certificate {
            members.append("\"mtls\":{\"cert_file\":\(jsonText(certificate.file)),\"key_file\":\(jsonText(certificate.keyFile))}")
        }
        return "{\(members.joined(separator: ","))}"
    }
}

extension SinkAuth.OAuth2 {
    fileprivate func json(_ secret: String) -> String {
        "{\"token_url\":\(jsonText(tokenURL)),\"client_id\":\(jsonText(clientID)),\"client_secret\":\(secret),"
            + "\"client_auth\":\"\(clientAuth.rawValue)\",\"scope\":\(scope.map(jsonText) ?? "null"),"
            + "\"audience\":\(audience.map(jsonText) ?? "null")}"
    }
}

extension SinkTLS {
    var json: String { "{\"ca_file\":\(authorityFile.map(jsonText) ?? "null"),\"insecure_skip_verify\":\(!verifies)}" }
}
