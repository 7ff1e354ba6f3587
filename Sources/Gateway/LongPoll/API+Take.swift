// One look: what a consumer's read takes from Redis, and how it waits for more.
//
// The usual look is one plain XREADGROUP. Only where unowned messages may be due, or idle ones are asked
// for, it is a script. Large counts are read in slices, so that one reader's big reply does not stall
// everybody behind it on the connection.

import HTTP
import Net
import Redis

extension API {
    /// Bytes of a slice that we aim at, once we know what the messages weigh.
    private static let sliceBytes = 256 * 1024

    /// Takes up to `read.count` messages and appends them to `body`, separated by commas.
    func take(_ read: GroupRead, into body: ByteBuffer) async throws(RedisError) -> Batch {
        let start = body.count
        var batch = Batch()
        var slice = min(read.count, limits.readSlice)
        if read.claimMinIdle != nil || read.takesUnowned && unowned.mayHave(read.key, now: loop.now) {
            try await takeByScript(read, slice, into: body, &batch)
        } else {
            try await takeNew(read, slice, into: body, &batch)
        }
        while batch.isFull && batch.count < read.count && body.count - start < limits.replyBytes {
            let weight = max((body.count - start) / batch.count, 1)
            slice = min(read.count - batch.count, max(1, min(1000, API.sliceBytes / weight)))
            let before = batch
            do {
                try await takeNew(read, slice, into: body, &batch)
            } catch {
                batch = before  // What we have is answered; the next read meets the failure itself.
                batch.isFull = false
            }
        }
        return batch
    }

    private func takeNew(
        _ read: GroupRead, _ count: Int, into body: ByteBuffer, _ batch: inout Batch
    ) async throws(RedisError) {
        let reply = try await store.send(
            .xreadgroup(
                group: read.group.bytes, consumer: read.consumer.bytes, [(read.stream.bytes, read.position)],
                count: count, noAck: read.noAck))
        guard var entries = reply.entriesOfOnlyStream, entries.remaining > 0 else { return batch.isFull = false }
        batch.isFull = entries.remaining >= count
        batch.slices.append(.read(reply))
        writeFresh(&entries, read, into: body, &batch)
    }

    private func takeByScript(
        _ read: GroupRead, _ count: Int, into body: ByteBuffer, _ batch: inout Batch
    ) async throws(RedisError) {
        let generation = unowned.generation(read.key)
        let call = TakeScript.call(
            read.stream, read.group, read.consumer, count: count, unowned: read.takesUnowned,
            minIdle: read.claimMinIdle, noack: read.noAck)
        let reply = try await store.evaluate(TakeScript.script, call)
        guard let (takenRows, freshEntries, due, idle) = reply.takenParts else { return }
        var (taken, fresh) = (takenRows, freshEntries)
        let found = taken.remaining + fresh.remaining
        writeTaken(&taken, read, into: body, &batch)
        writeFresh(&fresh, read, into: body, &batch)
        batch.isFull = found >= count
        if found > 0 { batch.slices.append(.taken(reply)) }
        if due >= 0 { batch.unownedDue = loop.now + .milliseconds(due) }
        if read.takesUnowned && !batch.isFull {
            unowned.foundNone(read.key, due: batch.unownedDue, generation: generation)
        }
        if read.claimMinIdle != nil { batch.claimDue = nextClaim(batch, idle) }
    }

    /// At once while looks come back full; else when the oldest pending message gets there, within bounds:
    /// others may read, claim and set idle times meanwhile, and a waiting read is to notice within a second.
    private func nextClaim(_ batch: Batch, _ idle: Int64) -> EventLoop.Instant {
        if batch.isFull { return loop.now }
        let left = idle < 0 ? .milliseconds(800) : Duration.milliseconds(idle)
        return loop.now + min(max(left, .milliseconds(200)), .milliseconds(800))
    }

    private func writeFresh(_ entries: inout RedisCursor, _ read: GroupRead, into body: ByteBuffer, _ batch: inout Batch) {
        let writer = MessageWriter(body: body, asPairs: read.asPairs)
        let details: DeliveryDetails? = read.position == .new ? DeliveryDetails(deliveryCount: 1) : nil
        while entries.remaining > 0 {
            if batch.count > 0 { body.append(UInt8(ascii: ",")) }
            writer.write(&entries, details)
            batch.count += 1
        }
    }

    private func writeTaken(_ rows: inout RedisCursor, _ read: GroupRead, into body: ByteBuffer, _ batch: inout Batch) {
        let writer = MessageWriter(body: body, asPairs: read.asPairs)
        while var row = rows.takeArray() {
            if batch.count > 0 { body.append(UInt8(ascii: ",")) }
            let id = row.takeBytes()
            var fields = row
            row.skip()
            let details = DeliveryDetails(
                deliveryCount: row.takeInteger() ?? 1, idle: row.takeInteger(), consumer: row.takeBytes())
            writer.write(id: id, fields: &fields, details)
            batch.count += 1
        }
    }
}

// MARK: Waiting

/// How a wait ended.
enum WaitOutcome {
    case batch(Batch)
    /// The time is up, or the gateway is shutting down.
    case nothing
    /// The client has left: nothing was read for it, or it was handed back.
    case clientGone
}

extension API {
    /// Parks until a look finds something, the time is up, or the client has gone.
    func wait(_ read: GroupRead, _ block: Block, _ request: Request, into body: ByteBuffer) async throws(Problem) -> WaitOutcome {
        let waiter = try longPoll.park(
            read.key, claims: read.claimMinIdle != nil, until: block.deadline(from: loop.now))
        defer { longPoll.leave(waiter) }
        request.onClientGone = { waiter.deliver(.gone) }
        if request.isClientGone() { return .clientGone }
        while true {
            switch await waiter.next() {
            case .look:
                if request.isClientGone() { return departed() }
                guard let batch = try await look(read, waiter, into: body) else { continue }
                guard request.isClientGone() else { return .batch(batch) }
                handBack(read, batch)
                return departed()
            case .gone: return departed()
            case .expired, .draining: return .nothing
            case .ended(let reason): throw Problem(reason, read.key)
            }
        }
    }

    private func departed() -> WaitOutcome {
        longPoll.counters.departed += 1
        return .clientGone
    }

    /// One look of a waiter, reported to its home; nil: wait on.
    private func look(_ read: GroupRead, _ waiter: Waiter, into body: ByteBuffer) async throws(Problem) -> Batch? {
        do {
            let batch = try await take(read, into: body)
            let result: WaitHome.Look.Result = batch.isEmpty ? .nothing : .found(full: batch.isFull)
            longPoll.report(
                waiter, WaitHome.Look(result: result, unownedDue: batch.unownedDue, claimDue: batch.claimDue))
            return batch.isEmpty ? nil : batch
        } catch {
            guard error.code == .noGroup || error.code == .wrongType else {
                // Redis is away: parked readers stay parked (API.md §4, rule 5).
                longPoll.report(waiter, WaitHome.Look(result: .failed))
                return nil
            }
            let problem = await explain(error, read.stream, read.group)
            longPoll.report(waiter, WaitHome.Look(result: problem.waitEnd.map { .ended($0) } ?? .failed))
            if problem.waitEnd == nil { return nil }
            throw problem
        }
    }

    /// The messages become unowned, and the next waiter gets them.
    func handBack(_ read: GroupRead, _ batch: Batch) {
        guard !read.noAck, read.position == .new else { return }
        longPoll.counters.handedBack += batch.count
        startWork(.handBack(read.stream, read.group, read.consumer, ids: batch.ids))
    }
}

extension Problem {
    init(_ reason: WaitEnd, _ key: WaitKey) {
        switch reason {
        case .streamGone: self = .streamNotFound(key.stream)
        case .groupGone: self = key.group.map { .groupNotFound($0, of: key.stream) } ?? .streamNotFound(key.stream)
        case .notAStream: self = .notAStream(key.stream)
        }
    }

    /// Whether this ends all waiting for the same group.
    fileprivate var waitEnd: WaitEnd? {
        switch code {
        case .streamNotFound: .streamGone
        case .groupNotFound: .groupGone
        case .notAStream: .notAStream
        default: nil
        }
    }
}
