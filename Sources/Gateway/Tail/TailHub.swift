// The live tails whose connections are on this loop, and the feeds whose streams are at home here.
//
// What is added to a stream goes from its feed, on its home loop, to the list of its tails on each loop, and from there
// to the tails: a stretch of the list a tick, so that thousands of them freeze nothing. Loops tell one another by
// their inboxes, in order.

import Net
import Redis

/// What loops tell one another about tails.
enum TailMessage: Sendable {
    // To a stream's home.
    case subscribe(FeedKey, loop: Int, after: StreamID)
    case unsubscribe(FeedKey, loop: Int)
    /// The batch that came first was passed on to all tails.
    case delivered(FeedKey, loop: Int)
    // To a loop with tails.
    /// What comes follows this position.
    case joined(FeedKey, StreamID)
    case batch(FeedKey, EventBatch)
    case released(WaitKey, Release)
}

struct TailCounters: Sendable {
    /// Open now.
    var open = 0
    var opened = 0
    /// Events, as often as they were sent.
    var events = 0
    /// Reads of Redis that feeds made.
    var reads = 0
    /// Tails that were ended because they did not keep up.
    var behind = 0
    var gaps = 0
    var resets = 0
}

final class TailHub {
    var counters = TailCounters()
    /// Brings a message to another loop; set by the server.
    var post: (_ loop: Int, TailMessage) -> Void = { _, _ in preconditionFailure("Nobody carries messages.") }
    unowned let api: API
    private var lists: [FeedKey: TailMembers] = [:]
    private var feeds: [FeedKey: TailFeed] = [:]
    private var open: [ObjectIdentifier: EventStream] = [:]
    private var comments = CommentRound()
    /// Of consumers, by their groups.
    private var groupTails: [WaitKey: [ObjectIdentifier: GroupTail]] = [:]

    init(_ api: API) { self.api = api }

    private var index: Int { api.longPoll.index }

    // MARK: Streams of events

    func entered(_ stream: EventStream) {
        open[ObjectIdentifier(stream)] = stream
        counters.opened += 1
        counters.open += 1
        comments.add(stream, due: api.loop.now + api.config.tailComment)
        scheduleComments()
    }

    func left(_ stream: EventStream) {
        if open.removeValue(forKey: ObjectIdentifier(stream)) != nil { counters.open -= 1 }
    }

    /// Everybody is sent on its way, and so is whoever comes now.
    func drain() {
        for stream in Array(open.values) { stream.endForShutdown() }
    }

    private func scheduleComments() {
        guard !comments.isScheduled, let due = comments.next else { return }
        comments.isScheduled = true
        api.loop.schedule(at: due) { [unowned self] in
            comments.isScheduled = false
            while let stream = comments.takeDue(api.loop.now) {
                stream.sendComment()
                comments.add(stream, due: api.loop.now + api.config.tailComment)
            }
            scheduleComments()
        }
    }

    // MARK: Tails

    func join(_ tail: Tail) {
        if let list = lists[tail.key] { return list.add(tail) }
        let list = TailMembers(self, tail.key)
        lists[tail.key] = list
        list.add(tail)
        send(.subscribe(tail.key, loop: index, after: tail.after), to: api.longPoll.homeIndex(tail.key.stream))
    }

    func leave(_ tail: Tail) {
        guard let list = lists[tail.key], list.remove(tail), list.isEmpty else { return }
        list.isOver = true
        lists[tail.key] = nil
        send(.unsubscribe(tail.key, loop: index), to: api.longPoll.homeIndex(tail.key.stream))
    }

    func passedOn(_ key: FeedKey) {
        send(.delivered(key, loop: index), to: api.longPoll.homeIndex(key.stream))
    }

    // MARK: Tails of consumers

    func follow(_ tail: GroupTail) {
        let key = tail.read.key
        if groupTails[key] == nil { api.followed.add(key, index) }
        groupTails[key, default: [:]][ObjectIdentifier(tail)] = tail
    }

    /// Also of one that never began.
    func unfollow(_ tail: GroupTail) {
        let key = tail.read.key
        guard groupTails[key]?.removeValue(forKey: ObjectIdentifier(tail)) != nil, groupTails[key]?.isEmpty ?? false else { return }
        groupTails[key] = nil
        api.followed.remove(key, index)
    }

    private func released(_ key: WaitKey, _ release: Release) {
        for tail in Array((groupTails[key] ?? [:]).values) where release.holder.includes(tail.read.consumer) {
            tail.released(release.ids, before: release.time)
        }
    }

    // MARK: Words between loops

    func send(_ message: TailMessage, to loop: Int) {
        if loop == index { receive(message) } else { post(loop, message) }
    }

    func receive(_ message: TailMessage) {
        switch message {
        case .subscribe(let key, let loop, let after): subscribe(key, loop, after)
        case .unsubscribe(let key, let loop):
            if feeds[key]?.unsubscribe(loop) ?? false { feeds[key] = nil }
        case .delivered(let key, let loop): feeds[key]?.delivered(loop)
        case .joined(let key, let position): lists[key]?.joined(position)
        case .batch(let key, let batch):
            // One that has just lost its last tail has told so already.
            lists[key]?.add(batch)
        case .released(let key, let release): released(key, release)
        }
    }

    private func subscribe(_ key: FeedKey, _ loop: Int, _ after: StreamID) {
        if let feed = feeds[key] { return feed.subscribe(loop) }
        let feed = TailFeed(api, key, at: after)
        feeds[key] = feed
        feed.subscribe(loop)
        feed.begin()
    }

    func reconnected() {
        for feed in feeds.values { feed.reconnected() }
        for tails in groupTails.values { for tail in tails.values { tail.reconnected() } }
    }

    /// Redis told that all its keys were.
    func changedAll() {
        for feed in feeds.values { feed.changed() }
    }

    /// Redis told that the stream's key was changed.
    func changed(_ stream: StreamName) {
        guard !feeds.isEmpty else { return }
        for asPairs in [false, true] { feeds[FeedKey(stream: stream, asPairs: asPairs)]?.changed() }
    }
}

/// Streams of events in the order in which each is due for its next comment.
private struct CommentRound {
    private struct Turn {
        weak var stream: EventStream?
        let due: EventLoop.Instant
    }

    private var turns = Fifo<Turn>()
    var isScheduled = false

    var next: EventLoop.Instant? { turns.first?.due }

    mutating func add(_ stream: EventStream, due: EventLoop.Instant) { turns.append(Turn(stream: stream, due: due)) }

    /// The first that is due and still there.
    mutating func takeDue(_ now: EventLoop.Instant) -> EventStream? {
        while let turn = turns.first, turn.due <= now {
            _ = turns.popFirst()
            if let stream = turn.stream, !stream.isOver { return stream }
        }
        return nil
    }
}
