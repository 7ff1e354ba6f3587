// Adding messages to a stream (API.md §2): one, a batch, or NDJSON that is added as it arrives.

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/messages`
    func addMessages(_ call: Call) throws(Problem) -> Outcome {
        let options = try AddOptions(call, limits)
        if options.references != nil { try requireReferences("XADD") }
        if call.request.headerCount("idempotency-key") > 0 {
            throw .parameter("Idempotency-Key", "this version can't keep it; without it a repeated call adds again.")
        }
        let form = try BodyForm(call.request)
        if form == .ndjson { return .task { () async throws(Problem) in .response(try await self.addLines(call, options)) } }
        guard let bytes = call.bodyAtHand(upTo: limits.bodyBytes) else {
            return call.afterBody(upTo: limits.bodyBytes, addMessages)
        }
        switch form.seen(bytes) {
        case .json: return try addJSON(bytes, options)
        case .form: return try add(try formCommand(bytes, options), options)
        case .text:
            guard isValidUTF8(bytes) else {
                throw Problem(.invalidRequest, "text/plain is UTF-8; send other bytes as application/octet-stream.")
            }
            return try add(dataCommand(bytes, options), options)
        case .bytes: return try add(dataCommand(bytes, options), options)
        case .ndjson: preconditionFailure("NDJSON was dealt with above.")
        }
    }

    private func addJSON(_ bytes: UnsafeRawBufferPointer, _ options: AddOptions) throws(Problem) -> Outcome {
        guard !bytes.isEmpty else {
            throw Problem(.invalidJSON, "No message was sent; a body looks like {\"fields\":{\"name\":\"value\"}}.")
        }
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        let messages = MessageReader(options: options, fieldLimit: limits.fields, scratch: scratch)
        var reader = JSONReader(bytes, depthLimit: limits.jsonDepth)
        let members = try messages.members(&reader, mayBeBatch: true, at: "")
        do { try reader.end() } catch { throw Problem(error) }
        guard let batch = members.messages else {
            return try add(try messages.command(members, at: ""), options)
        }
        if options.id != nil { throw .parameter("id", "can't be one for a whole batch; give each message its own.") }
        let commands = try batchCommands(batch, messages)
        return .task { () async throws(Problem) in .response(try await self.addBatch(commands, options)) }
    }

    // MARK: One message

    private func add(_ command: RedisCommand, _ options: AddOptions) throws(Problem) -> Outcome {
        try PendingAdd(self, options).send(command)
    }

    fileprivate func explainAdd(_ error: RedisError, _ options: AddOptions) async -> Problem {
        if case .reply(.err, let line) = error, line.contains("Invalid stream ID") {
            // All that is sent is well-formed: this can only be `ms-*`.
            var problem = Problem(.notSupportedByRedis, "id: this Redis does not take ms-*, which came with 7.0; leave the ID out, or give its sequence number.")
            problem.redisError = line
            return problem
        }
        guard case .reply(.err, let line) = error, line.contains("equal or smaller") || line.contains("exhausted") else {
            return await explain(error, options.stream)
        }
        var problem = Problem(.idTooSmall, "The ID is not above the stream's last one; leave it out, and Redis makes one.")
        problem.redisError = line
        // Without the last ID the problem still says enough.
        if let info = try? await store.send(.xinfoStream(options.stream.bytes)), let last = info.lastGeneratedID {
            problem.members = [("last_id", "\"\(last)\"")]
        }
        return problem
    }

    private func dataCommand(_ bytes: UnsafeRawBufferPointer, _ options: AddOptions) -> RedisCommand {
        var command = options.command(options.id, reserving: bytes.count + 128)
        command.append(literal: "data")
        command.append(bytes)
        return command
    }

    private func formCommand(_ bytes: UnsafeRawBufferPointer, _ options: AddOptions) throws(Problem) -> RedisCommand {
        guard bytes.contains(UInt8(ascii: "=")) else {
            var problem = Problem(.invalidRequest, "The body is a form without any '='; curl -d sends forms unless it is told otherwise, as by -H 'Content-Type: text/plain'.")
            problem.hint = Problem.Hint(
                options: "-d '{\"fields\":{\"name\":\"value\"}}'",
                path: "/v1/streams/\(options.stream.bytes.percentEncoded)/messages")
            throw problem
        }
        var command = options.command(options.id, reserving: bytes.count + 128)
        var count = 0
        for pair in PairSequence(bytes, .form) {
            do throws(HTTPError) {
                command.append(try pair.decodedName())
                command.append(try pair.decodedValue())
            } catch {
                throw Problem(error)
            }
            count += 1
            guard count <= limits.fields else { throw Problem(.tooLarge, "A message has at most \(limits.fields) fields (max_fields).") }
        }
        return command
    }

    // MARK: A batch

    /// The whole batch is checked before any of it is written.
    private func batchCommands(_ batch: JSONReader, _ messages: MessageReader) throws(Problem) -> [RedisCommand] {
        var reader = batch
        var commands: [RedisCommand] = []
        do throws(JSONError) { try reader.enterArray() } catch { throw Problem(error) }
        while try hasNext(&reader) {
            guard commands.count < limits.batch else {
                throw Problem(.tooLarge, "A batch has at most \(limits.batch) messages (max_batch); NDJSON takes more.")
            }
            let pointer = "/messages/\(commands.count)"
            let members = try messages.members(&reader, mayBeBatch: false, at: pointer)
            commands.append(try messages.command(members, at: pointer))
        }
        guard !commands.isEmpty else { throw .body("a batch has at least one message", at: "/messages") }
        return commands
    }

    private func hasNext(_ reader: inout JSONReader) throws(Problem) -> Bool {
        do { return try reader.nextElement() } catch { throw Problem(error) }
    }

    private func addBatch(_ commands: [RedisCommand], _ options: AddOptions) async throws(Problem) -> Response {
        var results = BatchResults(body: newBody())
        for start in stride(from: 0, to: commands.count, by: API.batchSlice) {
            let slice = Array(commands[start..<min(start + API.batchSlice, commands.count)])
            await addSlice(slice.map { .success($0) }, options, &results)
        }
        return try results.response(self)
    }

    /// Messages of a batch sent at once: the rest waits, so that a large batch can't fill the connection.
    static var batchSlice: Int { 512 }

    /// Sends what is well-formed and appends everybody's result, in order.
    func addSlice(_ items: [Result<RedisCommand, Problem>], _ options: AddOptions, _ results: inout BatchResults) async {
        let commands = items.compactMap { try? $0.get() }  // The malformed ones are told below, in their place.
        var answers: [Result<RedisReply, RedisError>] = []
        if !commands.isEmpty {
            do throws(RedisError) {
                answers = try await store.send(commands, tracked: false)
            } catch {
                answers = commands.map { _ in .failure(error) }
            }
        }
        var answer = answers.makeIterator()
        for item in items {
            switch item {
            case .failure(let problem): results.append(problem)
            case .success:
                switch answer.next() {
                case .success(let reply)? where reply.kind == .bulk:
                    metrics.messagesAdded += 1
                    results.append(id: reply.bytes)
                case .success?, nil: results.append(.streamNotFound(options.stream))
                case .failure(let error)?: results.append(await explainAdd(error, options))
                }
            }
        }
    }
}

/// One message on its way into its stream.
private final class PendingAdd: PendingCall {
    private let options: AddOptions

    init(_ api: API, _ options: AddOptions) {
        self.options = options
        super.init(api)
    }

    override func redisAnswered(_ reply: RedisReply) {
        // NOMKSTREAM, and it isn't there.
        guard reply.kind == .bulk else { return finish(.failure(.streamNotFound(options.stream))) }
        api.metrics.messagesAdded += 1
        let body = api.newBody()
        body.append(literal: "{\"id\":\"")
        body.append(reply.bytes)
        body.append(literal: "\"}")
        finish(.success(.response(api.json(body, status: 201))))
    }

    override func redisFailed(_ error: RedisError) {
        finish(.success(.task { [api, options] () async throws(Problem) in throw await api.explainAdd(error, options) }))
    }
}

/// The results of a batch, as they come, and the reply they make.
struct BatchResults {
    let body: ByteBuffer
    private(set) var added = 0
    private(set) var firstProblem: Problem?
    private(set) var count = 0

    init(body: ByteBuffer) {
        self.body = body
        body.append(UInt8(ascii: "["))
    }

    mutating func append(id: UnsafeRawBufferPointer) {
        separate()
        added += 1
        body.append(literal: "{\"id\":\"")
        body.append(id)
        body.append(literal: "\"}")
    }

    mutating func append(_ problem: Problem) {
        separate()
        if firstProblem == nil { firstProblem = problem }
        body.append(literal: "{\"error\":")
        problem.write(to: body, requestID: nil)
        body.append(UInt8(ascii: "}"))
    }

    private mutating func separate() {
        if count > 0 { body.append(UInt8(ascii: ",")) }
        count += 1
    }

    /// 201 when all were added, 207 when some were; when none was, the first problem, with all results.
    func response(_ api: API) throws(Problem) -> Response {
        body.append(UInt8(ascii: "]"))
        if let problem = firstProblem, added == 0 {
            var problem = problem
            problem.members.append(("results", String(decoding: body.bytes, as: UTF8.self)))
            throw problem
        }
        let reply = api.newBody()
        reply.append(literal: "{\"results\":")
        reply.append(body.bytes)
        reply.append(UInt8(ascii: "}"))
        api.loop.buffers.give(body)
        return api.json(reply, status: firstProblem == nil ? 201 : 207)
    }
}

extension AddOptions {
    init(_ call: Call, _ limits: Limits) throws(Problem) {
        stream = try call.stream()
        guard call.request.hasQuery else { return }
        let query = try call.query(["id", "maxlen", "minid", "approx", "limit", "nomkstream", "ref"])
        id = try query.bytes("id")?.addID("id")
        onlyIfExists = try query.flag("nomkstream") ?? false
        trim = try query.trim(approximateByDefault: true)
        references = try query.references()
        if references != nil && trim == nil { throw .parameter("ref", "goes with maxlen or minid: it says what trimming does to pending messages.") }
    }
}

extension QueryParameters {
    /// `maxlen` or `minid`, with `approx` and `limit`.
    func trim(approximateByDefault: Bool) throws(Problem) -> StreamTrim? {
        let length = try integer("maxlen", in: 0...Int.max)
        let minimum = try bytes("minid")?.entryID("minid")
        let approximate = try flag("approx")
        let limit = try integer("limit", in: 0...Int.max)
        let bound: StreamTrim.Bound
        switch (length, minimum) {
        case (nil, nil):
            if let stray = approximate != nil ? "approx" : limit != nil ? "limit" : nil {
                throw .parameter(stray, "goes with maxlen or minid.")
            }
            return nil
        case (let length?, nil): bound = .maximumLength(length)
        case (nil, let minimum?): bound = .minimumID(minimum)
        case (_?, _?): throw .parameter("minid", "not together with maxlen; trim by one of them.")
        }
        let isApproximate = approximate ?? approximateByDefault
        if limit != nil && !isApproximate { throw .parameter("limit", "goes with approx=true only.") }
        return StreamTrim(bound, approximate: isApproximate, limit: limit)
    }
}

extension RedisReply {
    /// Of XINFO STREAM.
    var lastGeneratedID: String? {
        var members = elements
        while let name = members.takeBytes() {
            if name.isSame(as: "last-generated-id") { return members.takeText() }
            members.skip()
        }
        return nil
    }
}
