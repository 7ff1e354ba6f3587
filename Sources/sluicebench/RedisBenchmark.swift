// redis-benchmark as a peer: clients that talk to Redis directly.

import Glibc
import Net

/// A run of the XADD that the others do over HTTP. Its requests are chosen by number, not by time: about as many as
/// one round of the others.
func redisBenchmark(_ bench: Bench, _ redis: Server, clients: Int, pipeline: Int, requests: Int) throws -> Round {
    guard let path = Bench.find("redis-benchmark") else { throw BenchError.missing("redis-benchmark") }
    let output = bench.folder + "/redis-benchmark.csv"
    unlink(output)
    let meter = CPUMeter([redis.pid])
    let process = try ProcessDescriptor.spawn(
        path,
        ["-p", "\(redis.port)", "-c", "\(clients)", "-P", "\(pipeline)", "-n", "\(requests)", "--csv"]
            + ["XADD", "bench", "*", "orderID", "1001", "amount", "99.99"],
        output: output)
    guard process.waitForEnd(atMost: .seconds(120)) else {
        process.send(SIGKILL)
        throw BenchError.didNotStart(path, log: output)
    }
    _ = process.reap()
    var round = Round()
    round.requests = requests
    round.redisCPU = meter.perRequest(requests)[0]
    // The last line is the test's: "its name","requests a second",…
    let fields = readFile(output).split(whereSeparator: \.isNewline).last?.split(separator: "\"") ?? []
    guard let rate = fields.compactMap({ Double($0) }).first else { throw BenchError.didNotStart(path, log: output) }
    round.reportedRate = rate
    return round
}
