// What a round came to, the comparison of contenders over rounds, and its print.

import Glibc
import Net

struct Round {
    var requests = 0
    var failed = 0
    var elapsed = Duration.zero
    /// Microseconds, in no order.
    var latencies: [UInt32] = []
    /// CPU a request, in microseconds; nil where it was not measured.
    var cpu: Double?
    var redisCPU: Double?
    /// What this program spent, which the servers did not have.
    var clientCPU: Double?
    /// The status and the beginning of the body of the first request that failed.
    var firstFailure: String?
    /// What peers print themselves.
    var reportedRate: Double?

    var rate: Double { reportedRate ?? Double(requests) / max(elapsed.inSeconds, 1e-9) }

    func line(_ name: String) -> String {
        var text = name.padded(18) + "\(Int(rate)) requests/s".leftPadded(18)
        if let cpu { text += "  CPU µs/request: \(cpu.rounded(to: 2))" }
        if let redisCPU { text += ", Redis \(redisCPU.rounded(to: 2))" }
        if let clientCPU { text += ", load \(clientCPU.rounded(to: 2))" }
        if !latencies.isEmpty {
            let sorted = latencies.sorted()
            text += "  latency µs p50 \(sorted.percentile(50)), p99 \(sorted.percentile(99)), p99.9 \(sorted.percentile(99.9)), max \(sorted[sorted.count - 1])"
        }
        if failed > 0 { text += "  FAILED: \(failed), first: \(firstFailure ?? "no answer")" }
        return text
    }
}

/// One of those that are measured in turns.
struct Contender {
    let name: String
    let run: () throws -> Round
}

struct Comparison {
    private(set) var rounds: [String: [Round]] = [:]
    private let names: [String]

    /// A, B, C, A, B, C, …: what slows the machine down for a while slows all of them.
    init(_ contenders: [Contender], rounds count: Int) throws {
        names = contenders.map(\.name)
        for number in 1...max(count, 1) {
            say("round \(number)")
            for contender in contenders {
                let round = try contender.run()
                rounds[contender.name, default: []].append(round)
                say("  " + round.line(contender.name))
            }
        }
    }

    func has(_ name: String) -> Bool { rounds[name] != nil }
    var failed: Int { rounds.values.joined().reduce(0) { $0 + $1.failed } }

    func median(_ name: String, _ value: (Round) -> Double?) -> Double? {
        let values = (rounds[name] ?? []).compactMap(value).sorted()
        return values.isEmpty ? nil : values[values.count / 2]
    }

    /// The median of the rounds' own ratios: a and b of one round saw the same machine.
    func ratio(_ a: String, to b: String, _ value: (Round) -> Double?) -> Double? {
        let pairs = zip(rounds[a] ?? [], rounds[b] ?? []).compactMap { pair -> Double? in
            guard let above = value(pair.0), let below = value(pair.1), below > 0 else { return nil }
            return above / below
        }.sorted()
        return pairs.isEmpty ? nil : pairs[pairs.count / 2]
    }

    func printMedians(comparing first: String) {
        say("medians")
        for name in names {
            var text = "  " + name.padded(18) + "\(Int(median(name, \.rate) ?? 0)) requests/s".leftPadded(18)
            if let cpu = median(name, \.cpu) { text += "  CPU µs/request: \(cpu.rounded(to: 2))" }
            if let cpu = median(name, \.redisCPU) { text += ", Redis \(cpu.rounded(to: 2))" }
            if name != first, let ratio = ratio(first, to: name, \.rate) {
                text += "  \(first) has \(ratio.rounded(to: 2))x the requests"
                if let ratio = self.ratio(first, to: name, \.cpu) { text += " at \(ratio.rounded(to: 2))x the CPU" }
            }
            say(text)
        }
    }
}

extension Array where Element: Comparable {
    /// Of a sorted array that is not empty.
    func percentile(_ percent: Double) -> Element {
        self[Swift.min(count - 1, Int((Double(count) * percent / 100).rounded(.down)))]
    }
}

extension Double {
    func rounded(to digits: Int) -> Double {
        let scale = pow(10, Double(digits))
        return (self * scale).rounded() / scale
    }
}

extension String {
    func padded(_ width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }
    func leftPadded(_ width: Int) -> String { String(repeating: " ", count: max(0, width - count)) + self }
}
