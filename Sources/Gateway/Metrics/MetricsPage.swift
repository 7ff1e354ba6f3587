// `/metrics` in Prometheus' text format 0.0.4: what all loops have counted, added up.

import HTTP
import Net
import Redis

/// One loop's numbers at one moment.
struct LoopSnapshot: Sendable {
    var values = MetricValues()
    var http = HTTPCounters()
    var waiters = LongPoll.Counters()
    var handBacks = HandBacks.Counters()
    var tails = TailCounters()
    var redis: [(name: StaticString, value: Int)] = []
    var sinks: [SinkSnapshot] = []
    var recovery = RecoveryCounters()
}

struct MetricsPage {
    private let snapshots: [LoopSnapshot]
    private let waiters: WaiterCount

    init(_ snapshots: [LoopSnapshot], _ waiters: WaiterCount) {
        self.snapshots = snapshots
        self.waiters = waiters
    }

    func write(to page: ByteBuffer) {
        var values = MetricValues()
        values.routes = Array(repeating: RouteValues(), count: Route.all.count + 1)
        for snapshot in snapshots { values.add(snapshot.values) }
        writeRequests(values, to: page)
        one("sluice_messages_added_total", "counter", "Messages added to streams.", values.messagesAdded, to: page)
        writeConnections(to: page)
        one("sluice_replies_streamed_total", "counter", "Replies too long to be kept as a whole, sent as they were read.", sum(\.values.streamed), to: page)
        one("sluice_reads_cut_total", "counter", "Reads that answered fewer messages than asked for, because of their bytes (max_reply_bytes).", sum(\.values.readsCut), to: page)
        one("sluice_block_cut_total", "counter", "Reads that asked to wait for longer than they may (max_block_ms).", sum(\.values.blocksCut), to: page)
        writeWaiters(to: page)
        one("sluice_looks_total", "counter", "Reads of Redis on behalf of parked requests.", sum(\.waiters.looks), to: page)
        one("sluice_turns_asked_total", "counter", "Times that a group's messages always went to other gateways, and these were asked for a turn.", sum(\.waiters.asked), to: page)
        one("sluice_handed_back_total", "counter", "Messages that became unowned because their client had gone.", sum(\.waiters.handedBack), to: page)
        one("sluice_hand_backs_waiting", "gauge", "Messages whose client has gone, and which Redis has not been told of yet.", sum(\.handBacks.messages), to: page)
        one("sluice_hand_backs_dropped_total", "counter", "Messages that stayed with a consumer whose client had gone.", sum(\.handBacks.dropped), to: page)
        one("sluice_tails", "gauge", "Live tails now; each is one of the waiters.", sum(\.tails.open), to: page)
        one("sluice_tails_opened_total", "counter", "Live tails that were begun.", sum(\.tails.opened), to: page)
        one("sluice_tails_behind_total", "counter", "Live tails ended because they did not keep up (max_tail_backlog_bytes).", sum(\.tails.behind), to: page)
        one("sluice_tail_events_total", "counter", "Events sent to live tails, each to each.", sum(\.tails.events), to: page)
        one("sluice_tail_reads_total", "counter", "Reads of Redis for all live tails of a stream.", sum(\.tails.reads), to: page)
        one("sluice_tail_gaps_total", "counter", "Live tails told that messages were gone before they were read.", sum(\.tails.gaps), to: page)
        one("sluice_tail_resets_total", "counter", "Streams found set back, or made anew, by their live tails.", sum(\.tails.resets), to: page)
        one("sluice_recovery_policies", "gauge", "Recovery policies that are known.", sum(\.recovery.policies), to: page)
        one("sluice_recovery_recovered_total", "counter", "Messages that reads took over by a recovery policy.", sum(\.recovery.recovered), to: page)
        one("sluice_recovery_dead_letters_total", "counter", "Dead letters of recovery policies.", sum(\.recovery.deadLettered), to: page)
        one("sluice_recovery_reaped_total", "counter", "Consumers removed by recovery policies.", sum(\.recovery.reaped), to: page)
        one("sluice_recovery_errors_total", "counter", "Work on recovery policies that Redis did not let us do.", sum(\.recovery.errors), to: page)
        one("sluice_redriven_total", "counter", "Dead letters put back where they came from.", sum(\.values.redriven), to: page)
        writeRedis(to: page)
        one("sluice_sinks", "gauge", "Sinks that are known and can be run.", Set(snapshots.flatMap(\.sinks).map(\.sink)).count, to: page)
        SinkSnapshot.write(snapshots.flatMap(\.sinks), to: page)
    }

    func sum(_ value: (LoopSnapshot) -> Int) -> Int { snapshots.reduce(0) { $0 + value($1) } }

    func one(_ name: StaticString, _ type: StaticString, _ help: StaticString, _ value: Int, to page: ByteBuffer) {
        page.head(name, type, help)
        page.append(literal: name)
        page.append(UInt8(ascii: " "))
        page.append(decimal: value)
        page.append(UInt8(ascii: "\n"))
    }

    private func writeWaiters(to page: ByteBuffer) {
        one("sluice_waiters", "gauge", "Requests parked now.", waiters.current, to: page)
        one("sluice_waiters_limit", "gauge", "Requests that may be parked (max_waiters).", waiters.limit, to: page)
        if let most = waiters.mostOfStream {
            one("sluice_waiters_of_stream_max", "gauge", "Requests parked now at the stream that has most (max_stream_waiters).", most, to: page)
        }
        if let most = waiters.mostOfClient {
            one("sluice_waiters_of_client_max", "gauge", "Requests parked now of the client address that has most (max_client_waiters).", most, to: page)
        }
        one("sluice_waiters_parked_total", "counter", "Requests that were parked.", sum(\.waiters.parked), to: page)
        page.head("sluice_waiters_refused_total", "counter", "Requests refused with TOO_MANY_WAITERS, by the bound.")
        for bound in WaiterCount.Bound.allCases {
            page.append("sluice_waiters_refused_total{bound=\"\(bound.name)\"} \(sum { $0.waiters.refused[bound.rawValue] })\n")
        }
        one("sluice_waiters_departed_total", "counter", "Parked requests whose client has left.", sum(\.waiters.departed), to: page)
        one("sluice_wakeups_total", "counter", "Parked requests that were answered with messages.", sum(\.waiters.wakeUps), to: page)
        var delays = DurationHistogram(DurationHistogram.wakeUps)
        for snapshot in snapshots { delays.add(snapshot.waiters.wakeUpDelays) }
        page.head("sluice_wakeup_delay_seconds", "histogram", "From Redis' word of a change, or a nudge, to the reply of the parked request that it woke.")
        delays.write("sluice_wakeup_delay_seconds", "", to: page)
    }

    private func writeRequests(_ values: MetricValues, to page: ByteBuffer) {
        let names = Route.all.map { $0.name.description } + ["none"]
        page.head("sluice_http_requests_total", "counter", "Requests answered, by operation and status.")
        for (name, route) in zip(names, values.routes) {
            for (status, count) in route.statuses.sorted(by: { $0.status < $1.status }) {
                page.append("sluice_http_requests_total{operation=\"\(name)\",status=\"\(status)\"} \(count)\n")
            }
        }
        page.head("sluice_http_request_duration_seconds", "histogram", "From a request's head to its reply, waiting included.")
        for (name, route) in zip(names, values.routes) where route.durations.count > 0 {
            route.durations.write("sluice_http_request_duration_seconds", "operation=\"\(name)\"", to: page)
        }
        page.head("sluice_problems_total", "counter", "Problems answered, by code.")
        for (code, count) in values.problems.sorted(by: { $0.key < $1.key }) {
            page.append("sluice_problems_total{code=\"\(code)\"} \(count)\n")
        }
    }

    private func writeRedis(to page: ByteBuffer) {
        guard let first = snapshots.first else { return }
        for (index, counter) in first.redis.enumerated() {
            let isGauge = !counter.name.description.hasSuffix("_total")
            page.head(counter.name, isGauge ? "gauge" : "counter", "Of the conversations with Redis, all loops together.")
            page.append("\(counter.name) \(snapshots.reduce(0) { $0 + $1.redis[index].value })\n")
        }
    }
}

extension ByteBuffer {
    func head(_ name: StaticString, _ type: StaticString, _ help: StaticString) {
        append(literal: "# HELP ")
        append(literal: name)
        append(UInt8(ascii: " "))
        append(literal: help)
        append(literal: "\n# TYPE ")
        append(literal: name)
        append(UInt8(ascii: " "))
        append(literal: type)
        append(UInt8(ascii: "\n"))
    }
}

extension RedisCounters {
    /// By the names they have on the page.
    var samples: [(name: StaticString, value: Int)] {
        [
            ("sluice_redis_commands_total", commands.value), ("sluice_redis_replies_total", replies.value),
            ("sluice_redis_errors_total", errors.value), ("sluice_redis_repeats_total", repeats.value),
            ("sluice_redis_timeouts_total", timeouts.value), ("sluice_redis_overloads_total", overloads.value),
            ("sluice_redis_reconnects_total", reconnects.value), ("sluice_redis_sent_bytes_total", bytesOut.value),
            ("sluice_redis_received_bytes_total", bytesIn.value),
            ("sluice_redis_invalidations_total", invalidations.value), ("sluice_redis_nudges_total", nudges.value),
            ("sluice_redis_in_flight", inFlight.value), ("sluice_redis_in_flight_bytes", inFlightBytes.value),
            ("sluice_redis_connected", connected.value), ("sluice_redis_tracking", tracking.value),
        ]
    }
}
