// `bigread`: what a client waits for a small answer while others read ten thousand messages a call, on the same loop,
// and what memory the gateway takes for it.

import ArgumentParser
import Glibc
import Net

struct BigRead: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bigread", abstract: "A small call's latency beside reads of 10,000 messages.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Clients that read 10,000 messages a call, one call after the other.")
    var readers = 1
    @Option(help: "Bytes of each message's value.")
    var bytes = 100

    private static let messages = 10_000
    private static let range = "/v1/streams/big/messages?count=10000"
    private static let pending = "/v1/streams/big/groups/g/consumers/c/read?count=10000&id=pending"

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        try link.call(
            "EVAL", "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'n', n, 'p', ARGV[2]) end", "1", "big",
            "\(BigRead.messages)", String(repeating: "x", count: bytes))
        try link.call("XGROUP", "CREATE", "big", "g", "0")
        try link.call("EVAL", "redis.call('XREADGROUP', 'GROUP', 'g', 'c', 'COUNT', 10000, 'STREAMS', KEYS[1], '>')", "1", "big")
        let sluice = try bench.sluice(options, redis: redis)
        say("\(BigRead.messages) messages of \(bytes) bytes a call; below are the small calls beside them.")
        let before = ProcessCost.resident(pid: sluice.pid)
        var calls = 0
        let comparison = try Comparison(
            [
                Contender(name: "alone") { try measure(sluice, redis, beside: nil, &calls) },
                Contender(name: "beside ranges") { try measure(sluice, redis, beside: "GET \(BigRead.range)", &calls) },
                Contender(name: "beside reads") { try measure(sluice, redis, beside: "POST \(BigRead.pending)", &calls) },
            ], rounds: options.rounds)
        say("\(calls) long reads; gateway memory \(before / 1024) KiB before and \(ProcessCost.resident(pid: sluice.pid) / 1024) KiB after")
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        let worst = ["beside ranges", "beside reads"].compactMap { comparison.median($0) { $0.latencies.max().map(Double.init) } }.max() ?? 0
        say("the longest of a round, in the median: \((worst / 1000).rounded(to: 1)) ms")
        if options.bars, worst > 20_000 { throw BenchError.missed(["a small call's answer within 20 ms"]) }
        bench.clean()
    }

    /// One client with one small call under way at a time, while `readers` others read.
    private func measure(_ sluice: Server, _ redis: Server, beside line: String?, _ calls: inout Int) throws -> Round {
        let loop = try EventLoop()
        let long = try line.map { line in
            try LoadClient(loop, sluice.address, connections: readers) { _, _, output in
                output.append("\(line) HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
                return true
            }
        }
        let small = try LoadClient(loop, sluice.address, connections: 1) { _, _, output in
            output.append("GET /v1/streams/big/messages?count=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return true
        }
        defer { small.close() }
        long?.begin()
        var round = small.run(for: options.length, server: sluice, redis: redis)
        if let long {
            long.close()
            calls += long.round.requests
            round.failed += long.round.failed
            round.firstFailure = round.firstFailure ?? long.round.firstFailure
        }
        return round
    }
}
