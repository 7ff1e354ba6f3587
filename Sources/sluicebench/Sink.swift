// `sink`: 1 KiB deliveries, 64 in flight, to a receiver that answers 204, beside a bare libcurl loop that
// knows nothing of Redis, retries or signatures: what libcurl alone can do.
//
// Both post the same bodies under the same headers: the message in its JSON envelope (about 1.15 KiB), and the five
// lines that a receiver of webhooks looks at. The bare loop's are one message's, posted again and again.

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

    func run() throws {
        let bench = try Bench()
        let receiver = try bench.nginx()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        let url = "http://127.0.0.1:\(receiver.port)/"
        var contenders: [Contender] = []
        if !options.peersOnly {
            try link.call("XGROUP", "CREATE", "bench", "g", "0", "MKSTREAM")
            let file = bench.folder + "/sluice.yaml"
            try bench.write(file, configuration(url))
            let sluice = try bench.sluice(options, redis: redis, more: ["--config", file])
            contenders.append(Contender(name: "sluice") { try deliver(sluice, redis, link) })
        }
        contenders.append(Contender(name: "libcurl") { try bare(url) })
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders[0].name)
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        bench.clean()
    }

    private func configuration(_ url: String) -> String {
        """
        sinks:
          bench:
            streams: [bench]
            group: g
            start: earliest
            url: \(url)
            concurrency: \(concurrency)
            allow_networks: [127.0.0.0/8]

        """
    }

    /// Fills the stream, then counts what the group acknowledged in the round's time. A dead letter is a failure.
    private func deliver(_ sluice: Server, _ redis: Server, _ link: RedisLink) throws -> Round {
        let fill = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'data', ARGV[2]) end"
        let data = String(repeating: "x", count: size)
        let before = try acknowledged(link)
        for _ in 0..<max(Int(options.seconds * 60_000) / 10_000, 1) {
            try link.call("EVAL", fill, "1", "bench", "10000", data)
        }
        let loop = try EventLoop()
        let start = try acknowledged(link).count
        let meter = CPUMeter([sluice.pid, redis.pid])
        let clock = MonotonicClock()
        let begin = clock.now
        var now = try acknowledged(link)
        while clock.now - begin < options.length, now.left > 0 || now.count == before.count {
            _ = loop.run(atMost: .milliseconds(20)) { false }
            now = try acknowledged(link)
        }
        var round = Round()
        round.requests = now.count - start
        round.elapsed = clock.now - begin
        let cpu = meter.perRequest(round.requests)
        round.cpu = cpu[0]
        round.redisCPU = cpu[1]
        let drained = clock.now + .seconds(60)
        while try acknowledged(link).left > 0, clock.now < drained { _ = loop.run(atMost: .milliseconds(20)) { false } }
        round.failed = try link.call("XLEN", "bench:dlq").number + acknowledged(link).left
        try link.call("XTRIM", "bench", "MAXLEN", "0")
        return round
    }

    private func acknowledged(_ link: RedisLink) throws -> (count: Int, left: Int) {
        let group = try link.call("XINFO", "GROUPS", "bench").list.first ?? .none
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
