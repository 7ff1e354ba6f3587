// What a consumer asked to read, and what one look got.

import Net
import Redis

/// A read as a consumer of a group, parsed and checked.
struct GroupRead {
    var stream: StreamName
    var group: GroupName
    var consumer: ConsumerName
    var position = StreamGroupStart.new
    var count = 10
    /// How long to wait; nil: not at all.
    var block: Block?
    var noAck = false
    /// First claim what any consumer has left idle for so long.
    var claimMinIdle: Duration?
    /// That long is the group's lease, which `claimMinIdle` is to become.
    var claimsByLease = false
    /// Take messages that nobody holds first.
    var takesUnowned = true
    var asPairs = false
    /// Each message is an event, not one of a list.
    var asEvents = false
    /// The group's lag and pending come with the answer.
    var wantsStats = false
    /// How many streams are read into the same answer.
    var sharers = 1
    /// Who would wait, where that is bounded.
    var client: ClientAddress?

    var key: WaitKey { WaitKey(stream: stream, group: group) }
}

/// How long a call may wait, after the server's own limit was applied.
enum Block: Equatable {
    case upTo(Duration)
    case forEver

    /// `wish` of zero is as long as the server allows; a `limit` of zero is for ever.
    init(wish: Duration, limit: Duration) {
        switch (wish, limit) {
        case (.zero, .zero): self = .forEver
        case (.zero, let limit): self = .upTo(limit)
        case (let wish, .zero): self = .upTo(wish)
        case (let wish, let limit): self = .upTo(min(wish, limit))
        }
    }

    func deadline(from now: EventLoop.Instant) -> EventLoop.Instant? {
        if case .upTo(let duration) = self { now + duration } else { nil }
    }

    /// For the header `Sluice-Block-Ms`; 0 is for ever.
    var milliseconds: Int {
        if case .upTo(let duration) = self { duration.milliseconds } else { 0 }
    }
}

/// What becomes of messages that Redis gives when their reader no longer waits for them.
struct Lateness {
    /// When the reader gives up, where that is before Redis' deadline.
    var patience: EventLoop.Instant?
    /// They become unowned: the reader is told nothing of them.
    var handsBack: Bool

    /// A parked reader has a clock of its own, and outlives a look that failed.
    static let ofParked = Lateness(patience: nil, handsBack: true)

    /// Of a look on the caller's own account. One who waits for less than Redis has time gets the empty answer that
    /// was asked for, in time; any other is told that there may be pending messages under its name.
    init(ofOwnLook block: Block?, from now: EventLoop.Instant, redisTimeout: Duration) {
        if case .upTo(let time)? = block, time + Lateness.grace < redisTimeout { patience = now + time + Lateness.grace }
        handsBack = patience != nil
    }

    /// A Redis that is merely slow is waited for a little: what it gave need not be delivered twice.
    private static let grace = Duration.milliseconds(100)

    private init(patience: EventLoop.Instant?, handsBack: Bool) {
        self.patience = patience
        self.handsBack = handsBack
    }
}

/// What one look got: the messages are in the reply's body already; this is what else is known of them.
struct Batch {
    /// A reply of Redis with messages in it.
    enum Slice {
        case read(RedisReply)
        case taken(RedisReply)
    }

    var slices: [Slice] = []
    /// The messages of slices that are no longer kept.
    private var released: [StreamID] = []
    var count = 0
    /// Bytes that they are in the reply.
    var bytes = 0
    /// The last message of a consumer's own history.
    var last: StreamID?
    /// As many as were asked for, or as fit: there may be more.
    var isFull = false
    /// Where the script goes on, while there may be more for it to take.
    var cursor: String?
    /// When the next unowned message falls due.
    var unownedDue: EventLoop.Instant?
    /// When the next message may be idle enough.
    var claimDue: EventLoop.Instant?

    var isEmpty: Bool { count == 0 }

    /// The IDs of all messages: for handing them back.
    var ids: [[UInt8]] { released.map { Array($0.description.utf8) } + keptIDs }

    private var keptIDs: [[UInt8]] {
        slices.flatMap { slice in
            switch slice {
            case .read(let reply): reply.entriesOfOnlyStream.map(Batch.ids) ?? []
            case .taken(let reply): reply.takenParts.map { Batch.ids($0.taken) + Batch.ids($0.fresh) } ?? []
            }
        }
    }

    /// Lets Redis' replies go: of messages that are on their way, only the IDs are still needed.
    mutating func releaseReplies() {
        released += keptIDs.compactMap { $0.withUnsafeBytes { StreamID($0) } }
        slices = []
    }

    private static func ids(_ entries: RedisCursor) -> [[UInt8]] {
        var entries = entries
        var ids: [[UInt8]] = []
        while let parts = entries.enterArray() {
            if let id = entries.takeBytes() { ids.append(Array(id)) }
            for _ in 1..<max(parts, 1) { entries.skip() }
        }
        return ids
    }
}

extension RedisReply {
    /// The entries in a reply of XREAD or XREADGROUP about one stream; nil when there are none.
    var entriesOfOnlyStream: RedisCursor? {
        var streams = elements
        guard streams.remaining == 1, streams.enterArray() == 2 else { return nil }
        streams.skip()
        return streams.lastArray
    }

    /// The parts of `TakeScript`'s reply.
    var takenParts: (taken: RedisCursor, fresh: RedisCursor, due: Int64, idle: Int64, cursor: String, rest: String)? {
        var parts = elements
        guard parts.remaining == 6, let taken = parts.takeArray(), let fresh = parts.takeArray(),
            let due = parts.takeInteger(), let idle = parts.takeInteger(), let cursor = parts.takeText(), let rest = parts.takeText()
        else { return nil }
        return (taken, fresh, due, idle, cursor, rest)
    }
}
