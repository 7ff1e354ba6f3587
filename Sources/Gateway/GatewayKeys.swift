// The keys and channels in Redis that are the gateway's own. All begin with `sluice:`.
//
// What goes with a stream lives in the stream's slot, so that a script may touch both: the tag in braces
// is a short string of the same slot, since the stream's own name lands elsewhere when it holds braces.

import Redis

enum GatewayKeys {
    /// A sorted set, entry ID → the time (ms since 1970) before which no read takes it. An entry without a
    /// score is due now. The stream's length stands before its name, so that no two pairs share a key.
    static func due(_ stream: StreamName, _ group: GroupName) -> [UInt8] { duePrefix(stream) + group.bytes }

    /// How the due times' keys of all groups of a stream begin; the group's name is what follows.
    static func duePrefix(_ stream: StreamName) -> [UInt8] {
        var key = Array("sluice:{".utf8)
        key += HashSlot(of: stream.bytes).tag
        key += Array("}:due:\(stream.bytes.count):".utf8)
        key += stream.bytes
        key.append(UInt8(ascii: ":"))
        return key
    }
}

/// What Redis' key tracking does not tell, told by PUBLISH: `u` (a group has a new unowned message), `d`
/// (it has one that falls due later) or `g` (the group itself was changed), the stream's length, `:`, the stream, the
/// group.
struct Nudge: Equatable {
    enum Kind: UInt8 {
        case unowned = 0x75  // u
        case due = 0x64      // d
        case group = 0x67    // g
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
            let colon = payload.firstIndex(of: UInt8(ascii: ":")),
            let length = Int(String(decoding: payload[1..<colon], as: UTF8.self)),
            length > 0, payload.count > colon + 1 + length
        else { return nil }
        let start = colon + 1
        self.kind = kind
        stream = StreamName(bytes: Array(payload[start..<(start + length)]))
        group = GroupName(bytes: Array(payload[(start + length)...]))
    }

    var payload: [UInt8] {
        [kind.rawValue] + Array("\(stream.bytes.count):".utf8) + stream.bytes + group.bytes
    }

    /// Goes into the pipeline behind the command that it tells of.
    var publish: RedisCommand { .nudge(payload) }
}
