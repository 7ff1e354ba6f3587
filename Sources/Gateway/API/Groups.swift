// Consumer groups (API.md §3).

import HTTP
import Net
import Redis

extension API {
    /// `GET /v1/streams/{s}/groups`
    func listGroups(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let reply = try await ask(.xinfoGroups(try call.stream().bytes), try call.stream())
        let body = newBody()
        body.append(literal: "{\"groups\":")
        body.appendList(reply.elements) { rows in
            body.append(UInt8(ascii: "{"))
            GroupRow(&rows)?.write(to: body)
            body.append(UInt8(ascii: "}"))
        }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `GET /v1/streams/{s}/groups/{g}`
    func showGroup(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group) = (try call.stream(), try call.group())
        let reply = try await ask(.xinfoGroups(stream.bytes), stream, group)
        guard let row = GroupRow.find(group, in: reply) else { throw .groupNotFound(group, of: stream) }
        let body = newBody()
        body.append(UInt8(ascii: "{"))
        row.write(to: body)
        body.append(literal: ",\"lease_ms\":")
        body.append(decimal: lease(of: WaitKey(stream: stream, group: group)).milliseconds)
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `PUT /v1/streams/{s}/groups/{g}`
    func createGroup(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["id", "mkstream", "entries_read"])
        let (stream, group) = (try call.stream(), try call.group())
        let position = try query.bytes("id")?.groupPosition("id") ?? .after(.zero)
        let makesStream = try query.flag("mkstream") ?? false
        let entriesRead = try query.integer("entries_read", in: -1...Int.max).map(Int64.init)
        if entriesRead != nil { try requireEntriesRead("XGROUP|CREATE") }
        let mustBeNew = try call.wantsNewOnly()
        try await call.refuseBody()
        let results = try await askAll(
            [
                .xgroupCreate(
                    stream.bytes, group: group.bytes, at: position, makeStream: makesStream, entriesRead: entriesRead),
                .xinfoGroups(stream.bytes),
            ], stream, group)
        var created = true
        if case .failure(let error) = results[0] {
            guard error.code == .busyGroup else { throw await explain(error, stream, group) }
            if mustBeNew {
                throw Problem(.groupExists, "The stream \(stream.bytes.quoted) has a group \(group.bytes.quoted) already.")
            }
            created = false
        }
        guard case .success(let groups) = results[1] else { throw .positionUntold(group, created, results[1]) }
        guard let row = GroupRow.find(group, in: groups) else { throw .groupNotFound(group, of: stream) }  // Deleted in the same moment.
        let body = newBody()
        body.append(literal: created ? "{\"created\":true,\"last_delivered_id\":" : "{\"created\":false,\"last_delivered_id\":")
        body.appendJSON(string: row.position.lastDeliveredID)
        body.append(UInt8(ascii: "}"))
        return json(body, status: created ? 201 : 200)
    }

    /// `PATCH /v1/streams/{s}/groups/{g}`
    func setGroupID(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group) = (try call.stream(), try call.group())
        let change = try GroupChange(try await call.jsonBody(limits))
        if change.entriesRead != nil { try requireEntriesRead("XGROUP|SETID") }
        try await changeGroup(
            .xgroupSetID(stream.bytes, group: group.bytes, to: change.position, entriesRead: change.entriesRead),
            stream, group)
        return json(literal: "{\"updated\":true}")
    }

    /// `DELETE /v1/streams/{s}/groups/{g}`
    func destroyGroup(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let (stream, group) = (try call.stream(), try call.group())
        let reply = try await ask(DestroyGroupScript.script, DestroyGroupScript.call(stream, group), stream, group)
        guard reply.integer == 1 else { throw .groupNotFound(group, of: stream) }
        return json(literal: "{\"destroyed\":true}")
    }

    /// Changes the group, and tells all who wait for it, on any replica: tracking does not.
    private func changeGroup(_ command: RedisCommand, _ stream: StreamName, _ group: GroupName) async throws(Problem) {
        let results = try await askAll([command, Nudge(.group, stream, group).publish], stream, group)
        if case .failure(let error) = results[0] { throw await explain(error, stream, group) }
    }

    func askAll(
        _ commands: [RedisCommand], _ stream: StreamName, _ group: GroupName? = nil
    ) async throws(Problem) -> [Result<RedisReply, RedisError>] {
        do {
            return try await store.send(commands, tracked: false)
        } catch {
            throw await explain(error, stream, group)
        }
    }

    /// It can't be had by other means. Where an ACL lets nobody ask for options, the version has to do.
    private func requireEntriesRead(_ command: String) throws(Problem) {
        guard let features = store.features, !features.offers(command, "ENTRIESREAD") else { return }
        if features.tokens.isEmpty, features.isAtLeast(7, 0) { return }
        throw Problem(.notSupportedByRedis, "entries_read: this Redis (\(features.productVersion)) does not take it; it came with 7.0.")
    }
}

/// The body of PATCH: `{"id":…,"entries_read":…}`.
private struct GroupChange {
    var position: StreamGroupPosition
    var entriesRead: Int64?

    init(_ bytes: UnsafeRawBufferPointer) throws(Problem) {
        var position: StreamGroupPosition?
        var entriesRead: Int64?
        try JSONObject.read(bytes, ["id", "entries_read"]) { name, reader throws(JSONError) in
            switch name {
            case "id":
                let text = try reader.string().bytes()
                do throws(Problem) { position = try text.groupPosition("id") } catch { return error }
            default:
                let count = try reader.integer()
                guard count >= -1 else { return .body("entries_read is a count, or -1 for unknown", at: "/entries_read") }
                entriesRead = Int64(count)
            }
            return nil
        }
        guard let position else {
            throw Problem(.invalidJSON, "The body names the new position: {\"id\":\"earliest\"}, \"latest\", or an ID.")
        }
        self.position = position
        self.entriesRead = entriesRead
    }
}

extension Problem {
    /// The group is there, and Redis failed before it told where it stands.
    fileprivate static func positionUntold(_ group: GroupName, _ created: Bool, _ result: Result<RedisReply, RedisError>) -> Problem {
        var problem = Problem(
            .outcomeUnknown,
            "The group \(group.bytes.quoted) \(created ? "was created" : "exists"); Redis did not tell where it stands. Repeating the call is no harm.")
        if case .failure(.reply(_, let line)) = result { problem.redisError = line }
        return problem
    }
}

extension Call {
    /// `If-None-Match: *` (RFC 9110 §13.1.2): the call is to fail where the group exists.
    fileprivate func wantsNewOnly() throws(Problem) -> Bool {
        guard let condition = request.header("if-none-match") else { return false }
        guard condition.isSame(as: "*") else {
            throw Problem(.invalidRequest, "If-None-Match takes only * here: groups have no entity tags.")
        }
        return true
    }
}
