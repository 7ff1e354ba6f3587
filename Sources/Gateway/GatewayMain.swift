// The door from the command line into the gateway. (A stub: the server goes here.)

public enum GatewayMain {
    public static let version = "0.1.0"

    /// Serves until SIGTERM or SIGINT; the process' exit code.
    public static func run(_ config: Config) throws -> Int32 {
        0
    }
}
