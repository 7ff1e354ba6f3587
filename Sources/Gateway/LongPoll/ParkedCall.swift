// One request that waits. While it does, it is this object and its waiter, and no task: a task that once
// ran a handler keeps ten kilobytes of stack. Its looks: see +Look.
//
//   resting → looking → resting → …  → over
//
// It is over when a look found something, when its time is up, when its client has left, or when its group
// or the gateway ends: at once, also in the middle of a look. What such a look still brings is handed back.

import HTTP
import Net
import Redis

/// What is waited for.
enum ParkedRead {
    case group(GroupRead)
    case tail(TailRead)

    var key: WaitKey {
        switch self {
        case .group(let read): read.key
        case .tail(let read): WaitKey(stream: read.stream, group: nil)
        }
    }

    var wantsStats: Bool {
        if case .group(let read) = self { read.wantsStats } else { false }
    }

    var takesUnowned: Bool {
        if case .group(let read) = self { read.takesUnowned } else { true }
    }

    var client: ClientAddress? {
        switch self {
        case .group(let read): read.client
        case .tail(let read): read.client
        }
    }

    /// It also wants what others have left idle for so long.
    var claims: Duration? {
        if case .group(let read) = self { read.claimMinIdle } else { nil }
    }
}

/// A call that is answered later, by a responder that has let it in.
protocol LaterAnswer: LaterResponse {
    /// Makes what it came to the reply to its request.
    var complete: (Result<Response, Problem>) -> Response { get set }
}

final class ParkedCall: LaterAnswer, WaiterOwner {
    private enum State {
        case resting, looking, over
        /// Its time is up, and it only waits for the group's numbers.
        case closing
    }

    /// Makes it the reply to its request; set by the responder that let the call in.
    var complete: (Result<Response, Problem>) -> Response = { _ in preconditionFailure("Not let in yet.") }
    let read: ParkedRead
    let block: Block
    let waiter: Waiter
    let api: API
    private(set) var client: HTTPConnection?
    /// The answer, where it came before the connection was ready for it. Seldom: meanwhile it takes no room.
    private indirect enum Early { case answer(Result<Response, Problem>) }
    private var early: Early?
    private var state = State.resting

    /// Queues up. Throws where there is no room for another waiter.
    /// `afterLook`: it has looked itself, on its own account, and found nothing.
    init(_ read: ParkedRead, _ block: Block, _ api: API, afterLook: Bool) throws(Problem) {
        self.read = read
        self.block = block
        self.api = api
        waiter = api.longPoll.newWaiter(read.key, try api.longPoll.takePlace([read.key.stream], for: read.client))
        waiter.owner = self
        waiter.takesUnowned = read.takesUnowned
        api.longPoll.enter(waiter, claims: read.claims, until: block.deadline(from: api.loop.now), afterLook: afterLook)
    }

    // MARK: What happens to it

    func begin(_ client: HTTPConnection) {
        if case .answer(let answer)? = early { return client.answer(complete(answer)) }
        self.client = client
        if client.isClientGone() { clientGone() }
    }

    func clientGone() { signalled(.gone) }

    func signalled(_ signal: Waiter.Signal) {
        guard state != .over else { return }
        switch signal {
        case .look:
            guard state == .resting else { return }
            state = .looking
            look()
        case .expired, .draining:
            guard read.wantsStats, state != .closing else { return answerEmpty() }
            state = .closing
            api.longPoll.stepAside(waiter)
            api.longPoll.grant(waiter, API.statsTime)
            api.startWork(.answerEmpty(waiter.id))
        case .gone:
            leave()
            api.longPoll.counters.departed += 1
            // One that has only said its last word may still hear ours.
            var response = api.answer(to: read, api.openReply(), block)
            response.closesConnection = true
            finish(.success(response))
        case .ended(let reason):
            leave()
            finish(.failure(Problem(reason, read.key)))
        }
    }

    /// A look is to be made: false when it is over, or the client has gone.
    func mayLook() -> Bool {
        guard state == .looking else { return false }
        if client?.isClientGone() ?? false { clientGone() }
        return state == .looking
    }

    /// Nothing came in time. `stats`: a further member of the reply.
    func answerEmpty(_ stats: ByteBuffer? = nil) {
        guard state != .over else { return }
        leave()
        finish(.success(api.answer(to: read, api.openReply(), block, stats)))
    }

    /// The look found nothing, or could not be made.
    func lookedInVain() {
        if state == .looking { state = .resting }
    }

    /// The look found something, and this is the answer. False when it came too late for the client.
    func found(_ response: Response) -> Bool {
        if let client, client.isClientGone() { clientGone() }
        guard state != .over else { return false }
        finish(.success(response))
        api.longPoll.answered(toldAt: waiter.toldAt)
        return true
    }

    func failed(_ problem: Problem) {
        if state != .over { finish(.failure(problem)) }
    }

    // MARK: Inside

    private func leave() { api.longPoll.leave(waiter) }

    private func finish(_ answer: Result<Response, Problem>) {
        state = .over
        guard let client else { return early = .answer(answer) }
        self.client = nil
        client.answer(complete(answer))
    }
}
