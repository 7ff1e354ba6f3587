// The command line: arguments in, exit codes out. What the options mean is the Gateway's table's to say.
//
// Exit codes: 0 done; 1 failed while running; 2 refused before serving (configuration, data directory locked,
// address in use); 64 the command line itself is wrong (sysexits.h EX_USAGE).

import ArgumentParser
import Gateway
import Glibc
import Net

@main
struct Sluice: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluice",
        abstract: "An HTTP/JSON gateway to Redis Streams consumer groups.",
        discussion: """
            Start it with nothing and it listens on 127.0.0.1:8080 with a private Redis of its own:

              sluice
              curl -d hello=world http://127.0.0.1:8080/v1/streams/greetings/messages

            Exit codes: 0 done, 1 failed while running, 2 refused before serving (configuration, data \
            directory locked, address in use), 64 wrong usage.
            """,
        version: GatewayMain.version,
        subcommands: [Serve.self, CheckConfig.self],
        defaultSubcommand: Serve.self)

    static func main() {
        // Before any thread is made: all of them inherit it, and signals become events of a loop.
        Signals.block([SIGTERM, SIGINT])
        raiseDescriptorLimit()
        main(nil)
    }
}

/// As many files as we may have: the soft limit, mostly 1,024, is only a courtesy to programs that use select(2).
private func raiseDescriptorLimit() {
    var limit = rlimit()
    let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    guard getrlimit(files, &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(files, &limit)
}

/// Says why on stderr, and ends with `code`.
private func refuse(_ reason: String, code: Int32) -> ExitCode {
    var line = reason + "\n"
    line.withUTF8 { _ = write(STDERR_FILENO, $0.baseAddress, $0.count) }
    return ExitCode(code)
}

private func environment() -> [String: String] {
    var variables: [String: String] = [:]
    var entry = environ
    while let text = entry.pointee {
        let parts = String(cString: text).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 { variables[String(parts[0])] = String(parts[1]) }
        entry += 1
    }
    return variables
}

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve until SIGTERM (the default).",
        usage: "sluice [serve] [--config PATH] [OPTION VALUE]...",
        discussion: """
            Each option has three names: --max-count on the command line, SLUICE_MAX_COUNT in the \
            environment, max_count in sluice.yaml. The command line wins over the environment, that over \
            the file, that over the default (in brackets below). Durations are whole milliseconds.

            The file is --config PATH, or SLUICE_CONFIG, or ./sluice.yaml where there is one. Tokens and \
            sinks can only be given there.

            \(Config.help)
            """)

    // The table knows the options, not this struct: one row there is all that an option takes.
    @Argument(parsing: .allUnrecognized, help: .hidden) var options: [String] = []

    func run() throws {
        let config: Config
        do {
            config = try Config.load(arguments: options, environment: environment())
        } catch {
            // A misspelt option is wrong usage; what an option or a file says wrongly is a refused configuration.
            throw refuse("sluice: configuration refused:\n\(error)", code: error.isUsage ? 64 : 2)
        }
        let code = GatewayMain.run(config)
        if code != 0 { throw ExitCode(code) }
    }
}

struct CheckConfig: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check-config",
        abstract: "Check a configuration file, and print what it amounts to.",
        discussion: "Exits with 2 and a line a mistake when `sluice serve --config FILE` would refuse it. Secrets are not shown.")

    @Argument(help: "The YAML file.") var file: String

    func run() throws {
        do {
            print(try Config.check(path: file, environment: environment()).yaml, terminator: "")
        } catch {
            throw refuse("\(error)", code: 2)
        }
    }
}
