// How sinks stand, asked of Redis and written into a reply. A sink alone costs four round trips, a list three and one
// more for every fifty sinks.

import Net
import Redis

extension API {
    /// One for each of `found`, in their order. `isWhole`: with its streams and replicas.
    func standings(_ found: some Collection<FoundSink>, isWhole: Bool) async throws(Problem) -> [SinkStanding] {
        let reports = try await reports(of: found.map(\.name))
        var standings = found.map { SinkStanding(definition: $0.definition, names: $0.streams, stop: $0.stop, reports: reports[$0.name] ?? [], wall: loop.clock.wallTime) }
        try await fillStreams(&standings, isWhole: isWhole)
        if isWhole { try await fillOldest(&standings) }
        return standings
    }

    /// What the living replicas tell.
    private func reports(of names: [String]) async throws(Problem) -> [String: [SinkReport]] {
        guard !names.isEmpty else { return [:] }
        let replicas = try await askAll([.zrange(GatewayKeys.sinkReplicas)])
        var members = replicas[0].elements
        var places: [String] = []
        while let place = members.takeText() { places.append(place) }
        var reports: [String: [SinkReport]] = [:]
        for reply in try await askAll(places.map { .hmget(GatewayKeys.sinkReports($0), names) }) {
            var values = reply.elements
            for name in names {
                if let report = values.takeBytes().flatMap({ SinkReport(json: $0) }) { reports[name, default: []].append(report) }
            }
        }
        return reports
    }

    private func fillStreams(_ standings: inout [SinkStanding], isWhole: Bool) async throws(Problem) {
        let asked = standings.indices.flatMap { index in standings[index].names.map { (index: index, stream: $0) } }
        for slice in asked.slices(of: 200) {
            let groups = slice.map { GroupName(standings[$0.index].definition?.group ?? "") }
            let commands = zip(slice, groups).flatMap { SinkStanding.Stream.questions(StreamName($0.stream), $1, isWhole: isWhole) }
            let answers: [Result<RedisReply, RedisError>]
            do { answers = try await store.send(commands, tracked: false) } catch { throw Problem(error) }
            let step = SinkStanding.Stream.answerCount(isWhole: isWhole)
            for (place, (ask, group)) in zip(slice, groups).enumerated() {
                let stream = SinkStanding.Stream(ask.stream, group, answers[place * step..<(place + 1) * step])
                // What a glob has found may be gone by now.
                let isGone = stream.reason?.code == "stream_not_found" && standings[ask.index].definition?.streams.contains(ask.stream) == false
                if !isGone { standings[ask.index].streams.append(stream) }
            }
        }
    }

    /// Where nothing is pending, the first entry that was not read yet is the oldest.
    private func fillOldest(_ standings: inout [SinkStanding]) async throws(Problem) {
        for index in standings.indices {
            let open = standings[index].streams.indices.filter { standings[index].streams[$0].needsOldest }
            guard !open.isEmpty else { continue }
            let commands = open.compactMap { standings[index].streams[$0].nextEntry }
            for (place, reply) in zip(open, try await askAll(commands)) {
                standings[index].streams[place].readOldest(reply)
            }
        }
    }
}

extension SinkStanding.Stream {
    var needsOldest: Bool { reason == nil && oldest == nil && lag != 0 && nextEntry != nil }

    /// The first that was not read yet, and `readOldest` for the answer.
    var nextEntry: RedisCommand? {
        guard let last = lastDelivered.flatMap({ StreamID($0, missingSequence: 0) }) else { return nil }
        return .xrange(Array(name.utf8), from: .excluding(last), to: .latest, count: 1)
    }

    mutating func readOldest(_ reply: RedisReply) {
        var entries = reply.elements
        guard var entry = entries.takeArray() else { return }
        oldest = entry.takeBytes().flatMap { StreamID($0) }
    }
}

// MARK: In a reply

extension SinkStanding {
    func write(_ sink: FoundSink, isWhole: Bool, to body: ByteBuffer) {
        let names = ["attempts", "succeeded", "throttled", "failed", "rejected", "our_faults", "retries", "delivered", "dead_letters", "in_flight", "held"]
        var members = [
            "\"name\":\(jsonText(sink.name))", "\"source\":\"\(sink.isConfigured ? "configuration" : "api")\"",
            "\"read_only\":\(sink.isConfigured)", "\"definition\":\(sink.definition?.json(showsSecrets: false) ?? "null")",
            "\"state\":\"\(state.rawValue)\"", "\"since_ms\":\((stop?.since).json)", "\"reasons\":[\(reasons.map(\.json).joined(separator: ","))]",
            "\"counters\":{\(names.map { "\"\($0)\":\(count($0))" }.joined(separator: ","))}", "\"lag\":\(lag.json)",
            "\"pending\":\(pending)",
        ]
        if isWhole {
            members += [
                "\"retries\":\(retries)", "\"oldest_undelivered_ms\":\(age(oldest).json)",
                "\"streams\":[\(streams.map { json($0) }.joined(separator: ","))]",
                "\"replicas\":[\(reports.map { json($0) }.joined(separator: ","))]",
            ]
        }
        body.append("{\(members.joined(separator: ","))}")
    }

    private func json(_ stream: Stream) -> String {
        // A lease may outlive an order that the sink had.
        let leader = definition?.isOrdered == true ? stream.leader : nil
        let holders = stream.holders.map { "{\"consumer\":\(jsonText($0.consumer)),\"pending\":\($0.count)}" }
        return "{\"stream\":\(jsonText(stream.name)),\"lag\":\(stream.lag.json),\"pending\":\(stream.pending),\"retries\":\(stream.retries),"
            + "\"next_retry_ms\":\(stream.nextRetry.json),\"oldest_undelivered_ms\":\(age(stream.oldest).json),"
            + "\"last_delivered_id\":\(stream.lastDelivered.map(jsonText) ?? "null"),\"leader\":\(leader.map(jsonText) ?? "null"),\"lease\":\((leader == nil ? nil : stream.lease).json),\"holders\":[\(holders.joined(separator: ","))]}"
    }

    private func json(_ report: SinkReport) -> String {
        "{\"replica\":\(jsonText(report.replica)),\"consumer\":\(jsonText(report.consumer)),\"state\":\"\(report.state.rawValue)\","
            + "\"until_ms\":\(report.until.json),\"in_flight\":\(report.count("in_flight")),\"held\":\(report.count("held")),"
            + "\"failures_in_a_row\":\(report.failuresInARow),\"last_success_ms\":\(report.lastSuccess.json),"
            + "\"last_failure\":\(report.lastFailure ?? "null")}"
    }
}

extension SinkStanding.Reason {
    fileprivate var json: String {
        var members = ["\"code\":\"\(code)\"", "\"detail\":\(jsonText(detail))"]
        if let replica { members.append("\"replica\":\(jsonText(replica))") }
        if let stream { members.append("\"stream\":\(jsonText(stream))") }
        return "{\(members.joined(separator: ","))}"
    }
}
