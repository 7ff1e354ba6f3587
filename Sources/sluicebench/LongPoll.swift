// `longpoll`: how soon a parked reader has a message after its XADD, and what waiting costs: Redis commands
// and connections while all are parked, and the gateway's memory.

import ArgumentParser
import Glibc
import Net

struct LongPoll: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "longpoll", abstract: "Parked readers, and messages added straight to Redis.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Parked readers.")
    var waiters = 2000
    @Option(help: "Streams they wait on, each with one group.")
    var streams = 100
    @Option(help: "Messages a second.")
    var rate = 1000

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        for stream in 0..<streams { try link.call("XGROUP", "CREATE", "bench:\(stream)", "g", "$", "MKSTREAM") }
        let sluice = try bench.sluice(options, redis: redis)
        let loop = try EventLoop()
        let before = ProcessCost.anonymous(pid: sluice.pid)

        let arrivals = Arrivals(loop)
        let client = try LoadClient(loop, sluice.address, connections: waiters) { number, answer, output in
            if let answer { arrivals.take(answer.body) }
            output.append(literal: "POST /v1/streams/bench:")
            output.append(decimal: number % streams)
            output.append(literal: "/groups/g/consumers/c")
            output.append(decimal: number)
            output.append(literal: "/read?count=1&block_ms=50000 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
            return true
        }
        defer { client.close() }
        client.begin()
        _ = loop.run(atMost: .seconds(2)) { false }
        try idle(link, loop, sluice, redis, before: before)

        for number in 1...max(options.rounds, 1) {
            let meter = CPUMeter([sluice.pid, redis.pid])
            arrivals.latencies.removeAll(keepingCapacity: true)
            let adder = try Adder(loop, redis.address, rate: rate) { [streams] number, now, output in
                output.appendCommand(["XADD", "bench:\(number % streams)", "*", "t", "\(now)"])
            }
            let start = loop.clock.now
            _ = loop.run(atMost: options.length) { false }
            adder.stop()
            _ = loop.run(atMost: .seconds(5)) { arrivals.latencies.count >= adder.sent }
            var round = Round()
            round.requests = arrivals.latencies.count
            round.elapsed = min(loop.clock.now - start, options.length)
            round.latencies = arrivals.latencies
            round.failed = adder.sent - arrivals.latencies.count
            let cpu = meter.perRequest(round.requests)
            round.cpu = cpu[0]
            round.redisCPU = cpu[1]
            say(round.line("round \(number)"))
            guard round.failed == 0, client.round.failed == 0 else {
                throw BenchError.failedRequests(round.failed + client.round.failed)
            }
        }
        bench.clean()
    }

    private func idle(_ link: RedisLink, _ loop: EventLoop, _ sluice: Server, _ redis: Server, before: Int) throws {
        let clients = try link.info("clients", "connected_clients")
        let commands = try link.info("stats", "total_commands_processed")
        let meter = CPUMeter([sluice.pid, redis.pid])
        _ = loop.run(atMost: options.length) { false }
        let cost = meter.perRequest(1)
        // The figure's own two INFOs are not the waiters'.
        let count = try link.info("stats", "total_commands_processed") - commands - 1
        let memory = Double(ProcessCost.anonymous(pid: sluice.pid) - before) / Double(waiters)
        say("\(waiters) waiters parked on \(streams) streams for \(options.seconds) s")
        say("  Redis commands: \(count), a second: \((Double(count) / options.seconds).rounded(to: 1))")
        say("  Redis connections: \(clients - 1)")
        say("  CPU ms: gateway \((cost[0] / 1000).rounded(to: 1)), Redis \((cost[1] / 1000).rounded(to: 1))")
        say("  memory a waiter: \(Int(memory)) bytes")
    }
}

/// Takes the time out of each message: how old it is when its whole answer is here.
private final class Arrivals {
    private let loop: EventLoop
    var latencies: [UInt32] = []

    init(_ loop: EventLoop) { self.loop = loop }

    func take(_ body: UnsafeRawBufferPointer) {
        let name: StaticString = "\"t\":\""
        var at = 0
        while at + name.utf8CodeUnitCount < body.count {
            if memcmp(body.baseAddress! + at, name.utf8Start, name.utf8CodeUnitCount) == 0 {
                at += name.utf8CodeUnitCount
                var sent = 0
                while at < body.count, body[at] &- 48 < 10 {
                    sent = sent * 10 + Int(body[at] &- 48)
                    at += 1
                }
                latencies.append(UInt32(clamping: Int64(loop.clock.now.inSeconds * 1e6) - Int64(sent)))
            }
            at += 1
        }
    }
}
