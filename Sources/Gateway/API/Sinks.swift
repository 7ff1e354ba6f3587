// Sinks over HTTP (API.md §6): listed, shown, put, deleted, paused, resumed. Who runs them is in Sinks/.

import HTTP
import Net
import Redis

/// A sink as a call finds it.
struct FoundSink {
    let name: String
    let isConfigured: Bool
    /// Nil where it is in Redis and this version can't read it.
    let definition: SinkDefinition?
    /// As Redis has it; empty for one of the configuration.
    var stored: [UInt8] = []
    var stop: SinkStop?
    /// Streams that its globs match, as a gateway found them last.
    var found: [String] = []

    /// All that it reads.
    var streams: [String] { (definition?.names ?? []) + found }

    /// As Redis keeps them.
    mutating func readFound(_ bytes: UnsafeRawBufferPointer) {
        guard let definition else { return }
        let names = Set(definition.streams)
        found = SinkFinds(json: bytes).streams.filter { !names.contains($0) && definition.mayRead($0) }
    }
}

extension API {
    /// `GET /v1/sinks`
    func listSinks(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let found = try await allSinks().filter { call.caller.mayUse($0) }
        var standings: [SinkStanding] = []
        for slice in found.slices(of: 50) { standings += try await self.standings(slice, isWhole: false) }
        let body = newBody()
        body.append(literal: "{\"sinks\":")
        body.appendList(zip(found, standings)) { sink, standing in standing.write(sink, isWhole: false, to: body) }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `GET /v1/sinks/{name}`
    func showSink(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let sink = try await findSink(call)
        let standings = try await standings([sink], isWhole: true)
        let body = newBody()
        for standing in standings { standing.write(sink, isWhole: true, to: body) }
        return json(body)
    }

    /// `PUT /v1/sinks/{name}`
    func putSink(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let name = try call.sinkName()
        try refuseConfigured(name)
        var bounds = limits  // Spaces and escapes included.
        bounds.bodyBytes = min(limits.bodyBytes, 2 * limits.sinkDefinitionBytes)
        let definition = try SinkDefinition(name, try await call.jsonBody(bounds), config)
        try call.caller.require(definition)
        try await requireNothingOfOthers(name, call.caller)
        try await requireStreamTypes(definition)
        let stored = Array(definition.json(showsSecrets: true).utf8)
        guard stored.count <= limits.sinkDefinitionBytes else {
            throw Problem(.tooLarge, "A sink's definition is at most \(limits.sinkDefinitionBytes) bytes, not \(stored.count).")
        }
        let room = limits.sinks - config.sinks.count
        let reply = try await ask(PutSinkScript.script, PutSinkScript.call(definition, stored, limit: room))
        guard reply.integer != -1 else { throw Problem(.tooLarge, "There are \(limits.sinks) sinks already.") }
        let body = newBody()
        body.append(definition.json(showsSecrets: false))
        return json(body, status: reply.integer == 1 ? 201 : 200)
    }

    /// `DELETE /v1/sinks/{name}`
    func deleteSink(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        try refuseConfigured(try call.sinkName())
        let sink = try await findSink(call)
        let reply = try await ask(DeleteSinkScript.script, DeleteSinkScript.call(sink.name))
        guard reply.integer == 1 else { throw .sinkNotFound(sink.name) }
        return json(literal: "{\"deleted\":true}")
    }

    /// `POST /v1/sinks/{name}/pause`
    func pauseSink(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let sink = try await findSink(call)
        let author = call.caller.token.map { " by the token '\($0.name)'" } ?? ""
        let stop = SinkStop(.paused, "It was paused\(author).", since: loop.clock.wallTime)
        let request = StopSinkScript.call(sink.name, isConfigured: sink.isConfigured, stop, about: nil)
        guard try await ask(StopSinkScript.script, request).integer != -1 else { throw .sinkNotFound(sink.name) }
        return sinkState(sink.name, "paused")
    }

    /// `POST /v1/sinks/{name}/resume`
    func resumeSink(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let sink = try await findSink(call)
        let reply = try await ask(ResumeSinkScript.script, ResumeSinkScript.call(sink.name, isConfigured: sink.isConfigured))
        guard reply.integer != -1 else { throw .sinkNotFound(sink.name) }
        return sinkState(sink.name, "running")
    }

    private func sinkState(_ name: String, _ state: String) -> Response {
        let body = newBody()
        body.append("{\"name\":\(jsonText(name)),\"state\":\"\(state)\"}")
        return json(body)
    }
}

// MARK: Finding them

extension API {
    /// The sink that the path names, for a caller who may use all of its streams.
    func findSink(_ call: Call) async throws(Problem) -> FoundSink {
        let name = try call.sinkName()
        let replies = try await askAll([.hget(GatewayKeys.sinks, name), .hget(GatewayKeys.sinkStops, name)])
        let stop = replies[1].withBytes { SinkStop(json: $0) }
        if let definition = config.sinks.first(where: { $0.name == name }) {
            try call.caller.require(definition)
            return try await readingFound([FoundSink(definition, stop)])[0]
        }
        guard !replies[0].isNull else { throw .sinkNotFound(name) }
        let sink = replies[0].withBytes { FoundSink(name, $0, stop) }
        if let definition = sink.definition { try call.caller.require(definition) }
        guard call.caller.mayUse(sink) else { throw Problem(.forbidden, "This version can't read the sink's definition, so that it can't tell whose it is.") }
        return try await readingFound([sink])[0]
    }

    /// With the streams that their globs match.
    private func readingFound(_ sinks: [FoundSink]) async throws(Problem) -> [FoundSink] {
        var sinks = sinks
        let seeking = sinks.indices.compactMap { place in
            sinks[place].definition.flatMap { $0.globs.isEmpty ? nil : (place: place, definition: $0) }
        }
        for slice in seeking.slices(of: 50) {
            let replies = try await askAll(slice.map { .hget(GatewayKeys.sinkGlobs($0.definition.name), SinkFinds.field($0.definition)) })
            for ((place, _), reply) in zip(slice, replies) { reply.withBytes { sinks[place].readFound($0) } }
        }
        return sinks
    }

    /// By name, in its order.
    private func allSinks() async throws(Problem) -> [FoundSink] {
        let replies = try await askAll([.hkeys(GatewayKeys.sinks), .hgetall(GatewayKeys.sinkStops)])
        var (nameRows, stopRows) = (replies[0].elements, replies[1].elements)
        var stops: [String: SinkStop] = [:]
        while let name = stopRows.takeText(), let stop = stopRows.takeBytes() { stops[name] = SinkStop(json: stop) }
        var found = config.sinks.map { FoundSink($0, stops[$0.name]) }
        var names: [String] = []
        while let name = nameRows.takeText() { if !sinks.isConfigured(name) { names.append(name) } }
        for slice in names.slices(of: 50) {
            let reply = try await askAll([.hmget(GatewayKeys.sinks, slice)])[0]
            var definitions = reply.elements
            for name in slice {
                if let definition = definitions.takeBytes() { found.append(FoundSink(name, definition, stops[name])) }
            }
        }
        return try await readingFound(found.sorted { $0.name < $1.name })
    }

    private func refuseConfigured(_ name: String) throws(Problem) {
        guard sinks.isConfigured(name) else { return }
        throw Problem(.sinkInConfig, "The sink '\(name)' is one of the configuration file: change it there; pause, resume and test work here.")
    }

    /// A sink is not to be had by putting another in its place.
    private func requireNothingOfOthers(_ name: String, _ caller: Caller) async throws(Problem) {
        guard caller.token != nil else { return }
        let stored = try await askAll([.hget(GatewayKeys.sinks, name)])[0]
        guard !stored.isNull, !caller.mayUse(stored.withBytes { FoundSink(name, $0, nil) }) else { return }
        throw Problem(.forbidden, "There is a sink '\(name)' already, of streams that the token is not for.")
    }

    /// What a sink reads, and where its dead letters go, is a stream or nothing yet.
    private func requireStreamTypes(_ definition: SinkDefinition) async throws(Problem) {
        let streams = definition.reach.filter(\.isName).map { StreamName(bytes: $0.prefix) }
        for (stream, type) in zip(streams, try await askAll(streams.map { .type($0.bytes) })) {
            guard type.matches("none") || type.matches("stream") else { throw .notAStream(stream) }
        }
    }

    private func ask(_ script: RedisScript, _ call: RedisCommand) async throws(Problem) -> RedisReply {
        do { return try await store.evaluate(script, call) } catch { throw Problem(error) }
    }

    /// All of them, or the first one's problem.
    func askAll(_ commands: [RedisCommand]) async throws(Problem) -> [RedisReply] {
        do throws(RedisError) {
            var replies: [RedisReply] = []
            for result in try await store.send(commands, tracked: false) { replies.append(try result.get()) }
            return replies
        } catch {
            throw Problem(error)
        }
    }
}

extension FoundSink {
    init(_ definition: SinkDefinition, _ stop: SinkStop?) {
        name = definition.name
        isConfigured = true
        self.definition = definition
        self.stop = stop.flatMap { $0.concerns(SinkRoster.fingerprint(Array(definition.json(showsSecrets: true).utf8))) ? $0 : nil }
    }

    init(_ name: String, _ stored: UnsafeRawBufferPointer, _ stop: SinkStop?) {
        self.name = name
        self.stored = Array(stored)
        isConfigured = false
        // It was judged when it was put; here it is only shown. What can't be read is told as such.
        definition = try? SinkDefinition.parse(name: name, ConfigNode.parse(json: stored, source: "Redis"), by: .configuration)
        self.stop = stop.flatMap { $0.concerns(SinkRoster.fingerprint(Array(stored))) ? $0 : nil }
    }
}

extension SinkDefinition {
    /// Of a PUT's body; checked as one of a caller's, with what it names.
    init(_ name: String, _ bytes: UnsafeRawBufferPointer, _ config: Config) throws(Problem) {
        let node: ConfigNode
        do { node = try ConfigNode.parse(json: bytes, source: "request body") } catch { throw Problem(error) }
        do { self = try .parse(name: name, node, by: .caller(config)) } catch { throw Problem(body: error) }
        do { _ = try SinkResources(self) } catch { throw .body(error.problem, at: "/\(error.key)") }
    }

    /// What it may read, and where its dead letters may go; each once.
    var reach: [Glob] {
        var seen: Set<Glob> = []
        return (streams.map { Glob.isGlob($0) ? Glob($0) : Glob(literal: $0) } + deadLetterStreams).filter { seen.insert($0).inserted }
    }
}

extension Problem {
    static func sinkNotFound(_ name: String) -> Problem {
        Problem(.sinkNotFound, "There is no sink \(Array(name.utf8).quoted); PUT makes one.")
    }

    /// Of a definition that came in a body: all that is wrong with it.
    fileprivate init(body error: ConfigError) {
        let errors = error.problems.map { (pointer: $0.place.pointer ?? "", detail: $0.key.isEmpty ? $0.reason : "\($0.key): \($0.reason)") }
        let first = errors.first ?? ("", "not a sink")
        let rest = errors.count > 1 ? " (and \(errors.count - 1) more in errors)" : ""
        self = .body(first.detail + rest, at: first.pointer)
        self.errors = errors
    }
}

extension Caller {
    func mayUse(_ sink: FoundSink) -> Bool {
        guard token != nil else { return true }
        guard let definition = sink.definition else { return mayUse(all: Glob("*")) }
        return definition.reach.allSatisfy { mayUse(all: $0) }
    }

    /// All that it reads and writes.
    func require(_ definition: SinkDefinition) throws(Problem) {
        for streams in definition.reach where !mayUse(all: streams) {
            if streams.isName { try require(streams.prefix) }
            throw Problem(
                .forbidden,
                "The token '\(token?.name ?? "")' is not for all streams that \(Array(streams.text.utf8).quoted) matches: one of its own patterns has to be the same, or a prefix of it and *."
            )
        }
    }
}

extension Call {
    /// The first path parameter of every call below `/v1/sinks/`.
    func sinkName() throws(Problem) -> String {
        let bytes: [UInt8]
        do { bytes = try percentDecode(parameters[0]) } catch { throw Problem(error) }
        guard let name = String(validating: bytes, as: UTF8.self), SinkDefinition.isName(name) else {
            throw .parameter("name", "\(SinkDefinition.nameRule), not \(bytes.quoted).")
        }
        return name
    }
}
