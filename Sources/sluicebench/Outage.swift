// `outage`: a sink whose receiver refuses connections for a while, with a backlog: what the gateway's memory is before and after,
// what it asks of Redis meanwhile, and how soon after the receiver's return it gets as much as before.

import ArgumentParser
import Glibc
import Net

struct Outage: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "A receiver that is away for a while, and comes back.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Deliveries in flight.")
    var concurrency = 64
    @Option(help: "Messages that wait in Redis, of 1 KiB.")
    var backlog = 100_000
    @Option(help: "Seconds for which the receiver is away.")
    var away = 45.0

    /// Between two looks at what has come.
    private static let step = Duration.milliseconds(100)

    func run() throws {
        let bench = try Bench()
        let loop = try EventLoop()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        let arrivals = Arrivals(loop)
        let receiver = try SinkReceiver(loop, arrivals)
        let file = bench.folder + "/sluice.yaml"
        try bench.write(file, "sinks:\n  bench: {streams: [bench], url: \"\(receiver.url)\", start: earliest, concurrency: \(concurrency)}\n")
        let sluice = try bench.sluice(options, redis: redis, more: ["--config", file, "--log-level", "error"])
        let before = try usualRate(loop, link, receiver)
        receiver.goAway()
        try fill(link, backlog)
        // Those that were under way have failed.
        _ = loop.run(atMost: .seconds(5)) { false }
        let memory = ProcessCost.anonymous(pid: sluice.pid)
        let commands = try sluice.redisCommands()
        let meter = CPUMeter([sluice.pid])
        _ = loop.run(atMost: .seconds(away)) { false }
        let cpu = meter.perRequest(1)[0] / 1e4 / away
        let asked = Double(try sluice.redisCommands() - commands) / away
        let grown = ProcessCost.anonymous(pid: sluice.pid) - memory
        let held = try sluice.metric("sluice_sink_held")
        try receiver.comeBack()
        let back = try rateAgain(loop, receiver, before)
        let deadLetters = try link.call("XLEN", "bench:dlq").number
        say("before: \(Int(before)) deliveries/s; away for \(away) s with \(backlog) messages waiting")
        say("  gateway's memory: \(memory / 1024) KiB, grown by \(grown / 1024) KiB; messages held \(held); dead letters \(deadLetters)")
        say("  Redis commands a second \(asked.rounded(to: 1)), CPU \(cpu.rounded(to: 2)) %")
        say("  nine tenths of the rate \(back.map { "\($0.inSeconds.rounded(to: 1)) s" } ?? "not") after its return")
        guard options.bars, back.map({ $0 > .seconds(5) }) ?? true || grown > 4 << 20 || deadLetters > 0 else { return bench.clean() }
        throw BenchError.missed(["the rate within 5 s, memory flat, no dead letter"])
    }

    private func fill(_ link: RedisLink, _ count: Int) throws {
        let script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'data', ARGV[2]) end"
        let data = String(repeating: "x", count: 1024)
        for start in stride(from: 0, to: count, by: 10_000) {
            try link.call("EVAL", script, "1", "bench", "\(min(count - start, 10_000))", data)
        }
    }

    /// Deliveries a second, over the middle of a stream that is then delivered.
    private func usualRate(_ loop: EventLoop, _ link: RedisLink, _ receiver: SinkReceiver) throws -> Double {
        try fill(link, 50_000)
        _ = loop.run(atMost: .seconds(30)) { receiver.answered > 10_000 }
        let (start, begin) = (receiver.answered, loop.clock.now)
        _ = loop.run(atMost: .seconds(30)) { receiver.answered >= 45_000 }
        let rate = Double(receiver.answered - start) / (loop.clock.now - begin).inSeconds
        guard loop.run(atMost: .seconds(30), until: { receiver.answered >= 50_000 }) else { throw BenchError.failedRequests(50_000 - receiver.answered) }
        return rate
    }

    /// How long after now; nil: not within a minute.
    private func rateAgain(_ loop: EventLoop, _ receiver: SinkReceiver, _ rate: Double) throws -> Duration? {
        let begin = loop.clock.now
        while loop.clock.now - begin < .seconds(60) {
            let (count, now) = (receiver.answered, loop.clock.now)
            _ = loop.run(atMost: Outage.step) { false }
            let seconds = (loop.clock.now - now).inSeconds
            if Double(receiver.answered - count) >= 0.9 * rate * seconds { return loop.clock.now - begin }
        }
        return nil
    }
}
