// What the server at hand offers, asked at connect: never tried on user data, never guessed from a
// product's name.

public struct ServerFeatures: Sendable, Equatable {
    /// `redis_version` of INFO, e.g. `7.0.15`; empty where INFO is refused. Valkey tells the one it is compatible with.
    public var version = ""
    /// What the server calls itself, and its own version: for people only, never to decide by.
    public var product = "redis"
    public var productVersion = ""
    /// `standalone`, `sentinel` or `cluster`; empty where INFO is refused.
    public var mode = ""
    /// It reads its data from disk, or from its master.
    var isLoading = false
    /// Names, in upper case, of the commands asked for that are there.
    public var commands: Set<String> = []
    /// Option tokens in upper case by command, from COMMAND DOCS (7.0). Empty: the server has none to tell.
    public var tokens: [String: Set<String>] = [:]
    /// Whether changed keys are told to us.
    public var tracking = false
    /// Why not, in the server's words.
    public var trackingRefusal: String?
    /// Whether `sluice:nudge` is heard.
    public var nudges = false
    /// For people: what about this server may lose messages.
    public var warnings: [String] = []

    public init() {}

    /// Whether command `name` takes option `token` (both in upper case).
    public func offers(_ name: String, _ token: String) -> Bool {
        tokens[name]?.contains(token) ?? false
    }
}
