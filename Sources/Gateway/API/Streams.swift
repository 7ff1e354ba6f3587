// Streams themselves (API.md §2): listing, showing and deleting them, and what XSETID sets.

import HTTP
import Net
import Redis

extension API {
    /// `GET /v1/streams`
    func listStreams(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["match", "cursor", "count"])
        let pattern = try query.bytes("match")
        if let pattern, !(1...Limits.nameBytes).contains(pattern.count) {
            throw .parameter("match", "a glob has 1 to \(Limits.nameBytes) bytes, not \(pattern.count).")
        }
        let cursor = try query.bytes("cursor")?.scanCursor() ?? 0
        let count = try query.integer("count", in: 1...limits.count) ?? 100
        let reply: RedisReply
        do {
            reply = try await store.send(.scanStreams(cursor: cursor, pattern: pattern, count: count))
        } catch {
            throw Problem(error)
        }
        return listing(reply, for: call.caller)
    }

    /// Hides what is the gateway's own, and what the caller's token is not for.
    private func listing(_ reply: RedisReply, for caller: Caller) -> Response {
        let body = newBody()
        var parts = reply.elements
        let next = parts.takeBytes()
        var names = parts.takeArray()
        var streams: [StreamName] = []
        while let name = names?.takeBytes() {
            let stream = StreamName(bytes: Array(name))
            if !stream.isReserved, caller.mayUse(stream.bytes) { streams.append(stream) }
        }
        body.append(literal: "{\"streams\":")
        body.appendList(streams) { stream in
            body.append(literal: "{\"name\":")
            stream.bytes.withUnsafeBytes { body.appendNameValue("name", $0) }
            body.append(UInt8(ascii: "}"))
        }
        body.append(literal: ",\"cursor\":")
        if let next, !next.isSame(as: "0") { body.appendJSON(string: next) } else { body.append(literal: "null") }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `GET /v1/streams/{s}`
    func showStream(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["full", "count", "fields"])
        let stream = try call.stream()
        let isFull = try query.flag("full") ?? false
        let count = try query.integer("count", in: 1...limits.infoRows)
        if count != nil && !isFull { throw .parameter("count", "goes with full: without it nothing is listed.") }
        let writer = MessageWriter(body: newBody(), asPairs: try query.wantsPairs())
        var commands = [RedisCommand.xinfoStream(stream.bytes)]
        if isFull { commands.append(.xinfoStreamFull(stream.bytes, count: count ?? 10)) }
        let replies = try await askAll(commands, stream)
        writer.body.append(UInt8(ascii: "{"))
        StreamInfo(try await answer(replies[0], stream)).write(by: writer)
        if isFull { StreamDetails(try await answer(replies[1], stream)).write(by: writer) }
        writer.body.append(UInt8(ascii: "}"))
        return json(writer.body)
    }

    private func answer(
        _ result: Result<RedisReply, RedisError>, _ stream: StreamName
    ) async throws(Problem) -> RedisReply {
        switch result {
        case .success(let reply): return reply
        case .failure(let error): throw await explain(error, stream)
        }
    }

    /// `PATCH /v1/streams/{s}`
    func setStreamID(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let stream = try call.stream()
        let change = try StreamChange(try await call.jsonBody(limits))
        if change.entriesAdded != nil, let features = store.features, !features.offers("XSETID", "ENTRIESADDED") {
            throw Problem(.notSupportedByRedis, "entries_added and max_deleted_id: this Redis (\(features.productVersion)) does not take them; they came with 7.0.")
        }
        do {
            _ = try await store.send(
                .xsetid(
                    stream.bytes, lastID: change.lastID, entriesAdded: change.entriesAdded, maximumDeletedID: change.maximumDeletedID))
        } catch {
            throw await explainSetID(error, stream)
        }
        return json(literal: "{\"updated\":true}")
    }

    private func explainSetID(_ error: RedisError, _ stream: StreamName) async -> Problem {
        guard case .reply(.err, let line) = error, line.contains("smaller than") else { return await explain(error, stream) }
        // Without the stream's numbers the problem still says enough.
        let info = (try? await store.send(.xinfoStream(stream.bytes))).map { StreamInfo($0) }
        var problem: Problem
        if line.contains("entries_added") {
            let length = info.map { ", \($0.length)" } ?? ""
            problem = .body("entries_added can't be below the stream's length\(length)", at: "/entries_added")
        } else {
            problem = Problem(.idTooSmall, "last_id can't be below the stream's newest message, nor below its max_deleted_entry_id.")
            if let info { problem.members = [("last_id", "\"\(String(decoding: info.lastGeneratedID, as: UTF8.self))\"")] }
        }
        problem.redisError = line
        return problem
    }

    /// `DELETE /v1/streams/{s}`
    func deleteStream(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let stream = try call.stream()
        do {
            _ = try await store.evaluate(DeleteStreamScript.script, DeleteStreamScript.call(stream))
        } catch {
            throw await explain(error, stream)
        }
        return json(literal: "{\"deleted\":true}")
    }
}

/// The body of PATCH: `{"last_id","entries_added","max_deleted_id"}`.
private struct StreamChange {
    var lastID = StreamID.zero
    var entriesAdded: Int64?
    var maximumDeletedID: StreamID?

    init(_ bytes: UnsafeRawBufferPointer) throws(Problem) {
        var lastID: StreamID?
        var entriesAdded: Int64?
        var maximumDeletedID: StreamID?
        try JSONObject.read(bytes, ["last_id", "entries_added", "max_deleted_id"]) { name, reader throws(JSONError) in
            if name == "entries_added" {
                let count = try reader.integer()
                guard count >= 0 else { return .body("entries_added is a count", at: "/entries_added") }
                entriesAdded = Int64(count)
                return nil
            }
            let text = try reader.string().bytes()
            do throws(Problem) {
                let id = try text.entryID("/\(name)")
                if name == "last_id" { lastID = id } else { maximumDeletedID = id }
            } catch {
                return error
            }
            return nil
        }
        guard let lastID else {
            throw Problem(.invalidJSON, "The body names the stream's new last ID: {\"last_id\":\"1709251200000-0\"}.")
        }
        guard (entriesAdded == nil) == (maximumDeletedID == nil) else {
            throw .body("entries_added and max_deleted_id go together", at: entriesAdded == nil ? "/max_deleted_id" : "/entries_added")
        }
        if let maximumDeletedID, maximumDeletedID > lastID {
            throw .body("max_deleted_id can't be above last_id", at: "/max_deleted_id")
        }
        (self.lastID, self.entriesAdded, self.maximumDeletedID) = (lastID, entriesAdded, maximumDeletedID)
    }
}

extension [UInt8] {
    /// Where a listing goes on: SCAN's own number. To clients it is a word that they give back: in a cluster it
    /// will have to name the node as well.
    fileprivate func scanCursor() throws(Problem) -> UInt64 {
        guard let number = withUnsafeBytes({ StreamID($0, missingSequence: 0) }), !contains(UInt8(ascii: "-")) else {
            throw .parameter("cursor", "\(quoted) is none of ours; give the cursor of the answer before, or none to begin.")
        }
        return number.milliseconds
    }
}
