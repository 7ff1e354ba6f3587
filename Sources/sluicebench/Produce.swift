// `produce`: small messages, one a request, beside webdis (the same over HTTP) and redis-benchmark (clients
// that talk to Redis directly, unpipelined).

import ArgumentParser
import Glibc
import Net

struct Produce: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Small XADDs over many connections.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Connections, each with one request under way.")
    var connections = 64
    @Option(help: "Threads of webdis.")
    var webdisThreads = 1

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        var contenders: [Contender] = []
        if !options.peersOnly {
            let sluice = try bench.sluice(options, redis: redis)
            contenders.append(Contender(name: "sluice") {
                try post("/v1/streams/bench/messages", #"{"fields":{"orderID":"1001","amount":"99.99"}}"#, sluice, redis, link)
            })
        }
        if let webdis = try bench.webdis(redis: redis, threads: webdisThreads) {
            contenders.append(Contender(name: "webdis") {
                try post("/", "XADD/bench/*/orderID/1001/amount/99.99", webdis, redis, link)
            })
        } else {
            say("webdis is not installed (Debian: apt-get install webdis).")
        }
        if Bench.find("redis-benchmark") != nil {
            contenders.append(Contender(name: "redis-benchmark") { try redisBenchmark(bench, redis, link) })
        }
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders.first?.name ?? "")
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        if options.bars { try checkBars(comparison) }
        bench.clean()
    }

    private func post(_ path: String, _ body: String, _ server: Server, _ redis: Server, _ link: RedisLink) throws -> Round {
        try link.call("DEL", "bench")
        let loop = try EventLoop()
        let request = ByteBuffer()
        request.appendPost(path, body: body)
        let client = try LoadClient(loop, server.address, connections: connections) { _, _, output in
            output.append(request.bytes)
            return true
        }
        defer { client.close() }
        return client.run(for: options.length, server: server, redis: redis)
    }

    private func redisBenchmark(_ bench: Bench, _ redis: Server, _ link: RedisLink) throws -> Round {
        try link.call("DEL", "bench")
        return try sluicebench.redisBenchmark(
            bench, redis, clients: connections, pipeline: 1, requests: Int(options.seconds * 70_000))
    }

    /// DESIGN.md §5.
    private func checkBars(_ comparison: Comparison) throws {
        guard comparison.has("webdis") else { throw BenchError.missing("webdis") }
        guard comparison.has("redis-benchmark") else { throw BenchError.missing("redis-benchmark") }
        var missed: [String] = []
        if comparison.ratio("sluice", to: "webdis", \.rate) ?? 0 < 1.5 { missed.append("1.5x the requests of webdis") }
        if comparison.ratio("sluice", to: "webdis", \.cpu) ?? 9 > 0.5 { missed.append("half the CPU of webdis") }
        if comparison.ratio("sluice", to: "redis-benchmark", \.rate) ?? 0 < 1 { missed.append("the requests of redis-benchmark -P 1") }
        guard missed.isEmpty else { throw BenchError.missed(missed) }
    }
}
