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
    /// Reads that ended at the limit of bytes, and those that asked for a longer wait than there is.
    var readsCut = 0
    var blocksCut = 0
    var problems: [String: Int] = [:]
    var routes: [RouteValues] = []

    mutating func add(_ other: MetricValues) {
        messagesAdded += other.messagesAdded
        redriven += other.redriven
        streamed += other.streamed
        readsCut += other.readsCut
        blocksCut += other.blocksCut
        problems.merge(other.problems, uniquingKeysWith: +)
        for (index, route) in other.routes.enumerated() { routes[index].add(route) }
    }
}

struct RouteValues: Sendable {
    private(set) var durations = DurationHistogram()
    /// In the order in which they were first answered: a route has few, and mostly the first.
    private(set) var statuses: [(status: Int, count: Int)] = []

    mutating func count(status: Int, after duration: Duration) {
        durations.count(duration)
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
        durations.add(other.durations)
        for (status, times) in other.statuses { count(status, times) }
    }
}
