// `startup`: from exec to the first answer, with Redis running, and the memory it has then.

import ArgumentParser
import Glibc
import Net

struct Startup: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Time from exec to the first answer of /healthz.")

    @OptionGroup var options: CommonOptions

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis()
        guard access(options.sluice, X_OK) == 0 else { throw BenchError.missing(options.sluice) }
        let clock = MonotonicClock()
        var times: [Double] = []
        var memory: [Int] = []
        for _ in 1...max(options.rounds, 1) {
            let port = try bench.freePort()
            let start = clock.now
            let server = try Server(
                "sluice", options.sluice, Bench.arguments(options, port: port, redis: redis), port: port, in: bench)
            let loop = try EventLoop()
            let client = try LoadClient(loop, server.address, connections: 1) { _, answer, output in
                output.append(literal: "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                return answer == nil
            }
            let round = client.run(for: .seconds(10))
            times.append((clock.now - start).inSeconds * 1000)
            memory.append(ProcessCost.resident(pid: server.pid))
            client.close()
            guard round.failed == 0, round.requests == 1 else { throw BenchError.failedRequests(1) }
            say("  \(times.last?.rounded(to: 1) ?? 0) ms, \((memory.last ?? 0) / 1024) KiB resident")
        }
        say("median: \(times.sorted()[times.count / 2].rounded(to: 1)) ms, \(memory.sorted()[memory.count / 2] / 1024) KiB resident")
        bench.clean()
    }
}
