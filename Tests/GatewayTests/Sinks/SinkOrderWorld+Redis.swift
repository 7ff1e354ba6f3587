// The Redis of `SinkOrderWorld`, and what befalls its processes.

import Support

@testable import Gateway
@testable import Net
@testable import Redis

extension SinkOrderWorld {
    mutating func perform(_ errand: Errand, _ index: Int) {
        if case .attempt(let keys, let stream, let isBatch, _) = errand { return end(keys, stream, isBatch: isBatch, index) }
        guard random.chance(mood.redisFailures) else { return answer(errand, index) }
        // Not done, done without an answer, or done when nobody thinks of it any more.
        switch Int.random(in: 0..<3, using: &random) {
        case 0: break
        case 1: _ = execute(errand, processes[index].name)
        default: if case .write = errand {} else { strays.append((processes[index].name, errand)) }
        }
        switch errand {
        case .takeLease(let stream, _):
            processes[index].readers[stream].isBusy = false
            processes[index].readers[stream].nextTry = now + .milliseconds(100)
        case .renew(let stream, _, _): processes[index].readers[stream].renewAt = now + leaseInterval / 4
        case .read(let stream, _, _, _, _):
            processes[index].readers[stream].isBusy = false
            processes[index].readers[stream].mustTake = true
            handle(.read(stream, []), index)
        case .write(let stream, let write, let entries, _): handle(.writeFailed(stream, write, entries.map(\.message.id)), index)
        case .attempt: break
        }
    }

    var leaseInterval: Duration { min(definition.lease / 3, (definition.lease - definition.timeout) / 2) }

    private enum Answer {
        case number(Int, left: Duration)
        case done(Bool)
        /// `waits`: a request with the next one may be on its way.
        case messages([SinkArrival], cursor: StreamID?, waits: Bool = false)
        case written([(id: StreamID, result: SinkState.Written)])
        case notOurs
    }

    private mutating func answer(_ errand: Errand, _ index: Int) {
        let answer = execute(errand, processes[index].name)
        switch (errand, answer) {
        case (.takeLease(let stream, let sent), .number(let number, let left)):
            processes[index].readers[stream].isBusy = false
            guard number > 0 else {
                processes[index].readers[stream].nextTry = now + min(left + .milliseconds(5), definition.lease / 3)
                if let own = processes[index].machine.streams[stream].lease?.number { handle(.leaseLost(stream, number: own), index) }
                return
            }
            processes[index].readers[stream].mustTake = false
            processes[index].readers[stream].search = .all
            processes[index].readers[stream].cursor = nil
            processes[index].readers[stream].takeoverDue = .zero
            processes[index].readers[stream].renewAt = sent + leaseInterval
            handle(.leased(stream, .init(number: number, until: sent + definition.lease - definition.timeout)), index)
        case (.renew(let stream, let number, let sent), .done(let isDone)):
            if isDone {
                handle(.renewed(stream, .init(number: number, until: sent + definition.lease - definition.timeout)), index)
                processes[index].readers[stream].renewAt = sent + leaseInterval
            } else {
                handle(.leaseLost(stream, number: number), index)
            }
        case (.read(let stream, let search, _, let count, _), .messages(let arrivals, let cursor, let waits)):
            processes[index].readers[stream].isBusy = false
            if search != .new {
                processes[index].readers[stream].cursor = cursor
                processes[index].readers[stream].isParked = waits
                if cursor == nil, !waits {
                    processes[index].readers[stream].search = nil
                    processes[index].readers[stream].mayHaveUnowned = false
                    if search != .unowned { processes[index].readers[stream].takeoverDue = now + definition.lease / 4 }
                }
            } else {
                processes[index].readers[stream].isParked = arrivals.isEmpty
            }
            if arrivals.count > count { problems.append("\(arrivals.count) were read instead of \(count)") }
            handle(.read(stream, arrivals), index)
        case (.read(let stream, _, _, _, let number), .notOurs):
            processes[index].readers[stream].isBusy = false
            handle(.leaseLost(stream, number: number), index)
            handle(.read(stream, []), index)
        case (.write(let stream, let write, _, let number), .written(let results)): handle(.wrote(stream, write, results, under: number), index)
        default: preconditionFailure("Redis answers what it was asked.")
        }
    }

    private func leads(_ stream: Int, _ name: String, _ number: Int?) -> Bool {
        guard let lease = leases[stream], lease.ends > now else { return false }
        return lease.holder == name && lease.number == number
    }

    private mutating func execute(_ errand: Errand, _ name: String) -> Answer {
        switch errand {
        case .takeLease(let stream, _):
            if let lease = leases[stream], lease.ends > now, lease.holder != name { return .number(0, left: lease.ends - now) }
            let number = (leases[stream]?.number ?? 0) + 1
            leases[stream] = (name, number, now + definition.lease)
            return .number(number, left: definition.lease)
        case .renew(let stream, let number, _):
            guard leads(stream, name, number) else { return .done(false) }
            leases[stream]!.ends = now + definition.lease
            return .done(true)
        case .read(let stream, let search, let cursor, let count, let number):
            guard leads(stream, name, number) else { return .notOurs }
            return search == .new ? readNew(stream, count, name) : readPending(stream, search, cursor, count, name)
        case .write(let stream, let write, let entries, let number):
            return .written(entries.map { ($0.message.id, apply(write, $0, Key(stream: stream, id: $0.message.id), name, leads(stream, name, number))) })
        case .attempt: preconditionFailure("Redis has no part in an attempt.")
        }
    }

    private mutating func readNew(_ stream: Int, _ count: Int, _ name: String) -> Answer {
        let ids = fresh[stream].prefix(count)
        fresh[stream].removeFirst(ids.count)
        for id in ids { pending[Key(stream: stream, id: id)] = Pending(owner: name, count: 0, since: now) }
        return .messages(ids.map { arrival(Key(stream: stream, id: $0), 0, false) }, cursor: nil)
    }

    private mutating func readPending(_ stream: Int, _ search: Search, _ cursor: StreamID?, _ count: Int, _ name: String) -> Answer {
        var arrivals: [SinkArrival] = []
        var last = cursor
        for key in pending.keys.filter({ $0.stream == stream && (cursor == nil || $0.id > cursor!) }).sorted() {
            let owner = pending[key]!.owner
            if arrivals.count == count { return .messages(arrivals, cursor: last) }
            let isPassed = owner == name && search != .all || search == .unowned && owner != "unowned"
            let mayFly = owner != name && owner != "unowned" && now - pending[key]!.since < definition.timeout + definition.connectTimeout
            if mayFly, !isPassed { return .messages(arrivals, cursor: last, waits: true) }
            last = key.id
            if isPassed { continue }
            if trimmed.contains(key) {
                pending[key] = nil
                dead[key, default: []].append(.trimmed)
                continue
            }
            pending[key]!.owner = name
            var arrival = arrival(key, pending[key]!.count, owner != name)
            arrival.due = due[key]
            arrivals.append(arrival)
        }
        return .messages(arrivals, cursor: nil)
    }

    private func arrival(_ key: Key, _ count: Int, _ wasTakenOver: Bool) -> SinkArrival {
        let message = SinkMessage(id: key.id, fields: [])
        message.lane = lanes[key]
        return SinkArrival(message: message, deliveryCount: count, wasTakenOver: wasTakenOver)
    }

    private mutating func apply(_ write: SinkState.Write, _ entry: SinkState.Entry, _ key: Key, _ name: String, _ leads: Bool) -> SinkState.Written {
        if write == .acknowledge {
            if !delivered.contains(key) { problems.append("\(key.id) was acknowledged without a 2xx") }
            pending[key] = nil
            due[key] = nil
            return .done
        }
        if write != .bury, !leads { return .unled }
        guard pending[key]?.owner == name else { return .lost }
        if write == .bury {
            pending[key] = nil
            due[key] = nil
            dead[key, default: []].append(entry.reason!)
            if entry.reason == .maxRetriesExceeded, begun[key] == nil, mood.kills + mood.stops == 0 { problems.append("\(key.id) was given up unsent") }
            return .done
        }
        if trimmed.contains(key) { return .trimmed }
        due[key] = entry.due
        // It holds for whoever sends it next.
        notBefore[key] = entry.due.map { $0 - .seconds(1_700_000_000) }
        pending[key] = Pending(owner: write == .release ? "unowned" : name, count: entry.deliveries, since: now)
        return .done
    }

    // MARK: Misfortunes

    mutating func misfortune(_ index: Int) {
        if random.chance(mood.kills) { kill(index) }
        if random.chance(mood.stops) { stop(index) }
        if random.chance(mood.drains), !processes[index].isStopped, !processes[index].machine.isDraining { handle(.drain, index) }
        if random.chance(mood.redrives), let key = dead.keys.filter({ pending[$0] == nil && dead[$0] != [.trimmed] }).sorted().randomElement(using: &random) {
            dead[key] = nil
            redriven.insert(key)
            notBefore[key] = nil
            pending[key] = Pending(owner: "unowned", count: 0, since: now)
            for index in processes.indices { for stream in definition.streams.indices { processes[index].readers[stream].mayHaveUnowned = true } }
        }
        if mood.forgottenLeases > 0, random.chance(mood.forgottenLeases) { leases[Int.random(in: leases.indices, using: &random)]?.ends = now }
        if random.chance(mood.trims), let key = pending.keys.sorted().randomElement(using: &random) { trimmed.insert(key) }
    }

    /// Its requests may have arrived; nobody waits for them.
    private mutating func kill(_ index: Int) {
        underWay.removeAll { $0.process == processes[index].name }
        replace(index)
    }

    /// What it has under way is the one exception.
    private mutating func stop(_ index: Int) {
        processes[index].isStopped = true
        underWay.removeAll { $0.process == processes[index].name }
    }

    mutating func leave(_ index: Int) {
        for stream in definition.streams.indices {
            if let number = processes[index].machine.streams[stream].lease?.number, leads(stream, processes[index].name, number) { leases[stream] = (processes[index].name, number, now) }
        }
        for index in processes.indices { for stream in definition.streams.indices { processes[index].readers[stream].nextTry = now } }
        replace(index)
    }

    mutating func runStray() {
        let stray = strays.remove(at: Int.random(in: strays.indices, using: &random))
        _ = execute(stray.errand, stray.owner)
    }

    /// Every message ended in a 2xx or in a dead letter.
    func verdict(messages: Int) -> [String] {
        var found = problems
        for stream in definition.streams.indices {
            for number in 1...messages {
                let key = Key(stream: stream, id: StreamID(UInt64(1_700_000_000_000 + number), 0))
                let letters = dead[key]?.count ?? 0
                if !delivered.contains(key) && letters == 0 { found.append("\(key.id) is lost") }
                if letters > 1 { found.append("\(key.id) has \(letters) dead letters") }
            }
        }
        if !isSettled { found.append("\(pending.count) are pending and \(fresh.reduce(0) { $0 + $1.count }) unread") }
        return found
    }
}
