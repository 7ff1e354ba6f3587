// The configuration in force: a snapshot that is made once and shared by all loops.
//
// Values come from, the stronger first: the command line, the environment, sluice.yaml, the defaults. All three
// are read through one table, `ConfigOption.all`.

/// A checked configuration. Made by `load`; never changed afterwards.
public struct Config: Sendable {
    enum Fsync: String, Sendable, CaseIterable { case everysec, always }
    enum LogLevel: String, Sendable, CaseIterable { case trace, debug, info, notice, warning, error, critical }
    enum LogFormat: String, Sendable, CaseIterable { case auto, human, json }

    /// The address to listen on: a number or a name.
    var host = "127.0.0.1"
    var port = 8080
    /// One a core that we may run on, unless told otherwise.
    var loops = Config.cores

    /// The Redis to use; nil starts a private one.
    var redis: String?
    /// Where the private Redis keeps its data.
    var dataDirectory = "~/.local/state/sluice"
    var fsync = Fsync.everysec
    /// The private Redis' program: a path, or a name to look for in PATH.
    var redisServer = "redis-server"

    /// How often a waited-on group is read where Redis refuses to track keys.
    var poll: Duration = .milliseconds(100)
    /// How often a live tail gets a comment (API.md §5).
    var tailComment: Duration = .seconds(15)
    /// How long a message stays with a consumer before others may take it (API.md §3).
    var lease: Duration = .milliseconds(30_000)
    /// How long an `Idempotency-Key` is remembered.
    var idempotencyLife: Duration = .milliseconds(3_600_000)

    var limits = Limits()

    var tokens: [TokenDefinition] = []
    /// Serve anybody, also from other machines.
    var isOpenToAll = false
    var allowedOrigins: [String] = []
    var allowedHosts: [String] = []

    var logLevel = LogLevel.info
    var logFormat = LogFormat.auto
    var logsRequests = false

    /// By name, in its order.
    var sinks: [SinkDefinition] = []
    /// Networks that sinks made over HTTP may name in their `allow_networks`.
    var sinkNetworks: [String] = []
    /// From one walk over Redis' keys to the next, for streams that sinks' globs match.
    var sinkScan: Duration = .seconds(10)
    /// Below this lie the files that sinks made over HTTP may name; nil: they may name none.
    var secretsDirectory: String?
    /// The sinks of the configuration too reach no private network but those of their `allow_networks`.
    var isStrictOnNetworks = false

    /// Option key → where its value was written; options left at their default are missing.
    var places: [String: ConfigPlace] = [:]

    init() {}

    /// Whether only this machine can reach us (API.md §8).
    var isLoopback: Bool {
        host == "localhost" || host == "::1" || host == "[::1]"
            || host.hasPrefix("127.") && host.allSatisfy { $0.isNumber || $0 == "." }
    }
}

/// A token that may call (API.md §8). The secret itself is fetched by `GatewayMain`, which keeps only its digest.
struct TokenDefinition: Sendable, Equatable {
    enum Scope: String, Sendable, CaseIterable { case publish, consume, admin }
    enum Secret: Sendable, Equatable {
        /// The SHA-256 of the token, 32 bytes.
        case sha256([UInt8])
        /// The token is the file's first line.
        case file(String)
        /// The token is the value of an environment variable.
        case environment(String)
    }

    /// For logs and metrics.
    var name = ""
    var secret = Secret.sha256([])
    var scopes: [Scope] = []
    /// Globs over stream names.
    var streams = ["*"]
}
