// Reads of many streams in one call (API.md §2 and §3): tails without a group, and a consumer's read.
//
// One command a stream, all in one flush: one round trip, and in a cluster each stream may be on a node of its own,
// where one XREADGROUP over all of them would be refused. What such a call does once it is parsed is `ManyCall`'s.

import HTTP
import Net
import Redis

extension API {
    /// `GET /v1/messages?stream=a&after=…&stream=b&after=…`
    func listMessagesOfStreams(_ call: Call) async throws(Problem) -> Outcome {
        let query = try call.query(["stream", "after", "count", "block_ms", "fields"], repeatable: ["stream", "after"])
        let streams = try call.streams(query, limits)
        let starts = try query.each("after", of: streams, isNeeded: true).map { after throws(Problem) in try after.tailStart("after") }
        let count = try query.integer("count", in: 1...limits.count) ?? 10
        let asPairs = try query.wantsPairs()
        let block = try block(query)
        let client = block == nil ? nil : waitingClient(call)
        let latest = try await lastIDs(zip(streams, starts).filter { $1 == .latest }.map { $0.0 })
        let reads = zip(streams, starts).map { stream, start in
            let after = if case .after(let id) = start { id } else { latest[stream] ?? .zero }
            return ParkedRead.tail(
                TailRead(stream: stream, after: after, count: count, asPairs: asPairs, sharers: streams.count, client: client))
        }
        // A HEAD request never waits (API.md §1.10).
        return ManyCall(reads, call.request.method == .head ? nil : block, self).begin()
    }

    /// Where `latest` is now; streams that are not there are absent.
    private func lastIDs(_ streams: [StreamName]) async throws(Problem) -> [StreamName: StreamID] {
        guard !streams.isEmpty else { return [:] }
        let results: [Result<RedisReply, RedisError>]
        do { results = try await store.send(streams.map { .xinfoStream($0.bytes) }, tracked: false) } catch { throw Problem(error) }
        var found: [StreamName: StreamID] = [:]
        for (stream, result) in zip(streams, results) {
            switch result {
            case .success(let reply): found[stream] = reply.lastGeneratedID.flatMap { StreamID($0) }
            case .failure(let error):
                let problem = await explain(error, stream)
                // A key of another type is met by its own read, which tells of it.
                if problem.code != .streamNotFound && problem.code != .notAStream { throw problem }
            }
        }
        return found
    }

    /// `POST /v1/groups/{g}/consumers/{c}/read?stream=a&stream=b[&id=…&id=…]`
    func readMessagesOfStreams(_ call: Call) async throws(Problem) -> Outcome {
        let query = try call.query(
            ["stream", "id", "count", "block_ms", "noack", "claim_min_idle_ms", "unowned", "fields", "stats"],
            repeatable: ["stream", "id"])
        let (group, consumer) = (try call.group(at: 0), try call.readingConsumer(at: 1))
        let streams = try call.streams(query, limits)
        let starts = try query.each("id", of: streams, isNeeded: false).map { id throws(Problem) in try id.readPosition("id") }
        let block = try block(query)
        let client = block == nil ? nil : waitingClient(call)
        var reads: [GroupRead] = []
        for (place, stream) in streams.enumerated() {
            var read = GroupRead(stream: stream, group: group, consumer: consumer, sharers: streams.count)
            try read.take(query, self)
            (read.block, read.client) = (block, client)
            if !starts.isEmpty { read.position = starts[place] }
            try read.settlePosition()
            reads.append(read)
        }
        try await call.refuseBody()
        // As in Redis: whoever reads its own history anywhere does not wait.
        let waits = reads.allSatisfy { $0.position == .new }
        return ManyCall(reads.map(ParkedRead.group), waits ? block : nil, self).begin()
    }
}

extension QueryParameters {
    /// One value a stream, in the streams' order; none where none is needed.
    fileprivate func each(_ name: StaticString, of streams: [StreamName], isNeeded: Bool) throws(Problem) -> [[UInt8]] {
        let values = try all(name)
        if values.isEmpty && !isNeeded { return [] }
        guard values.count == streams.count else {
            throw .parameter(
                name.text, "give one for each stream, in the streams' order\(isNeeded ? "" : ", or none"): \(streams.count), not \(values.count).")
        }
        return values
    }
}
