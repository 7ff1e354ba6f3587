// Commands for which one caller waits, and the tracking that goes before them. Each has a place of its own in the queue of what
// is in flight; the batch gathers what they come to.

/// Commands that were sent next to one another, and their common waiter.
final class CommandBatch {
    let commands: [RedisCommand]
    /// CLIENT CACHING YES goes first; its answer takes no place in the results.
    let isTracked: Bool
    let deadline: Duration
    private(set) var mayRepeat: Bool
    private var results: [Result<RedisReply, RedisError>?]
    private var missing: Int
    private var cachingFailure: Result<RedisReply, RedisError>?
    private var continuation: UnsafeContinuation<[Result<RedisReply, RedisError>], Never>?

    init(
        _ commands: [RedisCommand], isTracked: Bool, deadline: Duration,
        _ continuation: UnsafeContinuation<[Result<RedisReply, RedisError>], Never>
    ) {
        self.commands = commands
        self.isTracked = isTracked
        self.deadline = deadline
        self.continuation = continuation
        mayRepeat = commands.allSatisfy(\.effect.mayRepeat)
        results = Array(repeating: nil, count: commands.count)
        missing = commands.count
    }

    /// An answer; the first one counts. Index −1 is CLIENT CACHING's: nothing waits for it, but where it is
    /// an error the first command's keys are not tracked, and that must not look like an answer.
    func settle(_ index: Int, _ result: Result<RedisReply, RedisError>) {
        guard index >= 0 else {
            if case .failure = result { cachingFailure = result }
            return
        }
        guard results[index] == nil else { return }
        results[index] = index == 0 ? cachingFailure ?? result : result
        missing -= 1
        if missing == 0 { finish() }
    }

    /// None of them will be sent again; those that are no reads may have been executed.
    func giveUp(_ reason: RedisError.Reason) {
        for (index, command) in commands.enumerated() {
            settle(index, .failure(command.effect == .read ? .unavailable(reason) : .outcomeUnknown(command.effect, reason)))
        }
    }

    /// Starts anew, once: what was answered is forgotten, since tracking ended with the connection.
    func beginRepeat() {
        mayRepeat = false
        cachingFailure = nil
        results = Array(repeating: nil, count: commands.count)
        missing = commands.count
    }

    private func finish() {
        continuation?.resume(returning: results.compactMap { $0 })
        continuation = nil
    }
}
