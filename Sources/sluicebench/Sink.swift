// `sink`: 1 KiB deliveries, 64 in flight, to a receiver that answers 204, beside a bare libcurl loop that
// knows nothing of Redis, retries or signatures: what libcurl alone can do.
//
// Both post the same bodies under the same headers: the message in its JSON envelope (about 1.15 KiB), and the five
// lines that a receiver of webhooks looks at. The bare loop's are one message's, posted again and again. Another sink
// delivers the same in batches of 100. The commands that the gateway sends to Redis are counted from a round's beginning until
// its last acknowledgement, a script as one, those that keep messages alive among them.

import ArgumentParser
import Glibc
import Net
import Webhook

struct Sink: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Webhook deliveries beside a bare libcurl loop.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Deliveries in flight.")
    var concurrency = 64
    @Option(help: "Bytes of each.")
    var size = 1024

    /// A sink, and the commands that each round took a message.
    private final class Pushed {
        let name: String
        let batch: Int
        /// At most so many commands a message.
        let bar: Double
        var commands: [Double] = []

        init(_ name: String, batch: Int, bar: Double) { (self.name, self.batch, self.bar) = (name, batch, bar) }

        var median: Double { commands.sorted()[commands.count / 2] }
    }

    func run() throws {
        let bench = try Bench()
        let receiver = try bench.nginx()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        let url = "http://127.0.0.1:\(receiver.port)/"
        let sinks = [Pushed("sluice", batch: 1, bar: 1), Pushed("sluice, by 100", batch: 100, bar: 0.1)]
        var contenders: [Contender] = []
        if !options.peersOnly {
            for sink in sinks { try link.call("XGROUP", "CREATE", stream(sink), "g", "0", "MKSTREAM") }
            let file = bench.folder + "/sluice.yaml"
            try bench.write(file, "sinks:\n" + sinks.map { configuration($0, url) }.joined())
            let sluice = try bench.sluice(options, redis: redis, more: ["--config", file])
            for sink in sinks { contenders.append(Contender(name: sink.name) { try deliver(sink, sluice, redis, link) }) }
        }
        contenders.append(Contender(name: "libcurl") { try bare(url) })
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders[0].name)
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        for sink in sinks where !sink.commands.isEmpty {
            say("  " + sink.name.padded(18) + "Redis commands a message: \(sink.median.rounded(to: 3))")
        }
        let missed = sinks.filter { !$0.commands.isEmpty && $0.median > $0.bar }
        if options.bars, !missed.isEmpty { throw BenchError.missed(missed.map { "\($0.bar) commands a message in batches of \($0.batch)" }) }
        bench.clean()
    }

    private func stream(_ sink: Pushed) -> String { "bench:\(sink.batch)" }

    /// With times so short that what it holds is kept alive every 1.3 s.
    private func configuration(_ sink: Pushed, _ url: String) -> String {
        """
          by\(sink.batch):
            streams: ["\(stream(sink))"]
            group: g
            start: earliest
            url: \(url)
            batch: {max_messages: \(sink.batch)}
            concurrency: \(concurrency)
            max_held: \(max(concurrency * sink.batch, 1000))
            timeout_ms: 2000
            connect_timeout_ms: 1000
            lease_ms: 4000
            allow_networks: [127.0.0.0/8]

        """
    }

    /// Fills the stream, then counts what the group acknowledged in the round's time. A dead letter is a failure.
    private func deliver(_ sink: Pushed, _ sluice: Server, _ redis: Server, _ link: RedisLink) throws -> Round {
        let fill = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'data', ARGV[2]) end"
        let data = String(repeating: "x", count: size)
        let name = stream(sink)
        let before = try acknowledged(name, link)
        let commands = try sluice.redisCommands()
        for _ in 0..<max(Int(options.seconds * 60_000) / 10_000, 1) { try link.call("EVAL", fill, "1", name, "10000", data) }
        let loop = try EventLoop()
        let start = try acknowledged(name, link).count
        let meter = CPUMeter([sluice.pid, redis.pid])
        let clock = MonotonicClock()
        let begin = clock.now
        var now = try acknowledged(name, link)
        while clock.now - begin < options.length, now.left > 0 || now.count == before.count {
            _ = loop.run(atMost: .milliseconds(20)) { false }
            now = try acknowledged(name, link)
        }
        var round = Round()
        round.requests = now.count - start
        round.elapsed = clock.now - begin
        let cpu = meter.perRequest(round.requests)
        round.cpu = cpu[0]
        round.redisCPU = cpu[1]
        let drained = clock.now + .seconds(60)
        while try acknowledged(name, link).left > 0, clock.now < drained { _ = loop.run(atMost: .milliseconds(20)) { false } }
        let last = try acknowledged(name, link)
        sink.commands.append(Double(try sluice.redisCommands() - commands) / Double(max(last.count - before.count, 1)))
        round.failed = try link.call("XLEN", name + ":dlq").number + last.left
        try link.call("XTRIM", name, "MAXLEN", "0")
        return round
    }

    private func acknowledged(_ stream: String, _ link: RedisLink) throws -> (count: Int, left: Int) {
        let group = try link.call("XINFO", "GROUPS", stream).list.first ?? .none
        let pending = group["pending"].number
        return (group["entries-read"].number - pending, group["lag"].number + pending)
    }

    private func bare(_ url: String) throws -> Round {
        let meter = CPUMeter([getpid()])
        let clock = MonotonicClock()
        let start = clock.now
        let result = BareCurlLoop.post(
            to: url, headers: headers, body: Array(sample.utf8), inFlight: concurrency, for: options.length)
        var round = Round()
        round.requests = result.delivered
        round.failed = result.failed
        round.elapsed = clock.now - start
        round.cpu = meter.perRequest(round.requests)[0]
        return round
    }

    /// What the gateway sends for one of the messages.
    private var sample: String {
        let data = String(repeating: "x", count: size)
        return "{\"stream\":\"bench\",\"group\":\"g\",\"id\":\"1795372304028-0\",\"timestamp_ms\":1795372304028,"
            + "\"fields\":{\"data\":\"\(data)\"},\"delivery_count\":1}"
    }

    private var headers: [String] {
        [
            "Content-Type: application/json", "User-Agent: sluice/0.1.0", "Sluice-Delivery-Count: 1",
            "webhook-id: msg_6TYJPTMKE34RP6XYSCJBW2JKG3", "webhook-timestamp: 1795372304", "Accept:",
        ]
    }
}
