// What every endpoint may use. One per loop, owned by its `GatewayServer`; the endpoints are extensions,
// a file per resource.

import HTTP
import Net
import Redis

final class API {
    let loop: EventLoop
    let store: any StreamStore
    let config: Config
    let longPoll: LongPoll
    let metrics: Metrics
    let recovery: Recovery
    let sinks: SinkRoster
    let docs: DocsPage
    private(set) var tails: TailHub!  // It knows this.
    let handBacks: HandBacks
    let followed: FollowedGroups
    var unowned = UnownedIndex()
    /// Commands that go out together at the end of the tick.
    var consumersToCreate: [RedisCommand] = []
    /// Of parked calls, without a task.
    var looksUnderWay = 0
    var isDraining = false
    /// Starts work on this loop; set by the server.
    var startWork: (BackgroundWork) -> Void = { _ in preconditionFailure("Nobody starts work for this loop.") }
    /// What all loops of the process have counted; set by the server.
    var collectSnapshots: () async -> [LoopSnapshot] = { preconditionFailure("Nobody asks the other loops.") }
    /// Why Redis does not answer one of the process's loops, or nil.
    var pingEverywhere: () async -> RedisError? = { preconditionFailure("Nobody asks the other loops.") }

    var limits: Limits { config.limits }

    init(
        loop: EventLoop, store: any StreamStore, config: Config, longPoll: LongPoll, metrics: Metrics,
        followed: FollowedGroups = FollowedGroups()
    ) {
        self.loop = loop
        self.store = store
        self.config = config
        self.longPoll = longPoll
        self.metrics = metrics
        recovery = Recovery(loop: loop, store: store, longPoll: longPoll, limits: config.limits)
        sinks = SinkRoster(loop: loop, index: longPoll.index, store: store, config: config)
        sinks.policyDeadLetters = { [recovery] in recovery.isLoaded ? recovery.index.deadLetterStreams : nil }
        docs = DocsPage(loop)
        self.followed = followed
        handBacks = HandBacks(loop: loop, limit: Limits.handBacks)
        tails = TailHub(self)
    }
}

// MARK: Asking Redis

extension API {
    /// Sends a command about a stream; failures become problems that name it.
    func ask(
        _ command: RedisCommand, _ stream: StreamName, _ group: GroupName? = nil, patience: EventLoop.Instant? = nil
    ) async throws(Problem) -> RedisReply {
        do {
            return try await store.send(command, patience: patience, late: nil)
        } catch {
            throw await explain(error, stream, group)
        }
    }

    /// Calls a script about a stream; the same for its failures.
    func ask(
        _ script: RedisScript, _ call: RedisCommand, _ stream: StreamName, _ group: GroupName? = nil
    ) async throws(Problem) -> RedisReply {
        do {
            return try await store.evaluate(script, call)
        } catch {
            throw await explain(error, stream, group)
        }
    }

    /// Why Redis refused, in words that name what was asked for. Looks again only where Redis' answer
    /// leaves it open whether the stream or the group is missing.
    func explain(_ error: RedisError, _ stream: StreamName, _ group: GroupName? = nil) async -> Problem {
        guard case .reply(let code, let line) = error else { return Problem(error) }
        var problem: Problem
        switch code {
        case .wrongType: problem = .notAStream(stream)
        case .noGroup: problem = await missing(stream, group)
        case .err where error.isNoSuchKey:
            problem = .streamNotFound(stream)
        default: return Problem(error)
        }
        problem.redisError = line
        return problem
    }

    private func missing(_ stream: StreamName, _ group: GroupName?) async -> Problem {
        guard let group else { return .streamNotFound(stream) }
        do {
            let exists = try await store.send(.exists(stream.bytes)).integer == 1
            return exists ? .groupNotFound(group, of: stream) : .streamNotFound(stream)
        } catch {
            return Problem(error)
        }
    }

    /// Redis answers some calls about a stream that isn't there with nothing: 404 only then (API.md §1.8).
    func requireStream(_ stream: StreamName) async throws(Problem) {
        let type = try await ask(.type(stream.bytes), stream)
        if type.matches("none") { throw .streamNotFound(stream) }
        if !type.matches("stream") { throw .notAStream(stream) }
    }
}

// MARK: Answers

extension API {
    /// A buffer for a reply's body, borrowed from the loop.
    func newBody() -> ByteBuffer { loop.buffers.take() }

    func json(_ body: ByteBuffer, status: Int = 200) -> Response {
        body.append(UInt8(ascii: "\n"))
        return Response(status: status, contentType: "application/json", body: .bytes(body))
    }

    func json(literal: StaticString, status: Int = 200) -> Response {
        let body = newBody()
        body.append(literal: literal)
        return json(body, status: status)
    }

    /// `{"name":number}`
    func json(_ name: StaticString, _ number: Int64, status: Int = 200) -> Response {
        let body = newBody()
        body.append(literal: "{\"")
        body.append(literal: name)
        body.append(literal: "\":")
        body.append(decimal: number)
        body.append(UInt8(ascii: "}"))
        return json(body, status: status)
    }
}
