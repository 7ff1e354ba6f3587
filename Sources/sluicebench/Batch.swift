// `batch`: many small messages a request, as NDJSON, beside redis-benchmark with the same XADD pipelined: what the
// gateway costs where the round trip is shared.

import ArgumentParser
import Glibc
import Net

struct Batch: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "NDJSON batches, beside redis-benchmark with a pipeline.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Messages of a request.")
    var messages = 1000
    @Option(help: "Connections, each with one request under way; as many clients has redis-benchmark.")
    var connections = 8
    @Option(help: "Commands that each client of redis-benchmark has under way.")
    var pipeline = 32

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        var contenders: [Contender] = []
        if !options.peersOnly {
            let sluice = try bench.sluice(options, redis: redis)
            contenders.append(Contender(name: "sluice") { try post(sluice, redis, link) })
        }
        guard Bench.find("redis-benchmark") != nil else { throw BenchError.missing("redis-benchmark") }
        contenders.append(
            Contender(name: "redis-benchmark") {
                try link.call("DEL", "bench")
                return try redisBenchmark(
                    bench, redis, clients: connections, pipeline: pipeline, requests: Int(options.seconds * 300_000))
            })
        say("\(messages) messages a request; a request below is a message.")
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders.first?.name ?? "")
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        if options.bars, comparison.ratio("sluice", to: "redis-benchmark", \.rate) ?? 0 < 0.8 {
            throw BenchError.missed(["0.8x the messages of redis-benchmark -P \(pipeline)"])
        }
        bench.clean()
    }

    private func post(_ server: Server, _ redis: Server, _ link: RedisLink) throws -> Round {
        try link.call("DEL", "bench")
        let loop = try EventLoop()
        let lines = String(repeating: #"{"fields":{"orderID":"1001","amount":"99.99"}}"# + "\n", count: messages)
        let request = ByteBuffer()
        request.appendPost("/v1/streams/bench/messages", body: lines, type: "application/x-ndjson")
        let client = try LoadClient(loop, server.address, connections: connections) { _, _, output in
            output.append(request.bytes)
            return true
        }
        defer { client.close() }
        var round = client.run(for: options.length, server: server, redis: redis)
        round.latencies = []  // Of requests: not what a message took.
        round.count(messages)
        let added = try link.call("XLEN", "bench").number
        guard added >= round.requests else { throw BenchError.redis("only \(added) of \(round.requests) messages") }
        return round
    }
}

extension Round {
    /// From requests to messages.
    fileprivate mutating func count(_ messages: Int) {
        requests *= messages
        cpu = cpu.map { $0 / Double(messages) }
        redisCPU = redisCPU.map { $0 / Double(messages) }
        clientCPU = clientCPU.map { $0 / Double(messages) }
    }
}
