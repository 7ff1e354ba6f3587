// What becomes of commands whose connection broke: reads, and writes that are no more when executed again,
// go out once more; the rest is told the truth.

import Net

/// What was in flight when the connection broke, and goes out once more.
enum Repeat {
    case single(InFlight)
    case batch(CommandBatch)
    case block(CommandBlock)

    var deadline: Duration {
        switch self {
        case .single(let entry): entry.deadline
        case .batch(let batch): batch.deadline
        case .block(let block): block.deadline
        }
    }
}

extension RedisClient {
    func giveBack(_ unanswered: Fifo<InFlight>, sent: UInt64, _ reason: RedisError.Reason) {
        var unanswered = unanswered
        while let entry = unanswered.popFirst() {
            let mayRepeat = !isClosing && entry.deadline > loop.now
            switch entry.waiter {
            case .caller where mayRepeat && entry.command != nil, .taker where mayRepeat && entry.command != nil:
                var entry = entry
                entry.mayHaveRun = entry.mayHaveRun || entry.end <= sent
                repeats.append(.single(entry))
            case .block(let block) where mayRepeat && block.effect.mayRepeat && !block.hasFailed:
                block.noteTried(sent: entry.sent(of: sent))
                repeats.append(.block(block))
            case .taker(let taker):
                taker.redisFailed(lost(entry, sent: sent, reason))
            case .caller(let continuation):
                continuation.resume(returning: .failure(lost(entry, sent: sent, reason)))
            case .batch(let batch, _) where mayRepeat && batch.mayRepeat:
                batch.beginRepeat()
                repeats.append(.batch(batch))
                while case .batch(let next, _)? = unanswered.first?.waiter, next === batch { _ = unanswered.popFirst() }
            case .batch(let batch, let index):
                if index >= 0 { batch.settle(index, .failure(lost(entry, sent: sent, reason))) }
            case .block(let block):
                block.lose(sent: entry.sent(of: sent), reason)
            case .handshake, .ping, .nobody, .late:
                break
            }
        }
        scheduleRepeatDeadline()
    }

    /// A command of which the last byte never reached the kernel was not executed.
    private func lost(_ entry: InFlight, sent: UInt64, _ reason: RedisError.Reason) -> RedisError {
        let hasRun = entry.mayHaveRun || entry.end <= sent
        return entry.effect == .read || !hasRun ? .unavailable(reason) : .outcomeUnknown(entry.effect, reason)
    }

    func sendRepeats(to connection: RedisConnection) {
        let due = repeats
        repeats = []
        cancel(\.repeats)
        for item in due {
            counters.repeats.add(1)
            switch item {
            case .single(let entry):
                guard let command = entry.command else { preconditionFailure("Only commands that were kept are repeated.") }
                connection.append(command, entry.waiter, deadline: entry.deadline, mayHaveRun: entry.mayHaveRun)
            case .batch(let batch):
                append(batch, to: connection)
            case .block(let block):
                connection.append(block)
            }
        }
    }

    private func scheduleRepeatDeadline() {
        guard timers.repeats == nil, let first = repeats.first else { return }
        timers.repeats = loop.schedule(at: first.deadline) { [unowned self] in
            timers.repeats = nil
            failRepeats(until: loop.now, .timedOut)
            scheduleRepeatDeadline()
        }
    }

    /// Answers those that wait for a connection and whose deadline has come. They stand in its order.
    func failRepeats(until now: Duration, _ reason: RedisError.Reason) {
        let due = repeats.prefix { $0.deadline <= now }
        repeats.removeFirst(due.count)
        for item in due {
            switch item {
            case .single(let entry):
                switch entry.waiter {
                case .taker(let taker): taker.redisFailed(lost(entry, sent: 0, reason))
                case .caller(let continuation): continuation.resume(returning: .failure(lost(entry, sent: 0, reason)))
                default: break
                }
            case .batch(let batch):
                batch.giveUp(reason)
            case .block(let block):
                block.fail(reason)
            }
        }
    }
}

extension InFlight {
    /// Of the bytes that the kernel took of a connection, how many were of this entry.
    func sent(of total: UInt64) -> Int {
        let start = end - UInt64(size)
        return total > start ? Int(min(total, end) - start) : 0
    }
}
