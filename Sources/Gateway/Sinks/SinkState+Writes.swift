// A sink's writes to Redis: gathered while one is under way, repeated until they are confirmed.

import Net
import Redis

extension SinkState {
    /// `key` now waits for this write and no other. A result of an earlier one no longer concerns it.
    mutating func enqueue(_ key: Key, _ write: Write) {
        move(key, to: .writing(write, isSent: false))
        streams[key.stream].queues[write.rawValue].append(key.id)
    }

    /// Every change of a phase goes through here: a `begin` under way holds a slot.
    mutating func move(_ key: Key, to phase: Phase) {
        if case .writing(.begin, _) = held[key]!.phase { beginning -= 1 }
        if case .writing(.begin, _) = phase { beginning += 1 }
        held[key]!.phase = phase
    }

    mutating func drop(_ key: Key, settled: Bool) {
        move(key, to: .ready)
        held[key] = nil
        streams[key.stream].watermark.closed(key.id, settled: settled)
    }

    mutating func flushWrites() {
        for stream in streams.indices where streams[stream].blockedUntil <= moment.now {
            for write in Write.allCases where !streams[stream].isWriting[write.rawValue] { flush(stream, write) }
        }
    }

    private mutating func flush(_ stream: Int, _ write: Write) {
        var entries: [Entry] = []
        var taken = 0
        for id in streams[stream].queues[write.rawValue] {
            if entries.count == SinkState.writeLimit { break }
            taken += 1
            let key = Key(stream: stream, id: id)
            guard let message = held[key], message.phase == .writing(write, isSent: false) else { continue }
            move(key, to: .writing(write, isSent: true))
            entries.append(Entry(message))
        }
        streams[stream].queues[write.rawValue].removeFirst(taken)
        guard !entries.isEmpty else { return }
        streams[stream].isWriting[write.rawValue] = true
        actions.append(.write(stream, write, entries))
    }

    mutating func wrote(_ stream: Int, _ write: Write, _ results: [(id: StreamID, result: Written)]) {
        streams[stream].isWriting[write.rawValue] = false
        streams[stream].failures = 0
        for (id, result) in results {
            let key = Key(stream: stream, id: id)
            guard held[key]?.phase == .writing(write, isSent: true) else { continue }
            wrote(key, write, result)
        }
    }

    private mutating func wrote(_ key: Key, _ write: Write, _ result: Written) {
        switch (write, result) {
        case (.acknowledge, _):
            streams[key.stream].counters.delivered += 1
            drop(key, settled: true)
        case (.bury, .done), (.bury, .trimmed):
            streams[key.stream].counters.deadLetters[held[key]!.reason!, default: 0] += 1
            drop(key, settled: true)
        case (.release, _):
            streams[key.stream].counters.released += 1
            drop(key, settled: false)
        case (_, .lost):
            streams[key.stream].counters.lost += 1
            drop(key, settled: false)
        case (_, .trimmed): trimmed(key)
        case (.schedule, .done): scheduled(key)
        case (.begin, .done):
            guard !isStopped else { return release(key, due: nil, unspent: true) }
            move(key, to: .ready)
            ready.append(key)
        }
    }

    private mutating func scheduled(_ key: Key) {
        let dueWall = held[key]!.dueWall ?? moment.wall
        if isStopped { return release(key, due: dueWall, unspent: false) }
        // By our own clock: the wall's may be set meanwhile.
        let left = max(dueWall - moment.wall, .zero)
        move(key, to: .waiting(until: moment.now + left))
        waiting.insert(moment.now + left, key)
    }

    mutating func writeFailed(_ stream: Int, _ write: Write, _ ids: [StreamID]) {
        streams[stream].isWriting[write.rawValue] = false
        streams[stream].counters.redisFailures += 1
        var unsent: [StreamID] = []
        for id in ids {
            let key = Key(stream: stream, id: id)
            guard held[key]?.phase == .writing(write, isSent: true) else { continue }
            move(key, to: .writing(write, isSent: false))
            unsent.append(id)
        }
        streams[stream].queues[write.rawValue].insert(contentsOf: unsent, at: 0)
        streams[stream].failures += 1
        let pause = SinkState.redisPause.least * (1 << min(streams[stream].failures - 1, 10))
        streams[stream].blockedUntil = moment.now + min(pause, SinkState.redisPause.most)
        if isStopped { stop(draining: isDraining) }
    }

    // MARK: Ownership

    /// What has to be kept alive: all that we hold. (A trimmed entry can't be: XCLAIM would drop it.)
    func keepAliveIDs(_ stream: Int) -> [StreamID] {
        held.compactMap { key, message in
            key.stream == stream && !message.isLost && !message.isTrimmed ? key.id : nil
        }.sorted()
    }

    mutating func keptAlive(_ stream: Int, lost: [StreamID], trimmed ids: [StreamID]) {
        for id in lost {
            let key = Key(stream: stream, id: id)
            switch held[key]?.phase {
            case .inFlight: held[key]!.isLost = true
            case .ready, .waiting, .due:
                streams[stream].counters.lost += 1
                drop(key, settled: false)
            case .writing, nil: break  // The write itself asks who owns it.
            }
        }
        for id in ids {
            let key = Key(stream: stream, id: id)
            switch held[key]?.phase {
            case .inFlight: held[key]!.isTrimmed = true
            case .ready, .waiting, .due: trimmed(key)
            case .writing, nil: break
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
