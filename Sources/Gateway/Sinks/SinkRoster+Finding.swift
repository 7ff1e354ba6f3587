// Which streams the globs of a loop's sinks match (SINKS.md §1): one walk over Redis' keys for all of them, every `sink_scan_ms`. A
// stream that matches for the first time gets its group before anybody is told of it. Once a walk has ended since the sink was
// made (`SinkMark`), such a stream is new, and is read from its beginning. Before that nobody knows but by its IDs: with `start:
// latest` every message that came since the sink was made is read, and none before. What no longer matches, is gone, or is a
// dead-letter stream by now, is not read any more; what is held of it goes its way.
//
// Every loop that has such sinks walks for itself. A walk rests after each step for 20 times as long as the step took, so it
// takes at most a twentieth of Redis' time, and less when Redis is busy; over 100,000 keys it takes about a second, over
// ten millions some minutes.

import Logging
import Net
import Redis

extension SinkRoster {
    /// Keys that Redis looks at in one step: some tenths of a millisecond of its time.
    private static let findStep = 1000
    private static let findRest = (steps: 20, most: Duration.seconds(1))
    /// Groups that are created in one round trip: a few milliseconds of Redis' time.
    private static let openSlice = 100

    /// Dead-letter streams: no glob matches them.
    struct DeadLetterStreams {
        private var names: Set<[UInt8]> = []
        private var globs: [Glob] = []

        init(_ streams: [Glob]) { for stream in streams { insert(stream) } }

        mutating func insert(_ stream: Glob) { if stream.isName { names.insert(stream.prefix) } else { globs.append(stream) } }
        mutating func insert(_ stream: StreamName) { names.insert(stream.bytes) }
        func contains(_ name: String) -> Bool {
            let name = Array(name.utf8)
            return names.contains(name) || globs.contains { $0.matches(name) }
        }
    }

    /// A run whose globs are being looked for.
    private final class Seeker {
        let entry: Entry
        let sink: Sink
        let globs: [Glob]
        /// As the walk began.
        var marks: [Glob: SinkMark] = [:]
        /// As Redis has them.
        var kept = SinkFinds()
        var found: Set<String> = []
        /// Streams that match and can't be read, and why one of them can't.
        var refused: Set<String> = []
        var refusal: String?

        init(_ entry: Entry, _ sink: Sink) {
            (self.entry, self.sink, globs) = (entry, sink, sink.definition.globs)
        }

        /// It was not stopped or replaced meanwhile.
        var isCurrent: Bool { entry.sink === sink }
    }

    func findSoon(_ pause: Duration) {
        guard !isFinding else { return }
        if let findTimer { loop.cancel(findTimer) }
        findTimer = loop.schedule(at: loop.now + pause) { [unowned self] in
            findTimer = nil
            if !isDraining { startWork(.findStreams) }
        }
    }

    func find() async {
        guard !isFinding else { return }
        isFinding = true
        let seekers = entries.values.compactMap { entry in entry.sink.map { Seeker(entry, $0) } }.filter { !$0.globs.isEmpty }
        for seeker in seekers { seeker.entry.isSought = true }
        var problem: String?
        do throws(RedisError) {
            if !seekers.isEmpty { try await find(seekers) }
        } catch {
            if store.features != nil { log.warning("Streams that match sinks' globs can't be looked for: \(error)") }  // Else it is told already.
            problem = "streams that match can't be looked for: \(error)"
        }
        for seeker in seekers where seeker.isCurrent && seeker.entry.findProblem != problem ?? seeker.refusal {
            seeker.entry.findProblem = problem ?? seeker.refusal
            tellSoon(seeker.entry)
        }
        isFinding = false
        let waiting = entries.values.filter { $0.sink?.definition.globs.isEmpty == false }
        guard !waiting.isEmpty else { return }
        // One that began while we were at it has its turn at once.
        let isLate = waiting.contains { !$0.isSought }
        findSoon(problem != nil ? .seconds(1) : isLate ? .zero : config.sinkScan)
    }

    private func find(_ seekers: [Seeker]) async throws(RedisError) {
        let connection = connections
        let excluded = try await deadLetterStreams()
        var walking: [Seeker] = []
        for seeker in seekers where seeker.isCurrent {
            if try await mark(seeker, excluded) { walking.append(seeker) }
            seeker.marks = seeker.entry.marks
        }
        if !walking.isEmpty { try await walk(walking, on: connection) }
        for seeker in walking where seeker.isCurrent && !isDraining {
            do throws(RedisError) {
                try await use(seeker)
            } catch {
                seeker.refusal = "\(error)"
            }
        }
    }

    /// Hears since when its messages are the sink's, or says so first; what was found before, by others too, is read at once,
    /// unless it is a dead-letter stream by now. False where another definition is in force: nothing is begun by this one's.
    private func mark(_ seeker: Seeker, _ excluded: DeadLetterStreams) async throws(RedisError) -> Bool {
        let (entry, definition) = (seeker.entry, seeker.sink.definition)
        let call = SinkMarkScript.call(definition, stored: entry.isConfigured ? [] : entry.stored, known: entry.marks)
        var parts = try await store.evaluate(SinkMarkScript.script, call).elements
        guard seeker.isCurrent else { return false }
        let kept = parts.takeBytes().map { SinkFinds(json: $0) } ?? SinkFinds()
        var marks: [Glob: SinkMark] = [:]
        while let glob = parts.takeText() { marks[Glob(glob)] = SinkMark(parts.takeText()) }
        guard definition.globs.allSatisfy({ marks[$0] != nil }) else {
            nudged(entry.name)
            return false
        }
        // First what others read too: at the limit all are to read the same.
        let known = Set(kept.streams).union(definition.names)
        let streams = kept.streams.filter { definition.mayRead($0) && !definition.names.contains($0) } + entry.finds.streams.filter { !known.contains($0) }
        entry.finds.begin(Array(streams.filter { !excluded.contains($0) }.prefix(room(definition))), with: kept)
        (entry.marks, seeker.kept) = (marks, kept)
        seeker.sink.found(entry.finds.streams)
        return true
    }

    /// Streams that its globs may find.
    private func room(_ definition: SinkDefinition) -> Int { max(Limits.sinkStreamsFound - definition.names.count, 0) }

    // MARK: The walk

    /// A place in the walk is one of the process that told it: where the connection was lost in between, the walk is of no use.
    private func walk(_ seekers: [Seeker], on connection: Int) async throws(RedisError) {
        let pattern = Glob.escaped(commonPrefix(seekers.flatMap(\.globs))) + "*"
        var cursor: UInt64 = 0
        repeat {
            let sent = loop.now
            var parts = try await store.send(.scanStreams(cursor: cursor, pattern: Array(pattern.utf8), count: SinkRoster.findStep)).elements
            guard connections == connection else { throw .unavailable(.notConnected("the connection was lost during the walk, which begins anew")) }
            cursor = parts.takeText().flatMap { UInt64($0) } ?? 0
            var names = parts.takeArray()
            while let name = names?.takeBytes() { matched(name, seekers) }
            if cursor != 0 { await rest(since: sent) }
        } while cursor != 0 && !isDraining
    }

    /// After a step that was sent then.
    private func rest(since sent: EventLoop.Instant) async {
        await loop.sleep(for: min((loop.now - sent) * SinkRoster.findRest.steps, SinkRoster.findRest.most))
    }

    private func commonPrefix(_ globs: [Glob]) -> String {
        let prefixes = globs.map(\.prefix)
        var common = prefixes.first ?? []
        for prefix in prefixes { common = Array(zip(common, prefix).prefix { $0 == $1 }.map(\.0)) }
        // Cut within a character it would be another.
        while !common.isEmpty, String(validating: common, as: UTF8.self) == nil { common.removeLast() }
        return String(decoding: common, as: UTF8.self)
    }

    private func matched(_ bytes: UnsafeRawBufferPointer, _ seekers: [Seeker]) {
        let matching = seekers.filter { $0.globs.contains { $0.matches(bytes) } }
        guard !matching.isEmpty, bytes.count <= Limits.nameBytes, !bytes.contains(0) else { return }
        // A definition's names are text, and so are the names that its globs match.
        guard let name = String(validating: bytes, as: UTF8.self), !name.hasPrefix("sluice:"), !name.hasSuffix(":dlq") else { return }
        for seeker in matching { seeker.found.insert(name) }
    }

    /// Of all sinks that are known, and of all recovery policies.
    private func deadLetterStreams() async throws(RedisError) -> DeadLetterStreams {
        let version = try await store.send(.get(GatewayKeys.sinkVersion)).withBytes { Array($0) }
        if deadLetters?.version != version { deadLetters = (version, try await keptDeadLetters()) }
        var streams = DeadLetterStreams((deadLetters?.streams ?? []) + config.sinks.flatMap(\.deadLetterStreams))
        guard let ofPolicies = policyDeadLetters() else { throw .unavailable(.notConnected("the recovery policies were not read yet")) }
        for stream in ofPolicies { streams.insert(stream) }
        return streams
    }

    private func keptDeadLetters() async throws(RedisError) -> [Glob] {
        var streams: [Glob] = []
        var names: [String] = []
        var rows = try await store.send(.hkeys(GatewayKeys.sinks)).elements
        while let name = rows.takeText() { names.append(name) }
        for slice in names.slices(of: SinkRoster.loadSlice) {
            var definitions = try await store.send(.hmget(GatewayKeys.sinks, slice)).elements
            for name in slice {
                if let bytes = definitions.takeBytes() { streams += FoundSink(name, bytes, nil).definition?.deadLetterStreams ?? [] }
            }
        }
        return streams
    }

    // MARK: What was found

    private func use(_ seeker: Seeker) async throws(RedisError) {
        let (entry, definition) = (seeker.entry, seeker.sink.definition)
        let deadLetters = try await deadLetterStreams()
        // Another replica's first walk may have ended during ours: what we have found beyond that is new.
        if !isWalked(entry), try await !mark(seeker, deadLetters) { return }
        guard seeker.isCurrent else { return }
        let excluded = seeker.found.filter { deadLetters.contains($0) }
        let names = seeker.found.subtracting(excluded).subtracting(definition.names)
        let known = entry.finds.streams.filter(names.contains)
        let new = names.subtracting(known).sorted()
        let room = max(room(definition) - known.count, 0)
        var (streams, beyond) = (known, new[...])
        while streams.count < known.count + room, !beyond.isEmpty {  // Those that the ACL keeps from us take no place.
            let next = Array(beyond.prefix(known.count + room - streams.count))
            beyond.removeFirst(next.count)
            streams += try await open(next, seeker)
            guard seeker.isCurrent, !isDraining else { return }
        }
        told(entry, streams, leftOut: beyond.count)
        seeker.sink.found(streams)
        // When the turn of those beyond the limit comes, it must be known which messages are not meant.
        _ = try await open(isWalked(entry) ? beyond.filter(entry.finds.passedOver) : Array(beyond), seeker)
        guard seeker.isCurrent, !isDraining else { return }
        let finds = SinkFinds(streams, excluded: excluded, refused: seeker.refused)
        if finds != seeker.kept || !isWalked(entry) || entry.marks.count > seeker.globs.count {
            let call = SinkWalkedScript.call(definition, stored: entry.isConfigured ? [] : entry.stored, finds, seeker.marks)
            guard try await store.evaluate(SinkWalkedScript.script, call).integer == 1, seeker.isCurrent else { return }
        }
        entry.finds = finds
        entry.marks = entry.marks.filter { seeker.globs.contains($0.key) }.mapValues { SinkMark(since: $0.since, isWalked: true) }
        // Streams that are gone have a place in the run that none else can have: it begins anew without them.
        if seeker.sink.streams.count > 2 * Limits.sinkStreamsFound {
            end(entry)
            begin(entry)
        }
    }

    private func isWalked(_ entry: Entry) -> Bool { entry.marks.values.allSatisfy(\.isWalked) }

    private func mark(of name: String, _ entry: Entry) -> SinkMark? {
        let marks = entry.marks.filter { $0.key.matches(Array(name.utf8)) }.map(\.value)
        return marks.dropFirst().reduce(marks.first) { $0?.merged(with: $1) }
    }

    /// Whether all of its messages came since the sink was made.
    private func isNew(_ name: String, _ entry: Entry) -> Bool { mark(of: name, entry)?.isWalked == true && !entry.finds.passedOver(name) }

    private func told(_ entry: Entry, _ streams: [String], leftOut: Int) {
        guard leftOut != entry.leftOut || streams != entry.finds.streams else { return }
        if leftOut > entry.leftOut {
            log.warning("globs match more streams than a sink reads", metadata: metadata(entry).merging(["left_out": "\(leftOut)"]) { $1 })
        }
        entry.leftOut = leftOut
        entry.finds.streams = streams
        let all = Set(entry.streams)
        for (stream, counters) in entry.earlier where !all.contains(stream) {
            entry.gone.add(counters)
            entry.earlier[stream] = nil
        }
        tellSoon(entry)
    }

    /// Creates the group in each; those that have it now, in their order.
    private func open(_ names: [String], _ seeker: Seeker) async throws(RedisError) -> [String] {
        var opened: [String] = []
        var sent: EventLoop.Instant?
        for slice in names.slices(of: SinkRoster.openSlice) {
            if let sent { await rest(since: sent) }
            guard seeker.isCurrent, !isDraining else { return opened }
            sent = loop.now
            let results = try await store.evaluate(SinkOpenScript.script, slice.map { openCall($0, seeker) })
            for (name, result) in zip(slice, results) {
                do throws(RedisError) {
                    _ = try result.get()
                    opened.append(name)
                } catch where error.isNoSuchKey || error.code == .wrongType {
                    // It was a stream a moment ago.
                } catch where error.code == .noPerm {
                    seeker.refused.insert(name)
                    seeker.refusal = "\(Array(name.utf8).quoted): \(error)"
                }
            }
        }
        return opened
    }

    private func openCall(_ name: String, _ seeker: Seeker) -> RedisCommand {
        let (entry, definition) = (seeker.entry, seeker.sink.definition)
        let (stream, group) = (StreamName(name), GroupName(definition.group))
        if isNew(name, entry) { return SinkOpenScript.call(stream, group, since: nil, otherwise: .after(.zero)) }
        // A dead-letter stream till now: what is in it is not meant. And any other `start` says by itself what is.
        let since = definition.start == .latest && !entry.finds.excluded.contains(name) ? mark(of: name, entry)?.before : nil
        return SinkOpenScript.call(stream, group, since: since, otherwise: definition.start.position)
    }
}
