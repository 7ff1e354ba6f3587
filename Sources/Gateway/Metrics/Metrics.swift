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
    var redriven = 0
    /// Replies that went out slice by slice.
    var streamed = 0
    var problems: [String: Int] = [:]
    var routes: [RouteValues] = []

    mutating func add(_ other: MetricValues) {
        messagesAdded += other.messagesAdded
        redriven += other.redriven
        streamed += other.streamed
        problems.merge(other.problems, uniquingKeysWith: +)
        for (index, route) in other.routes.enumerated() { routes[index].add(route) }
    }
}

struct RouteValues: Sendable {
    /// Upper bounds of the histogram's buckets. Waiting reads fill the last ones.
    static let bounds: [Duration] = [
        .milliseconds(1), .microseconds(2500), .milliseconds(5), .milliseconds(10), .milliseconds(25),
        .milliseconds(50), .milliseconds(100), .milliseconds(250), .milliseconds(500), .seconds(1),
        .milliseconds(2500), .seconds(5), .seconds(10), .seconds(30), .seconds(60),
    ]

    private(set) var buckets = [Int](repeating: 0, count: bounds.count + 1)
    private(set) var sum = Duration.zero
    /// In the order in which they were first answered: a route has few, and mostly the first.
    private(set) var statuses: [(status: Int, count: Int)] = []

    var count: Int { buckets.reduce(0, +) }

    mutating func count(status: Int, after duration: Duration) {
        var bucket = 0
        while bucket < RouteValues.bounds.count && duration > RouteValues.bounds[bucket] { bucket += 1 }
        buckets[bucket] += 1
        sum += duration
        count(status, 1)
    }

    private mutating func count(_ status: Int, _ times: Int) {
        for index in statuses.indices where statuses[index].status == status {
            statuses[index].count += times
            return
        }
        statuses.append((status, times))
    }

    mutating func add(_ other: RouteValues) {
        for (index, value) in other.buckets.enumerated() { buckets[index] += value }
        sum += other.sum
        for (status, times) in other.statuses { count(status, times) }
    }
}
