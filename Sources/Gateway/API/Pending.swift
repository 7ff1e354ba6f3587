// What is delivered and not acknowledged: ack and the pending list (API.md §3). Taking it over: see Claiming.swift.

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/groups/{g}/ack`
    func ackMessages(_ call: Call) throws(Problem) -> Outcome {
        let query = try call.query(["id", "stats", "delete", "ref"], repeatable: ["id"])
        if try query.flag("delete") ?? false {
            return .task { () async throws(Problem) in .response(try await self.ackAndDelete(call, query)) }
        }
        if query.contains("ref") { throw .parameter("ref", "goes with delete=true: acknowledging alone deletes nothing.") }
        let (stream, group) = (try call.stream(), try call.group())
        let wantsStats = try query.flag("stats") ?? false
        guard call.bodyAtHand(upTo: limits.bodyBytes) != nil else {
            return call.afterBody(upTo: limits.bodyBytes, ackMessages)
        }
        let ids = try call.idsAtHand(query, limits)
        return try PendingAck(self, stream, group, ids, wantsStats: wantsStats)
            .send(.xack(stream.bytes, group: group.bytes, ids))
    }

    /// The answer to an ack that needs another look at Redis.
    fileprivate func answer(
        acked: Int64, _ stream: StreamName, _ group: GroupName, wantsStats: Bool
    ) async throws(Problem) -> Response {
        // XACK answers 0 also where the stream or the group is missing.
        let groups = acked == 0 ? try await requireGroup(stream, group) : nil
        guard wantsStats else { return json("acked", acked) }
        let body = newBody()
        body.append(literal: "{\"acked\":")
        body.append(decimal: acked)
        if let groups {
            try writeStats(group, of: stream, groups.elements, to: body)
        } else {
            await appendStats(stream, group, to: body)
        }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// All groups of the stream, `group` among them.
    @discardableResult
    func requireGroup(_ stream: StreamName, _ group: GroupName) async throws(Problem) -> RedisReply {
        let groups = try await ask(.xinfoGroups(stream.bytes), stream, group)
        if GroupRow.find(group, in: groups) == nil { throw .groupNotFound(group, of: stream) }
        return groups
    }

    /// `GET /v1/streams/{s}/groups/{g}/pending`
    func showPending(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group) = (try call.stream(), try call.group())
        let reply = try await ask(.xpending(stream.bytes, group: group.bytes), stream, group)
        var parts = reply.elements
        let body = newBody()
        body.append(literal: "{\"pending\":")
        body.append(parts.takeInteger() ?? 0)
        for member: StaticString in [",\"min_id\":", ",\"max_id\":"] {
            body.append(literal: member)
            if let id = parts.takeBytes() { body.appendJSON(string: id) } else { body.append(literal: "null") }
        }
        body.append(literal: ",\"consumers\":")
        body.appendList(parts.takeArray()) { rows in
            guard var row = rows.takeArray() else { return }
            body.append(literal: "{\"name\":")
            body.appendNameValue("name", row.takeBytes() ?? .empty)
            body.append(literal: ",\"pending\":")
            if let count = row.takeBytes() { body.append(count) }  // A number, as text.
            body.append(UInt8(ascii: "}"))
        }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `GET /v1/streams/{s}/groups/{g}/pending/messages`
    func listPending(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["start", "end", "count", "consumer", "min_idle_ms"])
        let (stream, group) = (try call.stream(), try call.group())
        let count = try query.integer("count", in: 1...limits.count) ?? 100
        let list = PendingList(
            self, stream, group, from: try query.bytes("start")?.rangeBound("start") ?? .earliest,
            to: try query.bytes("end")?.rangeBound("end") ?? .latest, count: count,
            consumer: try query.bytes("consumer").map { name throws(Problem) in try Call.checkedName(name, "consumer") },
            minIdle: try query.milliseconds("min_idle_ms"))
        let body = openReply()
        do {
            try await list.begin(into: body)
        } catch {
            loop.buffers.give(body)
            throw await explain(error, stream, group)
        }
        return list.answer(body)
    }
}

/// XPENDING, from what is left of the list.
private final class PendingList: SlicedList {
    private let stream: StreamName
    private let group: GroupName
    private var from: StreamBound
    private let to: StreamBound
    private let consumer: [UInt8]?
    private let minIdle: Duration?
    private var last: StreamID?

    init(
        _ api: API, _ stream: StreamName, _ group: GroupName, from: StreamBound, to: StreamBound, count: Int, consumer: [UInt8]?,
        minIdle: Duration?
    ) {
        (self.stream, self.group, self.from, self.to, self.consumer, self.minIdle) = (stream, group, from, to, consumer, minIdle)
        super.init(api, wanted: count, firstSlice: API.sliceRows)
    }

    override func take(_ count: Int, into body: ByteBuffer) async throws(RedisError) -> (rows: Int, hasMore: Bool) {
        let reply = try await api.store.send(
            .xpending(
                stream.bytes, group: group.bytes, from: from, to: to, count: count + 1, consumer: consumer, minimumIdle: minIdle))
        var rows = reply.elements
        let (found, hasMore) = (min(count, rows.remaining), rows.remaining > count)
        for index in 0..<found {
            if taken + index > 0 { body.append(UInt8(ascii: ",")) }
            if index == found - 1 { last = rows.peekID() }
            write(&rows, to: body)
        }
        if let last { from = .excluding(last) }
        return (found, hasMore)
    }

    private func write(_ rows: inout RedisCursor, to body: ByteBuffer) {
        var row = rows.takeArray()
        body.append(literal: "{\"id\":")
        body.appendJSON(string: row?.takeBytes() ?? .empty)
        body.appendName("consumer", row?.takeBytes() ?? .empty)
        body.append(literal: ",\"idle_ms\":")
        body.append(row?.takeInteger() ?? 0)
        body.append(literal: ",\"delivery_count\":")
        body.append(row?.takeInteger() ?? 0)
        body.append(UInt8(ascii: "}"))
    }

    override func end(_ body: ByteBuffer) {
        body.append(literal: "],\"next\":")
        body.appendNext(after: hasMore ? last : nil)
        body.append(UInt8(ascii: "}"))
    }
}

/// An ack on its way.
private final class PendingAck: PendingCall {
    private let stream: StreamName
    private let group: GroupName
    private let ids: [StreamID]
    private let wantsStats: Bool
    private let releaseTime: EventLoop.Instant?

    init(_ api: API, _ stream: StreamName, _ group: GroupName, _ ids: [StreamID], wantsStats: Bool) {
        self.stream = stream
        self.group = group
        self.ids = ids
        self.wantsStats = wantsStats
        releaseTime = api.releaseTime
        super.init(api)
    }

    override func redisAnswered(_ reply: RedisReply) {
        let acked = reply.integer ?? 0
        api.release(ids, stream, group, by: .anybody, releaseTime)
        if acked > 0 && !wantsStats { return finish(.success(.response(api.json("acked", acked)))) }
        finish(
            .success(
                .task { [self] () async throws(Problem) in
                    .response(try await api.answer(acked: acked, stream, group, wantsStats: wantsStats))
                }))
    }

    override func redisFailed(_ error: RedisError) {
        finish(.success(.task { [self] () async throws(Problem) in throw await api.explain(error, stream, group) }))
    }
}

extension ByteBuffer {
    /// Where the next page begins, as an exclusive bound; `null` after the last.
    func appendNext(after last: StreamID?) {
        guard let last else { return append(literal: "null") }
        append(literal: "\"(")
        append(last.description)
        append(UInt8(ascii: "\""))
    }
}

extension Call {
    /// The IDs of a call: `?id=…&id=…`, or the body `{"ids":[…]}`.
    func ids(_ query: QueryParameters, _ limits: Limits) async throws(Problem) -> [StreamID] {
        _ = try await body(upTo: limits.bodyBytes)
        return try idsAtHand(query, limits)
    }

    /// The same, where the body has come.
    func idsAtHand(_ query: QueryParameters, _ limits: Limits) throws(Problem) -> [StreamID] {
        let given = try query.all("id")
        guard given.isEmpty else {
            try refuseBodyAtHand()
            guard given.count <= limits.ids else {
                throw .parameter("id", "at most \(limits.ids) IDs a call, not \(given.count).")
            }
            return try given.map { id throws(Problem) in try id.entryID("id") }
        }
        return try idsInBody(limits)
    }

    func idsInBody(_ limits: Limits) throws(Problem) -> [StreamID] {
        guard !request.body.isEmpty else {
            throw Problem(.invalidRequest, "Name the messages in a body: {\"ids\":[\"1709251200000-0\"]}.")
        }
        var ids: [StreamID] = []
        try JSONObject.read(try jsonBodyAtHand(limits), ["ids"]) { _, reader throws(JSONError) in
            try reader.enterArray()
            while try reader.nextElement() {
                let text = try reader.string()
                guard ids.count < limits.ids else { return Problem(.tooLarge, "At most \(limits.ids) IDs a call.") }
                if let id = StreamID(text.raw, missingSequence: 0) {  // One with an escape in it goes the long way.
                    ids.append(id)
                    continue
                }
                do throws(Problem) { ids.append(try text.bytes().entryID("/ids/\(ids.count)")) } catch { return error }
            }
            return nil
        }
        guard !ids.isEmpty else { throw .body("no ID is given; name at least one", at: "/ids") }
        return ids
    }
}
