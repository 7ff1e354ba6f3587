// Adding messages to a stream (API.md §2): one, a batch, or NDJSON that is added as it arrives.

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/messages`
    func addMessages(_ call: Call) throws(Problem) -> Outcome {
        let options = try AddOptions(call, limits)
        if options.references != nil { try requireReferences("XADD") }
        if call.request.isBinaryEvent { return try addBinaryEvent(call, options) }
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
        case .event: return try addEvent(bytes, options)
        case .events: return try addEvents(bytes, options)
        case .ndjson: preconditionFailure("NDJSON was dealt with above.")
        }
    }

    private func addJSON(_ bytes: UnsafeRawBufferPointer, _ options: AddOptions) throws(Problem) -> Outcome {
        guard !bytes.isEmpty else {
            throw Problem(.invalidJSON, "No message was sent; a body looks like {\"fields\":{\"name\":\"value\"}}.")
        }
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        let messages = MessageReader(options: options, fieldLimit: fieldLimit(options), scratch: scratch)
        var reader = JSONReader(bytes, depthLimit: limits.jsonDepth)
        let members = try messages.members(&reader, mayBeBatch: true, at: .top)
        do { try reader.end() } catch { throw Problem(error) }
        guard let batch = members.messages else {
            return try add(try messages.command(members, at: .top), options)
        }
        try refuseID(options)
        return add(try batchCommands(batch, messages), options)
    }

    // MARK: One message

    func add(_ command: RedisCommand, _ options: AddOptions) throws(Problem) -> Outcome {
        guard options.isGuarded else { return try PendingAdd(self, options).send(command) }
        return .task { () async throws(Problem) in .response(try await self.addGuarded(command, options)) }
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
            guard count <= fieldLimit(options) else { throw .tooManyFields(fieldLimit(options)) }
        }
        return command
    }

    // MARK: A batch

    func refuseID(_ options: AddOptions) throws(Problem) {
        if options.id != nil { throw .parameter("id", "can't be one for a whole batch; give each message its own.") }
    }

    /// Fields of a message, at most.
    func fieldLimit(_ options: AddOptions) -> Int {
        options.key == nil ? limits.fields : min(limits.fields, limits.keyedFields)
    }

    /// The whole batch is checked before any of it is written.
    private func batchCommands(_ batch: JSONReader, _ messages: MessageReader) throws(Problem) -> [RedisCommand] {
        var reader = batch
        var commands: [RedisCommand] = []
        do throws(JSONError) { try reader.enterArray() } catch { throw Problem(error) }
        while try hasNext(&reader) {
            try checkBatch(commands.count + 1)
            let place = MessagePlace.item(commands.count)
            let members = try messages.members(&reader, mayBeBatch: false, at: place)
            commands.append(try messages.command(members, at: place))
        }
        guard !commands.isEmpty else { throw .body("a batch has at least one message", at: "/messages") }
        return commands
    }

    func checkBatch(_ count: Int) throws(Problem) {
        guard count <= limits.batch else {
            throw Problem(.tooLarge, "A batch has at most \(limits.batch) messages (max_batch); NDJSON takes more.")
        }
    }

    func hasNext(_ reader: inout JSONReader) throws(Problem) -> Bool {
        do { return try reader.nextElement() } catch { throw Problem(error) }
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
