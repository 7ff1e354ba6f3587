// A store that passes everything on, and tells the test of the steps of a walk over all keys.

import Net

@testable import Gateway
@testable import Redis

final class WatchedStore: StreamStore {
    private let redis: RedisClient
    /// Of all steps so far, where they went on.
    private(set) var cursors: [String] = []
    /// Called before the answer of a step is passed on, with the number of steps.
    var stepped: (Int) -> Void = { _ in }

    init(_ redis: RedisClient) { self.redis = redis }

    var features: ServerFeatures? { redis.features }

    func send(_ command: RedisCommand, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?) async throws(RedisError) -> RedisReply {
        let words = command.withArguments { String(decoding: $0, as: UTF8.self) }.split(separator: "\r\n")
        let reply = try await redis.send(command, patience: patience, late: late)
        if words.count > 3, words[1] == "SCAN" {
            cursors.append(String(words[3]))
            stepped(cursors.count)
        }
        return reply
    }

    func send(
        _ command: RedisCommand, to taker: any ReplyTaker, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) throws(RedisError) {
        try redis.send(command, to: taker, patience: patience, late: late)
    }

    func send(_ commands: [RedisCommand], tracked: Bool) async throws(RedisError) -> [Result<RedisReply, RedisError>] {
        try await redis.send(commands, tracked: tracked)
    }

    func evaluate(
        _ script: RedisScript, _ call: RedisCommand, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply {
        try await redis.evaluate(script, call, patience: patience, late: late)
    }

    func begin(_ block: CommandBlock) throws(RedisError) { try redis.begin(block) }
    func openReplicated() async throws(RedisError) { try await redis.openReplicated() }
    func confirm(_ write: ReplicatedWrite, replicas: Int, within patience: Duration) async -> Int {
        await redis.confirm(write, replicas: replicas, within: patience)
    }
}
