// What becomes of commands whose connection broke: reads go out once more, the rest is told the truth.

import Net

/// A read that was in flight when the connection broke, and goes out once more.
enum Repeat {
    case single(InFlight)
    case batch(CommandBatch)

    var deadline: Duration {
        switch self {
        case .single(let entry): entry.deadline
        case .batch(let batch): batch.deadline
        }
    }
}

extension RedisClient {
    func giveBack(_ unanswered: Ring<InFlight>, sent: UInt64, _ reason: RedisError.Reason) {
        while let entry = unanswered.popFirst() {
            let mayRepeat = !isClosing && entry.deadline > loop.now
            switch entry.waiter {
            case .caller where mayRepeat && entry.command != nil, .taker where mayRepeat && entry.command != nil:
                repeats.append(.single(entry))
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
            case .handshake, .ping, .nobody, .late:
                break
            }
        }
        scheduleRepeatDeadline()
    }

    /// A command of which the last byte never reached the kernel was not executed.
    private func lost(_ entry: InFlight, sent: UInt64, _ reason: RedisError.Reason) -> RedisError {
        entry.effect == .read || entry.end > sent ? .unavailable(reason) : .outcomeUnknown(entry.effect, reason)
    }

    func sendRepeats(to connection: RedisConnection) {
        let due = repeats
        repeats = []
        cancel(\.repeats)
        for item in due {
            counters.repeats.add(1)
            switch item {
            case .single(let entry):
                guard let command = entry.command else { preconditionFailure("Only reads that were kept are repeated.") }
                connection.append(command, entry.waiter, deadline: entry.deadline)
            case .batch(let batch):
                append(batch, to: connection)
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
                case .taker(let taker): taker.redisFailed(.unavailable(reason))
                case .caller(let continuation): continuation.resume(returning: .failure(.unavailable(reason)))
                default: break
                }
            case .batch(let batch):
                batch.settleAll(.failure(.unavailable(reason)))
            }
        }
    }
}
