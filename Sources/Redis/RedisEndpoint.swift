// Where a server is and as whom we speak to it.

public struct RedisEndpoint: Sendable, Equatable, CustomStringConvertible {
    public enum Place: Sendable, Equatable {
        /// A name or an address, without brackets.
        case tcp(host: String, port: UInt16)
        case unix(path: String)
    }

    public var place: Place
    public var username: String?
    public var password: String?
    public var database: Int

    public init(place: Place, username: String? = nil, password: String? = nil, database: Int = 0) {
        self.place = place
        self.username = username
        self.password = password
        self.database = database
    }

    /// What is wrong with a URL, as a sentence. Never holds the password.
    public struct InvalidURL: Error, Equatable, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// `redis://[user[:password]@]host[:port][/db]` or `unix://[user[:password]@]path[?db=n]`.
    public init(url: String) throws(InvalidURL) { fatalError() }

    /// The URL without user and password.
    public var description: String { "" }
}
