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
    ///
    /// What Redis gives too late for a caller who is told nothing of it becomes unowned: see `Lateness`.
    func take(_ read: GroupRead, _ lateness: Lateness, into body: ByteBuffer) async throws(RedisError) -> Batch {
        let start = body.count
        var batch = Batch()
        let slice = firstSlice(read)
        if isPlain(read) {
            try await takeNew(read, slice, lateness, into: body, &batch)
            // Its queue at home may be a new one, which knows of no due time.
            if read.takesUnowned { batch.unownedDue = unowned.due(read.key) }
        } else {
            try await takeByScript(read, slice, from: "-", lateness, into: body, &batch)
        }
        await takeMore(read, lateness, into: body, from: start, &batch)
        // Whoever waits looks then: a message may be idle for long enough.
        if let due = recovery.index.due(read.key), due > loop.now, read.position == .new {
            batch.unownedDue = min(due, batch.unownedDue ?? due)
        }
        return batch
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

    /// The word of a nack may still be on its way to us. Who waits will be told; who found nothing and does not, asks
    /// once more.
    func mayBeUntold(_ read: GroupRead) -> Bool {
        read.takesUnowned && unowned.search(read.key, now: loop.now) == .nothing
    }

    func firstSlice(_ read: GroupRead) -> Int { min(read.count, limits.readSlice(sharedBy: read.sharers)) }

    /// Whether the look goes on after its first slice; the reply's messages begin at `start` of `body`.
    func wantsMore(_ read: GroupRead, _ body: ByteBuffer, from start: Int, _ batch: Batch) -> Bool {
        batch.isFull && batch.count < read.count && body.count - start < limits.replyBytes / read.sharers
    }

    /// The slices after the first.
    func takeMore(
        _ read: GroupRead, _ lateness: Lateness, into body: ByteBuffer, from start: Int, _ batch: inout Batch
    ) async {
        while wantsMore(read, body, from: start, batch) {
            let weight = max((body.count - start) / batch.count, 1)
            let slice = min(read.count - batch.count, max(1, min(1000, API.sliceBytes / weight)))
            let before = batch
            do {
                if let cursor = batch.cursor {
                    try await takeByScript(read, min(slice, limits.readSlice), from: cursor, lateness, into: body, &batch)
                } else {
                    try await takeNew(read, slice, lateness, into: body, &batch)
                }
            } catch {
                batch = before  // What we have is answered; the next read meets the failure itself.
                batch.isFull = false
            }
        }
    }

    private func takeNew(
        _ read: GroupRead, _ count: Int, _ lateness: Lateness, into body: ByteBuffer, _ batch: inout Batch
    ) async throws(RedisError) {
        let reply = try await store.send(
            plainCommand(read, count), patience: lateness.patience,
            late: lateness.handsBack ? { [self] reply in handBack(read, late: .read(reply)) } : nil)
        absorb(reply, read, count, into: body, &batch)
    }

    func plainCommand(_ read: GroupRead, _ count: Int) -> RedisCommand {
        .xreadgroup(
            group: read.group.bytes, consumer: read.consumer.bytes, [(read.stream.bytes, read.position)], count: count,
            noAck: read.noAck)
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
                unowned.foundNone(read.key, due: batch.unownedDue, generation: generation)
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
        while entries.remaining > 0 {
            if batch.count > 0 { body.append(UInt8(ascii: ",")) }
            writer.write(&entries, details)
            batch.count += 1
        }
    }

    private func writeTaken(
        _ rows: inout RedisCursor, _ read: GroupRead, _ claim: IdleClaim, into body: ByteBuffer, _ batch: inout Batch
    ) {
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
            if claim.isByPolicy, details.consumer.map({ !$0.isSame(as: "unowned") }) ?? false { recovery.counters.recovered += 1 }
        }
    }
}

// MARK: Waiting

extension API {
    /// One look of a parked call, reported to its waiter's home.
    func look(_ id: WaiterID) async {
        let owner = longPoll.waiter(id)?.owner
        if let part = owner as? ManyCall.Part { return await look(part) }
        guard let call = owner as? ParkedCall, call.mayLook() else { return }
        let body = openReply()
        switch call.read {
        case .group(let read): await look(call, read, into: body)
        case .tail(let read): await look(call, read, into: body)
        }
    }

    private func look(_ call: ParkedCall, _ read: GroupRead, into body: ByteBuffer) async {
        let batch: Batch
        do {
            batch = try await take(read, .ofParked, into: body)
        } catch {
            loop.buffers.give(body)
            return await failed(call, read, error)
        }
        let result: WaitHome.Look.Result = batch.isEmpty ? .nothing : .found(full: batch.isFull)
        let look = WaitHome.Look(result: result, unownedDue: batch.unownedDue, claimDue: batch.claimDue)
        guard !batch.isEmpty else {
            loop.buffers.give(body)
            call.lookedInVain()
            return longPoll.report(call.waiter, look)
        }
        // Its home goes on with the next waiter, whatever this one still asks for.
        longPoll.report(call.waiter, look)
        let stats = read.wantsStats ? await stats(read.stream, read.group) : nil
        if call.found(body, stats, onLost: read.noAck ? nil : { [self] in handBack(read, batch) }) { return }
        loop.buffers.give(body)
        handBack(read, batch)
    }

    private func failed(_ call: ParkedCall, _ read: GroupRead, _ error: RedisError) async {
        guard error.code == .noGroup || error.code == .wrongType else {
            // Redis is away: parked readers stay parked (API.md §4, rule 5). Where the connection broke in the middle of
            // the look, what Redis gave nevertheless stays with the consumer until it is claimed. It can't be handed
            // back exactly: another client may read under the same name, here or at another gateway, and nothing in
            // the pending list tells what it was given from what was lost. Only a note written by Redis itself
            // with each look could, a second write for every message, to shorten the rare wait for a lease.
            call.lookedInVain()
            return longPoll.report(call.waiter, WaitHome.Look(result: .failed))
        }
        let problem = await explain(error, read.stream, read.group)
        guard let end = problem.waitEnd else {
            call.lookedInVain()
            return longPoll.report(call.waiter, WaitHome.Look(result: .failed))
        }
        longPoll.report(call.waiter, WaitHome.Look(result: .ended(end)))
        call.failed(problem)
    }

    private func look(_ call: ParkedCall, _ tail: TailRead, into body: ByteBuffer) async {
        var tail = tail
        var result = WaitHome.Look.Result.failed
        do {
            result = try await look(&tail, into: body) == 0 ? .nothing : .found(full: false)
        } catch where error.code == .wrongType {
            result = .nothing  // The key became another type for now: the tail goes on waiting.
        } catch {
            // Redis is away; the tail stays parked.
        }
        if case .found = result {
            longPoll.report(call.waiter, WaitHome.Look(result: result))
            call.read = .tail(tail)
            if !call.found(body, onLost: nil) { loop.buffers.give(body) }
        } else {
            loop.buffers.give(body)
            call.lookedInVain()
            longPoll.report(call.waiter, WaitHome.Look(result: result))
        }
    }

    /// A parked call whose time is up, and which wants the group's numbers with its empty answer.
    func answerEmpty(_ id: WaiterID) async {
        guard let call = longPoll.waiter(id)?.owner as? ParkedCall, case .group(let read) = call.read else { return }
        call.answerEmpty(await stats(read.stream, read.group))
    }

    /// The messages become unowned, and the next waiter gets them.
    func handBack(_ read: GroupRead, _ batch: Batch) {
        guard !batch.isEmpty, !read.noAck, read.position == .new else { return }
        longPoll.counters.handedBack += batch.count
        startWork(.handBack(read.stream, read.group, read.consumer, ids: batch.ids))
    }

    func handBack(_ read: GroupRead, late slice: Batch.Slice) {
        var batch = Batch()
        batch.slices = [slice]
        batch.count = batch.ids.count
        handBack(read, batch)
    }

    // MARK: Replies

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
        if let block { response.addHeader("Sluice-Block-Ms", String(block.milliseconds)) }
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
