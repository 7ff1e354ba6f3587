// What the gateway needs of Redis. A command names its keys and its effect, so that whatever stands
// behind this (one server today, a cluster tomorrow) can pick the connection: no handler knows which.
//
// `RedisClient` is the real one. Waiting is a seam of its own: see `LongPoll`.

import Net
import Redis

protocol StreamStore: AnyObject {
    /// What the server offers; nil while it can't be reached.
    var features: ServerFeatures? { get }

    /// An error reply is thrown. `patience`: when the caller gives up, where that is before the deadline of every
    /// command. `late` takes an answer that comes when a failure was thrown already.
    func send(
        _ command: RedisCommand, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply

    /// The same, for one who waits without a task. Throws when it was not sent.
    func send(
        _ command: RedisCommand, to taker: any ReplyTaker, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) throws(RedisError)

    /// Next to one another, answered in order. `tracked`: changes of the first one's keys will be told.
    func send(_ commands: [RedisCommand], tracked: Bool) async throws(RedisError) -> [Result<RedisReply, RedisError>]

    /// A call of `script`, which is loaded where it is missing.
    func evaluate(
        _ script: RedisScript, _ call: RedisCommand, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply

    /// Sends commands as one piece; see `CommandBlock`. Throws when nothing was sent.
    func begin(_ block: CommandBlock) throws(RedisError)

    /// Before a block of the replicated lane is begun.
    func openReplicated() async throws(RedisError)

    /// How many replicas have confirmed what an answered block of the replicated lane has written.
    func confirm(_ write: ReplicatedWrite, replicas: Int, within patience: Duration) async -> Int
}

extension StreamStore {
    func send(_ command: RedisCommand) async throws(RedisError) -> RedisReply {
        try await send(command, patience: nil, late: nil)
    }

    func send(_ command: RedisCommand, late: ((RedisReply) -> Void)?) async throws(RedisError) -> RedisReply {
        try await send(command, patience: nil, late: late)
    }

    func evaluate(_ script: RedisScript, _ call: RedisCommand) async throws(RedisError) -> RedisReply {
        try await evaluate(script, call, patience: nil, late: nil)
    }

    func evaluate(
        _ script: RedisScript, _ call: RedisCommand, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply {
        try await evaluate(script, call, patience: nil, late: late)
    }

    /// Calls of `script` next to one another, answered in order. Where the script is missing the first of them loads it.
    func evaluate(_ script: RedisScript, _ calls: [RedisCommand]) async throws(RedisError) -> [Result<RedisReply, RedisError>] {
        var results = try await send(calls, tracked: false)
        let missing = results.indices.filter { if case .failure(let error) = results[$0] { error.code == .noScript } else { false } }
        guard let first = missing.first else { return results }
        do throws(RedisError) { results[first] = .success(try await evaluate(script, calls[first])) } catch { results[first] = .failure(error) }
        let rest = missing.dropFirst()
        for (place, result) in zip(rest, try await send(rest.map { calls[$0] }, tracked: false)) { results[place] = result }
        return results
    }
}

extension RedisClient: StreamStore {}
