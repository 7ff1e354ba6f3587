// What `/metrics` says of a sink: one of these for each of its streams, and with the first of them what is of them all.

import Net

struct SinkSnapshot: Sendable {
    var sink: String
    var stream: String
    var status: SinkStatus
    var counters: SinkCounters
    /// Of all the sink's streams together; with the first of them.
    var endpoint: Endpoint?
    /// As Redis had it a while ago; nil: it was not asked yet, or could not tell.
    var backlog: Backlog?

    struct Endpoint: Sendable {
        var durations = DurationHistogram()
        /// Requests that may be under way.
        var window = 0
        var isFailing = false
        var streams = 0
        /// Streams that its globs match beyond the limit.
        var leftOut = 0
    }

    struct Backlog: Sendable {
        var lag: Int?
        var pending: Int
        /// Seconds that the oldest message has waited which is neither delivered nor a dead letter.
        var oldest: Int?
    }

    private typealias Sample = (labels: String, value: Int)

    /// The labels every sample has. Names are the operator's: they may hold anything.
    private var labels: String { "sink=\"\(SinkSnapshot.escaped(sink))\",stream=\"\(SinkSnapshot.escaped(stream))\"" }

    static func write(_ sinks: [SinkSnapshot], to page: ByteBuffer) {
        guard !sinks.isEmpty else { return }
        func family(
            _ name: StaticString, _ type: StaticString, _ help: StaticString, _ samples: (SinkSnapshot) -> [Sample]
        ) {
            page.head(name, type, help)
            for sink in sinks {
                for sample in samples(sink) {
                    page.append("\(name){\(sink.labels)\(sample.labels)} \(sample.value)\n")
                }
            }
        }
        family("sluice_sink_attempts_total", "counter", "Attempts to deliver a message, by outcome.") { $0.outcomes }
        family("sluice_sink_delivered_total", "counter", "Messages delivered and acknowledged.") { [("", $0.counters.delivered)] }
        family("sluice_sink_retries_total", "counter", "Attempts put off to a later time.") { [("", $0.counters.retries)] }
        family("sluice_sink_dead_letters_total", "counter", "Dead letters, by reason.") { $0.deadLetters }
        family("sluice_sink_takeovers_total", "counter", "Messages that somebody else, or nobody, held before.") {
            [("", $0.counters.takeovers)]
        }
        family("sluice_sink_lost_total", "counter", "Messages that turned out to be somebody else's.") { [("", $0.counters.lost)] }
        family("sluice_sink_released_total", "counter", "Messages handed back unfinished.") { [("", $0.counters.released)] }
        family("sluice_sink_groups_created_again_total", "counter", "Lost groups that were created again.") {
            [("", $0.counters.groupsCreatedAgain)]
        }
        family("sluice_sink_redis_failures_total", "counter", "Writes that Redis did not take at once.") {
            [("", $0.counters.redisFailures)]
        }
        family("sluice_sink_in_flight", "gauge", "Messages under way.") { [("", $0.counters.inFlight)] }
        family("sluice_sink_held", "gauge", "Messages held: under way, or waiting for a retry.") { [("", $0.counters.held)] }
        family("sluice_sink_blocked", "gauge", "Messages held that wait for an earlier one of their key (order_by).") {
            [("", $0.counters.blocked)]
        }
        family("sluice_sink_lease", "gauge", "1 while the stream is this gateway's to deliver (order_by).") { [("", $0.counters.leases)] }
        family("sluice_sink_leases_taken_total", "counter", "How often the stream became this gateway's to deliver (order_by).") {
            [("", $0.counters.leasesTaken)]
        }
        family("sluice_sink_leases_lost_total", "counter", "How often it was no longer, though it was not given up.") {
            [("", $0.counters.leasesLost)]
        }
        family("sluice_sink_lag", "gauge", "Messages that the group has not read yet, as Redis had it within the last 15 s.") {
            $0.backlog?.lag.map { [("", $0)] } ?? []
        }
        family("sluice_sink_pending", "gauge", "Messages that the group has read and that are not settled, of the same time.") {
            $0.backlog.map { [("", $0.pending)] } ?? []
        }
        family("sluice_sink_oldest_undelivered_seconds", "gauge", "Age of the oldest message that is neither delivered nor a dead letter; 0 without one.") {
            $0.backlog.map { [("", $0.oldest ?? 0)] } ?? []
        }
        func ofSink(_ name: StaticString, _ type: StaticString, _ help: StaticString, _ write: (String, Endpoint) -> Void) {
            page.head(name, type, help)
            for sink in sinks { if let endpoint = sink.endpoint { write("sink=\"\(escaped(sink.sink))\"", endpoint) } }
        }
        ofSink("sluice_sink_window", "gauge", "Requests that may be under way at once, up to concurrency.") {
            page.append("sluice_sink_window{\($0)} \($1.window)\n")
        }
        ofSink("sluice_sink_failing", "gauge", "1 while the breaker is open: one probe at a time is sent.") {
            page.append("sluice_sink_failing{\($0)} \($1.isFailing ? 1 : 0)\n")
        }
        ofSink("sluice_sink_streams", "gauge", "Streams that it reads, those that its globs match among them.") {
            page.append("sluice_sink_streams{\($0)} \($1.streams)\n")
        }
        ofSink("sluice_sink_streams_left_out", "gauge", "Streams that its globs match beyond what a sink reads.") {
            page.append("sluice_sink_streams_left_out{\($0)} \($1.leftOut)\n")
        }
        ofSink("sluice_sink_attempt_duration_seconds", "histogram", "From an attempt's beginning to its end.") {
            $1.durations.write("sluice_sink_attempt_duration_seconds", $0, to: page)
        }
        family("sluice_sink_state", "gauge", "1 for the state the sink is in.") { $0.states }
    }

    private var outcomes: [Sample] {
        [
            ("success", counters.succeeded), ("throttled", counters.throttled), ("retry", counters.failed),
            ("final", counters.rejected), ("gone", counters.gone), ("our_fault", counters.ours),
        ].map { (",outcome=\"\($0.0)\"", $0.1) }
    }

    private var deadLetters: [Sample] {
        DeadLetterReason.allCases.map { (",reason=\"\($0.rawValue)\"", counters.deadLetters[$0] ?? 0) }
    }

    private var states: [Sample] {
        SinkStateName.allCases.filter { $0 != .refused }.map { (",state=\"\($0.rawValue)\"", $0 == status.name ? 1 : 0) }
    }

    private static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
