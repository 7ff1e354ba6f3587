// How an ordered sink reads (`order_by`): only under the stream's lease, and what is pending before what is new.
//
// A stream's reader takes the lease, or stands by until it can be had: when it has run out, or at once when whoever has it
// gives it up. Then it goes through the pending list once, from its beginning, whoever of the sink's runs has left what is
// there; then it reads what is new, and goes through again, for others' leavings only, a few times a lease. Of a take that
// ended without an answer it can't know what Redis did, or will still do: it takes the lease again, whose new number the
// lost take does not carry, and goes through the list from its beginning, its own messages included. So it does when Redis
// is there again: what it had confirmed may be forgotten.
//
// The lease is confirmed so often that a request may begin at any time, though it must end, at the latest by `timeout_ms`,
// before the lease does.

import Logging
import Net
import Redis

extension Sink {
    typealias Search = SinkOrderedTakeScript.Search

    /// From a confirmation of the lease until the last moment at which a request may begin.
    private var leasePart: Duration { definition.lease - definition.timeout }

    /// Until the next confirmation.
    private var renewalInterval: Duration { min(definition.lease / 3, leasePart / 2) }

    /// Takes the lease, or waits a while. The reader calls it again until it has the lease.
    func standBy(_ stream: SinkStream) async {
        let sent = host.loop.now
        let own = state.streams[stream.index].lease?.number
        let call = SinkLeaseScript.take(stream.name, stream.group, for: consumer, lasting: definition.lease)
        do throws(RedisError) {
            var parts = try await host.store.evaluate(SinkLeaseScript.script, call).elements
            let number = parts.takeInteger() ?? 0
            let (holder, left) = (parts.takeText() ?? "", parts.takeInteger() ?? 0)
            stream.failures = 0
            if number > 0 { return await lead(stream, Int(number), since: sent) }
            stream.mustTakeLease = true
            if let own { handle(.leaseLost(stream.index, number: own)) }
            if stream.leader != holder { log.info("standing by", metadata: stream.metadata(["leader": "\(holder)"])) }
            stream.leader = holder
            // A moment after it has run out, where it has. (Below zero: it lives for ever, by nobody's doing that we know of.)
            let wait = left < 0 ? definition.lease / 3 : min(.milliseconds(left) + .milliseconds(5), definition.lease / 3)
            await stream.bell.wait(until: host.loop.now + wait)
        } catch {
            log.warning("cannot take the lease", metadata: stream.metadata(["error": "\(error)"]))
            await pause(stream)
        }
    }

    private func lead(_ stream: SinkStream, _ number: Int, since sent: EventLoop.Instant) async {
        let isNew = !state.leads(stream.index, at: host.loop.now)
        let isFirst = state.streams[stream.index].lease == nil
        handle(.leased(stream.index, .init(number: number, until: sent + leasePart)))
        guard !state.isStopped else {
            // It was stopped meanwhile. What is on its way under an earlier number is under this one now (`drain`).
            if isFirst || state.hasDrained && state.inFlight == 0 { await release(stream, number) }
            return
        }
        stream.mustTakeLease = false
        stream.leader = nil
        stream.search = .all
        stream.searchCursor = []
        stream.takeoverDue = .zero
        scheduleRenewal(stream, at: sent + renewalInterval)
        guard isNew else { return }
        log.notice("the stream is ours to deliver", metadata: stream.metadata(["lease": "\(number)"]))
        journal.tell()
    }

    private func scheduleRenewal(_ stream: SinkStream, at instant: EventLoop.Instant) {
        if let timer = stream.renewalTimer { host.loop.cancel(timer) }
        stream.renewalTimer = host.loop.schedule(at: instant) { [weak self] in
            guard let self else { return }
            stream.renewalTimer = nil
            // What is in flight when the sink ends, ends before the lease. A stream that rests is nobody's in the end.
            let isDone = stream.isResting && !state.held.keys.contains { $0.stream == stream.index }
            if !state.isStopped, !isDone, state.streams[stream.index].lease != nil { enqueue(.renewal(stream)) }
        }
    }

    func renew(_ stream: SinkStream) async {
        guard let number = state.streams[stream.index].lease?.number else { return }
        let sent = host.loop.now
        let call = SinkLeaseScript.renew(stream.name, stream.group, consumer, number, lasting: definition.lease)
        var next = sent + renewalInterval
        do throws(RedisError) {
            if try await host.store.evaluate(SinkLeaseScript.script, call).integer == 1 {
                handle(.renewed(stream.index, .init(number: number, until: sent + leasePart)))
            } else {
                handle(.leaseLost(stream.index, number: number))
            }
        } catch {
            log.warning("cannot confirm the lease", metadata: stream.metadata(["error": "\(error)"]))
            next = host.loop.now + max(renewalInterval / 4, .milliseconds(20))
        }
        // Another term has a timer of its own.
        if state.streams[stream.index].lease?.number == number { scheduleRenewal(stream, at: max(next, host.loop.now)) }
    }

    func stoodDown(_ stream: SinkStream) {
        log.warning("the stream is no longer ours to deliver", metadata: stream.metadata())
        stream.mustTakeLease = true
        stream.waiter?.deliver(.draining)  // A parked reader waits for no bell.
        stream.bell.ring()
        journal.tell()
    }

    /// Word that nobody has the lease of `key`.
    func leaseFreed(_ key: WaitKey) {
        guard definition.isOrdered else { return }
        for stream in streams where stream.key == key && state.streams[stream.index].lease == nil { stream.bell.ring() }
    }

    /// Nothing of it is on its way any more: others needn't wait until the leases have run out.
    func releaseLeases() async {
        for stream in streams { if let number = state.streams[stream.index].lease?.number { await release(stream, number) } }
    }

    private func release(_ stream: SinkStream, _ number: Int) async {
        // It runs out by itself.
        _ = try? await host.store.evaluate(SinkLeaseScript.script, SinkLeaseScript.release(stream.name, stream.group, consumer, number))
    }

    // MARK: A look

    /// As `look`, of messages that have an order.
    func lookInOrder(_ stream: SinkStream, _ count: Int) async -> WaitHome.Look {
        var arrivals: [SinkArrival] = []
        var look = WaitHome.Look(result: .nothing, unownedDue: nil)
        do throws(RedisError) {
            if try await goThrough(stream, count, &arrivals), arrivals.count < count {
                _ = try await takeInOrder(stream, .new, count - arrivals.count, &arrivals)
            }
            if !arrivals.isEmpty { look.result = .found(full: arrivals.count == count) }
        } catch {
            look.result = failure(error, stream)
            stream.mustTakeLease = true
            if !arrivals.isEmpty { look.result = .found(full: true) }
        }
        handle(.read(stream.index, arrivals))
        return look
    }

    /// True: all that is pending was seen, and what is new may be read. Unowned messages are gone through once at most: where
    /// Redis tells of none, or of ever more, there would be no end.
    private func goThrough(_ stream: SinkStream, _ count: Int, _ arrivals: inout [SinkArrival]) async throws(RedisError) -> Bool {
        var hasSeenUnowned = false
        while let search = nextSearch(stream, hasSeenUnowned: hasSeenUnowned) {
            guard arrivals.count < count, !state.isStopped else { return false }
            stream.search = search
            if stream.searchCursor.isEmpty { stream.searchGeneration = host.unowned.unownedGeneration(stream.key) }
            if stream.searchCursor.isEmpty, search == .all { stream.hasRefused = false }
            let taken = try await takeInOrder(stream, search, count - arrivals.count, &arrivals)
            guard let taken, taken.wait == .zero else {
                stream.takeoverDue = host.loop.now + min(taken?.wait ?? definition.lease, definition.lease / 4, SinkLimits.handBackLook)
                return false
            }
            guard stream.searchCursor.isEmpty else { continue }
            stream.search = nil
            hasSeenUnowned = true
            host.unowned.foundNoUnowned(stream.key, due: nil, generation: stream.searchGeneration)
            guard search != .unowned else { continue }
            stream.takeoverDue = host.loop.now + state.backoff.jittered(definition.lease / 4)
            if stream.reapDue <= host.loop.now { await reap(stream) }
        }
        return true
    }

    private func nextSearch(_ stream: SinkStream, hasSeenUnowned: Bool) -> Search? {
        if let search = stream.search { return search }
        if stream.takeoverDue <= host.loop.now { return stream.hasRefused ? .all : .others }
        return !hasSeenUnowned && host.unowned.mayHaveUnowned(stream.key) ? .unowned : nil
    }

    /// Nil: the lease is another's. `wait`: how long for the next one, which may still be on its way to the receiver.
    private func takeInOrder(
        _ stream: SinkStream, _ search: Search, _ count: Int, _ arrivals: inout [SinkArrival]
    ) async throws(RedisError) -> (count: Int, wait: Duration)? {
        guard let number = state.streams[stream.index].lease?.number else { return nil }
        let call = SinkOrderedTakeScript.call(
            stream.name, stream.group, consumer, number, dead: stream.dead, of: definition.name, search, count: count,
            lease: definition.lease, flight: definition.timeout + definition.connectTimeout, after: stream.searchCursor)
        let reply = try await host.store.evaluate(SinkOrderedTakeScript.script, call)
        guard !reply.isNull else {
            handle(.leaseLost(stream.index, number: number))
            return nil
        }
        var parts = reply.elements
        guard var rows = parts.takeArray(), let trimmed = parts.takeInteger(), let cursor = parts.takeBytes(), let wait = parts.takeInteger()
        else { return nil }
        let before = arrivals.count
        while var row = rows.takeArray() {
            guard let id = row.takeBytes().flatMap({ StreamID($0) }) else { continue }
            var fields = row
            row.skip()
            let deliveries = Int(row.takeInteger() ?? 0)
            let due = row.takeText().flatMap { Int64($0) }.map { Duration.milliseconds($0) }
            var arrival = arrival(id, &fields, count: deliveries, wasTakenOver: row.takeInteger() == 1, stream)
            arrival.due = due
            arrivals.append(arrival)
        }
        if trimmed > 0 { foundTrimmed(stream, Int(trimmed)) }
        if let refusal = parts.takeText(), !refusal.isEmpty {
            stream.hasRefused = true
            tell(refusal: refusal, stream)
        }
        if search != .new { stream.searchCursor = Array(cursor) }
        return (arrivals.count - before, .milliseconds(wait))
    }
}
