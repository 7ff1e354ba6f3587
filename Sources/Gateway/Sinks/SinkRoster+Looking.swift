// How far behind a loop's sinks are, for `/metrics`, which asks Redis nothing: what Redis knows of their groups is asked
// for every 15 s instead. Nothing depends on it.

import Net
import Redis

extension SinkRoster {
    private static let lookInterval = Duration.seconds(15)
    /// Streams asked about in one go.
    private static let lookSlice = 100

    func lookSoon(_ pause: Duration) {
        lookTimer = loop.schedule(at: loop.now + pause) { [unowned self] in
            if !isDraining { startWork(.lookAtSinks) }
        }
    }

    func look() async {
        let asked = entries.values.flatMap { entry in
            let group = GroupName(entry.definition?.group ?? "")
            return entry.streams.map { Question(entry: entry, stream: $0, group: group) }
        }
        for slice in asked.slices(of: SinkRoster.lookSlice) {
            // What Redis does not tell now, it tells in a while.
            try? await look(Array(slice))
        }
        for entry in entries.values where entry.seen.count > entry.streams.count {
            let streams = Set(entry.streams)
            entry.seen = entry.seen.filter { streams.contains($0.key) }
        }
        lookSoon(SinkRoster.lookInterval)
    }

    private struct Question {
        var entry: Entry
        var stream: String
        var group: GroupName
    }

    private func look(_ asked: [Question]) async throws(RedisError) {
        let answers = try await store.send(
            asked.flatMap { SinkStanding.Stream.questions(StreamName($0.stream), $0.group, isWhole: true) }, tracked: false)
        let step = SinkStanding.Stream.answerCount(isWhole: true)
        var seen = asked.enumerated().map { place, ask in
            SinkStanding.Stream(ask.stream, ask.group, answers[place * step..<(place + 1) * step])
        }
        // Where nothing is pending, the first that was not read yet is the oldest.
        let open = seen.indices.filter { seen[$0].needsOldest }
        if !open.isEmpty {
            let firsts = try await store.send(open.compactMap { seen[$0].nextEntry }, tracked: false)
            for (place, first) in zip(open, firsts) { if case .success(let entries) = first { seen[place].readOldest(entries) } }
        }
        for (ask, stream) in zip(asked, seen) { ask.entry.seen[ask.stream] = stream }
    }

    func backlog(_ entry: Entry, _ stream: String) -> SinkSnapshot.Backlog? {
        guard let seen = entry.seen[stream], seen.reason == nil else { return nil }
        let oldest = seen.oldest.map { max(loop.clock.wallTime.milliseconds - Int(clamping: $0.milliseconds), 0) / 1000 }
        return .init(lag: seen.lag, pending: seen.pending, oldest: oldest)
    }

    func endpoint(_ entry: Entry) -> SinkSnapshot.Endpoint {
        var endpoint = SinkSnapshot.Endpoint(durations: entry.earlierDurations, streams: entry.streams.count, leftOut: entry.leftOut)
        for run in entry.leaving + [entry.sink].compactMap(\.self) { endpoint.durations.add(run.durations) }
        if let pace = entry.sink?.state.pace { (endpoint.window, endpoint.isFailing) = (pace.isOpen ? 1 : pace.window, pace.isOpen) }
        return endpoint
    }
}
