// Taking messages out of a stream (API.md §2): by ID, and by trimming; and what becomes of them in the groups
// where they are pending still (`ref`).

import HTTP
import Net
import Redis

extension API {
    /// `DELETE /v1/streams/{s}/messages/{id}`
    func deleteMessage(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let (stream, id) = (try call.stream(), try call.messageID())
        guard try await ask(.xdel(stream.bytes, [id]), stream).integer == 1 else {
            try await requireStream(stream)
            throw .messageNotFound(id, in: stream)
        }
        return json(literal: "{\"deleted\":1}")
    }

    /// `POST /v1/streams/{s}/delete`
    func deleteMessages(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["ref"])
        let (stream, references) = (try call.stream(), try query.references())
        let ids = try await call.ids(query, limits)
        guard let references else {
            let deleted = try await ask(.xdel(stream.bytes, ids), stream).integer ?? 0
            if deleted == 0 { try await requireStream(stream) }
            return json("deleted", deleted)
        }
        let outcome = try await delete(ids, references, from: stream)
        let body = newBody()
        body.append(literal: "{\"deleted\":")
        body.append(decimal: outcome.statuses.count { $0 == .deleted })
        body.append(results: outcome.statuses, of: ids)
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `POST /v1/streams/{s}/groups/{g}/ack?delete=true`
    func ackAndDelete(_ call: Call, _ query: QueryParameters) async throws(Problem) -> Response {
        let (stream, group) = (try call.stream(), try call.group())
        let (references, wantsStats) = (try query.references() ?? .keep, try query.flag("stats") ?? false)
        let ids = try await call.ids(query, limits)
        let time = releaseTime
        let outcome = try await delete(ids, references, from: stream, acknowledging: group)
        release(ids, stream, group, by: .anybody, time)
        // XACK answers 0 also where the group is missing.
        if outcome.acked == 0 { try await requireGroup(stream, group) }
        let body = newBody()
        body.append(literal: "{\"acked\":")
        body.append(decimal: outcome.acked)
        body.append(results: outcome.statuses, of: ids)
        if wantsStats { await appendStats(stream, group, to: body) }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `POST /v1/streams/{s}/trim`
    func trimStream(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["maxlen", "minid", "approx", "limit", "ref"])
        try await call.refuseBody()
        let (stream, references) = (try call.stream(), try query.references())
        guard let trim = try query.trim(approximateByDefault: false) else {
            throw .parameter("maxlen", "give it or minid: what is to stay?")
        }
        if references != nil { try requireReferences("XTRIM") }
        let deleted = try await ask(.xtrim(stream.bytes, trim, references: references), stream).integer ?? 0
        if deleted == 0 { try await requireStream(stream) }
        return json("deleted", deleted)
    }

    /// For `ref` where it can't be had by other means: trimming finds the entries by itself.
    func requireReferences(_ command: String) throws(Problem) {
        guard let features = store.features, !features.offers(command, "KEEPREF") else { return }
        throw Problem(.notSupportedByRedis, "ref: this Redis (\(features.productVersion)) does not take it when it trims; it came with Redis 8.2.")
    }

    // MARK: One by one

    /// What became of each ID, in order, and how many were acknowledged for `group`.
    private func delete(
        _ ids: [StreamID], _ references: StreamReferencePolicy, from stream: StreamName, acknowledging group: GroupName? = nil
    ) async throws(Problem) -> (acked: Int64, statuses: [Deletion]) {
        let isNative = store.features?.commands.contains("XDELEX") == true
        // XDELEX tells the truth but with ACKED, see the script.
        if group == nil, isNative, references != .acknowledged {
            let statuses = Deletion.read(try await ask(.xdelex(stream.bytes, ids, references: references), stream).elements)
            if !statuses.contains(.deleted) { try await requireStream(stream) }
            return (0, statuses)
        }
        var acked: Int64 = 0
        var statuses: [Deletion] = []
        while statuses.count < ids.count {
            let call = DeleteScript.call(
                stream, ids[statuses.count...], references, acknowledging: group, isNative: isNative)
            do throws(RedisError) {
                var parts = try await store.evaluate(DeleteScript.script, call).elements
                acked += parts.takeInteger() ?? 0
                let slice = parts.takeArray().map { Deletion.read($0) } ?? []
                guard !slice.isEmpty else { throw .outcomeUnknown(.write, .protocolError("no statuses")) }
                statuses += slice
            } catch {
                throw statuses.isEmpty ? await explain(error, stream, group) : .deletedInPart(error, statuses.count, ids.count)
            }
        }
        return (acked, statuses)
    }
}

/// What became of an entry that was to be deleted.
private enum Deletion: Int64 {
    case deleted = 1
    /// Some group has not read or not acknowledged it.
    case retained = 2
    case notFound = -1

    var word: StaticString {
        switch self {
        case .deleted: "deleted"
        case .retained: "retained"
        case .notFound: "not_found"
        }
    }

    static func read(_ rows: RedisCursor) -> [Deletion] {
        var (rows, read) = (rows, [Deletion]())
        while !rows.isAtEnd { read.append(rows.takeInteger().flatMap { Deletion(rawValue: $0) } ?? .notFound) }
        return read
    }
}

extension Problem {
    static func messageNotFound(_ id: StreamID, in stream: StreamName) -> Problem {
        Problem(.messageNotFound, "The stream \(stream.bytes.quoted) has no message \(id).")
    }

    /// Redis failed between two slices.
    fileprivate static func deletedInPart(_ error: RedisError, _ done: Int, _ all: Int) -> Problem {
        var problem = Problem(.outcomeUnknown, "The first \(done) of \(all) IDs are done; then Redis failed (\(error)). Repeating the call is no harm.")
        problem.retryable = true
        return problem
    }
}

extension ByteBuffer {
    /// `,"results":[{"id","status"},…]`
    fileprivate func append(results: [Deletion], of ids: [StreamID]) {
        append(literal: ",\"results\":[")
        for (index, (id, status)) in zip(ids, results).enumerated() {
            append(literal: index == 0 ? "{\"id\":\"" : ",{\"id\":\"")
            append(decimal: id.milliseconds)
            append(UInt8(ascii: "-"))
            append(decimal: id.sequence)
            append(literal: "\",\"status\":\"")
            append(literal: status.word)
            append(literal: "\"}")
        }
        append(UInt8(ascii: "]"))
    }
}

extension QueryParameters {
    /// `ref=keep|delete|acked`: what becomes of an entry's places in pending lists.
    func references() throws(Problem) -> StreamReferencePolicy? {
        guard contains("ref"), let place = try word("ref", ["keep", "delete", "acked"]) else { return nil }
        return [.keep, .delete, .acknowledged][place]
    }
}
