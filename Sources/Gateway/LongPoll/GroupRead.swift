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

/// A message that its consumer was given.
struct Delivery: Sendable {
    let id: StreamID
    /// Its delivery count then: a higher one means that it was delivered again. 0: not known.
    let count: Int64
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
    private var released: [Delivery] = []
    var count = 0
    /// Bytes that they are in the reply.
    var bytes = 0
    /// The last message of a consumer's own history.
    var last: StreamID?
    /// As many as were asked for, or as fit: there may be more.
    var isFull = false
    /// A later call of the look was not answered: Redis may have given more.
    var isUncertain = false
    /// Unowned messages were looked for, not only new ones.
    var hasSought = false
    /// Where the script goes on, while there may be more for it to take.
    var cursor: String?
    /// When the next unowned message falls due.
    var unownedDue: EventLoop.Instant?
    /// When the next message may be idle enough.
    var claimDue: EventLoop.Instant?

    var isEmpty: Bool { count == 0 }

    /// All messages of a look for new ones: for handing them back.
    var deliveries: [Delivery] { released + kept }

    private var kept: [Delivery] {
        slices.flatMap { slice in
            switch slice {
            case .read(let reply): reply.entriesOfOnlyStream.map(Batch.fresh) ?? []
            case .taken(let reply): reply.takenParts.map { Batch.taken($0.taken) + Batch.fresh($0.fresh) } ?? []
            }
        }
    }

    /// Lets Redis' replies go: of messages that are on their way, only this is still needed.
    mutating func releaseReplies() {
        released += kept
        slices = []
    }

    private static func fresh(_ entries: RedisCursor) -> [Delivery] {
        var entries = entries
        var list: [Delivery] = []
        while entries.remaining > 0 {
            if let id = entries.peekID() { list.append(Delivery(id: id, count: 1)) }
            entries.skip()
        }
        return list
    }

    private static func taken(_ rows: RedisCursor) -> [Delivery] {
        var rows = rows
        var list: [Delivery] = []
        while rows.remaining > 0 {
            let id = rows.peekID()
            guard var row = rows.takeArray() else { continue }
            row.skip()
            row.skip()
            if let id { list.append(Delivery(id: id, count: row.takeInteger() ?? 0)) }
        }
        return list
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
