// Dead letters back to where they came from (API.md §6). One after the other, each in one atomic step where that is
// possible: whatever dies in between, a dead letter is either still there or back.

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{dead}/redrive`
    func redriveMessages(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["all", "limit"])
        let dead = try call.stream()
        var results = RedriveResults(body: newBody())
        if try query.flag("all") ?? false {
            let limit = try query.integer("limit", in: 1...limits.count) ?? limits.ids
            try await call.refuseBody()
            try await requireStream(dead)
            await redriveAll(dead, limit: min(limit, limits.count), call.caller, &results)
        } else {
            if query.contains("limit") { throw .parameter("limit", "goes with all=true; without it name the ids.") }
            let ids = try await call.redriveIDs(limits)
            try await requireStream(dead)
            for id in ids { await redrive(id, of: dead, call.caller, &results) }
        }
        return try results.response(self)
    }

    /// From the stream's beginning, until `limit` are back or as many were looked at and left as an answer can hold.
    private func redriveAll(_ dead: StreamName, limit: Int, _ caller: Caller, _ results: inout RedriveResults) async {
        var from = StreamBound.earliest
        while results.redriven < limit && results.count < limits.count && results.failure == nil {
            let reply: RedisReply
            do {
                reply = try await store.send(.xrange(dead.bytes, from: from, count: limits.readSlice))
            } catch {
                return results.fail(await explain(error, dead))
            }
            var entries = reply.elements
            guard !entries.isAtEnd else { return }
            while results.redriven < limit, results.count < limits.count, results.failure == nil, entries.enterArray() == 2 {
                guard let id = entries.takeBytes().flatMap({ StreamID($0) }) else { return }
                from = .excluding(id)
                await redrive(id, DeadLetter(&entries), of: dead, caller, &results)
            }
        }
    }

    private func redrive(_ id: StreamID, of dead: StreamName, _ caller: Caller, _ results: inout RedriveResults) async {
        if let failure = results.failure { return results.append(id, failure.notTried) }
        do {
            let reply = try await store.send(.xrange(dead.bytes, from: .including(id), to: .including(id), count: 1))
            var entries = reply.elements
            guard entries.enterArray() == 2 else { return results.append(id, mode: .notFound) }
            entries.skip()
            await redrive(id, DeadLetter(&entries), of: dead, caller, &results)
        } catch {
            results.fail(await explain(error, dead), id)
        }
    }

    private func redrive(
        _ id: StreamID, _ letter: DeadLetter, of dead: StreamName, _ caller: Caller, _ results: inout RedriveResults
    ) async {
        guard let stream = letter.stream, let group = letter.group, let original = letter.id, stream != dead else {
            return results.append(id, mode: .skipped, reason: "it is no dead letter")
        }
        guard letter.hasData else { return results.append(id, mode: .skipped, reason: "its data is null") }
        do throws(Problem) {
            try caller.require(stream.bytes)
            let (outcome, newID) = try await putBack(letter, stream, group, original, (dead, id))
            let mode = RedriveResults.Mode(outcome)
            if mode.isRedriven { metrics.values.redriven += 1 }
            results.append(id, mode: mode, newID: newID)
        } catch {
            // What Redis did not take, it would not take of the next either; what is wrong with this one is its own.
            if error.code.status >= 500 { results.fail(error, id) } else { results.append(id, error) }
        }
    }

    private func putBack(
        _ letter: DeadLetter, _ stream: StreamName, _ group: GroupName, _ id: StreamID, _ dead: (stream: StreamName, id: StreamID)
    ) async throws(Problem) -> (outcome: RedriveScript.Outcome, newID: String?) {
        let options = AddOptions(stream: stream)
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        if store.canTouchTogether(stream, dead.stream) {
            options.call = RedriveScript.call(stream, group, id, dead: dead, reserving: letter.data.count)
            let call = try letter.command(options, scratch: scratch)
            if call.argumentCount <= RedriveScript.argumentLimit { return try await redriven(call, stream, group) }
            options.call = nil
        }
        // In steps: back first, then deleted. Who dies in between has doubled it, and lost nothing.
        var (outcome, newID) = try await redriven(RedriveScript.call(stream, group, id, dead: nil), stream, group)
        if outcome == .absent {
            let reply = try await ask(try letter.command(options, scratch: scratch), stream)
            (outcome, newID) = (.added, reply.text)
        }
        _ = try await ask(.xdel(dead.stream.bytes, [dead.id]), dead.stream)
        return (outcome, newID)
    }

    private func redriven(
        _ call: RedisCommand, _ stream: StreamName, _ group: GroupName
    ) async throws(Problem) -> (outcome: RedriveScript.Outcome, newID: String?) {
        let reply = try await ask(RedriveScript.script, call, stream, group)
        var parts = reply.elements
        let (outcome, newID) = (parts.takeText().flatMap { RedriveScript.Outcome(rawValue: $0) } ?? .gone, parts.takeText() ?? "")
        return (outcome, newID.isEmpty ? nil : newID)
    }
}

/// An entry of a dead-letter stream, as far as it is one.
private struct DeadLetter {
    var stream: StreamName?
    var group: GroupName?
    var id: StreamID?
    /// `original_data`: the message's JSON.
    var data: [UInt8] = []

    /// Passes the entry's fields.
    init(_ entries: inout RedisCursor) {
        guard var fields = entries.takeArray() else { return }
        while let name = fields.takeBytes(), let value = fields.takeBytes() {
            switch DeadLetterField(rawValue: String(decoding: name, as: UTF8.self)) {
            case .originalStream: stream = DeadLetter.name(value).map(StreamName.init(bytes:))
            case .originalID: id = StreamID(value)
            case .originalData: data = Array(value)
            case .group: group = DeadLetter.name(value).map(GroupName.init(bytes:))
            default: break
            }
        }
        if stream?.isReserved == true { stream = nil }
    }

    private static func name(_ bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        try? Call.checkedName(Array(bytes), "name")  // What no call could name no gateway has written.
    }

    var hasData: Bool { !data.isEmpty && !data.elementsEqual("null".utf8) }

    /// The message's names and values behind what `options` begin with.
    func command(_ options: AddOptions, scratch: ByteBuffer) throws(Problem) -> RedisCommand {
        let messages = MessageReader(options: options, fieldLimit: .max, scratch: scratch)
        var command: RedisCommand?
        var problem: Problem?
        data.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(Problem) {
                command = try messages.command(try messages.members(&reader, mayBeBatch: false, at: .top), at: .top)
            } catch {
                problem = Problem(.invalidJSON, "original_data is no message: \(error.detail)")
            }
        }
        if let problem { throw problem }
        guard let command else { preconditionFailure("A message is read, or refused.") }
        return command
    }
}

/// What became of each dead letter, as it comes.
private struct RedriveResults {
    /// As replies say it.
    enum Mode: String {
        /// Back in its group alone; or anew, for every group.
        case pending, added
        case skipped
        case notFound = "not_found"

        var isRedriven: Bool { self == .pending || self == .added }

        init(_ outcome: RedriveScript.Outcome) {
            switch outcome {
            case .pending: self = .pending
            case .added: self = .added
            case .gone, .absent: self = .notFound
            }
        }
    }

    let body: ByteBuffer
    private(set) var count = 0
    private(set) var redriven = 0
    /// Redis let us do no more.
    private(set) var failure: Problem?
    private var hasErrors = false
    private var isFailureTold = false

    init(body: ByteBuffer) {
        self.body = body
        body.append(literal: "{\"results\":[")
    }

    mutating func append(_ id: StreamID, mode: Mode, reason: String? = nil, newID: String? = nil) {
        open(id)
        body.append(literal: ",\"mode\":\"")
        body.append(mode.rawValue)
        body.append(UInt8(ascii: "\""))
        if mode.isRedriven { redriven += 1 }
        for (name, value) in [("reason", reason), ("new_id", newID)] {
            guard let value else { continue }
            body.append(",\"\(name)\":")
            body.appendJSON(value)
        }
        body.append(UInt8(ascii: "}"))
    }

    mutating func append(_ id: StreamID, _ problem: Problem) {
        hasErrors = true
        open(id)
        body.append(literal: ",\"error\":")
        problem.write(to: body, requestID: nil)
        body.append(UInt8(ascii: "}"))
    }

    mutating func fail(_ problem: Problem, _ id: StreamID? = nil) {
        failure = problem
        hasErrors = true
        if let id { append(id, problem) }
        isFailureTold = id != nil
    }

    private mutating func open(_ id: StreamID) {
        if count > 0 { body.append(UInt8(ascii: ",")) }
        count += 1
        body.append(literal: "{\"id\":\"")
        body.append("\(id)")
        body.append(UInt8(ascii: "\""))
    }

    /// 200 when each was judged, 207 when there were errors; when nothing but an error came of it, that, with the results.
    func response(_ api: API) throws(Problem) -> Response {
        body.append(UInt8(ascii: "]"))
        if let failure, redriven == 0 {
            var problem = failure
            problem.members.append(("results", String(decoding: body.bytes.dropFirst("{\"results\":".utf8.count), as: UTF8.self)))
            throw problem
        }
        body.append(literal: ",\"redriven\":")
        body.append(decimal: redriven)
        if let failure, !isFailureTold {
            body.append(literal: ",\"error\":")
            failure.write(to: body, requestID: nil)
        }
        body.append(UInt8(ascii: "}"))
        return api.json(body, status: hasErrors ? 207 : 200)
    }
}

extension Problem {
    /// For the ids behind one that failed.
    fileprivate var notTried: Problem {
        Problem(.redisUnavailable, "Not tried: the one before it failed (\(code.rawValue)).")
    }
}

extension Call {
    /// `{"ids":[…]}`; a person who sent nothing may want all.
    fileprivate func redriveIDs(_ limits: Limits) async throws(Problem) -> [StreamID] {
        guard !request.body.isEmpty else {
            throw Problem(.invalidRequest, "Name the dead letters in a body, {\"ids\":[\"1709251200000-0\"]}, or take all: ?all=true.")
        }
        _ = try await body(upTo: limits.bodyBytes)
        return try idsInBody(limits)
    }
}
