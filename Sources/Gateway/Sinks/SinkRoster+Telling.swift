// What a loop tells Redis of its sinks: how each of them is (`SinkReport`), for whichever replica is asked, and the
// latest attempts. At most twice a second together, and only what has changed; every few seconds a word that it lives.
//
// Nothing depends on it: what Redis does not take is gone, or told the next time.

import Net
import Redis
import Webhook

extension SinkRoster {
    /// From an attempt to its being told.
    static let tellDelay = Duration.milliseconds(400)
    static let heartbeat = Duration.seconds(5)
    /// What was told is believed for so long.
    static let reportLife = Duration.seconds(20)
    /// A list of attempts that nothing is added to goes after this.
    static let attemptLife = Duration.seconds(7 * 86_400)
    /// Replicas that have not been heard of for so long are forgotten.
    static let replicaLife = Duration.seconds(3600)

    /// Reports written in one go: some milliseconds of this loop's time.
    static let tellSlice = 100

    /// Something of it has changed.
    func tellSoon(_ entry: Entry) {
        mark(entry)
        guard tellTimer == nil, !isDraining else { return }
        tellTimer = loop.schedule(at: loop.now + SinkRoster.tellDelay) { [unowned self] in
            tellTimer = nil
            if !isDraining { startWork(.tellSinks) }
        }
    }

    /// It is told with the next that is.
    private func mark(_ entry: Entry) {
        guard !entry.isUntold else { return }
        entry.isUntold = true
        untold.append(entry)
    }

    /// A word that this loop lives. What it holds may have changed without an attempt.
    private func scheduleHeartbeat() {
        if let heartbeatTimer { loop.cancel(heartbeatTimer) }
        heartbeatTimer = loop.schedule(at: loop.now + SinkRoster.heartbeat) { [unowned self] in
            heartbeatTimer = nil
            guard !isDraining else { return }
            for entry in entries.values where entry.sink?.state.held.isEmpty == false { mark(entry) }
            startWork(.tellSinks)
        }
    }

    func tell() async {
        guard !isTelling else { return }
        isTelling = true
        let slice = untold.prefix(SinkRoster.tellSlice)
        untold.removeFirst(slice.count)
        for entry in slice { entry.isUntold = false }
        await tell(slice.compactMap { $0.sink.flatMap { attempts($0) } })
        let changed = slice.filter { entries[$0.name] === $0 }.map { ($0, report($0).json) }.filter { $0.0.told != $0.1 }
        var isTaken = true
        if !changed.isEmpty || heartbeatTimer == nil { isTaken = await tellReports(changed) }
        if heartbeatTimer == nil && !entries.isEmpty { scheduleHeartbeat() }
        isTelling = false
        if isTaken, let next = untold.first { tellSoon(next) }  // Else with the next beat.
    }

    /// False: Redis did not take it.
    private func tellReports(_ changed: [(entry: Entry, json: [UInt8])]) async -> Bool {
        let key = GatewayKeys.sinkReports(place)
        let wall = loop.clock.wallTime
        var commands: [RedisCommand] = [.pexpire(key, after: SinkRoster.reportLife)]
        if !changed.isEmpty {
            commands += [.hset(key, changed.map { ($0.entry.name, $0.json) }), .pexpire(key, after: SinkRoster.reportLife)]
        }
        commands += [
            .zadd(GatewayKeys.sinkReplicas, place, score: wall),
            .zremrangebyscore(GatewayKeys.sinkReplicas, upTo: wall - SinkRoster.replicaLife),
        ]
        let replies: [Result<RedisReply, RedisError>]
        do throws(RedisError) { replies = try await store.send(commands, tracked: false) } catch { replies = [.failure(error)] }
        scheduleHeartbeat()
        for (entry, json) in changed { entry.told = json }
        // Redis has forgotten, or not taken, what was told: all of it anew.
        let isKnown = if case .success(let reply)? = replies.first { reply.integer == 1 } else { false }
        let failed = replies.contains { if case .failure = $0 { true } else { false } }
        for entry in entries.values where failed || !isKnown && !changed.contains(where: { $0.entry === entry }) {
            entry.told = []
            mark(entry)
        }
        return !failed
    }

    /// What is in the sink's journal; nil: nothing.
    func attempts(_ sink: Sink) -> SinkAttemptsScript.Part? {
        let (failures, successes) = sink.journal.take()
        if failures.isEmpty && successes.isEmpty { return nil }
        func rows(_ attempts: [SinkJournal.Attempt]) -> [[UInt8]] {
            attempts.map { $0.json(stream: sink.streams[$0.key.stream].text, replica: replica) }
        }
        let name = sink.definition.name
        return .init(sink: name, isConfigured: isConfigured(name), failed: rows(failures), others: rows(successes))
    }

    func tell(_ parts: [SinkAttemptsScript.Part]) async {
        for slice in parts.slices(of: SinkAttemptsScript.slice) {
            let call = SinkAttemptsScript.call(slice, keeping: Limits.sinkAttempts, for: SinkRoster.attemptLife)
            // A row that is lost is one row less to look at.
            _ = try? await store.evaluate(SinkAttemptsScript.script, call)
        }
    }

    func report(_ entry: Entry) -> SinkReport {
        var report = SinkReport()
        report.replica = replica
        let status = status(entry)
        report.state = status.name
        switch status {
        case .backingOff(let until), .failing(let until): report.until = (loop.clock.wallTime + (until - loop.now)).milliseconds
        case .running, .standby, .paused, .disabled, .draining: break
        }
        if entry.refusal != nil && entry.sink == nil { report.state = .refused }
        report.refusal = entry.refusal
        var sum = SinkCounters()
        for counters in counters(entry).values { sum.add(counters) }
        sum.add(entry.gone)
        report.counters = sum.named
        guard let sink = entry.sink else { return report }
        report.consumer = String(decoding: sink.consumer.bytes, as: UTF8.self)
        report.isFull = sink.state.held.count >= sink.definition.maxHeld
        report.problems = sink.streams.compactMap { stream in
            stream.isResting ? nil : stream.problem.map { (stream.text, $0) }
        }
        if let problem = entry.findProblem { report.problems.append((entry.definition?.globs.first?.text ?? "", problem)) }
        report.leftOut = entry.leftOut
        let journal = sink.journal
        report.failuresInARow = journal.failuresInARow
        report.lastSuccess = journal.lastSuccess?.milliseconds
        if let failure = journal.lastFailure {
            report.lastStatus = failure.outcome.status
            report.lastError = failure.outcome.error
            report.isRefusedTarget = failure.failure == .refusedTarget
            let row = failure.json(stream: sink.streams[failure.key.stream].text, replica: replica)
            report.lastFailure = String(decoding: row, as: UTF8.self)
        }
        return report
    }

    /// A sink was deleted: it is not told of any more.
    func forget(_ name: String) async {
        guard entries[name] == nil else { return }  // There is another by now.
        // What was told is believed for some seconds more, by those who still know of the sink.
        _ = try? await store.send(.hdel(GatewayKeys.sinkReports(place), [name]))
    }

    /// This replica ends: nobody waits for what it told.
    func withdrawReports() async {
        guard !entries.isEmpty else { return }
        // It is believed for some seconds more.
        _ = try? await store.send(
            [.del(GatewayKeys.sinkReports(place)), .zrem(GatewayKeys.sinkReplicas, Array(place.utf8))], tracked: false)
    }
}
