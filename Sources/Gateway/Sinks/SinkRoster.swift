// The sinks of one loop: which there are, and which of them run. Those of the configuration have their loop from the
// start; those made over HTTP live on loop hash(name) mod loops. Every replica runs every sink: they share its group.
//
// Definitions and stops come from Redis (API.md §6): all at each connect and once a minute after, if any has changed
// (a nudge may have been missed), one when it is nudged. Nothing runs before they were read once: a sink that is paused
// must not begin. A sink that is stopped, replaced or deleted is drained: what is in flight lands, the rest is handed
// back. It leaves when that is done, and its successor does not wait for it.
//
// Owned by the loop's `API`; loop-confined.

import Crypto
import Glibc
import Logging
import Net
import Redis

final class SinkRoster {
    /// Definitions asked for in one command.
    static let loadSlice = 50
    /// What is in flight may land for so long when a sink is stopped.
    private static let patience = Duration.seconds(25)
    /// Runs of one sink that are on their way out; one more, and the first of them has had its time.
    private static let mostLeaving = 3

    let loop: EventLoop
    let store: any StreamStore
    let limits: Limits
    let log = Logger(label: "sluice")
    /// This loop of this replica, in keys.
    let place: String
    /// This replica, for people.
    let replica: String
    /// What a sink lives on, and who starts a task for a run by its number; set by the server.
    var host: SinkHost?
    var spawn: (Int) -> Void = { _ in preconditionFailure("Nobody starts tasks for this roster.") }
    var startWork: (BackgroundWork) -> Void = { _ in preconditionFailure("Nobody starts work for this loop.") }
    /// The dead-letter streams of the recovery policies; nil while they are not known. Set by the API.
    var policyDeadLetters: () -> [StreamName]? = { preconditionFailure("Nobody tells of recovery policies.") }

    private(set) var entries: [String: Entry] = [:]
    /// Every run that has work to do, by its number: those in `entries`, and those that are leaving.
    private(set) var runs: [Int: Sink] = [:]
    private var leaving: Set<Int> = []
    private var number = 0
    private let index: Int
    let config: Config
    private let configured: Set<String>
    private var isLoaded = false
    private let loading = SingleRun()
    /// What was read when all were loaded; nil: they are to be read whatever Redis says.
    private var version: [UInt8]?
    private var nudged: Set<String> = []
    private var hearsNudges = true
    private var reload: TimerID?
    var isDraining = false
    // See SinkRoster+Telling.
    var tellTimer: TimerID?
    var heartbeatTimer: TimerID?
    // See SinkRoster+Finding.
    var findTimer: TimerID?
    var isFinding = false
    /// Connections to Redis so far.
    private(set) var connections = 0
    /// Dead-letter streams of all sinks that are kept in Redis, as of this version of them.
    var deadLetters: (version: [UInt8], streams: [Glob])?
    // See SinkRoster+Looking.
    var lookTimer: TimerID?
    /// Something of them has changed, the first first.
    var untold: [Entry] = []
    var isTelling = false

    init(loop: EventLoop, index: Int, store: any StreamStore, config: Config) {
        self.loop = loop
        self.index = index
        self.store = store
        self.config = config
        limits = config.limits
        configured = Set(config.sinks.map(\.name))
        replica = "\(Sink.hostName()):\(getpid())"
        place = "\(replica)-\(String(UInt32.random(in: 0...UInt32.max), radix: 36))/\(index)"
    }

    static func fingerprint(_ definition: [UInt8]) -> String { Digest.hex(Array(Digest.sha256(definition).prefix(8))) }

    // MARK: For the server

    /// One of the configuration. Throws where it can't run: a secret's file, say.
    func add(_ definition: SinkDefinition) throws(SinkError) {
        _ = try SinkResources(definition)
        let entry = Entry(definition.name, isConfigured: true)
        entry.definition = definition
        entry.stored = Array(definition.json(showsSecrets: true).utf8)
        entries[definition.name] = entry
    }

    func connected(hearsNudges: Bool) {
        self.hearsNudges = hearsNudges
        connections += 1
        for sink in runs.values { sink.redisConnected() }
        startWork(.loadSinks)
    }

    /// A sink was put, deleted, paused or resumed, here or elsewhere.
    func nudged(_ name: String) {
        if configured.contains(name) ? entries[name] != nil : isHome(of: name) { startWork(.loadSink(name)) }
    }

    /// Nobody has the lease of an ordered sink's stream any more.
    func leaseFreed(_ key: WaitKey) { for sink in runs.values { sink.leaseFreed(key) } }

    /// One piece of work of a sink's; see `SinkHost.spawn`.
    func run(_ number: Int) async { await runs[number]?.run() }

    var snapshots: [SinkSnapshot] {
        entries.values.sorted { $0.name < $1.name }.flatMap { entry in
            var endpoint: SinkSnapshot.Endpoint? = endpoint(entry)
            let counters = counters(entry)
            // One whose globs match nothing is told of by them.
            let streams = entry.streams.isEmpty ? Array((entry.definition?.streams ?? []).prefix(1)) : entry.streams
            return streams.map { stream in
                defer { endpoint = nil }
                return SinkSnapshot(
                    sink: entry.name, stream: stream, status: status(entry), counters: counters[stream] ?? SinkCounters(),
                    endpoint: endpoint, backlog: backlog(entry, stream))
            }
        }
    }

    func status(_ entry: Entry) -> SinkStatus {
        switch entry.stop?.kind {
        case .paused?: .paused
        case .disabled?: .disabled(reason: entry.stop?.reason ?? "")
        case nil: entry.sink?.status ?? .running
        }
    }

    /// By stream, what this run and those before it have done.
    func counters(_ entry: Entry) -> [String: SinkCounters] {
        var sums = entry.earlier
        for run in [entry.sink].compactMap(\.self) + entry.leaving {
            for (stream, counters) in zip(run.streams, run.state.counters) { sums[stream.text, default: SinkCounters()].add(counters) }
        }
        return sums
    }

    // MARK: What there is

    func isConfigured(_ name: String) -> Bool { configured.contains(name) }

    private func isHome(of name: String) -> Bool {
        // FNV-1a: the same on every replica, though none needs it to be.
        let hash = name.utf8.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        return Int(hash % UInt64(config.loops)) == index
    }

    func load(_ name: String) async {
        nudged.insert(name)
        do throws(RedisError) {
            let replies = try await store.send(
                [.hget(GatewayKeys.sinks, name), .hget(GatewayKeys.sinkStops, name)], tracked: false)
            let (definition, stop) = (try replies[0].get(), try replies[1].get())
            use(name, definition.isNull ? nil : Array(definition.bytes), SinkStop(json: stop.bytes))
        } catch {
            version = nil
            loading.rerun()
            failed(error)
        }
    }

    func loadAll() async {
        await loading { await loadOnce() }
    }

    private func loadOnce() async {
        guard !isDraining else { return }
        nudged = []
        do throws(RedisError) {
            let latest = try await store.send(.get(GatewayKeys.sinkVersion)).withBytes { Array($0) }
            if !isLoaded || latest != version { try await loadChanged() }
            version = loading.isWanted ? nil : latest
            isLoaded = true
            if lookTimer == nil { lookSoon(.zero) }
            for entry in entries.values { begin(entry) }
            loadSoon(hearsNudges ? .seconds(60) : .seconds(1))
        } catch {
            failed(error)
        }
    }

    private func loadChanged() async throws(RedisError) {
        let replies = try await store.send([.hkeys(GatewayKeys.sinks), .hgetall(GatewayKeys.sinkStops)], tracked: false)
        var (names, rows) = (try replies[0].get().elements, try replies[1].get().elements)
        var stops: [String: SinkStop] = [:]
        while let name = rows.takeText(), let stop = rows.takeBytes() { stops[name] = SinkStop(json: stop) }
        var found: Set<String> = []
        while let name = names.takeText() { if isHome(of: name) && !configured.contains(name) { found.insert(name) } }
        for slice in Array(found).slices(of: SinkRoster.loadSlice) {
            var definitions = try await store.send(.hmget(GatewayKeys.sinks, slice)).elements
            for name in slice {
                let definition = definitions.takeBytes().map { Array($0) }
                if !nudged.contains(name) { use(name, definition, stops[name]) }
            }
        }
        for name in entries.keys where !found.contains(name) && !nudged.contains(name) { use(name, nil, stops[name]) }
    }

    private func failed(_ error: RedisError) {
        if store.features != nil { log.warning("The definitions of sinks can't be read: \(error)") }  // Else it is told already.
        version = nil
        loadSoon(.seconds(1))
    }

    private func loadSoon(_ pause: Duration) {
        if let reload { loop.cancel(reload) }
        // By chance a little later: others are told the same time.
        reload = loop.schedule(at: loop.now + pause + .milliseconds(Int.random(in: 0...max(pause.milliseconds / 4, 1)))) { [unowned self] in
            reload = nil
            if !isDraining { startWork(.loadSinks) }
        }
    }

    // MARK: What runs

    /// What Redis says of a sink: its definition (nil: there is none of it in Redis), and why it is stopped.
    private func use(_ name: String, _ definition: [UInt8]?, _ stop: SinkStop?) {
        guard !isDraining else { return }
        guard let entry = entry(name, definition) else { return }
        if !entry.isConfigured, let definition, definition != entry.stored { define(entry, definition) }
        if !entry.isStopUnwritten {
            let before = entry.stop
            entry.stop = stop.flatMap { $0.concerns(entry.fingerprint) ? $0 : nil }
            if before != entry.stop { log.notice(entry.stop == nil ? "sink goes on" : "sink stopped", metadata: metadata(entry)) }
        }
        if entry.stop != nil { end(entry) } else { begin(entry) }
        tellSoon(entry)
    }

    private func entry(_ name: String, _ definition: [UInt8]?) -> Entry? {
        if let entry = entries[name] {
            if entry.isConfigured || definition != nil { return entry }
            log.notice("sink deleted", metadata: metadata(entry))
            end(entry)
            entries[name] = nil
            if !entry.told.isEmpty { startWork(.forgetSink(name)) }
            return nil
        }
        guard definition != nil else { return nil }
        let entry = Entry(name, isConfigured: false)
        entries[name] = entry
        return entry
    }

    /// It is new, or another than it was.
    private func define(_ entry: Entry, _ definition: [UInt8]) {
        end(entry)
        entry.stored = definition
        entry.isStopUnwritten = false
        entry.refusal = nil
        entry.definition = nil
        do {
            let node = try definition.withUnsafeBytes { try ConfigNode.parse(json: $0, source: "Redis") }
            entry.definition = try SinkDefinition.parse(name: entry.name, node, by: .caller(config))
        } catch {
            // It was taken by a replica of another version, or of another configuration.
            refuse(entry, "\(error)")
        }
        entry.seen = [:]
        entry.earlier = entry.earlier.filter { entry.definition?.mayRead($0.key) == true }
        (entry.finds, entry.marks, entry.leftOut, entry.findProblem, entry.gone) = (SinkFinds(), [:], 0, nil, SinkCounters())
    }

    private func refuse(_ entry: Entry, _ reason: String) {
        entry.refusal = reason
        log.error("this replica can't run the sink: \(reason)", metadata: metadata(entry))
    }

    func begin(_ entry: Entry) {
        guard isLoaded, !isDraining, entry.sink == nil, entry.stop == nil, let definition = entry.definition, var host else { return }
        number += 1
        host.spawn = { [unowned self, number] in spawn(number) }
        do throws(SinkError) {
            let sink = try Sink(definition, host: host)
            sink.journal.changed = { [unowned self, unowned entry] in tellSoon(entry) }
            sink.journal.disabled = { [unowned self, unowned entry] in disabled(entry, $0) }
            runs[number] = sink
            entry.sink = sink
            entry.refusal = nil
            entry.isSought = false
            sink.start()
            if !definition.globs.isEmpty { findSoon(.zero) }
        } catch {
            if entry.refusal != error.problem { refuse(entry, error.problem) }
        }
        tellSoon(entry)
    }

    /// Its run ends, if it has one.
    func end(_ entry: Entry) {
        // When the gateway ends, all runs do, once.
        guard !isDraining, let sink = entry.sink, let number = runs.first(where: { $0.value === sink })?.key else { return }
        sink.journal.changed = {}  // The rest is told when it has landed.
        sink.journal.disabled = { _ in }
        entry.sink = nil
        entry.leaving.append(sink)
        leaving.insert(number)
        let others = leaving.filter { runs[$0]?.definition.name == entry.name }.sorted()
        for other in others.dropLast(SinkRoster.mostLeaving) { runs[other]?.handle(.abandon) }
        startWork(.endSink(number))
    }

    /// Lets a run that was ended land.
    func leave(_ number: Int) async {
        guard let sink = runs[number] else { return }
        let patience = loop.now + SinkRoster.patience
        await sink.drain(until: min(patience, drainEnd ?? patience))
        if let part = attempts(sink) { await tell([part]) }
        runs[number] = nil
        leaving.remove(number)
        guard let entry = entries[sink.definition.name], entry.leaving.contains(where: { $0 === sink }) else { return }
        entry.leaving.removeAll { $0 === sink }
        entry.earlierDurations.add(sink.durations)
        let (isSame, streams) = (entry.definition == sink.definition, Set(entry.streams))
        for (stream, counters) in zip(sink.streams.map(\.text), sink.state.counters) where isSame || streams.contains(stream) {
            var counters = counters
            (counters.inFlight, counters.held, counters.blocked, counters.leases) = (0, 0, 0, 0)  // What did not land is taken over by others.
            if streams.contains(stream) { entry.earlier[stream, default: SinkCounters()].add(counters) } else { entry.gone.add(counters) }
        }
        tellSoon(entry)
    }

    // MARK: 410

    /// The receiver is gone, and the run has stopped itself. All replicas are to stop.
    private func disabled(_ entry: Entry, _ reason: String) {
        entry.stop = SinkStop(.disabled, reason, since: loop.clock.wallTime, fingerprint: entry.fingerprint)
        entry.isStopUnwritten = true
        startWork(.stopSink(entry.name))
    }

    /// Writes down that a sink is disabled; repeated until Redis has taken it.
    func writeStop(_ name: String) async {
        guard let entry = entries[name], entry.isStopUnwritten, let stop = entry.stop else { return }
        end(entry)
        let call = StopSinkScript.call(name, isConfigured: entry.isConfigured, stop, about: entry.stored)
        do throws(RedisError) {
            _ = try await store.evaluate(StopSinkScript.script, call)
            if entry.stop == stop { entry.isStopUnwritten = false }
            await load(name)  // Somebody may have resumed it, or put another, meanwhile.
        } catch {
            log.warning("that the sink is disabled can't be written down: \(error)", metadata: metadata(entry))
            loop.schedule(at: loop.now + .seconds(1)) { [weak self] in self?.startWork(.stopSink(name)) }
        }
    }

    // MARK: The end

    private var drainEnd: EventLoop.Instant?

    /// All runs end; what is in flight lands until `end`.
    func drain(until end: EventLoop.Instant) {
        isDraining = true
        drainEnd = end
        for number in runs.keys where leaving.insert(number).inserted { startWork(.endSink(number)) }
    }

    var isDrained: Bool { runs.isEmpty }

    func metadata(_ entry: Entry) -> Logger.Metadata { ["sink": "\(entry.name)"] }
}
