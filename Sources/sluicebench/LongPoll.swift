// `longpoll`: how soon a parked reader has a message after its XADD, at a steady rate and in a burst, beside readers that
// block on a connection to Redis each; and what waiting costs: Redis commands and connections while all are parked, and the
// gateway's memory and CPU.

import ArgumentParser
import Glibc
import Net

struct LongPoll: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "longpoll", abstract: "Parked readers, and messages added straight to Redis.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Parked readers.")
    var waiters = 10_000
    @Option(help: "Streams they wait on, each with one group.")
    var streams = 1
    @Option(help: "Messages a second.")
    var rate = 1000
    @Option(help: "Messages of a burst.")
    var burst = 5000
    @Option(help: "Share of the readers that leave during a round, without a word.")
    var vanish = 0.0

    func validate() throws {
        guard waiters > 0, streams > 0, rate > 0, burst >= 0 else { throw ValidationError("Give at least one of each.") }
        guard (0...0.5).contains(vanish) else { throw ValidationError("--vanish is a share of the readers, from 0 to 0.5.") }
        guard vanish == 0 || streams == 1 else { throw ValidationError("--vanish takes one stream: where all readers have gone a message has none.") }
        guard burst <= Int(Double(waiters) * (1 - vanish)) else { throw ValidationError("A burst finds at most as many readers as wait.") }
    }

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis(more: ["--maxclients", "19000"])
        let link = try RedisLink(redis.address)
        for stream in 0..<streams { try link.call("XGROUP", "CREATE", "bench:\(stream)", "g", "$", "MKSTREAM") }
        var (contenders, missed): ([Contender], [String]) = ([], [])
        let bursts = Bursts()
        if !options.peersOnly {
            let sluice = try bench.sluice(options, redis: redis)
            missed = try idle(link, sluice, redis)
            contenders.append(Contender(name: "sluice") { try round("sluice", redis, sluice, bursts) })
        }
        contenders.append(Contender(name: "blocked") { try round("blocked", redis, nil, bursts) })
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders[0].name)
        for contender in contenders {
            say("  " + contender.name.padded(18) + bursts.line(contender.name, of: burst))
            let median = { (percent: Double) in comparison.median(contender.name) { $0.microseconds(percent) } ?? 0 }
            say("  " + contender.name.padded(18) + "wake-up µs p50 \(Int(median(50))), p99 \(Int(median(99)))")
            guard contender.name == "sluice" else { continue }
            if median(50) > 1000 || median(99) > 10_000 { missed.append("wake-up p50 1 ms, p99 10 ms") }
            if bursts.median("sluice") > .milliseconds(500) { missed.append("burst within 500 ms") }
        }
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        if options.bars, !missed.isEmpty { throw BenchError.missed(missed) }
        bench.clean()
    }

    // MARK: A round

    /// Readers come, get what is added at the rate, then a burst, and go. `sluice`: nil for those who block on Redis.
    private func round(_ name: String, _ redis: Server, _ sluice: Server?, _ bursts: Bursts) throws -> Round {
        let loop = try EventLoop()
        let arrivals = Arrivals(loop)
        let crowd = try sluice.map { try Crowd(loop, $0, waiters, streams, arrivals) }
        let peers = try sluice == nil ? BlockedReaders(loop, redis.address, count: waiters, streams: streams, arrivals) : nil
        defer {
            crowd?.close()
            peers?.close()
        }
        _ = loop.run(atMost: Crowd.comingTime + .milliseconds(500)) { false }
        let pids = [redis.pid, getpid()] + (sluice.map { [$0.pid] } ?? [])
        let meter = CPUMeter(pids)
        let adder = try Adder(loop, redis.address, rate: rate, add: add)
        let start = loop.clock.now
        let leavers = Int(Double(waiters) * vanish)
        for number in 0..<leavers {
            loop.schedule(at: start + options.length * number / leavers) { crowd?.vanish(number * waiters / leavers) }
        }
        _ = loop.run(atMost: options.length) { false }
        adder.stop()
        _ = loop.run(atMost: .seconds(5)) { arrivals.latencies.count >= adder.sent }
        var round = Round()
        round.requests = arrivals.latencies.count
        round.elapsed = options.length
        round.latencies = arrivals.latencies
        round.failed = adder.sent - arrivals.latencies.count + (crowd?.failed ?? 0)
        let cpu = meter.perRequest(round.requests)
        (round.redisCPU, round.clientCPU, round.cpu) = (cpu[0], cpu[1], sluice == nil ? nil : cpu[2])
        guard burst > 0 else { return round }
        _ = loop.run(atMost: .milliseconds(200)) { false }
        arrivals.latencies.removeAll()
        let burster = try Adder(loop, redis.address, rate: 0, add: add)
        burster.burst(burst)
        _ = loop.run(atMost: .seconds(20)) { arrivals.latencies.count >= burst }
        burster.stop()
        round.failed += burst - arrivals.latencies.count
        bursts.note(name, .microseconds(Int(arrivals.latencies.max() ?? 0)))
        return round
    }

    private func add(_ number: Int, _ now: Int64, to output: ByteBuffer) {
        output.appendCommand(["XADD", "bench:\(number % streams)", "*", "t", "\(now)"])
    }

    // MARK: At rest

    /// What they cost while nothing happens; the bars that this misses.
    private func idle(_ link: RedisLink, _ sluice: Server, _ redis: Server) throws -> [String] {
        let loop = try EventLoop()
        let before = ProcessCost.anonymous(pid: sluice.pid)
        let crowd = try Crowd(loop, sluice, waiters, streams, Arrivals(loop))
        defer { crowd.close() }
        _ = loop.run(atMost: Crowd.comingTime + .seconds(2)) { false }
        let clients = try link.info("clients", "connected_clients") - 1
        let commands = try link.info("stats", "total_commands_processed")
        let meter = CPUMeter([sluice.pid, redis.pid])
        _ = loop.run(atMost: options.length) { false }
        let cost = meter.perRequest(1)
        // The figure's own two INFOs are not the waiters'.
        let count = try link.info("stats", "total_commands_processed") - commands - 1
        let memory = (ProcessCost.anonymous(pid: sluice.pid) - before) / waiters
        let (rate, load) = (Double(count) / options.seconds, cost[0] / 1e4 / options.seconds)
        say("\(waiters) waiters parked on \(streams) streams for \(options.seconds) s")
        say("  Redis commands: \(count), a second: \(rate.rounded(to: 1))")
        say("  Redis connections: \(clients)")
        say("  CPU %: gateway \(load.rounded(to: 2)), Redis \((cost[1] / 1e4 / options.seconds).rounded(to: 2))")
        say("  memory a waiter: \(memory) bytes")
        guard crowd.failed == 0 else { throw BenchError.failedRequests(crowd.failed) }
        var missed: [String] = []
        if clients > 2 * options.loops { missed.append("two connections a loop") }
        // Two connections a loop are pinged every other second.
        if rate > Double(streams + options.loops) * 1.1 + 1 { missed.append("a command a second a stream") }
        if memory > 4096 { missed.append("4 KiB a waiter") }
        if load > 1 { missed.append("1 % of a core at rest") }
        return missed
    }
}

/// Readers through the gateway, each on a connection of its own, who ask again when they have had something.
private final class Crowd {
    private let client: LoadClient
    /// All at once they would measure how ten thousand first looks are made room for.
    static let comingTime = Duration.seconds(1)

    init(_ loop: EventLoop, _ sluice: Server, _ count: Int, _ streams: Int, _ arrivals: Arrivals) throws {
        client = try LoadClient(loop, sluice.address, connections: count) { number, answer, output in
            if let answer { arrivals.take(answer.body) }
            output.append(literal: "POST /v1/streams/bench:")
            output.append(decimal: number % streams)
            output.append(literal: "/groups/g/consumers/c")
            output.append(decimal: number)
            output.append(literal: "/read?count=1&block_ms=50000 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
            return true
        }
        client.begin(over: Crowd.comingTime)
    }

    var failed: Int { client.round.failed }
    func vanish(_ number: Int) { client.vanish(number) }
    func close() { client.close() }
}

/// How long bursts took, from the first XADD to the last reader.
private final class Bursts {
    private var times: [String: [Duration]] = [:]

    func note(_ name: String, _ time: Duration) { times[name, default: []].append(time) }

    func median(_ name: String) -> Duration {
        let sorted = (times[name] ?? []).sorted()
        return sorted.isEmpty ? .zero : sorted[sorted.count / 2]
    }

    func line(_ name: String, of count: Int) -> String { "burst of \(count): \(median(name).milliseconds) ms" }
}

extension Round {
    fileprivate func microseconds(_ percent: Double) -> Double? {
        latencies.isEmpty ? nil : Double(latencies.sorted().percentile(percent))
    }
}
