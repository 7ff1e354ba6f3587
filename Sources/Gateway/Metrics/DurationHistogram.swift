// How long things took: counts by bucket, as Prometheus has histograms. A plain value; whoever counts owns it.

import Net

struct DurationHistogram: Sendable {
    /// Upper bounds of the buckets. Waiting reads fill the last ones.
    static let requests: [Duration] = [
        .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10), .milliseconds(25),
        .milliseconds(50), .milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(1),
        .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30), .seconds(60),
    ]

    /// From a word that something is there to its reply.
    static let wakeUps: [Duration] = [
        .microseconds(100), .microseconds(250), .microseconds(500), .milliseconds(1), .microseconds(2500), .milliseconds(5),
        .milliseconds(10), .milliseconds(25), .milliseconds(50), .milliseconds(100), .milliseconds(250), .milliseconds(500),
        .seconds(1), .milliseconds(2500),
    ]

    private let bounds: [Duration]
    private(set) var buckets: [Int]
    private(set) var sum = Duration.zero

    init(_ bounds: [Duration] = DurationHistogram.requests) {
        self.bounds = bounds
        buckets = [Int](repeating: 0, count: bounds.count + 1)
    }

    var count: Int { buckets.reduce(0, +) }

    mutating func count(_ duration: Duration) {
        var bucket = 0
        while bucket < bounds.count && duration > bounds[bucket] { bucket += 1 }
        buckets[bucket] += 1
        sum += duration
    }

    mutating func add(_ other: DurationHistogram) {
        for (index, value) in other.buckets.enumerated() { buckets[index] += value }
        sum += other.sum
    }

    /// Its samples, `labels` (`name="value"`, with commas; or none) on each.
    func write(_ name: StaticString, _ labels: String, to page: ByteBuffer) {
        var total = 0
        let (more, all) = labels.isEmpty ? ("", "") : (labels + ",", "{\(labels)}")
        for (bound, count) in zip(bounds.map { "\($0.inSeconds)" } + ["+Inf"], buckets) {
            total += count
            page.append("\(name)_bucket{\(more)le=\"\(bound)\"} \(total)\n")
        }
        page.append("\(name)_sum\(all) \(sum.inSeconds)\n")
        page.append("\(name)_count\(all) \(total)\n")
    }
}
