// `sinks`: a thousand sinks, each with a stream and an endpoint (a port) of its own, and messages at a steady rate. In every
// other round some of the endpoints take what they are sent and answer nothing: what does that cost the others?
//
// The hanging ones have a backlog then, so that each has as many requests under way as its sink allows. What is measured,
// in both kinds of round, is the same other sinks: messages a second, and how old a message is when it is there.

import ArgumentParser
import Glibc
import Net

struct Sinks: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A thousand sinks, some of whose endpoints hang.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Sinks, each with a stream and an endpoint of its own.")
    var sinks = 1000
    @Option(help: "Of these, whose endpoints hang in every other round.")
    var hanging = 100
    @Option(help: "Messages a second, to all streams in turn.")
    var rate = 2000
    @Option(help: "Messages that a hanging endpoint's stream is given at once.")
    var backlog = 50
    @Option(help: "The sinks' timeout_ms.")
    var timeoutMs = 15_000

    func validate() throws {
        guard sinks > 0, rate > 0, backlog >= 0 else { throw ValidationError("Give at least one of each.") }
        guard (0..<sinks).contains(hanging) else { throw ValidationError("--hanging is less than --sinks.") }
    }

    private struct Site {
        let loop: EventLoop
        let redis: Server
        let sluice: Server
        let receivers: [SinkReceiver]
        let healthy: Arrivals
    }

    func run() throws {
        let bench = try Bench()
        let site = try start(bench)
        try idle(site)
        let contenders = [
            Contender(name: "all well") { try round(site, isHanging: false) },
            Contender(name: "\(hanging) hang") { try round(site, isHanging: true) },
        ]
        let comparison = try Comparison(contenders, rounds: options.rounds)
        let (well, ill) = (contenders[0].name, contenders[1].name)
        comparison.printMedians(comparing: ill)
        let rate = comparison.ratio(ill, to: well, \.rate) ?? 0
        let (p50, p99) = (comparison.ratio(ill, to: well) { $0.age(50) } ?? 0, comparison.ratio(ill, to: well) { $0.age(99) } ?? 0)
        for name in [well, ill] {
            let age = { (percent: Double) in Int(comparison.median(name) { $0.age(percent) } ?? 0) }
            say("  " + name.padded(18) + "XADD to receipt µs p50 \(age(50)), p99 \(age(99))")
        }
        say("  with \(hanging) hanging the others have \(rate.rounded(to: 2))x the rate, \(p50.rounded(to: 2))x the p50, \(p99.rounded(to: 2))x the p99")
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        if options.bars, rate < 0.9 { throw BenchError.missed(["within 10 % of the rate"]) }
        bench.clean()
    }

    /// All is up, and every sink has delivered so much that its window is wide open.
    private func start(_ bench: Bench) throws -> Site {
        let loop = try EventLoop()
        let redis = try bench.redis()
        let (healthy, others) = (Arrivals(loop), Arrivals(loop))
        let receivers = try (0..<sinks).map { try SinkReceiver(loop, $0 < hanging ? others : healthy) }
        let file = bench.folder + "/sluice.yaml"
        try bench.write(file, configuration(receivers))
        let sluice = try bench.sluice(options, redis: redis, more: ["--config", file, "--log-level", "error"])
        let site = Site(loop: loop, redis: redis, sluice: sluice, receivers: receivers, healthy: healthy)
        let adder = try Adder(loop, redis.address, rate: 0) { number, now, output in add(number, now, to: output) }
        adder.burst(sinks * 20)
        guard loop.run(atMost: .seconds(30), until: { receivers.allSatisfy { $0.answered >= 20 } }) else {
            throw BenchError.failedRequests(receivers.count { $0.answered < 20 })
        }
        adder.stop()
        return site
    }

    private func configuration(_ receivers: [SinkReceiver]) -> String {
        "sinks:\n" + receivers.enumerated().map { number, receiver in
            "  s\(number): {streams: [\"bench:\(number)\"], url: \"\(receiver.url)\", start: earliest, timeout_ms: \(timeoutMs)}\n"
        }.joined()
    }

    private func add(_ number: Int, _ now: Int64, to output: ByteBuffer) {
        output.appendCommand(["XADD", "bench:\(number % sinks)", "MAXLEN", "~", "1000", "*", "t", "\(now)"])
    }

    // MARK: At rest

    private func idle(_ site: Site) throws {
        _ = site.loop.run(atMost: .seconds(2)) { false }
        let commands = try site.sluice.redisCommands()
        let meter = CPUMeter([site.sluice.pid, site.redis.pid])
        _ = site.loop.run(atMost: options.length) { false }
        let cost = meter.perRequest(1)
        let share = cost.map { ($0 / 1e4 / options.seconds).rounded(to: 2) }
        let count = try site.sluice.redisCommands() - commands
        say("\(sinks) sinks at rest for \(options.seconds) s")
        say("  Redis commands a second: \((Double(count) / options.seconds).rounded(to: 1))")
        say("  CPU %: gateway \(share[0]), Redis \(share[1])")
        say("  gateway's memory without pages of files: \(ProcessCost.anonymous(pid: site.sluice.pid) / 1024) KiB")
    }

    // MARK: A round

    private func round(_ site: Site, isHanging: Bool) throws -> Round {
        let ill = site.receivers.prefix(hanging)
        let answeredBefore = ill.reduce(0) { $0 + $1.answered }
        var added = 0
        if isHanging {
            for receiver in ill { receiver.hang() }
            let adder = try Adder(site.loop, site.redis.address, rate: 0) { number, now, output in add(number % hanging, now, to: output) }
            adder.burst(hanging * backlog)
            added = hanging * backlog
            _ = site.loop.run(atMost: .milliseconds(500)) { false }
            adder.stop()
        }
        site.healthy.latencies.removeAll(keepingCapacity: true)
        let commands = try site.sluice.redisCommands()
        let meter = CPUMeter([site.sluice.pid, site.redis.pid, getpid()])
        let adder = try Adder(site.loop, site.redis.address, rate: rate, add: add)
        _ = site.loop.run(atMost: options.length) { false }
        adder.stop()
        var round = Round()
        round.requests = site.healthy.latencies.count
        round.elapsed = options.length
        let cpu = meter.perRequest(round.requests)
        (round.cpu, round.redisCPU, round.clientCPU) = (cpu[0], cpu[1], cpu[2])
        let sent = try site.sluice.redisCommands() - commands
        let toIll = (0..<adder.sent).count { $0 % sinks < hanging }
        let expected = adder.sent - toIll
        _ = site.loop.run(atMost: .seconds(20)) { site.healthy.latencies.count >= expected }
        round.latencies = site.healthy.latencies
        round.failed = abs(expected - site.healthy.latencies.count)
        let underWay = ill.reduce(0) { $0 + $1.owed }
        say("    Redis commands a message: \((Double(sent) / Double(max(round.requests, 1))).rounded(to: 2))\(isHanging ? ", hanging requests: \(underWay)" : "")")
        for receiver in ill { receiver.recover() }
        // What was sent twice is answered twice: then the next round begins with some of it left.
        _ = site.loop.run(atMost: .seconds(30)) { ill.reduce(0) { $0 + $1.answered } - answeredBefore >= added + toIll }
        return round
    }
}

extension Round {
    fileprivate func age(_ percent: Double) -> Double? {
        latencies.isEmpty ? nil : Double(latencies.sorted().percentile(percent))
    }
}
