// What one loop has counted. Plain numbers, written by one thread; `/metrics` adds up copies of all loops'.

import HTTP
import Net

final class Metrics {
    var values = MetricValues()

    var messagesAdded: Int {
        get { values.messagesAdded }
        set { values.messagesAdded = newValue }
    }

    /// A request was answered.
    func answered(route: Int, status: Int, after duration: Duration) {
        values.routes[route].count(status: status, after: duration)
    }

    init(routeCount: Int) {
        values.routes = Array(repeating: RouteValues(), count: routeCount + 1)  // The last is for what matched none.
    }
}

/// A copy that may cross threads.
struct MetricValues: Sendable {
    var messagesAdded = 0
    var problems: [String: Int] = [:]
    var routes: [RouteValues] = []

    mutating func add(_ other: MetricValues) {
        messagesAdded += other.messagesAdded
        problems.merge(other.problems, uniquingKeysWith: +)
        for (index, route) in other.routes.enumerated() { routes[index].add(route) }
    }
}

struct RouteValues: Sendable {
    /// Upper bounds of the histogram's buckets, in seconds. Waiting reads fill the last ones.
    static let bounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

    private(set) var buckets = [Int](repeating: 0, count: bounds.count + 1)
    private(set) var sum = 0.0
    /// By status − 200: a reply is between 200 and 599.
    private(set) var statuses: [Int: Int] = [:]

    var count: Int { buckets.reduce(0, +) }

    mutating func count(status: Int, after duration: Duration) {
        let seconds = duration.inSeconds
        var bucket = 0
        while bucket < RouteValues.bounds.count && seconds > RouteValues.bounds[bucket] { bucket += 1 }
        buckets[bucket] += 1
        sum += seconds
        statuses[status, default: 0] += 1
    }

    mutating func add(_ other: RouteValues) {
        for (index, value) in other.buckets.enumerated() { buckets[index] += value }
        sum += other.sum
        statuses.merge(other.statuses, uniquingKeysWith: +)
    }
}
