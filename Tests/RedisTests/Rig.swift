// A client on a loop of the test's own, and what its delegate heard.
import Net
import Support
import Synchronization
import Testing

@testable import Redis

actor Rig {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    let client: RedisClient
    let recorder = Recorder()
    /// What the commands under test came to, in order.
    var outcomes: [Result<Tree, RedisError>] = []
    /// How often `ask` had to ask again.
    var lateReads = 0

    init(_ endpoint: RedisEndpoint, loop: EventLoop, limits: RedisLimits = RedisLimits()) {
        self.loop = loop
        client = RedisClient(loop: loop, endpoint: endpoint, limits: limits)
        client.delegate = recorder
    }

    final class Recorder: RedisClientDelegate {
        var connects = 0
        var reasons: [RedisError.Reason] = []
        var invalidated: [String] = []
        var flushes = 0
        var nudges: [String] = []

        func redisConnected(_ client: RedisClient, features: ServerFeatures) { connects += 1 }
        func redisDisconnected(_ client: RedisClient, reason: RedisError.Reason) { reasons.append(reason) }
        func redisInvalidated(_ client: RedisClient, key: UnsafeRawBufferPointer) {
            invalidated.append(String(decoding: key, as: UTF8.self))
        }
        func redisInvalidatedAll(_ client: RedisClient) { flushes += 1 }
        func redisNudged(_ client: RedisClient, payload: UnsafeRawBufferPointer) {
            nudges.append(String(decoding: payload, as: UTF8.self))
        }
    }

    func perform(_ command: RedisCommand) async -> Result<Tree, RedisError> {
        do throws(RedisError) { return .success(Tree(try await client.send(command))) } catch { return .failure(error) }
    }

    /// Of a read: asked again where the client's own short deadline has passed, since the machine stood still.
    func ask(_ command: RedisCommand) async -> Result<Tree, RedisError> {
        while true {
            let outcome = await perform(command)
            guard outcome == .failure(.unavailable(.timedOut)) else { return outcome }
            lateReads += 1
        }
    }

    func record(_ command: RedisCommand) async {
        let outcome = await perform(command)
        outcomes.append(outcome)
    }

    func perform(_ commands: [RedisCommand], tracked: Bool = false) async -> [Result<Tree, RedisError>] {
        do throws(RedisError) {
            return try await client.send(commands, tracked: tracked).map { $0.map(Tree.init) }
        } catch {
            return [.failure(error)]
        }
    }

    // MARK: From the test's thread, which is the loop's

    /// Starts the client and waits for its connections.
    nonisolated func connect() -> Bool {
        loop.runUntilIdle()
        on { $0.client.start() }
        return wait { $0.client.isConnected }
    }

    nonisolated func on<Value: Sendable>(_ body: (isolated Rig) throws -> Value) rethrows -> Value {
        try assumeIsolated(body)
    }

    nonisolated func wait(until condition: (isolated Rig) -> Bool) -> Bool {
        loop.run(atMost: .seconds(60)) { on(condition) }
    }

    /// Runs a task on the loop to its end.
    nonisolated func run(_ body: @escaping @Sendable (isolated Rig) async -> Void) {
        let isDone = Done()
        loop.spawn { [self] in
            await body(self)
            isDone.flag.store(true, ordering: .relaxed)
        }
        #expect(loop.run(atMost: .seconds(60)) { isDone.flag.load(ordering: .relaxed) }, "The task did not end.")
    }

    /// Starts a task on the loop and steps the loop until that task waits.
    nonisolated func begin(_ body: @escaping @Sendable (isolated Rig) async -> Void) {
        loop.spawn { [self] in await body(self) }
        loop.runUntilIdle()
    }

    private final class Done: Sendable { let flag = Atomic(false) }

    nonisolated func close() {
        on { $0.client.close() }
        #expect(wait { $0.client.isClosed })
    }
}

func words(_ text: String, _ effect: RedisCommand.Effect = .read) -> RedisCommand {
    let words = text.split(separator: " ").map(String.init)
    var command = RedisCommand.named(words[0], effect: effect)
    for word in words.dropFirst() { command.append(word) }
    return command
}

extension RedisCommand {
    /// Tests name commands at run time.
    static func named(_ name: String, effect: Effect) -> RedisCommand {
        let known: [String: StaticString] = [
            "PING": "PING", "ECHO": "ECHO", "SET": "SET", "GET": "GET", "INCR": "INCR", "DEL": "DEL", "XADD": "XADD",
            "RENAME": "RENAME", "FLUSHALL": "FLUSHALL", "DEBUG": "DEBUG", "LPUSH": "LPUSH", "PUBLISH": "PUBLISH",
            "CLIENT": "CLIENT", "SCRIPT": "SCRIPT", "EXISTS": "EXISTS", "XLEN": "XLEN", "XAUTOCLAIM": "XAUTOCLAIM",
        ]
        guard let name = known[name] else { preconditionFailure("Add \(name) to the table.") }
        return RedisCommand(name, effect: effect)
    }
}
