// One client's connection: one task, which reads a request, lets the responder answer it, and goes on.
//
// Owned by `HTTPServer` for as long as the client stays; confined to its loop. Registered with epoll once,
// edge-triggered: `canRead` remembers that the kernel may have more. Between requests it holds no buffer.
//
//   carryOn: wait for room in the output → next request → responder → reply → …  → linger → close
//
// The task suspends in one place, `wait`, and whatever wakes it, it looks again at what it waits for. It
// ends, and the connection rests without one, while a reply is to come later and when nothing came for a
// while; what ends the rest makes the server give it a new task, which carries on.
// The rest of the class: +Input reads, +Output writes, +Reply frames.

import Glibc
public import Net

public final class HTTPConnection: Pollable, Flushable {
    let server: HTTPServer
    let socket: Socket
    let request = Request()
    var loop: EventLoop { server.loop }
    var buffers: BufferPool { server.loop.buffers }
    var limits: HTTPLimits { _read { yield server.limits } }
    var counters: HTTPCounters { server.counters }

    /// Its place in the server's list; -1 when it is in none.
    var place = -1
    private var registration: Registration?

    // What the kernel has said.
    /// There may be bytes, or an end, to read.
    var canRead = false
    /// FIN or RST was seen, whatever is still to be read before it.
    var isPeerClosed = false
    /// The end was read.
    var hasEnded = false
    /// Nothing can be sent any more.
    var isBroken = false
    /// Shutting down: no request after the present one.
    private(set) var isDraining = false

    // Who waits.
    enum Wanted { case input, output }
    private var waiter: UnsafeContinuation<Void, Never>?
    private var wanted = Wanted.input
    private var isWaiting = false

    // Resting without a task.
    enum Rest {
        /// No request for a while; closed when none has come until then.
        case asleep(until: Duration)
        /// One too many: it is told so, and ends.
        case refused
        /// A reply is to come.
        case parked(any LaterResponse)
        /// It has come.
        case answered(Response)
    }
    private(set) var rest: Rest?
    var isRefused: Bool { if case .refused? = rest { true } else { false } }
    private var closesAfterAnswer = false
    /// After a sleep: until when it may go on waiting for a request.
    var idleUntil: Duration?

    // Input: the request's head lies in it, and stays put until the reply is sent.
    var input: ByteBuffer?
    var mustContinue = false

    // Output: `output` goes first, then `large`, a reply's body too big to be copied.
    var output: ByteBuffer?
    var large: ByteBuffer?
    var isDirty = false
    /// Bytes ever appended and ever sent; what `onLost` hooks are counted by.
    var appended = 0
    var sent = 0
    var hooks: [(end: Int, call: () -> Void)] = []
    /// What is written next must not go to a client that has left: the kernel is asked first.
    var asksBeforeWriting = false

    // Time: one timer, moved only when it fires too early or would fire too late.
    var readDeadline: Duration? { didSet { if let readDeadline { arm(readDeadline) } } }
    var writeDeadline: Duration? { didSet { if let writeDeadline { arm(writeDeadline) } } }
    var hasTimedOut = false
    private var timer: TimerID?
    private var timerAt = Duration.zero

    /// Takes ownership of the non-blocking `descriptor`.
    public init(descriptor: Int32, server: HTTPServer) {
        self.server = server
        socket = Socket(owning: descriptor)
        request.attach(to: self)
    }

    // MARK: Life

    /// Answers the client's requests, from where the rest began. True when the connection has ended and
    /// holds nothing any more, false when it rests again.
    func carryOn(_ responder: any HTTPResponder) async -> Bool {
        let rested = rest
        rest = nil
        switch rested {
        case .refused:
            reject(.tooManyConnections, responder)
            return await end(.lingering)
        case .answered(let response):
            guard await replyLater(response) else { return await end(.lingering) }
        default: break
        }
        return await end(await answerRequests(responder))
    }

    /// How a task of the connection comes to its end.
    private enum Ending { case ended, lingering, resting }

    private func end(_ ending: Ending) async -> Bool {
        switch ending {
        case .resting: return false
        case .lingering: await linger()
        case .ended: break
        }
        close()
        return true
    }

    /// Begins to hear of the client. `refusing`: all it will get is told that there is no room for it.
    func open(refusing: Bool = false) -> Bool {
        do throws(SystemError) {
            registration = try loop.register(socket.descriptor, [.readable, .writable, .peerClosed, .edge], self)
        } catch {
            return false  // Out of memory for epoll: the client sees a closed connection.
        }
        socket.setNoDelay()
        socket.setKeepAlive(
            idle: HTTPConnection.probeIdle, interval: HTTPConnection.probeInterval, probes: HTTPConnection.probes)
        if refusing {
            rest = .refused
        } else {
            fallAsleep(until: loop.now + limits.keepAliveTime)
        }
        return true
    }

    // A client that vanished without a FIN while it was parked is found within a minute.
    private static let probeIdle = Duration.seconds(30)
    private static let probeInterval = Duration.seconds(10)
    private static let probes = 3

    private func close() {
        breakOff()  // Whatever could not be sent is told by its hooks.
        if let timer { loop.cancel(timer) }
        timer = nil
        if let registration { loop.deregister(registration) }
        registration = nil
        if let input { buffers.give(input) }
        input = nil
        request.detach()
        socket.shutdownBoth()
    }

    private func answerRequests(_ responder: any HTTPResponder) async -> Ending {
        while true {
            await waitForRoom()
            switch await nextRequest() {
            case .ended:
                // Nothing was asked that we have not answered: no reply can be lost to a reset.
                await drainOutput()
                return .ended
            case .idle(let end):
                if canRead || isDraining {
                    // It came after the timer had woken us, and no edge will tell of it again.
                    idleUntil = end
                    continue
                }
                fallAsleep(until: end)
                return .resting
            case .refused(let error):
                reject(error, responder)
                return .lingering
            case .request: break
            }
            counters.requests += 1
            counters.inFlight += 1
            let response = await responder.respond(to: request)
            if case .later(let later) = response.body {
                await park(later)
                return .resting
            }
            let goesOn = await reply(response)
            counters.inFlight -= 1
            let isSkipped = !goesOn || request.body.isComplete ? true : await skipBody()
            endRequest()
            guard goesOn, isSkipped else { return .lingering }
        }
    }

    // MARK: Later replies

    /// Lets go of the request but for what its reply needs.
    private func park(_ later: any LaterResponse) async {
        let isSkipped = request.body.isComplete ? true : await skipBody()
        rest = .parked(later)
        if let input { self.input = request.body.end(input, buffers) }
        releaseIdleInput()
        closesAfterAnswer = !isSkipped
        request.forgetBytes()
        later.begin(self)
        if isPeerClosed, case .parked? = rest { later.clientGone() }
    }

    /// The reply of a parked request. Once, on the loop.
    public func answer(_ response: Response) {
        guard case .parked? = rest else { preconditionFailure("A parked request is answered once.") }
        rest = .answered(response)
        server.giveTask(self)
    }

    private func replyLater(_ answer: Response) async -> Bool {
        var response = answer
        if closesAfterAnswer { response.closesConnection = true }
        // While it was parked a client could leave unseen by us, and this reply would be taken for delivered.
        if response.onLost != nil { asksBeforeWriting = true }
        let goesOn = await reply(response)
        counters.inFlight -= 1
        request.end()
        return goesOn
    }

    private func fallAsleep(until end: Duration) {
        rest = .asleep(until: end)
        readDeadline = end
    }

    private func endRequest() {
        if let failure = request.body.failure { counters.count(failure) }
        if let input { self.input = request.body.end(input, buffers) }
        request.end()
    }

    /// Idle: closes now. Busy: `Connection: close` on the next reply.
    public func drain() {
        isDraining = true
        wake(.input)
    }

    // MARK: Events

    public func ready(_ events: Readiness) {
        if !events.isDisjoint(with: [.readable, .peerClosed, .hangup]) { canRead = true }
        if !events.isDisjoint(with: [.peerClosed, .hangup]) {
            isPeerClosed = true
            tellClientGone()
        }
        if hasOutput { flushSoon() }
        if canRead { wake(.input) }
    }

    func tellClientGone() {
        if case .parked(let later)? = rest { return later.clientGone() }
        guard let hook = request.onClientGone else { return }
        request.onClientGone = nil
        hook()
    }

    /// Asks the kernel: FIN or RST seen, unread bytes or not.
    public func isClientGone() -> Bool {
        if isPeerClosed || isBroken { return true }
        var query = pollfd(fd: socket.descriptor, events: HTTPConnection.pollPeerClosed, revents: 0)
        guard poll(&query, 1, 0) > 0 else { return false }
        return query.revents & (HTTPConnection.pollPeerClosed | Int16(POLLHUP | POLLERR)) != 0
    }

    /// POLLRDHUP, which `Glibc` does not export.
    private static let pollPeerClosed: Int16 = 0x2000

    // MARK: Waiting

    /// Suspends until `wake`. Whoever called looks again at what it waits for.
    func wait(for wanted: Wanted) async {
        precondition(!isWaiting, "A connection's task waits in one place at a time.")
        self.wanted = wanted
        isWaiting = true
        await withUnsafeContinuation { continuation in
            // Outside an actor the runtime may run this as a job of its own, after a flush that woke us.
            if isWaiting { waiter = continuation } else { continuation.resume() }
        }
    }

    func wake(_ what: Wanted) {
        if case .asleep(let end)? = rest, what == .input {
            idleUntil = end
            rest = nil
            return server.giveTask(self)
        }
        guard isWaiting, wanted == what else { return }
        isWaiting = false
        guard let waiter else { return }
        self.waiter = nil
        waiter.resume()
    }

    // MARK: Time

    private func arm(_ deadline: Duration) {
        if let timer {
            guard deadline < timerAt else { return }  // It will look again when it fires.
            loop.cancel(timer)
        }
        timerAt = deadline
        timer = loop.schedule(at: deadline) { [unowned self] in timerFired() }
    }

    private func timerFired() {
        timer = nil
        if let writeDeadline, writeDeadline <= loop.now {
            counters.writeTimeouts += 1
            return breakOff()
        }
        if let readDeadline, readDeadline <= loop.now {
            self.readDeadline = nil
            hasTimedOut = true
            wake(.input)
        }
        if let readDeadline { arm(readDeadline) }
        if let writeDeadline { arm(writeDeadline) }
    }
}
