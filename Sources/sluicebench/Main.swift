// The load generator behind every number in the README: it starts its own Redis, gateway and peers on
// loopback, measures them in turns in one run, and ends them by their pid.

import ArgumentParser
import Glibc

@main struct Main: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "sluicebench",
        abstract: "Measures the gateway beside its peers, in interleaved rounds.",
        subcommands: [
            Produce.self, Batch.self, Consume.self, BigRead.self, LongPoll.self, TailBench.self, Sink.self, Sinks.self, Outage.self,
            Startup.self,
        ])

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        raiseFileLimit()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            exit(withError: error)
        }
    }

    /// Thousands of waiters are as many descriptors, here and in the gateway, which inherits the limit.
    private static func raiseFileLimit() {
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(7), &limit)  // RLIMIT_NOFILE, which Glibc does not export as this type.
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(7), &limit)
    }
}

/// What every subcommand takes.
struct CommonOptions: ParsableArguments {
    @Option(help: "The gateway's binary, built for release.")
    var sluice = ".build/release/sluice"
    @Option(help: "Event loops of the gateway.")
    var loops = 1
    @Option(help: "Rounds of each contender; the median counts.")
    var rounds = 5
    @Option(help: "Seconds of each round.")
    var seconds = 3.0
    @Flag(help: "Measure only the peers.")
    var peersOnly = false
    @Flag(help: "Exit with 1 when a bar is missed.")
    var bars = false

    var length: Duration { .seconds(seconds) }
}

enum BenchError: Error, CustomStringConvertible {
    case missing(String)
    case didNotStart(String, log: String)
    case redis(String)
    case failedRequests(Int)
    case missed([String])

    var description: String {
        switch self {
        case .missing(let program): "\(program) is not installed, and this needs it."
        case .didNotStart(let program, let log): "\(program) did not start; its output is in \(log)."
        case .redis(let reply): "Redis answered: \(reply)"
        case .failedRequests(let count): "\(count) requests failed."
        case .missed(let bars): "Missed: " + bars.joined(separator: "; ") + "."
        }
    }
}

/// A line at once, also into a pipe: runs take minutes.
func say(_ line: String) {
    print(line)
    fflush(nil)
}
