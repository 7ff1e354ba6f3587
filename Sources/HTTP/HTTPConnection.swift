// One client's connection: reads a request, lets the responder answer it, and goes on.
//
// Owned by `HTTPServer` for as long as the client stays; confined to its loop. Registered with epoll once,
// edge-triggered: `canRead` remembers that the kernel may have more. Between requests it holds no buffer.
//
// It is a machine that runs where the news comes (`ready`, `answer`), without a task:
//
//   asleep ── a whole head ──→ the responder ── a response ──→ asleep, and at once the next request
//                                   ├── soon ──→ pending ── answer ──→ asleep …     the request is kept
//                                   └── later ─→ parked ─── answer ──→ asleep …     the request is let go
//
//                                   └── open ──→ open ───── end ─────→ the end              its owner writes
//
// What has to wait on its way becomes an `Errand`, and only that takes a task (`runErrands`): a head that came in
// pieces, a responder that must suspend, a streamed reply, a full output, a body nobody wanted, the end.
// The task does the errand and gives the connection back to the machine. So at any time there is either a
// state to rest in, or the machine is on the stack, or a task has the connection or was asked for.
// The task suspends in one place, `wait`, and whatever wakes it, it looks again at what it waits for.
// The rest of the class: +Serving is the machine and the task, +Input reads, +Output writes, +Reply frames.

import Glibc
public import Net

public final class HTTPConnection: Pollable, Flushable {
    let server: HTTPServer
    let socket: Socket
    /// The request in work; its bytes are there until its reply is sent.
    public let request = Request()
    // The server's, kept here: each is looked at many times a request.
    let loop: EventLoop
    let buffers: BufferPool
    var counters: HTTPCounters {
        _read { yield server.counters }
        _modify { yield &server.counters }
    }
    var limits: HTTPLimits { _read { yield server.limits } }

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

    // Without a task.
    enum State {
        /// In work: on the stack, or with a task.
        case busy
        /// Waits for the client's next request.
        case asleep
        /// An answer comes soon; the request is kept for it.
        case pending
        /// An answer comes later; of the request only what its framing needs is there.
        case parked
        /// The reply is under way, and goes on as its owner writes.
        case open
    }
    var state = State.busy
    /// Who answers, while the connection is pending or parked.
    var later: (any LaterResponse)?
    /// Who writes, while the connection is open.
    var openReply: (any OpenReply)?
    /// The kernel did not take all that was written to an open reply.
    var wantsRoom = false
    /// What its client has sent can't be read to its end.
    var closesAfterAnswer = false
    /// The request in work was parked.
    var wasParked = false
    /// The machine is on the stack: whoever is called by it need not start it.
    var isServing = false
    /// Until when it may sleep.
    var idleUntil = Duration.zero

    // With a task.
    enum Errand {
        /// One too many: it is told so, and ends.
        case refuse
        /// No request is begun before the client has taken what is there for it.
        case makeRoom
        /// A head that is not whole, or the end.
        case read
        /// An answer that has to be waited for. Elsewhere: it is large, and seldom there.
        indirect case settle(Answer)
        /// What is left of a body; then the request ends, or is answered later.
        case skip(thenPark: (any LaterResponse)?)
        /// Says goodbye and closes.
        case linger
    }
    var errand: Errand?
    var hasTask = false
    private(set) var isRefused = false

    // Input: the request's head lies in it, and stays put until the reply is sent.
    var input: ByteBuffer?
    var finder = HeadFinder()
    var mustContinue = false

    // Output: `output` goes first, then `large`, a reply's body too big to be copied.
    var output: ByteBuffer?
    var large: ByteBuffer?
    var isDirty = false
    /// Bytes ever appended and ever sent; what `onLost` hooks are counted by.
    var appended = 0
    var sent = 0
    var hooks: [(end: Int, call: () -> Void)] = []
    /// When the last bytes behind which a hook may stand were sent.
    var sentAt = EventLoop.Instant.zero
    /// In the server's list of those that wait for the client's kernel to have what was sent.
    var isToBeConfirmed = false
    /// Our FIN is on its way, behind all bytes.
    var hasSaidEnd = false
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
        loop = server.loop
        buffers = server.loop.buffers
        socket = Socket(owning: descriptor)
        request.attach(to: self)
    }

    // MARK: Life

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
            isRefused = true
            handToTask(.refuse)
        } else {
            fallAsleep()
            readDeadline = idleUntil
        }
        return true
    }

    // A client that vanished without a FIN while it was parked, or sent events, is found within a minute.
    private static let probeIdle = Duration.seconds(30)
    private static let probeInterval = Duration.seconds(10)
    private static let probes = 3

    func close() {
        breakOff()  // Whatever could not be sent is told by its hooks.
        if let timer { loop.cancel(timer) }
        timer = nil
        if let registration { loop.deregister(registration) }
        registration = nil
        if let input { buffers.give(input) }
        input = nil
        later = nil
        openReply = nil
        request.detach()
        socket.shutdownBoth()
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
        if wantsRoom, events.contains(.writable) {
            wantsRoom = false
            openReply?.clientTakes()
        }
        if canRead { wake(.input) }
    }

    func tellClientGone() {
        if let later { return later.clientGone() }
        if let openReply { return openReply.clientGone() }
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
        if state == .asleep {
            if what == .input { serve() }
            return
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
            if state == .asleep { handToTask(.read) } else { wake(.input) }
        }
        if let readDeadline { arm(readDeadline) }
        if let writeDeadline { arm(writeDeadline) }
    }
}
