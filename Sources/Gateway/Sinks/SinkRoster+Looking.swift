// How far behind a loop's sinks are, for `/metrics`, which asks Redis nothing: what Redis knows of their groups is asked
// for every 15 s instead. Nothing depends on it.

import Net
import Redis

extension SinkRoster {
    private static let lookInterval = Duration.seconds(15)
    /// Sinks asked about in one go.
    private static let lookSlice = 50

    func lookSoon(_ pause: Duration) {
        lookTimer = loop.schedule(at: loop.now + pause) { [unowned self] in
            if !isDraining { startWork(.lookAtSinks) }
        }
    }

    func look() async {
        for slice in entries.values.filter({ $0.definition != nil }).slices(of: SinkRoster.lookSlice) {
            // What Redis does not tell now, it tells in a while.
            try? await look(Array(slice))
        }
        lookSoon(SinkRoster.lookInterval)
    }

    private func look(_ slice: [Entry]) async throws(RedisError) {
        var asked: [(entry: Entry, stream: String, group: GroupName)] = []
        for entry in slice {
            guard let definition = entry.definition else { continue }
            for stream in definition.streams { asked.append((entry, stream, GroupName(definition.group))) }
        }
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
        var endpoint = SinkSnapshot.Endpoint(durations: entry.earlierDurations)
        for run in entry.leaving + [entry.sink].compactMap(\.self) { endpoint.durations.add(run.durations) }
        if let pace = entry.sink?.state.pace { (endpoint.window, endpoint.isFailing) = (pace.isOpen ? 1 : pace.window, pace.isOpen) }
        return endpoint
    }
}
