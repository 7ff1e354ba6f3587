// Where a server is, and as whom we speak to it.

import Net

public struct RedisEndpoint: Sendable, Equatable {
    public enum Place: Sendable, Equatable {
        /// A name or an address; an IPv6 address without its brackets.
        case tcp(host: String, port: UInt16)
        case unix(path: String)
    }

    public var place: Place
    /// An ACL user; nil for the default one.
    public var username: String?
    public var password: String?
    public var database: Int

    public init(place: Place, username: String? = nil, password: String? = nil, database: Int = 0) {
        self.place = place
        self.username = username
        self.password = password
        self.database = database
    }

    /// What is wrong with a URL, as a sentence for people. It never quotes what may hold the password.
    public struct InvalidURL: Error, Equatable, Sendable, CustomStringConvertible {
        public let description: String

        init(_ description: String) { self.description = description }
    }

    /// `redis://[[user][:password]@]host[:port][/db]` or `unix://[[user][:password]@]path[?db=n]`. User, password,
    /// host and path may be percent-encoded; a user alone is a password in some tools and an error here.
    public init(url: String) throws(InvalidURL) {
        guard let mark = url.firstRange(of: "://") else {
            throw InvalidURL("A Redis URL starts with redis:// or unix://")
        }
        var rest = url[mark.upperBound...]
        guard !rest.contains("#") else { throw InvalidURL("A # in a Redis URL must be written as %23") }
        switch url[..<mark.lowerBound].lowercased() {
        case "redis":
            // The first slash ends the authority; a slash in a password must be encoded (RFC 3986 §3.2).
            let authority = rest.prefix { $0 != "/" && $0 != "?" }
            let path = rest[authority.endIndex...]
            rest = authority
            let user = try RedisEndpoint.takeUser(&rest)
            let place = try RedisEndpoint.tcp(rest)
            self.init(
                place: place, username: user.name, password: user.password,
                database: try RedisEndpoint.database(path: path))
        case "unix", "redis+unix":
            var authority = rest.prefix { $0 != "/" && $0 != "?" }
            rest = rest[authority.endIndex...]
            let user = try RedisEndpoint.takeUser(&authority)
            guard authority.isEmpty else {
                throw InvalidURL("unix:// needs an absolute path, as in unix:///run/redis.sock")
            }
            let path = rest.prefix { $0 != "?" }
            let database = try RedisEndpoint.database(query: rest[path.endIndex...])
            guard path.hasPrefix("/") else { throw InvalidURL("unix:// needs an absolute path, as in unix:///run/redis.sock") }
            self.init(
                place: .unix(path: try RedisEndpoint.decode(path, "path")), username: user.name,
                password: user.password, database: database)
        case "rediss":
            throw InvalidURL("rediss:// (TLS) is not supported; use redis:// through a TLS tunnel")
        default:
            throw InvalidURL("A Redis URL starts with redis:// or unix://")
        }
    }

    /// Takes `user:password@` off the front.
    private static func takeUser(
        _ rest: inout Substring
    ) throws(InvalidURL) -> (name: String?, password: String?) {
        guard let at = rest.lastIndex(of: "@") else { return (nil, nil) }
        let user = rest[..<at]
        rest = rest[rest.index(after: at)...]
        guard let colon = user.firstIndex(of: ":") else {
            throw InvalidURL("A Redis URL with a user needs a password: user:password@, or :password@ for the default user")
        }
        let name = try decode(user[..<colon], "user")
        let password = try decode(user[user.index(after: colon)...], "password")
        return (name.isEmpty ? nil : name, password)
    }

    private static func tcp(_ authority: Substring) throws(InvalidURL) -> Place {
        var host = authority
        var port: Substring?
        if authority.hasPrefix("[") {
            guard let end = authority.firstIndex(of: "]") else { throw InvalidURL("An IPv6 address ends with ]") }
            host = authority[authority.index(after: authority.startIndex)..<end]
            let tail = authority[authority.index(after: end)...]
            guard tail.isEmpty || tail.hasPrefix(":") else { throw InvalidURL("After the ] of an IPv6 address comes :port") }
            if !tail.isEmpty { port = tail.dropFirst() }
        } else if let colon = authority.lastIndex(of: ":") {
            host = authority[..<colon]
            port = authority[authority.index(after: colon)...]
            guard !host.contains(":") else { throw InvalidURL("An IPv6 address stands in brackets, as in redis://[::1]:6379") }
        }
        let name = try decode(host, "host")
        guard !name.isEmpty else { throw InvalidURL("A redis:// URL needs a host, as in redis://localhost:6379") }
        guard let port, !port.isEmpty else { return .tcp(host: name, port: 6379) }
        guard port.utf8.allSatisfy({ (48...57).contains($0) }), let number = UInt16(port), number > 0 else {
            throw InvalidURL("A port is a number from 1 to 65535")
        }
        return .tcp(host: name, port: number)
    }

    private static func database(path: Substring) throws(InvalidURL) -> Int {
        let number = path.prefix { $0 != "?" }
        let query = path[number.endIndex...]
        guard number.count > 1 else { return try database(query: query) }
        guard query.isEmpty else { throw InvalidURL("A database is named once, as /db or as ?db=") }
        return try parseDatabase(number.dropFirst())
    }

    private static func database(query: Substring) throws(InvalidURL) -> Int {
        guard query.count > 1 else { return 0 }
        guard query.hasPrefix("?db=") else { throw InvalidURL("A Redis URL knows no parameter but db") }
        return try parseDatabase(query.dropFirst(4))
    }

    private static func parseDatabase(_ text: Substring) throws(InvalidURL) -> Int {
        guard !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int32(text) else {
            throw InvalidURL("A database is a number, as in redis://localhost/1")
        }
        return Int(number)
    }

    /// RFC 3986 §2.1. `part`: what it is, for the error.
    private static func decode(_ text: Substring, _ part: String) throws(InvalidURL) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(ASCII.hexValue), let low = rest.popFirst().flatMap(ASCII.hexValue) else {
                throw InvalidURL("In the \(part), % must be followed by two hexadecimal digits")
            }
            bytes.append(high << 4 | low)
        }
        guard let decoded = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw InvalidURL("The \(part) is not UTF-8 text")
        }
        return decoded
    }
}

extension RedisEndpoint: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// The URL without its user and password.
    public var description: String {
        switch place {
        case .tcp(let host, let port):
            "redis://\(host.contains(":") ? "[\(host)]" : host):\(port)\(database == 0 ? "" : "/\(database)")"
        case .unix(let path):
            "unix://\(path)\(database == 0 ? "" : "?db=\(database)")"
        }
    }

    public var debugDescription: String { description }

    /// Dumps don't show the password either.
    public var customMirror: Mirror { Mirror(self, children: ["url": description]) }
}
