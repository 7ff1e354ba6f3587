// What a sink tells Redis, and what it sends: each piece of work ends in one event, whatever became of it.

import Logging
import Net
import Redis
import Webhook

extension Sink {
    // MARK: An attempt

    func attempt(_ key: SinkState.Key, _ message: SinkMessage, deliveryCount: Int) {
        let wire = streams[key.stream].wire
        let until = leaseEnd(key.stream)
        guard let authorization else {
            let request = addressed(wire.request(message, deliveryCount: deliveryCount, wallTime: state.moment.wall), until)
            return host.outbound.send(request) { [weak self] result in self?.ended(key, deliveryCount, result) }
        }
        authorization.post { [weak self] credential in
            // It was waited for: the message may have been handed back meanwhile.
            guard let self, state.held[key]?.phase == .inFlight, mayBegin(key.stream, until) else { return nil }
            let wall = host.loop.clock.wallTime
            return addressed(wire.request(message, deliveryCount: deliveryCount, wallTime: wall, authorization: credential), until)
        } done: { [weak self] result in
            self?.ended(key, deliveryCount, result)
        }
    }

    /// It waits for its turn among other sinks' requests. That of an ordered sink must end before the lease does that the
    /// stream had when the attempt was decided on, wherever it waits.
    private func addressed(_ request: WebhookRequest, _ until: EventLoop.Instant?) -> WebhookRequest {
        var request = request
        request.sender = UInt(bitPattern: ObjectIdentifier(self))
        if let until { request.notAfter = until }
        return request
    }

    /// Nil: the sink has no order.
    private func leaseEnd(_ stream: Int) -> EventLoop.Instant? {
        definition.isOrdered ? state.streams[stream].lease?.until : nil
    }

    private func mayBegin(_ stream: Int, _ until: EventLoop.Instant?) -> Bool {
        guard let until else { return !definition.isOrdered }
        return host.loop.now < until && state.leads(stream, at: host.loop.now)
    }

    private func ended(_ key: SinkState.Key, _ attempt: Int, _ result: WebhookResult) {
        let wall = host.loop.clock.wallTime
        let outcome = SinkOutcome(result.outcome, definition, wallTime: wall)
        journal.ended(key, attempt, result, outcome, wall: wall)
        durations.count(result.duration)
        tell(outcome, streams[key.stream], key, attempt)
        attemptEnded(key, outcome)
    }

    func attempt(_ stream: SinkStream, _ parcels: [SinkState.Parcel]) {
        let wire = stream.wire
        let until = leaseEnd(stream.index)
        guard let authorization else {
            let request = addressed(wire.request(parcels, wallTime: state.moment.wall), until)
            return host.outbound.send(request) { [weak self] result in self?.ended(stream, parcels, result) }
        }
        authorization.post { [weak self] credential in
            guard let self, parcels.contains(where: { state.held[$0.key]?.phase == .inFlight }), mayBegin(stream.index, until) else { return nil }
            return addressed(wire.request(parcels, wallTime: host.loop.clock.wallTime, authorization: credential), until)
        } done: { [weak self] result in
            self?.ended(stream, parcels, result)
        }
    }

    private func ended(_ stream: SinkStream, _ parcels: [SinkState.Parcel], _ result: WebhookResult) {
        let wall = host.loop.clock.wallTime
        let (outcomes, isWhole) = SinkOutcome.ofBatch(
            parcels.map { $0.message.eventID ?? $0.key.id.description }, result.outcome, definition, wallTime: wall)
        durations.count(result.duration)
        for (parcel, outcome) in zip(parcels, outcomes) {
            journal.ended(parcel.key, parcel.deliveryCount, result, outcome, wall: wall)
            tell(outcome, stream, parcel.key, parcel.deliveryCount)
        }
        batchEnded(.init(stream: stream.index, outcomes: zip(parcels, outcomes).map { ($0.key, $1) }, isWhole: isWhole))
    }

    private func tell(_ outcome: SinkOutcome, _ stream: SinkStream, _ key: SinkState.Key, _ attempt: Int) {
        if outcome.isTaken {
            return log.debug("delivered", metadata: stream.metadata(["id": "\(key.id)", "attempt": "\(attempt)"]))
        }
        log.warning(
            "attempt failed",
            metadata: stream.metadata(["id": "\(key.id)", "attempt": "\(attempt)", "error": "\(outcome.error)"]))
    }

    // MARK: Writes

    func perform(_ write: SinkState.Write, _ entries: [SinkState.Entry], _ stream: SinkStream) async {
        let number = state.streams[stream.index].lease?.number
        do throws(RedisError) {
            let results = try await results(write, entries, stream, under: number)
            handle(.wrote(stream.index, write, zip(entries, results).map { ($0.message.id, $1) }, under: number))
        } catch {
            log.warning("cannot write", metadata: stream.metadata(["what": "\(write)", "error": "\(error)"]))
            handle(.writeFailed(stream.index, write, entries.map(\.message.id)))
            // Nobody else may be able to: a reader without credit does not find out.
            if error.code == .noGroup { await openGroup(stream) }
        }
    }

    private func results(
        _ write: SinkState.Write, _ entries: [SinkState.Entry], _ stream: SinkStream, under number: Int?
    ) async throws(RedisError) -> [SinkState.Written] {
        switch write {
        case .acknowledge:
            try await acknowledge(entries, stream)
            return entries.map { _ in .done }
        case .schedule, .begin: return try await schedule(entries, to: consumer, stream, under: number)
        case .release: return try await schedule(entries, to: .unowned, stream, under: number)
        case .bury: return try await bury(entries, stream)
        }
    }

    /// XACK may be repeated without harm, so what became of an unanswered one does not matter.
    private func acknowledge(_ entries: [SinkState.Entry], _ stream: SinkStream) async throws(RedisError) {
        var forget = RedisCommand("ZREM", effect: .write)
        forget.appendKey(GatewayKeys.due(stream.name, stream.group))
        for entry in entries { forget.append(id: entry.message.id) }
        let ids = entries.map(\.message.id)
        var commands = [forget]
        if definition.onSuccess == .ack {
            commands.insert(.xack(stream.name.bytes, group: stream.group.bytes, ids), at: 0)
        } else {
            try await delete(ids, stream)
        }
        for result in try await host.store.send(commands, tracked: false) { _ = try result.get() }
    }

    /// Acknowledges and deletes, in one step. Of a message that is not pending any more, by an earlier execution without
    /// an answer or by somebody else's doing, nothing is left to do.
    private func delete(_ ids: [StreamID], _ stream: SinkStream) async throws(RedisError) {
        let references: StreamReferencePolicy = definition.onSuccess == .delete ? .keep : .acknowledged
        let isNative = host.store.features?.commands.contains("XDELEX") == true
        var done = 0
        while done < ids.count {
            let call = DeleteScript.call(stream.name, ids[done...], references, acknowledging: stream.group, isNative: isNative)
            do throws(RedisError) {
                var parts = try await host.store.evaluate(DeleteScript.script, call).elements
                parts.skip()
                guard let statuses = parts.takeArray(), statuses.remaining > 0 else {
                    throw .outcomeUnknown(.write, .protocolError("no statuses"))
                }
                done += statuses.remaining
            } catch {
                // XACK says nothing of a stream that is gone, and neither is there anything to delete.
                if error.isNoSuchKey { return }
                throw error
            }
        }
    }

    private func schedule(
        _ entries: [SinkState.Entry], to heir: ConsumerName, _ stream: SinkStream, under number: Int?
    ) async throws(RedisError) -> [SinkState.Written] {
        let lease = definition.isOrdered ? SinkScheduleScript.Lease(number: number) : nil
        let call = SinkScheduleScript.call(stream.name, stream.group, from: consumer, to: heir, under: lease, entries)
        return written(try await host.store.evaluate(SinkScheduleScript.script, call))
    }

    private func written(_ reply: RedisReply) -> [SinkState.Written] {
        var results: [SinkState.Written] = []
        var elements = reply.elements
        while !elements.isAtEnd { results.append(SinkState.Written(rawValue: Int(elements.takeInteger() ?? 0)) ?? .lost) }
        return results
    }

    private func bury(_ entries: [SinkState.Entry], _ stream: SinkStream) async throws(RedisError) -> [SinkState.Written] {
        guard let dead = stream.dead else { preconditionFailure("Without a dead-letter stream nothing is buried.") }
        var results: [SinkState.Written] = []
        for entry in entries {
            let call = DeadLetterScript.call(stream.name, stream.group, from: consumer, to: dead, entry)
            let done = try await host.store.evaluate(DeadLetterScript.script, call).integer == 1
            results.append(done ? .done : .lost)
            log.warning(
                done ? "dead letter" : "no dead letter: the message is no longer ours",
                metadata: stream.metadata([
                    "id": "\(entry.message.id)", "attempt": "\(entry.deliveries)", "reason": "\(entry.reason?.rawValue ?? "")",
                    "error": "\(entry.lastError)",
                ]))
        }
        return results
    }

    // MARK: Ownership

    /// False when Redis could not be told.
    func keepAlive(_ stream: SinkStream) async -> Bool {
        let ids = state.keepAliveIDs(stream.index)
        for start in stride(from: 0, to: ids.count, by: SinkLimits.keepAliveSlice) {
            let slice = ids[start..<min(start + SinkLimits.keepAliveSlice, ids.count)]
            let call = SinkKeepAliveScript.call(stream.name, stream.group, consumer, slice)
            do throws(RedisError) {
                let results = zip(slice, written(try await host.store.evaluate(SinkKeepAliveScript.script, call)))
                let lost = results.filter { $0.1 == .lost }.map(\.0)
                let trimmed = results.filter { $0.1 == .trimmed }.map(\.0)
                tellLost(lost, stream)
                handle(.keptAlive(stream.index, lost: lost, trimmed: trimmed))
            } catch {
                log.warning("cannot keep messages alive", metadata: stream.metadata(["error": "\(error)"]))
                if error.code == .noGroup, stream.isFound { await openGroup(stream) }  // It may be gone, and they with it.
                return false
            }
        }
        return true
    }

    /// A message that is no longer pending under our name may be gone by our own doing: Redis may have executed an
    /// acknowledgement whose answer never came.
    private func tellLost(_ ids: [StreamID], _ stream: SinkStream) {
        // What was acknowledged on the same connection a moment before is confirmed by now.
        let lost = ids.filter { state.held[.init(stream: stream.index, id: $0)] != nil }
        let unconfirmed = lost.count { state.isBeingWritten(.init(stream: stream.index, id: $0)) }
        if unconfirmed > 0 {
            log.notice(
                "messages are no longer ours: a write without an answer was executed, or others have them",
                metadata: stream.metadata(["count": "\(unconfirmed)"]))
        }
        if lost.count > unconfirmed {
            log.notice(
                "messages are no longer ours: others took them over or settled them",
                metadata: stream.metadata(["count": "\(lost.count - unconfirmed)"]))
        }
    }

    // MARK: The group

    /// Creates the group where it is missing, however long that takes: at `start` when the sink has never seen it,
    /// else (it was lost) after what this process knows to be dealt with.
    func openGroup(_ stream: SinkStream) async {
        guard !stream.isOpening, !state.hasDrained else { return }
        stream.isOpening = true
        defer { stream.isOpening = false }
        var pause = SinkLimits.readPause.least
        repeat {
            do throws(RedisError) {
                if stream.wasOpen { try await createAgain(stream) } else { try await create(stream) }
                stream.wasOpen = true
                stream.problem = nil
                state.streams[stream.index].isGone = false
                return
            } catch where stream.isFound && error.isNoSuchKey {
                rest(stream)
                return handle(.gone(stream.index))
            } catch {
                // Every start begins so; the end of a connection has a log line of its own.
                let level: Logger.Level = if case .unavailable(.notConnected) = error { .debug } else { .warning }
                log.log(level: level, "cannot create the group", metadata: stream.metadata(["error": "\(error)"]))
                stream.problem = "the group can't be created: \(error)"
                journal.tell()
            }
            await host.loop.sleep(for: state.backoff.jittered(pause))
            pause = min(pause * 2, SinkLimits.readPause.most)
        } while !state.hasDrained && !stream.isResting
    }

    private func create(_ stream: SinkStream) async throws(RedisError) {
        // The group of one that was found is there, unless the stream was made anew since.
        let command = RedisCommand.xgroupCreate(
            stream.name.bytes, group: stream.group.bytes, at: stream.isFound ? .after(.zero) : definition.start.position,
            makeStream: !stream.isFound)
        do throws(RedisError) {
            _ = try await host.store.send(command)
        } catch {
            if error.code != .busyGroup { throw error }  // It is there: that is what was wanted.
        }
    }

    private func createAgain(_ stream: SinkStream) async throws(RedisError) {
        // What was not gone through yet may be older than all that this process knows of.
        let position = stream.search == .all ? .zero : state.streams[stream.index].watermark.position ?? .zero
        let call = SinkGroupScript.call(stream.name, stream.group, after: position, makesStream: !stream.isFound)
        guard try await host.store.evaluate(SinkGroupScript.script, call).integer == 1 else { return }
        state.streams[stream.index].counters.groupsCreatedAgain += 1
        log.error("the group was lost; created again", metadata: stream.metadata(["after": "\(position)"]))
    }
}

extension SinkDefinition.Start {
    var position: StreamGroupPosition {
        switch self {
        case .earliest: .after(.zero)
        case .latest: .latest
        case .id(let text): .after(StreamID(text, missingSequence: 0) ?? .zero)
        }
    }
}
