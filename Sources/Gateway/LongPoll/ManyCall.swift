// One call that reads many streams, from its own looks to its answer. It is a waiter of each of its streams: a home
// knows nothing of the others.
//
//   looking → resting → gathering → over
//
// It looks at each stream on its own account, but where others wait already, and queues up at each whose look found
// nothing. Every look is a task of its own. The first that finds something, or meets an end, begins the gathering: the
// call leaves the homes where it does not look, at once (one that has told it to look meanwhile hears that it left in
// the middle, and asks its next waiter), and is answered when the looks under way are done, or after a while. So
// whatever a look takes is either in the answer or handed back: a look that ends after the call is over hands back.

import HTTP
import Net
import Redis

final class ManyCall: LaterAnswer {
    /// One stream of the call. The two let go of one another when the call is over.
    final class Part: WaiterOwner {
        let call: ManyCall
        let waiter: Waiter
        var read: ParkedRead
        fileprivate(set) var lateness = Lateness.ofParked
        /// It looks, or waits for the group's numbers after it has found something.
        fileprivate(set) var isLooking = false
        fileprivate var hasLooked = false
        /// Of its look on the call's own account, which others queue up behind.
        fileprivate var round: Int?
        fileprivate var messages: ByteBuffer?
        fileprivate var stats: ByteBuffer?
        fileprivate var batch = Batch()
        fileprivate var problem: Problem?

        fileprivate init(_ read: ParkedRead, of call: ManyCall) {
            self.read = read
            self.call = call
            waiter = call.api.longPoll.newPart(read.key)
            waiter.owner = self
            waiter.takesUnowned = read.takesUnowned
        }

        /// Its home told it to look. Else it looks on the call's own account.
        var isTold: Bool { waiter.isEntered }

        func signalled(_ signal: Waiter.Signal) { call.signalled(signal, self) }
    }

    private enum State { case looking, resting, gathering, over }

    /// How long the looks under way are waited for, once there is something to tell.
    private static let grace = Duration.milliseconds(250)

    /// Makes it the reply to its request; set by the responder that let the call in.
    var complete: (Result<Response, Problem>) -> Response = { _ in preconditionFailure("Not let in yet.") }
    private let api: API
    /// Nil: it does not wait.
    let block: Block?
    private var parts: [Part] = []
    private var state = State.looking
    private var client: HTTPConnection?
    /// The answer, where it came before the connection was ready for it.
    private var early: Result<Response, Problem>?
    /// It is one of the process' waiters, however many streams it waits for, and one of each stream's.
    private var place: WaiterCount.Place?
    /// There was no room for another waiter.
    private var refusal: Problem?
    private var isOutOfTime = false
    private var deadline: TimerID?
    private var gathering: TimerID?

    init(_ reads: [ParkedRead], _ block: Block?, _ api: API) {
        self.api = api
        self.block = block
        parts = reads.map { Part($0, of: self) }
    }

    // MARK: Beginning

    func begin() -> Outcome {
        if let end = block?.deadline(from: api.loop.now) {
            deadline = api.loop.schedule(at: end) { [weak self] in self?.timeIsUp() }
        }
        let behind = parts.filter(isBehindOthers)
        for part in parts where !behind.contains(where: { $0 === part }) {
            if block != nil, part.read.key.group != nil { part.round = api.longPoll.beginLook(part.read.key) }
            part.hasLooked = true
            part.lateness = Lateness(ofOwnLook: block, from: api.loop.now, redisTimeout: api.limits.redisTimeout)
            startLook(part)
        }
        for part in behind { enter(part) }
        settle()
        return .parked(self)
    }

    /// Whoever waits for the group already was here first; a claim looks on its own account, and so does a tail.
    private func isBehindOthers(_ part: Part) -> Bool {
        guard block != nil, part.read.claims == nil, api.store.features != nil else { return false }
        return part.read.key.group != nil && api.longPoll.isWaitedFor(part.read.key)
    }

    private func startLook(_ part: Part) {
        part.isLooking = true
        api.startWork(.look(part.waiter.id))
    }

    /// Queues up at the part's home; that of its own look is before those who came meanwhile.
    private func enter(_ part: Part) {
        guard state != .over, refusal == nil else { return }
        do {
            if place == nil { place = try api.longPoll.takePlace(parts.map(\.read.key.stream), for: part.read.client) }
        } catch {
            return refusal = error
        }
        part.lateness = .ofParked
        if case .group(let read) = part.read, !part.hasLooked { api.createConsumerSoon(read) }
        api.longPoll.enter(part.waiter, claims: part.read.claims, until: nil, afterLook: part.hasLooked)
        endRound(part)
    }

    /// Now it is the turn of those who came during its own look.
    private func endRound(_ part: Part) {
        guard let round = part.round else { return }
        part.round = nil
        api.longPoll.endLook(part.read.key, round: round)
    }

    func begin(_ client: HTTPConnection) {
        if let early { return client.answer(complete(early)) }
        self.client = client
        if client.isClientGone() { clientGone() }
    }

    // MARK: What happens to it

    func clientGone() {
        guard state != .over else { return }
        api.longPoll.counters.departed += 1
        for part in parts { giveBack(part) }
        var response = api.json(literal: "{\"streams\":[]}")
        response.tell(block)
        response.closesConnection = true
        finish(.success(response))
    }

    private func signalled(_ signal: Waiter.Signal, _ part: Part) {
        guard state != .over else { return }
        switch signal {
        case .look:
            if state == .resting || state == .looking && !isToEnd { startLook(part) } else { leave(part) }
        case .gone: clientGone()
        case .expired, .draining: timeIsUp()
        case .ended(let reason):
            part.problem = Problem(reason, part.read.key)
            gather()
        }
    }

    private func timeIsUp() {
        switch state {
        case .looking: isOutOfTime = true
        case .resting, .gathering: answer()
        case .over: break
        }
    }

    /// Asked before a look: the departed get nothing.
    func mayLook(_ part: Part) -> Bool {
        if state != .over, part.isTold, client?.isClientGone() ?? false { clientGone() }
        return state != .over
    }

    /// The look of a part found `messages`. It goes on for the group's numbers where they are wanted.
    func found(_ part: Part, _ messages: ByteBuffer, _ batch: Batch) {
        part.messages = messages
        part.batch = batch
        part.problem = nil
        part.isLooking = part.read.wantsStats
        guard state != .over else { return giveBack(part) }
        gather()
    }

    func told(_ part: Part, stats: ByteBuffer) {
        part.isLooking = false
        guard state != .over else { return api.loop.buffers.give(stats) }
        part.stats = stats
        settle()
    }

    /// It found nothing, or can be made again.
    func foundNothing(_ part: Part) {
        part.isLooking = false
        if part.isTold {
            if state == .gathering || isToEnd { leave(part) }
        } else if state == .looking, block != nil, !isToEnd {
            enter(part)
        } else {
            endRound(part)
        }
        settle()
    }

    /// What the call has waited for is over, or its own look failed.
    func failed(_ part: Part, _ problem: Problem) {
        part.isLooking = false
        guard state != .over else { return }
        part.problem = problem
        endRound(part)
        gather()
    }

    /// Its own look took longer than the call may.
    func outOfTime(_ part: Part) {
        isOutOfTime = true
        foundNothing(part)
    }

    // MARK: Gathering

    /// There is something to tell, or nothing to wait for: it need not look where it does not look yet.
    private var isToEnd: Bool {
        isOutOfTime || refusal != nil || parts.contains { $0.messages != nil || $0.problem != nil }
    }

    private var ownLooks: Bool { parts.contains { $0.isLooking && !$0.isTold } }

    /// What is under way is waited for, a little but for own looks, and nothing else is begun.
    private func gather() {
        for part in parts where !part.isLooking { leave(part) }
        if state == .resting || state == .looking && !ownLooks {
            state = .gathering
            gathering = api.loop.schedule(at: api.loop.now + ManyCall.grace) { [weak self] in self?.timeIsUp() }
        }
        settle()
    }

    private func settle() {
        switch state {
        case .looking where !ownLooks:
            if isOutOfTime {
                answer()
            } else if block != nil && !isToEnd {
                state = .resting
            } else {
                gather()
            }
        case .gathering where !parts.contains(where: \.isLooking): answer()
        case .looking, .resting, .gathering, .over: break
        }
    }

    // MARK: The end

    private func answer() {
        if let client, client.isClientGone() { return clientGone() }
        let taken = parts.filter { $0.messages != nil }
        if taken.isEmpty, let problem = parts.lazy.compactMap(\.problem).first ?? refusal { return finish(.failure(problem)) }
        let body = api.newBody()
        body.append(literal: "{\"streams\":")
        body.appendList(parts.lazy.filter { $0.messages != nil || $0.problem != nil }) { write($0, to: body) }
        body.append(UInt8(ascii: "}"))
        var response = api.json(body)
        response.tell(block)
        if taken.contains(where: \.canHandBack) { response.onLost = { for part in taken { part.handBack() } } }
        let (wasParked, word) = (place != nil && !taken.isEmpty, taken.compactMap(\.waiter.toldAt).min())
        finish(.success(response))
        if wasParked { api.longPoll.answered(toldAt: word) }
    }

    private func write(_ part: Part, to body: ByteBuffer) {
        body.append(literal: "{\"stream\":")
        part.read.key.stream.bytes.withUnsafeBytes { body.appendNameValue("stream", $0) }
        body.append(literal: ",\"messages\":[")
        if let messages = part.messages {
            body.append(messages.bytes)
            api.loop.buffers.give(messages)
            part.messages = nil
            api.endMessages(of: part.read, part.stats, to: body)
        } else if let problem = part.problem {
            body.append(literal: "],\"error\":")
            problem.write(to: body, requestID: nil)
            body.append(UInt8(ascii: "}"))
        }
    }

    /// What the part has found becomes unowned.
    private func giveBack(_ part: Part) {
        guard let messages = part.messages else { return }
        api.loop.buffers.give(messages)
        part.messages = nil
        part.handBack()
    }

    private func leave(_ part: Part) { api.longPoll.leave(part.waiter) }

    private func finish(_ answer: Result<Response, Problem>) {
        state = .over
        for timer in [deadline, gathering] { if let timer { api.loop.cancel(timer) } }
        for part in parts {
            leave(part)
            endRound(part)
        }
        parts = []
        if let place { api.longPoll.givePlace(place) }
        guard let client else { return early = answer }
        self.client = nil
        client.answer(complete(answer))
    }
}

extension ManyCall.Part {
    fileprivate var canHandBack: Bool {
        if case .group(let read) = read { !read.noAck && read.position == .new } else { false }
    }

    fileprivate func handBack() {
        if case .group(let read) = read { call.api.handBack(read, batch) }
    }
}
