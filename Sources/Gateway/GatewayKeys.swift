// The keys and channels in Redis that are the gateway's own. All begin with `sluice:`.
//
// What goes with a stream lives in the stream's slot, so that a script may touch both: the tag in braces
// is a short string of the same slot, since the stream's own name lands elsewhere when it holds braces.

import Net
import Redis

enum GatewayKeys {
    /// A sorted set, entry ID → the time (ms since 1970) before which no read takes it. An entry without a
    /// score is due now. The stream's length stands before its name, so that no two pairs share a key.
    static func due(_ stream: StreamName, _ group: GroupName) -> [UInt8] { duePrefix(stream) + group.bytes }

    /// A string that lives for `idempotency_ttl_ms`: what was added to the stream under an `Idempotency-Key`; see
    /// `IdempotentAddScript`.
    static func idempotency(_ stream: StreamName, _ name: [UInt8]) -> [UInt8] { prefix("idem", stream) + name }

    /// A hash: the group's recovery policy, its counters, and how far the walk over the pending list is.
    static func recovery(_ stream: StreamName, _ group: GroupName) -> [UInt8] { recoveryPrefix(stream) + group.bytes }

    /// A hash that lives for `lease_ms`: which run of an ordered sink delivers the group's messages; see `SinkLeaseScript`.
    static func sinkLease(_ stream: StreamName, _ group: GroupName) -> [UInt8] { prefix("lease", stream) + group.bytes }

    /// A sorted set of the groups that have a policy, packed as in a nudge → when it was put (ms since 1970). It lives
    /// in a slot of its own: it is written before the policy and taken back after it, so that a crash in between
    /// leaves an entry without a policy, which does no harm and is dropped after an hour.
    static let policies = Array("sluice:policies".utf8)

    // Sinks (API.md §6). All of these live in one slot, so that a script may touch several of them.

    /// A hash, sink's name → its definition as JSON, of the sinks that were made over HTTP.
    static let sinks = Array("sluice:{sinks}".utf8)

    /// A hash, sink's name → why it delivers nothing (`SinkStop`): no entry, and it delivers.
    static let sinkStops = Array("sluice:{sinks}:stops".utf8)

    /// A number that every change of the two above raises: who missed the nudge finds out by it.
    static let sinkVersion = Array("sluice:{sinks}:version".utf8)

    /// A hash: since when the sink reads what its globs match, and which streams those are; see `SinkMarkScripts`.
    static func sinkGlobs(_ sink: String) -> [UInt8] { Array("sluice:{sinks}:globs:\(sink)".utf8) }

    /// A sorted set, loop of a replica → when it last told of its sinks (ms since 1970).
    static let sinkReplicas = Array("sluice:{sinks}:replicas".utf8)

    /// A hash, sink's name → what a replica's loop tells of it (`SinkReport`). It lives as long as it is told of.
    static func sinkReports(_ replica: String) -> [UInt8] { Array("sluice:{sinks}:reports:\(replica)".utf8) }

    /// A list of a sink's latest attempts, the newest first: those that failed, and a sample of the others.
    static func sinkAttempts(_ sink: String, failed: Bool) -> [UInt8] {
        Array("sluice:{sinks}:\(failed ? "failures" : "successes"):\(sink)".utf8)
    }

    /// How the keys of due times begin that end in the group's name.
    static func duePrefix(_ stream: StreamName) -> [UInt8] { prefix("due", stream) }

    /// How the keys of recovery policies begin that end in the group's name.
    static func recoveryPrefix(_ stream: StreamName) -> [UInt8] { prefix("recovery", stream) }

    private static func prefix(_ kind: String, _ stream: StreamName) -> [UInt8] {
        var key = Array("sluice:{".utf8)
        key += HashSlot(of: stream.bytes).tag
        key += Array("}:\(kind):\(stream.bytes.count):".utf8)
        key += stream.bytes
        key.append(UInt8(ascii: ":"))
        return key
    }
}

/// What Redis' key tracking does not tell, told by PUBLISH: `u` (a group has a new unowned message), `d`
/// (it has one that falls due later), `g` (the group itself was changed), `p` (its recovery policy was) or `l` (nobody has
/// the lease on delivering it any more), the stream's length, `:`, the stream, the group.
struct Nudge: Equatable {
    enum Kind: UInt8 {
        case unowned = 0x75  // u
        case due = 0x64      // d
        case group = 0x67    // g
        case policy = 0x70   // p
        case lease = 0x6C    // l
    }

    var kind: Kind
    var stream: StreamName
    var group: GroupName

    init(_ kind: Kind, _ stream: StreamName, _ group: GroupName) {
        self.kind = kind
        self.stream = stream
        self.group = group
    }

    /// Nil for what no gateway has sent.
    init?(payload: UnsafeRawBufferPointer) {
        guard let first = payload.first, let kind = Kind(rawValue: first),
            let (stream, group) = Nudge.unpack(UnsafeRawBufferPointer(rebasing: payload.dropFirst()))
        else { return nil }
        self.init(kind, stream, group)
    }

    var payload: [UInt8] { [kind.rawValue] + Nudge.pack(stream, group) }

    static func pack(_ stream: StreamName, _ group: GroupName) -> [UInt8] {
        Array("\(stream.bytes.count):".utf8) + stream.bytes + group.bytes
    }

    static func unpack(_ bytes: UnsafeRawBufferPointer) -> (StreamName, GroupName)? {
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")),
            let length = Int(String(decoding: bytes[..<colon], as: UTF8.self)),
            length > 0, bytes.count > colon + 1 + length
        else { return nil }
        let start = colon + 1
        return (
            StreamName(bytes: Array(bytes[start..<(start + length)])), GroupName(bytes: Array(bytes[(start + length)...]))
        )
    }

    /// Goes into the pipeline behind the command that it tells of.
    var publish: RedisCommand { .nudge(payload) }
}

/// What Redis' key tracking does not tell of sinks, told by PUBLISH on the same channel: `s` and the name of the sink
/// that was put, deleted, paused or resumed.
enum SinkNudge {
    static let kind = UInt8(ascii: "s")

    /// In a script that has changed the sink `name`. An ACL that refuses the channel undoes nothing.
    static let lua = "redis.pcall('PUBLISH', '\(NudgeChannel.name)', '\(Unicode.Scalar(kind))' .. name)"

    /// The sink's name; nil for any other nudge.
    static func sink(in payload: UnsafeRawBufferPointer) -> String? {
        payload.first == kind ? String(decoding: payload.dropFirst(), as: UTF8.self) : nil
    }
}

/// A gateway's request for a turn at a group whose messages others always had first (see `WaitHome`), told by PUBLISH on
/// the same channel: `t`, for how many milliseconds it has had nothing, `:`, and the stream and the group as in a nudge.
struct TurnNudge: Equatable {
    private static let kind = UInt8(ascii: "t")

    var key: WaitKey
    var hunger: Duration

    init?(payload: UnsafeRawBufferPointer) {
        guard payload.first == TurnNudge.kind, let colon = payload.firstIndex(of: UInt8(ascii: ":")),
            let time = Int64(String(decoding: payload[1..<colon], as: UTF8.self)), time >= 0, let group = WaitKey.group(
                in: UnsafeRawBufferPointer(rebasing: payload[(colon + 1)...]))
        else { return nil }
        key = group
        hunger = .milliseconds(time)
    }

    init(_ key: WaitKey, hunger: Duration) {
        self.key = key
        self.hunger = hunger
    }

    /// Nil for a key without a group: its readers lose nothing to one another.
    var publish: RedisCommand? {
        key.group.map { .nudge([TurnNudge.kind] + Array("\(hunger.milliseconds):".utf8) + Nudge.pack(key.stream, $0)) }
    }
}

extension WaitKey {
    fileprivate static func group(in packed: UnsafeRawBufferPointer) -> WaitKey? {
        Nudge.unpack(packed).map { WaitKey(stream: $0.0, group: $0.1) }
    }
}
