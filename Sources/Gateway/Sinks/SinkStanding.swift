// How a sink stands, for all replicas together: what they tell of it, whether it is stopped, and where its groups are.
// Put together for a reply, so that `GET /v1/sinks/{name}` answers "why is nothing arriving?" by itself.

import Net
import Redis

struct SinkStanding {
    /// A reason, as replies have it: a word for programs, a sentence for people.
    struct Reason {
        var code: String
        var detail: String
        var replica: String?
        var stream: String?
    }

    /// One of the sink's streams and its group there.
    struct Stream {
        var name: String
        /// Why nothing can be read; nil: it can.
        var reason: Reason?
        /// Nil: Redis can't tell.
        var lag: Int?
        var pending = 0
        var lastDelivered: String?
        /// Messages that wait for a time: retries, and what was nacked with a delay.
        var retries = 0
        /// Ms since 1970, of the first of them.
        var nextRetry: Int?
        /// Who holds pending messages, and how many.
        var holders: [(consumer: String, count: Int)] = []
        /// Of an ordered sink: the consumer whose run delivers the stream, and the number of its lease; nil: nobody does now.
        var leader: String?
        var lease: Int?
        /// Of the oldest message that is neither delivered nor a dead letter.
        var oldest: StreamID?
    }

    let definition: SinkDefinition?
    /// The streams that it reads.
    let names: [String]
    var stop: SinkStop?
    var reports: [SinkReport] = []
    var streams: [Stream] = []
    var wall: Duration

    /// API.md §6. Of replicas that differ, the one that is worst off is told: they all send to the same receiver.
    var state: SinkStateName {
        switch stop?.kind {
        case .paused?: return .paused
        case .disabled?: return .disabled
        case nil: break
        }
        if reports.contains(where: { $0.state == .failing }) { return .failing }
        if reports.contains(where: { $0.state == .backingOff && $0.until ?? 0 > wall.milliseconds }) { return .backingOff }
        if !reports.isEmpty, reports.allSatisfy({ $0.state == .refused }) { return .disabled }
        return .running
    }

    /// Nil: Redis can't tell of one of the streams.
    var lag: Int? { streams.reduce(0) { sum, stream in sum.flatMap { sum in stream.lag.map { sum + $0 } } } }
    var pending: Int { streams.reduce(0) { $0 + $1.pending } }
    var retries: Int { streams.reduce(0) { $0 + $1.retries } }
    var oldest: StreamID? { streams.compactMap(\.oldest).min() }

    func count(_ name: String) -> Int { reports.reduce(0) { $0 + $1.count(name) } }

    /// How long a message has waited.
    func age(_ id: StreamID?) -> Int? { id.map { max(wall.milliseconds - Int(clamping: $0.milliseconds), 0) } }
}

// MARK: Why

extension SinkStanding {
    var reasons: [Reason] {
        var reasons: [Reason] = []
        if let stop { reasons.append(Reason(code: stop.kind.rawValue, detail: "\(stop.reason) POST …/resume lets it go on.")) }
        if reports.isEmpty {
            reasons.append(Reason(code: "no_replica", detail: "No gateway has told of this sink lately: none runs it, or it is new."))
        }
        if stop == nil, streams.isEmpty, definition?.globs.isEmpty == false {
            reasons.append(Reason(code: "no_streams", detail: "No stream is known to match its globs. They are looked for every sink_scan_ms; dead-letter streams match none."))
        }
        for report in reports { reasons += why(report) }
        for stream in streams { reasons += why(stream) }
        for stream in streams { reasons += whyNobody(stream) }
        if reasons.isEmpty && !streams.isEmpty && pending == 0 && (lag == 0 || oldest == nil && lag == nil) {
            reasons.append(Reason(code: "idle", detail: "Everything in its streams was delivered, or lies before the place where its group began."))
        }
        // Nothing is wrong with a replica that stands by: another delivers.
        for report in reports where report.state == .standby {
            let leaders = Set(streams.compactMap(\.leader)).sorted().map { Array($0.utf8).quoted }
            reasons.append(
                Reason(
                    code: "standby",
                    detail: "This replica stands by: the sink keeps an order, so one replica at a time delivers a stream\(leaders.isEmpty ? "." : ", now \(leaders.joined(separator: ", ")).")",
                    replica: report.replica))
        }
        return reasons
    }

    private func why(_ report: SinkReport) -> [Reason] {
        var reasons: [Reason] = []
        func say(_ code: String, _ detail: String, stream: String? = nil) {
            reasons.append(Reason(code: code, detail: detail, replica: report.replica, stream: stream))
        }
        if let refusal = report.refusal { say("refused", "This replica can't run the sink: \(refusal)") }
        if report.state == .draining { say("draining", "This replica is shutting down; others go on.") }
        if report.state == .failing {
            let left = max((report.until ?? 0) - wall.milliseconds, 0)
            say("failing", "The endpoint fails again and again: it gets one message at a time, the next in \(left) ms. The rest waits in Redis.")
        } else if let until = report.until, until > wall.milliseconds {
            say("backing_off", "The endpoint asked for patience, or is unwell: nothing is sent for another \(until - wall.milliseconds) ms.")
        }
        if report.failuresInARow > 0 { say(failureCode(report), failureText(report)) }
        if report.isFull { say("full", "As many messages as max_held allows are held, in flight, waiting for a retry\(definition?.isOrdered == true ? ", or behind an earlier one of their key" : ""): no more are read.") }
        if report.leftOut > 0 {
            say("too_many_streams", "Its globs match \(report.leftOut) streams more than the \(Limits.sinkStreamsFound) that a sink reads: those are not delivered. Divide them among several sinks.")
        }
        for problem in report.problems { say("redis", "\(problem.detail)", stream: problem.stream) }
        return reasons
    }

    private func failureCode(_ report: SinkReport) -> String {
        if report.isRefusedTarget { return "target_refused" }
        switch report.lastStatus {
        case 401?, 403?: return "unauthorized"
        case nil: return "unreachable"
        default: return "receiver_fails"
        }
    }

    private func failureText(_ report: SinkReport) -> String {
        let times = report.failuresInARow == 1 ? "The last attempt failed" : "The last \(report.failuresInARow) attempts failed"
        let what = "\(times): \(report.lastError)."
        switch failureCode(report) {
        case "target_refused": return "\(what) Only addresses in allow_networks may be private."
        case "unauthorized": return "\(what) The receiver doesn't take our credentials: look at auth, headers and secrets."
        default: return what
        }
    }

    private func why(_ stream: Stream) -> [Reason] {
        if let reason = stream.reason { return [reason] }
        var reasons: [Reason] = []
        if stream.retries > 0 {
            let next = stream.nextRetry.map { "; the next is due in \(max($0 - wall.milliseconds, 0)) ms" } ?? ""
            reasons.append(Reason(code: "waiting_for_retries", detail: "\(stream.retries) messages wait for their next attempt\(next).", stream: stream.name))
        }
        let live = consumers
        for holder in stream.holders where !live.contains(holder.consumer) && holder.consumer != "unowned" {
            let lease = definition.map { " until they have been idle for lease_ms (\($0.lease.milliseconds))" } ?? ""
            // Whose lease it is, of whom nothing is heard, is told below.
            if holder.consumer == stream.leader { continue }
            reasons.append(
                Reason(
                    code: "held_elsewhere",
                    detail: "\(holder.count) messages are held by \(Array(holder.consumer.utf8).quoted), of whom nothing is heard; nobody else takes them\(lease).",
                    stream: stream.name))
        }
        return reasons
    }

    private var consumers: Set<String> { Set(reports.map(\.consumer)) }

    /// Why no replica delivers a stream of an ordered sink.
    private func whyNobody(_ stream: Stream) -> [Reason] {
        guard let definition, definition.isOrdered, stop == nil, stream.reason == nil else { return [] }
        guard let leader = stream.leader else {
            let detail = "No replica has the stream's lease just now: whoever had it gave it up or lost it, and another takes it in a moment, if one lives."
            return [Reason(code: "no_leader", detail: detail, stream: stream.name)]
        }
        guard !consumers.contains(leader) else { return [] }
        let detail =
            "The stream's lease is with \(Array(leader.utf8).quoted), of whom nothing is heard; another replica takes over when it has run out (lease_ms, \(definition.lease.milliseconds))."
        return [Reason(code: "no_leader", detail: detail, stream: stream.name)]
    }
}

// MARK: Asking Redis

extension SinkStanding.Stream {
    /// What is asked of a stream: `isWhole` for a sink alone, else what a list shows.
    static func questions(_ stream: StreamName, _ group: GroupName, isWhole: Bool) -> [RedisCommand] {
        let list = [RedisCommand.xinfoGroups(stream.bytes)]
        guard isWhole else { return list }
        let due = GatewayKeys.due(stream, group)
        return list + [
            .xpending(stream.bytes, group: group.bytes), .zcard(due), .zrange(due, from: 0, to: 0, withScores: true),
            .hmget(GatewayKeys.sinkLease(stream, group), ["holder", "number"]),
        ]
    }

    /// Answers to the questions about a stream.
    static func answerCount(isWhole: Bool) -> Int { isWhole ? 5 : 1 }

    init(_ name: String, _ group: GroupName, _ answers: ArraySlice<Result<RedisReply, RedisError>>) {
        self.name = name
        var answers = answers
        switch answers.popFirst() {
        case .success(let groups)?:
            guard let row = GroupRow.find(group, in: groups) else {
                reason = .init(code: "group_not_found", detail: "The stream has no group \(group.bytes.quoted) yet; the sink creates it.", stream: name)
                return
            }
            lag = row.position.lag.map { Int($0) }
            pending = Int(row.pending)
            lastDelivered = String(decoding: row.position.lastDeliveredID, as: UTF8.self)
        case .failure(let error)?: reason = SinkStanding.Stream.reason(error, name)
        case nil: break
        }
        guard reason == nil, answers.count == 4 else { return }
        if case .success(let summary)? = answers.popFirst() { readSummary(summary) }
        if case .success(let count)? = answers.popFirst() { retries = Int(count.integer ?? 0) }
        if case .success(let first)? = answers.popFirst() {
            var parts = first.elements
            parts.skip()
            nextRetry = parts.takeText().flatMap { Double($0) }.map { Int($0) }
        }
        if case .success(let found)? = answers.popFirst() {
            var parts = found.elements
            leader = parts.takeText()
            lease = parts.takeText().flatMap { Int($0) }
        }
    }

    private mutating func readSummary(_ summary: RedisReply) {
        var parts = summary.elements
        parts.skip()
        oldest = parts.takeBytes().flatMap { StreamID($0) }
        parts.skip()
        guard var rows = parts.takeArray() else { return }
        while var row = rows.takeArray() {
            guard let consumer = row.takeText(), let count = row.takeText() else { continue }
            holders.append((consumer, Int(count) ?? 0))
        }
    }

    private static func reason(_ error: RedisError, _ name: String) -> SinkStanding.Reason {
        guard case .reply(_, let line) = error else {
            return .init(code: "redis", detail: "Redis did not tell of the stream: \(error).", stream: name)
        }
        if error.code == .wrongType { return .init(code: "not_a_stream", detail: "The key holds a type other than a stream.", stream: name) }
        if error.isNoSuchKey {
            return .init(code: "stream_not_found", detail: "There is no such stream yet; the sink creates it, empty.", stream: name)
        }
        return .init(code: "redis", detail: line, stream: name)
    }
}
