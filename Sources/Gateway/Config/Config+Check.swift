// What only several options together can have wrong, and the tokens' own rules.

import Glibc

extension Config {
    /// Refusals that need more than one option.
    func contradictions(_ environment: [String: String]) -> [ConfigProblem] {
        var problems: [ConfigProblem] = []
        func object(_ key: String, _ reason: String) {
            problems.append(ConfigProblem(place: places[key] ?? ConfigPlace(source: "configuration"), key: key, reason: reason))
        }
        if !isLoopback && tokens.isEmpty && !isOpenToAll {
            object("host", "others can reach \(printable(host)), and there are no tokens; add tokens, or say insecure_no_auth")
        }
        if redis != nil {
            for key in ["data_dir", "fsync", "redis_server"] where places[key] != nil {
                object(key, "is for the private Redis, and redis names another; leave one of them out")
            }
        }
        if places["limits.max_connections"] != nil, Limits.descriptorBound(limits.connections) < limits.connections {
            object(
                "limits.max_connections",
                "the process may only have \(Limits.descriptorBound(.max) + Limits.ownDescriptors) files open, and keeps "
                    + "\(Limits.ownDescriptors) of them; raise ulimit -n")
        }
        for token in tokens {
            switch token.secret {
            case .environment(let name) where environment[name]?.isEmpty != false:
                object("tokens", "token \(printable(token.name)): the environment has no \(printable(name))")
            case .file(let path) where access(path, R_OK) != 0:
                object("tokens", "token \(printable(token.name)): \(printable(path)): \(String(cString: strerror(errno)))")
            default: break
            }
        }
        for sink in sinks {
            for case .environment(let name) in sink.secrets where environment[name]?.isEmpty != false {
                object("sinks", "\(sink.name): the environment has no \(printable(name))")
            }
            for case .file(let path) in sink.secrets where access(path, R_OK) != 0 {
                object("sinks", "\(sink.name): \(printable(path)): \(String(cString: strerror(errno)))")
            }
        }
        return problems
    }
}

extension TokenDefinition {
    static func parse(_ node: ConfigNode) throws(ConfigError) -> TokenDefinition {
        var token = TokenDefinition()
        var secret: Secret?
        let reader = ConfigMapReader(node)
        reader.require("name", into: &token.name) { (node) throws(ConfigProblem) in try node.text("a name") }
        reader.read("sha256", into: &secret) { (node) throws(ConfigProblem) in .sha256(try digest(node)) }
        reader.read("file", into: &secret) { (node) throws(ConfigProblem) in .file(try node.text("a path")) }
        reader.read("env", into: &secret) { (node) throws(ConfigProblem) in .environment(try node.text("a variable's name")) }
        let sources = ["sha256", "file", "env"].filter { reader.take($0) != nil }
        if sources.count != 1 { reader.report([node.problem("a token needs one of sha256, file and env")]) }
        reader.require("scopes", into: &token.scopes) { (node) throws(ConfigProblem) in
            var scopes: [Scope] = []
            for node in try node.list() { scopes.append(try node.choice()) }
            guard !scopes.isEmpty else { throw node.problem("expected at least one of publish, consume, admin") }
            return scopes
        }
        reader.read("streams", into: &token.streams) { (node) throws(ConfigProblem) in
            let globs = try node.texts()
            for glob in globs { if let problem = Glob.problem(glob) { throw node.problem("\"\(printable(glob))\" is no glob: \(problem)") } }
            return globs
        }
        reader.refuse(["token", "secret", "value"], "a token is not written into the file; use sha256, file or env")
        reader.finish()
        guard reader.problems.isEmpty, let secret else { throw ConfigError(problems: reader.problems) }
        token.secret = secret
        return token
    }

    /// 64 hexadecimal digits.
    private static func digest(_ node: ConfigNode) throws(ConfigProblem) -> [UInt8] {
        let digits = Array(try node.text("64 hexadecimal digits").utf8)
        var bytes: [UInt8] = []
        for pair in stride(from: 0, to: digits.count - 1, by: 2) {
            let text = String(decoding: digits[pair..<pair + 2], as: UTF8.self)
            guard let byte = UInt8(text, radix: 16), digits[pair] != UInt8(ascii: "+") else { break }
            bytes.append(byte)
        }
        guard digits.count == 64, bytes.count == 32 else {
            throw node.problem("expected the SHA-256 of the token in 64 hexadecimal digits (printf %s TOKEN | sha256sum)")
        }
        return bytes
    }
}
