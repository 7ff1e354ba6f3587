// How long things took: counts by bucket, as Prometheus has histograms. A plain value; whoever counts owns it.

import Net

struct DurationHistogram: Sendable {
    /// Upper bounds of the buckets. Waiting reads fill the last ones.
    static let bounds: [Duration] = [
        .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10), .milliseconds(25),
        .milliseconds(50), .milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(1),
        .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30), .seconds(60),
    ]

    private(set) var buckets = [Int](repeating: 0, count: bounds.count + 1)
    private(set) var sum = Duration.zero

    var count: Int { buckets.reduce(0, +) }

    mutating func count(_ duration: Duration) {
        var bucket = 0
        while bucket < DurationHistogram.bounds.count && duration > DurationHistogram.bounds[bucket] { bucket += 1 }
        buckets[bucket] += 1
        sum += duration
    }

    mutating func add(_ other: DurationHistogram) {
        for (index, value) in other.buckets.enumerated() { buckets[index] += value }
        sum += other.sum
    }

    /// Its samples, `labels` (`name="value"`, with commas) on each.
    func write(_ name: StaticString, _ labels: String, to page: ByteBuffer) {
        var total = 0
        for (bound, count) in zip(DurationHistogram.bounds.map { "\($0.inSeconds)" } + ["+Inf"], buckets) {
            total += count
            page.append("\(name)_bucket{\(labels),le=\"\(bound)\"} \(total)\n")
        }
        page.append("\(name)_sum{\(labels)} \(sum.inSeconds)\n")
        page.append("\(name)_count{\(labels)} \(total)\n")
    }
}
