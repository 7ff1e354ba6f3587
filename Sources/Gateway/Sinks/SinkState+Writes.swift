// A sink's writes to Redis: gathered while one is under way, repeated until they are confirmed.

import Net
import Redis

extension SinkState {
    /// One message of a write.
    struct Entry: Equatable {
        var message: SinkMessage
        /// What the pending list's counter shall be, or, of a dead letter, the attempts that were made.
        var deliveries: Int
        /// No attempt before this wall time; nil: at once.
        var due: Duration?
        var reason: DeadLetterReason?
        var lastStatus: Int?
        var lastError = ""
    }

    /// What a script found of one message.
    enum Written: Int {
        /// It belongs to somebody else by now, or to nobody.
        case lost = 0
        case done = 1
        /// Its entry is no longer in the stream.
        case trimmed = 2
        /// Nothing was done: it was written under a lease that had ended.
        case unled = 3
    }

    /// `message` now waits for this write and no other. A result of an earlier one no longer concerns it.
    mutating func enqueue(_ message: Held, _ write: Write) {
        move(message, to: .writing(write, isSent: false))
        streams[message.key.stream].queues[write.rawValue].append(message)
        markQueued(message.key.stream)
    }

    private mutating func markQueued(_ stream: Int) {
        guard !streams[stream].isQueued else { return }
        streams[stream].isQueued = true
        queued.append(stream)
    }

    /// Every change of a phase goes through here: a `begin` under way holds a slot.
    mutating func move(_ message: Held, to phase: Phase) {
        if case .writing(.begin, _) = message.phase { beginning -= message.room }
        if case .writing(.begin, _) = phase { beginning += message.room }
        message.phase = phase
    }

    mutating func drop(_ message: Held, settled: Bool) {
        move(message, to: .gone)
        held[message.key] = nil
        streams[message.key.stream].watermark.closed(message.key.id, settled: settled)
        freeKey(of: message)
    }

    mutating func flushWrites() {
        for stream in queued where streams[stream].blockedUntil <= moment.now {
            for write in Write.allCases where !streams[stream].isWriting[write.rawValue] { flush(stream, write) }
            streams[stream].isQueued = streams[stream].queues.contains { !$0.isEmpty }
        }
        queued.removeAll { !streams[$0].isQueued }
    }

    private mutating func flush(_ stream: Int, _ write: Write) {
        var entries: [Entry] = []
        var taken = 0
        for message in streams[stream].queues[write.rawValue] {
            if entries.count == SinkState.writeLimit { break }
            taken += 1
            guard message.phase == .writing(write, isSent: false) else { continue }
            move(message, to: .writing(write, isSent: true))
            entries.append(Entry(message))
        }
        streams[stream].queues[write.rawValue].removeFirst(taken)
        guard !entries.isEmpty else { return }
        streams[stream].isWriting[write.rawValue] = true
        actions.append(.write(stream, write, entries))
    }

    mutating func wrote(_ stream: Int, _ write: Write, _ results: [(id: StreamID, result: Written)], under number: Int?) {
        streams[stream].isWriting[write.rawValue] = false
        streams[stream].failures = 0
        for (id, result) in results {
            guard let message = held[Key(stream: stream, id: id)], message.phase == .writing(write, isSent: true) else { continue }
            wrote(message, write, result, under: number)
        }
    }

    private mutating func wrote(_ message: Held, _ write: Write, _ result: Written, under number: Int?) {
        switch (write, result) {
        case (.acknowledge, _):
            streams[message.key.stream].counters.delivered += 1
            drop(message, settled: true)
        case (.bury, .done), (.bury, .trimmed):
            streams[message.key.stream].counters.deadLetters[message.reason!, default: 0] += 1
            drop(message, settled: true)
        case (_, .unled): unled(message, write, under: number)
        case (.release, _):
            streams[message.key.stream].counters.released += 1
            drop(message, settled: false)
        case (_, .lost):
            streams[message.key.stream].counters.lost += 1
            drop(message, settled: false)
        case (_, .trimmed): trimmed(message)
        case (.schedule, .done): scheduled(message)
        case (.begin, .done):
            guard leads(message.key.stream, at: moment.now) else { return forget(message) }
            guard !isStopped else { return release(message, due: nil, unspent: true) }
            becomeReady(message)
        }
    }

    /// Nothing was done. Whose number is still ours by our own clock has lost the lease; under another number, of a later
    /// term, it is written again. Else it stays pending.
    private mutating func unled(_ message: Held, _ write: Write, under number: Int?) {
        let stream = message.key.stream
        if let lease = streams[stream].lease, lease.number != number, leads(stream, at: moment.now) { return enqueue(message, write) }
        if let number { leaseLost(stream, number: number) }
        forget(message)
    }

    private mutating func scheduled(_ message: Held) {
        let dueWall = message.dueWall ?? moment.wall
        if isStopped { return release(message, due: dueWall, unspent: false) }
        guard leads(message.key.stream, at: moment.now) else { return forget(message) }
        wait(message, until: dueWall)
    }

    mutating func wait(_ message: Held, until dueWall: Duration) {
        // By our own clock: the wall's may be set meanwhile.
        let left = max(dueWall - moment.wall, .zero)
        move(message, to: .waiting(until: moment.now + left))
        waiting.insert(moment.now + left, message)
    }

    mutating func writeFailed(_ stream: Int, _ write: Write, _ ids: [StreamID]) {
        streams[stream].isWriting[write.rawValue] = false
        streams[stream].counters.redisFailures += 1
        var unsent: [Held] = []
        for id in ids {
            guard let message = held[Key(stream: stream, id: id)], message.phase == .writing(write, isSent: true) else { continue }
            if streams[stream].isGone {
                lose(message)
                continue
            }
            if write != .acknowledge, write != .bury, !leads(stream, at: moment.now) {
                forget(message)
                continue
            }
            move(message, to: .writing(write, isSent: false))
            unsent.append(message)
        }
        streams[stream].queues[write.rawValue].insert(contentsOf: unsent, at: 0)
        if !unsent.isEmpty { markQueued(stream) }
        streams[stream].failures += 1
        let pause = SinkState.redisPause.least * (1 << min(streams[stream].failures - 1, 10))
        streams[stream].blockedUntil = moment.now + min(pause, SinkState.redisPause.most)
        if isStopped { stop(draining: isDraining) }
    }

    /// Nothing can be written of its messages, nor need be: what is in flight, or being written, ends by itself.
    mutating func gone(_ stream: Int) {
        streams[stream].isGone = true
        for message in held.values.filter({ $0.key.stream == stream }).sorted(by: { $0.key < $1.key }) {
            switch message.phase {
            case .ready, .waiting, .due, .blocked, .writing(_, isSent: false): lose(message)
            case .inFlight, .writing(_, isSent: true), .gone: break
            }
        }
    }

    private mutating func lose(_ message: Held) {
        streams[message.key.stream].counters.lost += 1
        drop(message, settled: false)
    }

    // MARK: Ownership

    /// What has to be kept alive: all that we hold. (A trimmed entry can't be: XCLAIM would drop it.)
    func keepAliveIDs(_ stream: Int) -> [StreamID] {
        held.compactMap { key, message in
            key.stream == stream && !message.isLost && !message.isTrimmed ? key.id : nil
        }.sorted()
    }

    /// Whether a write of it waits for Redis: what became of the message, its answer tells.
    func isBeingWritten(_ key: Key) -> Bool {
        if case .writing = held[key]?.phase { true } else { false }
    }

    mutating func keptAlive(_ stream: Int, lost: [StreamID], trimmed ids: [StreamID]) {
        for id in lost {
            guard let message = held[Key(stream: stream, id: id)] else { continue }
            switch message.phase {
            case .inFlight: message.isLost = true
            case .ready, .waiting, .due, .blocked: lose(message)
            case .writing, .gone: break  // The write itself asks who owns it.
            }
        }
        for id in ids {
            guard let message = held[Key(stream: stream, id: id)] else { continue }
            switch message.phase {
            case .inFlight: message.isTrimmed = true
            case .ready, .waiting, .due, .blocked: trimmed(message)
            case .writing, .gone: break
            }
        }
    }
}

extension SinkState.Entry {
    fileprivate init(_ held: SinkState.Held) {
        self.init(
            message: held.message, deliveries: held.deliveries, due: held.dueWall, reason: held.reason,
            lastStatus: held.lastStatus, lastError: held.lastError)
    }
}
