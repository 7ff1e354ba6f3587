// One look: what a consumer's read takes from Redis, and how it waits for more.
//
// The usual look is one plain XREADGROUP. Only where unowned messages may be due, or idle ones are asked
// for, it is a script. Large counts are read in slices, so that one reader's big reply does not stall
// everybody behind it on the connection.

import HTTP
import Net
import Redis

extension API {
    /// Takes messages and appends them to `body`, separated by commas: `read.count`, or as many as are answered whole
    /// (then `wantsMore`, and a `ReadStream` goes on).
    ///
    /// What Redis gives too late for a caller who is told nothing of it becomes unowned: see `Lateness`.
    func take(_ read: GroupRead, _ lateness: Lateness, into body: ByteBuffer) async throws(RedisError) -> Batch {
        var batch = Batch()
        let slice = firstSlice(read)
        if isPlain(read) {
            try await takeNew(read, slice, lateness, into: body, &batch)
            noteUnowned(read, &batch)
        } else {
            try await takeByScript(read, slice, from: "-", lateness, into: body, &batch)
        }
        await takeMore(read, lateness, into: body, &batch)
        noteIdle(read, &batch)
        return batch
    }

    /// What a plain look does not tell. Its queue at home may be a new one, which knows of no due time.
    func noteUnowned(_ read: GroupRead, _ batch: inout Batch) {
        if read.takesUnowned { batch.unownedDue = unowned.due(read.key) }
    }

    /// Whoever waits looks then: a message may be idle for long enough.
    func noteIdle(_ read: GroupRead, _ batch: inout Batch) {
        guard read.position == .new, let due = recovery.index.due(read.key) else { return }
        // What came to be idle for long enough while the look was under way is for the next one, if that claims by the policy.
        if due > loop.now || !read.noAck && read.claimMinIdle == nil {
            batch.unownedDue = min(due, batch.unownedDue ?? due)
        }
    }

    /// What a look claims of messages that others have left idle.
    private struct IdleClaim {
        /// Nil: nothing.
        var minIdle: Duration?
        /// Nobody asked for it by name.
        var isByPolicy = false
    }

    private func claim(of read: GroupRead) -> IdleClaim {
        guard read.position == .new, let policy = recovery.index.policy(read.key) else { return IdleClaim(minIdle: read.claimMinIdle) }
        if let wish = read.claimMinIdle { return IdleClaim(minIdle: min(wish, policy.maxIdle)) }
        guard !read.noAck, recovery.index.mayHaveIdle(read.key, now: loop.now) else { return IdleClaim() }
        return IdleClaim(minIdle: policy.maxIdle, isByPolicy: true)
    }

    /// Whether one XREADGROUP does: nothing is to be claimed, and no unowned message is due.
    func isPlain(_ read: GroupRead) -> Bool {
        claim(of: read).minIdle == nil && !(read.takesUnowned && unowned.mayHave(read.key, now: loop.now))
    }

    /// The word of a nack may have been on its way to us still when the look was sent. Who waits will be told; who found
    /// nothing and does not, asks once more.
    func mayBeUntold(_ read: GroupRead, _ batch: Batch) -> Bool { read.takesUnowned && !batch.hasSought }

    func firstSlice(_ read: GroupRead) -> Int { min(read.count, limits.readSlice(sharedBy: read.sharers)) }

    /// Whether the look goes on after what it has taken.
    func wantsMore(_ read: GroupRead, _ batch: Batch) -> Bool {
        batch.isFull && batch.count < read.count && batch.bytes < limits.replyBytes / read.sharers
    }

    /// A look is over: it may have ended because of its bytes.
    func noteCut(_ read: GroupRead, _ batch: Batch) {
        if batch.isFull, batch.count < read.count, batch.bytes >= limits.replyBytes / read.sharers { metrics.values.readsCut += 1 }
    }

    /// The slices after the first, as long as the reply is one that goes out whole.
    func takeMore(_ read: GroupRead, _ lateness: Lateness, into body: ByteBuffer, _ batch: inout Batch) async {
        while batch.bytes < limits.wholeReply, wantsMore(read, batch) { await takeSlice(read, lateness, into: body, &batch) }
    }

    /// One further slice. One that fails is the last: what we have is answered, and the next read meets the failure
    /// itself. Nobody is told of what it took, so whatever Redis gives too late becomes unowned.
    func takeSlice(_ read: GroupRead, _ lateness: Lateness, into body: ByteBuffer, _ batch: inout Batch) async {
        var lateness = lateness
        lateness.handsBack = true
        let count = API.sliceCount(
            left: read.count - batch.count, taken: batch.count, bytes: batch.bytes, first: limits.readSlice)
        do {
            if let cursor = batch.cursor {
                try await takeByScript(read, min(count, limits.readSlice), from: cursor, lateness, into: body, &batch)
            } else {
                try await takeNew(read, count, lateness, into: body, &batch)
            }
        } catch {
            batch.isFull = false
        }
    }

    private func takeNew(
        _ read: GroupRead, _ count: Int, _ lateness: Lateness, into body: ByteBuffer, _ batch: inout Batch
    ) async throws(RedisError) {
        let reply = try await store.send(
            plainCommand(read, count, after: batch.last), patience: lateness.patience,
            late: lateness.handsBack ? { [self] reply in handBack(read, late: .read(reply)) } : nil)
        absorb(reply, read, count, into: body, &batch)
    }

    /// `last`: how far the look has come in the consumer's own history.
    func plainCommand(_ read: GroupRead, _ count: Int, after last: StreamID? = nil) -> RedisCommand {
        .xreadgroup(
            group: read.group.bytes, consumer: read.consumer.bytes,
            [(read.stream.bytes, last.map { .pending(after: $0) } ?? read.position)], count: count, noAck: read.noAck)
    }

    /// What a plain look for `count` messages has brought.
    func absorb(_ reply: RedisReply, _ read: GroupRead, _ count: Int, into body: ByteBuffer, _ batch: inout Batch) {
        guard var entries = reply.entriesOfOnlyStream, entries.remaining > 0 else { return batch.isFull = false }
        batch.isFull = entries.remaining >= count
        batch.slices.append(.read(reply))
        writeFresh(&entries, read, into: body, &batch)
    }

    /// Several calls where there are more unowned messages than one looks at. Messages that came by then are answered
    /// even if a later call fails.
    private func takeByScript(
        _ read: GroupRead, _ count: Int, from cursor: String, _ lateness: Lateness, into body: ByteBuffer, _ batch: inout Batch
    ) async throws(RedisError) {
        let claim = claim(of: read)
        let (generation, before) = (unowned.generation(read.key), batch.count)
        var search = read.takesUnowned ? unowned.search(read.key, now: loop.now) : .nothing
        var rest = "-"
        batch.hasSought = search != .nothing
        if search == .nothing, read.takesUnowned { batch.unownedDue = unowned.due(read.key) }
        repeat {
            let left = count - (batch.count - before)
            let call = TakeScript.call(
                read.stream, read.group, read.consumer, count: left, unowned: search, minIdle: claim.minIdle,
                noack: read.noAck, cursor: cursor, rest: rest, isClaimByPolicy: claim.isByPolicy)
            let reply: RedisReply
            do {
                reply = try await store.evaluate(
                    TakeScript.script, call, patience: lateness.patience,
                    late: lateness.handsBack ? { [self] reply in handBack(read, late: .taken(reply)) } : nil)
            } catch {
                if batch.count == before { throw error }
                batch.isUncertain = error.isOutcomeUnknown
                return batch.isFull = false
            }
            guard let parts = reply.takenParts else { return }
            var (taken, fresh) = (parts.taken, parts.fresh)
            let hasTakenAll = taken.remaining < left && parts.rest.isEmpty  // No unowned one that is due is left.
            if taken.remaining + fresh.remaining > 0 { batch.slices.append(.taken(reply)) }
            batch.isFull = taken.remaining + fresh.remaining >= left
            batch.cursor = parts.cursor.isEmpty ? nil : parts.cursor
            writeTaken(&taken, read, claim, into: body, &batch)
            writeFresh(&fresh, read, into: body, &batch)
            if parts.due >= 0 {
                let due = loop.now + .milliseconds(parts.due)
                batch.unownedDue = min(due, batch.unownedDue ?? due)
            }
            if search != .nothing && hasTakenAll {
                unowned.foundNone(read.key, due: batch.unownedDue, generation: generation, now: loop.now)
            }
            if read.claimMinIdle != nil { batch.claimDue = nextClaim(batch, parts.idle) }
            if claim.isByPolicy && parts.cursor.isEmpty && parts.rest.isEmpty {
                recovery.index.looked(read.key, left: parts.idle < 0 ? nil : .milliseconds(parts.idle), now: loop.now)
            }
            rest = parts.rest
            if !rest.isEmpty { search = .everything }
        } while !rest.isEmpty
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
        let start = body.count
        defer { batch.bytes += body.count - start }
        while entries.remaining > 0 {
            if entries.remaining == 1, read.position != .new { batch.last = entries.peekID() }
            read.begin(batch.count, entries, body)
            writer.write(&entries, details)
            if read.asEvents { body.append(literal: "\n\n") }
            batch.count += 1
        }
    }

    private func writeTaken(
        _ rows: inout RedisCursor, _ read: GroupRead, _ claim: IdleClaim, into body: ByteBuffer, _ batch: inout Batch
    ) {
        let writer = MessageWriter(body: body, asPairs: read.asPairs)
        let start = body.count
        defer { batch.bytes += body.count - start }
        while var row = rows.takeArray() {
            read.begin(batch.count, row, body)
            let id = row.takeBytes()
            var fields = row
            row.skip()
            let details = DeliveryDetails(
                deliveryCount: row.takeInteger() ?? 1, idle: row.takeInteger(), consumer: row.takeBytes())
            writer.write(id: id, fields: &fields, details)
            if read.asEvents { body.append(literal: "\n\n") }
            batch.count += 1
            if claim.isByPolicy, details.consumer.map({ !$0.isSame(as: "unowned") }) ?? false { recovery.counters.recovered += 1 }
        }
    }
}

extension GroupRead {
    /// What stands before a message, of which there are `count` in the body; its ID comes next in `row`.
    fileprivate func begin(_ count: Int, _ row: RedisCursor, _ body: ByteBuffer) {
        if asEvents {
            var row = row
            if row.kind == .array { _ = row.enterArray() }
            if let id = row.takeBytes() { body.beginEvent(id) }
        } else if count > 0 {
            body.append(UInt8(ascii: ","))
        }
    }
}

// MARK: Replies

extension API {
    /// The beginning of a reply with messages.
    func openReply() -> ByteBuffer {
        let body = newBody()
        body.append(literal: "{\"messages\":[")
        return body
    }

    /// Ends the reply that `openReply` began.
    func answer(to read: ParkedRead, _ body: ByteBuffer, _ block: Block?, _ stats: ByteBuffer? = nil) -> Response {
        endMessages(of: read, stats, to: body)
        var response = json(body)
        response.tell(block)
        return response
    }

    /// Ends the list of messages, and the object that it is in.
    func endMessages(of read: ParkedRead, _ stats: ByteBuffer?, to body: ByteBuffer) {
        body.append(UInt8(ascii: "]"))
        if case .tail(let tail) = read {
            body.append(literal: ",\"last_id\":\"")
            body.append("\(tail.after)")
            body.append(UInt8(ascii: "\""))
        }
        if let stats {
            body.append(stats.bytes)
            loop.buffers.give(stats)
        } else if read.wantsStats {
            body.append(literal: API.unknownStats)
        }
        body.append(UInt8(ascii: "}"))
    }
}

extension Response {
    /// How long the call may have waited, after the server's own limit was applied.
    mutating func tell(_ block: Block?) {
        if let block { addHeader("Sluice-Block-Ms", String(block.milliseconds)) }
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
    var waitEnd: WaitEnd? {
        switch code {
        case .streamNotFound: .streamGone
        case .groupNotFound: .groupGone
        case .notAStream: .notAStream
        default: nil
        }
    }
}
