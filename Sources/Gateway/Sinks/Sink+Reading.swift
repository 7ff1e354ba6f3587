// How a sink reads: by credit, what nobody holds first, then what is new; and parked like any other reader while
// there is nothing, at no cost to Redis.

import Logging
import Net
import Redis

extension Sink {
    /// A stream's reader, as long as the sink runs.
    func read(_ stream: SinkStream) async {
        await openGroup(stream)
        while !state.isStopped {
            guard !stream.isResting else {
                handle(.resting(stream.index))
                await stream.bell.wait()
                continue
            }
            if definition.isOrdered, stream.mustTakeLease || !state.leads(stream.index, at: host.loop.now) {
                await standBy(stream)
                continue
            }
            let count = state.reserve(stream.index, at: moment)
            guard count > 0 else {
                await stream.bell.wait()
                continue
            }
            switch await look(stream, count).result {
            case .found:
                stream.failures = 0
                stream.problem = nil
            case .nothing:
                stream.problem = nil
                await park(stream)
            case .failed: await pause(stream)
            case .ended: await reopen(stream)
            }
        }
    }

    /// Waits for a message, and reads it when the wait's home says so.
    private func park(_ stream: SinkStream) async {
        guard !state.isStopped, !stream.isResting else { return }
        let waiter = host.longPoll.park(stream.key, until: stream.takeoverDue)
        stream.failures = 0
        stream.waiter = waiter
        defer { stream.waiter = nil }
        while true {
            switch await waiter.next() {
            case .look:
                if definition.isOrdered, stream.mustTakeLease { return host.longPoll.leave(waiter) }
                let count = state.reserve(stream.index, at: moment)
                guard count > 0 else { return host.longPoll.leave(waiter) }  // Read again when a slot is free.
                let found = await look(stream, count)
                host.longPoll.report(waiter, found)
                switch found.result {
                case .found: return
                case .nothing, .failed: continue
                case .ended: return await reopen(stream)
                }
            case .ended:
                host.longPoll.leave(waiter)  // Somebody else has found it out.
                return await reopen(stream)
            case .expired, .gone: return host.longPoll.leave(waiter)
            case .draining:
                host.longPoll.leave(waiter)
                // The gateway sends all waiters away before it stops its sinks.
                if !state.isStopped { await stream.bell.wait(until: host.loop.now + .seconds(1)) }
                return
            }
        }
    }

    /// The group is gone. A write may have found that out before us.
    private func reopen(_ stream: SinkStream) async {
        if stream.isOpening {
            await stream.bell.wait(until: host.loop.now + SinkLimits.readPause.least)
        } else {
            await openGroup(stream)
        }
    }

    func pause(_ stream: SinkStream) async {
        stream.failures += 1
        let pause = SinkLimits.readPause.least * (1 << min(stream.failures - 1, 10))
        await stream.bell.wait(until: host.loop.now + state.backoff.jittered(min(pause, SinkLimits.readPause.most)))
    }

    // MARK: A look

    /// Reads up to `count` messages, for which slots are reserved.
    private func look(_ stream: SinkStream, _ count: Int) async -> WaitHome.Look {
        if definition.isOrdered { return await lookInOrder(stream, count) }
        var arrivals: [SinkArrival] = []
        // Its queue at home may be a new one, which knows of no due time.
        var look = WaitHome.Look(result: .nothing, unownedDue: host.unowned.unownedDue(stream.key))
        do throws(RedisError) {
            if stream.takeoverDue <= host.loop.now { try await takeOver(stream, count, &arrivals) }
            if arrivals.count < count, host.unowned.mayHaveUnowned(stream.key) {
                try await takeUnowned(stream, count - arrivals.count, &arrivals, &look)
            }
            if arrivals.count < count { try await readNew(stream, count - arrivals.count, &arrivals) }
            if !arrivals.isEmpty { look.result = .found(full: arrivals.count == count) }
        } catch {
            look.result = failure(error, stream)
            if !arrivals.isEmpty { look.result = .found(full: true) }  // More may be there.
        }
        handle(.read(stream.index, arrivals))
        return look
    }

    func failure(_ error: RedisError, _ stream: SinkStream) -> WaitHome.Look.Result {
        if error.code == .noGroup { return .ended(.groupGone) }
        log.warning("cannot read", metadata: stream.metadata(["error": "\(error)"]))
        stream.problem = "the group can't be read: \(error)"
        journal.tell()
        return .failed
    }

    private func readNew(_ stream: SinkStream, _ count: Int, _ arrivals: inout [SinkArrival]) async throws(RedisError) {
        let command = RedisCommand.xreadgroup(
            group: stream.group.bytes, consumer: consumer.bytes, [(stream.name.bytes, .new)], count: count)
        let reply = try await host.store.send(command) { [weak self] reply in
            if let self { cameLate(newArrivals(reply, stream), stream) }
        }
        arrivals += newArrivals(reply, stream)
    }

    private func newArrivals(_ reply: RedisReply, _ stream: SinkStream) -> [SinkArrival] {
        var arrivals: [SinkArrival] = []
        var streams = reply.elements
        guard streams.enterArray() == 2 else { return [] }
        streams.skip()
        guard var entries = streams.takeArray() else { return [] }
        while var entry = entries.takeArray() {
            guard let id = entry.takeBytes().flatMap({ StreamID($0) }) else { continue }
            arrivals.append(arrival(id, &entry, count: 1, wasTakenOver: false, stream))
        }
        return arrivals
    }

    /// Redis has executed a read that was given up already: what it gave is ours, and nobody else would have it
    /// before the lease is over.
    private func cameLate(_ arrivals: [SinkArrival], _ stream: SinkStream) {
        guard !arrivals.isEmpty else { return }
        log.notice("messages came late", metadata: stream.metadata(["count": "\(arrivals.count)"]))
        handle(.late(stream.index, arrivals))
    }

    func arrival(
        _ id: StreamID, _ fields: inout RedisCursor, count: Int, wasTakenOver: Bool, _ stream: SinkStream
    ) -> SinkArrival {
        let scratch = host.loop.buffers.take()
        defer { host.loop.buffers.give(scratch) }
        let message = stream.wire.message(id, fields: &fields, scratch: scratch)
        return SinkArrival(message: message, deliveryCount: count, wasTakenOver: wasTakenOver)
    }

    // MARK: What others have left

    private func takeUnowned(
        _ stream: SinkStream, _ count: Int, _ arrivals: inout [SinkArrival], _ look: inout WaitHome.Look
    ) async throws(RedisError) {
        let generation = host.unowned.unownedGeneration(stream.key)
        var cursor: [UInt8] = []
        var due: Duration?
        repeat {
            let left = count - arrivals.count
            let next = try await take(stream, left, lease: nil, after: cursor, &arrivals)
            cursor = next.cursor
            due = [due, next.due].compactMap { $0 }.min()
        } while !cursor.isEmpty && arrivals.count < count
        guard cursor.isEmpty, arrivals.isEmpty else { return }
        let instant = due.map { host.loop.now + $0 }
        look.unownedDue = instant
        host.unowned.foundNoUnowned(stream.key, due: instant, generation: generation)
    }

    /// Messages that others have left idle for the lease: a dead process', and those that a broken connection has
    /// stranded under our own name. What we do hold is kept alive first, or we would take it from ourselves.
    private func takeOver(_ stream: SinkStream, _ count: Int, _ arrivals: inout [SinkArrival]) async throws(RedisError) {
        guard await keepAlive(stream) else { return }
        repeat {
            let left = count - arrivals.count
            let next = try await take(stream, left, lease: definition.lease, after: stream.takeoverCursor, &arrivals)
            stream.takeoverCursor = next.cursor
            stream.nextDue = [stream.nextDue, next.due.map { host.loop.now + $0 }].compactMap(\.self).min()
            if next.cursor.isEmpty {
                let pause = host.loop.now + state.backoff.jittered(definition.lease / 4)
                stream.takeoverDue = min(pause, stream.nextDue ?? pause)
                stream.nextDue = nil
            }
        } while !stream.takeoverCursor.isEmpty && arrivals.count < count
        if stream.reapDue <= host.loop.now { await reap(stream) }
    }

    private func take(
        _ stream: SinkStream, _ count: Int, lease: Duration?, after cursor: [UInt8], _ arrivals: inout [SinkArrival]
    ) async throws(RedisError) -> (cursor: [UInt8], due: Duration?) {
        let call = SinkTakeScript.call(
            stream.name, stream.group, consumer, dead: stream.dead, count: count, lease: lease, after: cursor)
        let reply = try await host.store.evaluate(SinkTakeScript.script, call) { [weak self] reply in
            if let self { cameLate(taken(reply, stream).arrivals, stream) }
        }
        let part = taken(reply, stream)
        arrivals += part.arrivals
        return (part.cursor, part.due)
    }

    private func taken(_ reply: RedisReply, _ stream: SinkStream) -> (arrivals: [SinkArrival], cursor: [UInt8], due: Duration?) {
        var arrivals: [SinkArrival] = []
        var parts = reply.elements
        guard var taken = parts.takeArray(), let trimmed = parts.takeArray(), let next = parts.takeBytes(),
            let due = parts.takeInteger()
        else { return ([], [], nil) }
        while var row = taken.takeArray() {
            guard let id = row.takeBytes().flatMap({ StreamID($0) }) else { continue }
            var fields = row
            row.skip()
            let count = Int(row.takeInteger() ?? 1)
            arrivals.append(arrival(id, &fields, count: count, wasTakenOver: true, stream))
        }
        if trimmed.remaining > 0 { foundTrimmed(stream, trimmed.remaining) }
        tell(refusal: parts.takeText(), stream)
        return (arrivals, Array(next), due < 0 ? nil : .milliseconds(due))
    }

    /// Redis has refused the dead letter of a message that was trimmed: that stays pending, and is tried again.
    func tell(refusal: String?, _ stream: SinkStream) {
        guard let refusal, !refusal.isEmpty else { return }
        log.warning("a message that was trimmed while it was pending can't become a dead letter yet", metadata: stream.metadata(["error": "\(refusal)"]))
    }

    func foundTrimmed(_ stream: SinkStream, _ count: Int) {
        state.foundTrimmed(stream.index, count: count)
        log.warning("messages were trimmed while they were pending", metadata: stream.metadata(["count": "\(count)"]))
    }

    func reap(_ stream: SinkStream) async {
        stream.reapDue = host.loop.now + state.backoff.jittered(SinkLimits.reapInterval)
        let call = SinkReapScript.call(
            stream.name, stream.group, prefix: consumerPrefix, own: consumer, idle: SinkLimits.reapIdle)
        do throws(RedisError) {
            let count = try await host.store.evaluate(SinkReapScript.script, call).integer ?? 0
            if count > 0 { log.info("removed consumers of earlier processes", metadata: stream.metadata(["count": "\(count)"])) }
        } catch {
            log.debug("cannot remove old consumers", metadata: stream.metadata(["error": "\(error)"]))
        }
    }
}

extension SinkStream {
    func metadata(_ more: Logger.Metadata = [:]) -> Logger.Metadata {
        more.merging(["stream": "\(text)"]) { a, _ in a }
    }
}
