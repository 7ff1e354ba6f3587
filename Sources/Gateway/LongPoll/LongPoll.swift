// Waiting, on one loop: the shell around this loop's `WaitHome`, and the waiters whose connections are here.
//
// A waiter and its home may be on different loops of the process; what they say to one another goes by
// the loops' inboxes, in order. Nothing here is locked. How many may wait in the process is the one thing that all
// loops share: `WaiterCount`.

import Net
import Redis

/// What loops tell one another about waiting.
enum LongPollMessage: Sendable {
    /// To a stream's home.
    case event(WaitHome.Event)
    /// To the loop of a waiter.
    case look(WaiterID, toldAt: WaitHome.Instant?)
    case end(WaiterID, WaitEnd)
}

final class LongPoll {
    /// The ways to the outside, set by the server that owns this.
    struct Links {
        /// Brings a message to another loop.
        var post: (_ loop: Int, LongPollMessage) -> Void
        /// Has Redis track a stream's key; the answer is the event `.tracked`.
        var track: (StreamName, WaitHome.TrackID) -> Void
        /// Has the other gateways hear of it.
        var ask: (TurnNudge) -> Void
    }

    /// Looks of those who are not queued up yet, in rounds: who comes meanwhile waits for the looks that have
    /// begun by then, not for later ones. Where somebody always looks they would wait for ever.
    private struct FirstLooks {
        struct Round {
            var count = 0
            /// Who came meanwhile.
            var behind: [(Waiter, claims: Duration?)] = []
        }
        var rounds: [Round] = []
        /// The number of `rounds[0]`.
        var first = 0
    }

    struct Counters {
        var parked = 0
        var looks = 0
        /// By the bound that left no room.
        var refused = [Int](repeating: 0, count: WaiterCount.Bound.allCases.count)
        var departed = 0
        var handedBack = 0
        /// Requests for a turn at a group.
        var asked = 0
        /// Parked requests that were answered with messages.
        var wakeUps = 0
        /// Of these, where somebody told of a change: from the word to the reply.
        var wakeUpDelays = DurationHistogram(DurationHistogram.wakeUps)
    }

    let index: Int
    let loopCount: Int
    let count: WaiterCount
    var counters = Counters()
    var links: Links!

    private let loop: EventLoop
    private let home: WaitHome
    /// Being handled, in this order; see `handle`.
    private var events: [WaitHome.Event] = []
    private var waiters: [WaiterID: Waiter] = [:]
    /// How many on this loop wait for a key.
    private var waiting: [WaitKey: Int] = [:]
    /// Looks under way of those who are not queued up yet, but will be first.
    private var looks: [WaitKey: FirstLooks] = [:]
    private var lastNumber: UInt64 = 0
    private var isDraining = false
    private var slowTickTimer: TimerID?

    init(loop: EventLoop, index: Int, loopCount: Int, count: WaiterCount, settings: WaitHome.Settings) {
        self.loop = loop
        self.index = index
        self.loopCount = loopCount
        self.count = count
        home = WaitHome(settings: settings)
    }

    var waiterCount: Int { waiters.count }

    // MARK: For whoever waits

    /// Queues up; for a sink's reader, which is suspended on `Waiter.next`, and takes no client's place. Every waiter must
    /// `leave` or report that it found something.
    func park(_ key: WaitKey, until deadline: EventLoop.Instant?) -> Waiter {
        let waiter = newPart(key)
        enter(waiter, claims: nil, until: deadline)
        return waiter
    }

    /// One of the waiters of the process, not queued up yet, whose place was taken for it.
    func newWaiter(_ key: WaitKey, _ place: WaiterCount.Place) -> Waiter { newWaiter(key, place: place) }

    /// One of many waiters of a call that has, or will have, a single place; or one that needs none.
    func newPart(_ key: WaitKey) -> Waiter { newWaiter(key, place: nil) }

    private func newWaiter(_ key: WaitKey, place: WaiterCount.Place?) -> Waiter {
        lastNumber += 1
        let waiter = Waiter(id: WaiterID(loop: index, number: lastNumber), key: key, place: place)
        waiters[waiter.id] = waiter
        return waiter
    }

    /// Balanced by `givePlace`. `streams`, `client`: what is waited for by whom, where that is bounded.
    func takePlace(_ streams: [StreamName], for client: ClientAddress?) throws(Problem) -> WaiterCount.Place {
        switch count.enter(streams, for: client) {
        case .success(let place):
            counters.parked += 1
            return place
        case .failure(let refusal):
            counters.refused[refusal.bound.rawValue] += 1
            throw refusal.problem
        }
    }

    func givePlace(_ place: WaiterCount.Place) { count.leave(place) }

    /// Queues up: behind those whose own look is under way, unless it comes from such a look. The first
    /// word may come before this returns.
    func enter(_ waiter: Waiter, claims: Duration?, until deadline: EventLoop.Instant?, afterLook: Bool = false) {
        waiter.isEntered = true
        waiting[waiter.key, default: 0] += 1
        let end = isDraining ? loop.now : deadline
        let last: Waiter.Signal = isDraining ? .draining : .expired
        if let end { waiter.timer = loop.schedule(at: end) { waiter.deliver(last) } }
        if !afterLook, let last = looks[waiter.key]?.rounds.indices.last {
            looks[waiter.key]!.rounds[last].behind.append((waiter, claims))
        } else {
            join(waiter, claims: claims)
        }
    }

    private func join(_ waiter: Waiter, claims: Duration?) {
        send(.event(.join(waiter.id, waiter.key, claims: claims, takesUnowned: waiter.takesUnowned)), to: homeIndex(waiter.key.stream))
    }

    /// Whether somebody on this loop waits for the key already: who comes now has nothing to look for that
    /// they would not find, and no right to find it before them.
    func isWaitedFor(_ key: WaitKey) -> Bool { waiting[key] != nil || looks[key] != nil }

    /// Somebody looks, and will wait if there is nothing. Balanced by `endLook` with the same round.
    func beginLook(_ key: WaitKey) -> Int {
        var first = looks[key] ?? FirstLooks()
        if first.rounds.last?.behind.isEmpty != true { first.rounds.append(FirstLooks.Round()) }
        first.rounds[first.rounds.count - 1].count += 1
        looks[key] = first
        return first.first + first.rounds.count - 1
    }

    /// Whoever looked has queued up or got something: now it is the turn of those who came meanwhile.
    func endLook(_ key: WaitKey, round: Int) {
        guard var first = looks.removeValue(forKey: key) else { preconditionFailure("A look ends that did not begin.") }
        first.rounds[round - first.first].count -= 1
        let ended = first.rounds.prefix { $0.count == 0 }
        first.rounds.removeFirst(ended.count)
        first.first += ended.count
        if !first.rounds.isEmpty { looks[key] = first }
        for (waiter, claims) in ended.flatMap(\.behind) where waiters[waiter.id] != nil && waiter.isEntered {
            join(waiter, claims: claims)
        }
    }

    /// Its time is up, and it gets a little more for its last words: then it is told so again.
    func grant(_ waiter: Waiter, _ time: Duration) {
        guard waiters[waiter.id] != nil else { return }
        if let timer = waiter.timer { loop.cancel(timer) }
        waiter.timer = loop.schedule(at: loop.now + time) { waiter.deliver(.expired) }
    }

    func leave(_ waiter: Waiter) {
        guard remove(waiter), waiter.isEntered else { return }
        send(.event(.leave(waiter.id)), to: homeIndex(waiter.key.stream))
    }

    /// It looks no more, and those behind it go first. It keeps its place, and what time it has, for its last words: it
    /// leaves still.
    func stepAside(_ waiter: Waiter) {
        guard waiters[waiter.id] != nil, waiter.isEntered else { return }
        stopCounting(waiter)
        waiter.isEntered = false
        send(.event(.leave(waiter.id)), to: homeIndex(waiter.key.stream))
    }

    /// What the look came to. Who found something, or the end, has left with it.
    func report(_ waiter: Waiter, _ look: WaitHome.Look) {
        switch look.result {
        case .found(_, stays: false), .ended: guard remove(waiter) else { return }
        case .found, .nothing, .failed: break
        }
        send(.event(.looked(waiter.id, look)), to: homeIndex(waiter.key.stream))
    }

    /// A parked request has its reply, which goes to the socket at the end of this tick.
    func answered(toldAt word: EventLoop.Instant?) {
        counters.wakeUps += 1
        if let word { counters.wakeUpDelays.count(loop.clock.now - word) }
    }

    private func remove(_ waiter: Waiter) -> Bool {
        guard waiters.removeValue(forKey: waiter.id) != nil else { return false }
        if let timer = waiter.timer { loop.cancel(timer) }
        waiter.owner = nil
        stopCounting(waiter)
        if let place = waiter.place { givePlace(place) }
        return true
    }

    private func stopCounting(_ waiter: Waiter) {
        guard waiter.isEntered, let count = waiting[waiter.key] else { return }
        waiting[waiter.key] = count > 1 ? count - 1 : nil
    }

    func waiter(_ id: WaiterID) -> Waiter? { waiters[id] }

    // MARK: For the server

    func receive(_ message: LongPollMessage) {
        switch message {
        case .event(let event): handle(event)
        case .look(let waiter, let word):
            counters.looks += 1
            guard let waiter = waiters[waiter] else { return }  // One who has left has told its home so.
            if isDraining { return waiter.deliver(.draining) }  // It would be read for somebody who is about to be sent away.
            waiter.toldAt = word
            waiter.deliver(.look)
        case .end(let waiter, let reason): waiters[waiter]?.deliver(.ended(reason))
        }
    }

    /// Redis told of a change (nil: of any key), or may have changed while nobody listened.
    func invalidated(_ stream: StreamName?) {
        guard home.waiterCount > 0 else { return }
        receive(.event(.invalidated(stream)))
    }

    /// Heard by every loop, and the stream's home has somebody look. A loop with waiters of its own tells it once more: the
    /// home may have heard it first, and whoever looked here did so by what this loop knew before.
    func nudged(_ key: WaitKey) {
        guard isHome(of: key.stream) ? home.waiterCount > 0 : waiting[key] != nil else { return }
        send(.event(.nudged(key)), to: homeIndex(key.stream))
    }

    /// Heard by every loop, this gateway's own too, which has had nothing for no shorter than it said.
    func asked(_ turn: TurnNudge) {
        guard home.waiterCount > 0, homeIndex(turn.key.stream) == index else { return }
        receive(.event(.asked(turn.key, hunger: turn.hunger)))
    }

    func use(_ settings: WaitHome.Settings) { home.settings = settings }

    /// Redis tracks nothing for us on this connection: groups are polled. True where they were not yet.
    func stopTracking() -> Bool {
        defer { home.settings.isTracking = false }
        return home.settings.isTracking
    }

    /// Everybody gets an empty answer, and so does whoever comes now.
    func drain() {
        isDraining = true
        for waiter in Array(waiters.values) { waiter.deliver(.draining) }
    }

    // MARK: Inside

    /// Whether the stream's home is on this loop.
    func isHome(of stream: StreamName) -> Bool { homeIndex(stream) == index }

    func homeIndex(_ stream: StreamName) -> Int {
        loopCount == 1 ? 0 : Int(UInt(bitPattern: stream.hashValue) % UInt(loopCount))
    }

    private func send(_ message: LongPollMessage, to target: Int) {
        if target == index { receive(message) } else { links.post(target, message) }
    }

    /// One event may bring about the next: of thousands of waiters whose clients have gone, each is told to look, and leaves.
    /// They are handled one after the other, not within one another.
    private func handle(_ event: WaitHome.Event) {
        events.append(event)
        guard events.count == 1 else { return }
        var next = 0
        while next < events.count {
            perform(home.handle(events[next], now: loop.now))
            next += 1
        }
        events.removeAll(keepingCapacity: next < 100)
    }

    private func perform(_ actions: [WaitHome.Action]) {
        for action in actions {
            switch action {
            case .track(let stream, let id): links.track(stream, id)
            case .look(let waiter, let word): send(.look(waiter, toldAt: word), to: waiter.loop)
            case .end(let waiter, let reason): send(.end(waiter, reason), to: waiter.loop)
            case .ask(let key, let hunger):
                counters.asked += 1
                links.ask(TurnNudge(key, hunger: hunger))
            case .wake(let key, let instant):
                loop.schedule(at: instant) { [unowned self] in receive(.event(.timer(key))) }
            }
        }
        if home.waiterCount > 0 && slowTickTimer == nil { scheduleSlowTick() }
    }

    /// Ten times a second, while anybody waits here.
    private func scheduleSlowTick() {
        slowTickTimer = loop.schedule(at: loop.now + .milliseconds(100)) { [unowned self] in
            slowTickTimer = nil
            receive(.event(.slowTick))
        }
    }
}
