// The client of one loop: posts bytes, and does not know why. Loop-confined.
//
// An exchange is busy in one of three ways (`Transfer.Phase`): running inside the multi, waiting for a
// look-up that another exchange makes, or asking the resolver why a name failed. It ends exactly once, in
// `finish`. Exchanges for which there is no room wait in `senders`; whoever calls `send` bounds how many those are.

import CCurl
public import Net

public final class WebhookClient {
    let loop: EventLoop
    let limits: WebhookLimits
    let multi: CurlMulti

    private var busy: [Transfer] = []
    private var spare: [Transfer] = []
    private var senders: Senders
    var lookups: Lookups<Transfer>
    /// Exchanges whose wait for a name is over; begun in the next flush, since callbacks may not.
    var ready: [Transfer] = []
    var tally = WebhookCounters()
    /// When an exchange ended that had libcurl forget old names: for the next second, none has to.
    private var forgotAt: Duration?
    private(set) var isClosed = false

    /// How long a failed look-up is examined before it counts as a resolver that does not answer.
    static let probePatience = Duration.seconds(2)

    /// Also has SIGPIPE ignored in this process, once.
    public init(loop: EventLoop, limits: WebhookLimits = WebhookLimits()) {
        guard let multi = CurlMulti(loop: loop, maxConnections: limits.maxConnections) else {
            preconditionFailure("libcurl cannot be started: out of memory.")
        }
        self.loop = loop
        self.limits = limits
        self.multi = multi
        senders = Senders(limit: limits.maxInFlight)
        lookups = Lookups(limit: limits.maxLookups)
        multi.ended = { [unowned self] easy, code in ended(easy, code) }
        multi.begin = { [unowned self] in startReady() }
    }

    deinit { close() }

    public var counters: WebhookCounters {
        var counters = tally
        counters.pollChanges = multi.pollChanges
        counters.inFlight = busy.count
        counters.waiting = senders.waiting
        counters.openSockets = multi.openSockets
        return counters
    }

    /// Posts; `done` hears what came of it, once. What went wrong is an outcome, never an error. On the loop only.
    ///
    /// `done` is called in the middle of the client's own work, or before this returns: it may send, and must not close.
    public func send(_ request: WebhookRequest, done: @escaping (WebhookResult) -> Void) {
        guard !isClosed else { return done(WebhookClient.cancelled) }
        let sender = senders[request.sender]
        if senders.mayBegin(sender) { start(request, sender, done) } else { senders.wait(sender, request, done) }
    }

    /// Posts and waits for the answer.
    public func send(_ request: WebhookRequest) async -> WebhookResult {
        // Resuming only enqueues.
        await withUnsafeContinuation { continuation in send(request) { continuation.resume(returning: $0) } }
    }

    /// Cancels what is in flight and what waits: each `send` returns `.cancelled`. Kept connections close.
    public func close() {
        guard !isClosed else { return }
        isClosed = true
        for transfer in busy {
            if transfer.phase == .running { multi.remove(transfer.easy) }
            if let patience = transfer.patience { loop.cancel(patience) }
        }
        var open = busy.compactMap(\.done)
        while let next = senders.next(whoever: true) { open.append(next.done) }
        ready = []
        // A connection's callbacks point at the multi alone, so the handles may go first.
        busy = []
        spare = []
        multi.close()
        for done in open { done(WebhookClient.cancelled) }
    }

    private static let late = WebhookResult(
        outcome: .failed(.cancelled, message: "Its time was over before it could be sent."), duration: .zero, newConnection: false)

    private static let cancelled = WebhookResult(
        outcome: .failed(.cancelled, message: "The client was closed."), duration: .zero, newConnection: false)

    // MARK: An exchange's life

    private func start(_ request: WebhookRequest, _ sender: Sender, _ done: @escaping (WebhookResult) -> Void) {
        if let notAfter = request.notAfter, loop.clock.now >= notAfter {
            senders.leave(sender)
            return done(WebhookClient.late)
        }
        guard let transfer = spare.popLast() ?? Transfer(client: self) else {
            senders.leave(sender)
            let outcome = WebhookResult.Outcome.failed(.outOfMemory, message: "No easy handle.")
            return done(WebhookResult(outcome: outcome, duration: .zero, newConnection: false))
        }
        transfer.done = done
        transfer.sender = sender
        senders.begin(sender)
        transfer.startedAt = loop.clock.now
        transfer.place = busy.count
        busy.append(transfer)
        if let problem = transfer.prepare(request) {
            return finish(transfer, .failed(.malformedRequest, message: problem))
        }
        tally.sent += 1
        run(transfer, at: transfer.startedAt)
    }

    func run(_ transfer: Transfer, at now: EventLoop.Instant) {
        transfer.setTimeouts(at: now)
        transfer.setForgetting(forgotAt.map { now - $0 >= .seconds(1) } ?? true)
        transfer.phase = .running
        if !multi.add(transfer.easy) {
            transfer.phase = .idle
            finish(transfer, .failed(.outOfMemory, message: "No room in the multi."))
        }
    }

    private func ended(_ easy: UnsafeMutableRawPointer, _ code: CURLcode) {
        guard let pointer = curl_get_private(easy) else { return }
        let transfer = Unmanaged<Transfer>.fromOpaque(pointer).takeUnretainedValue()
        let isNew = curl_get_long(easy, CURLINFO_NUM_CONNECTS) > 0
        multi.remove(easy)
        if transfer.forgetsNames {
            forgotAt = loop.clock.now
            tally.forgettings += 1
        }
        transfer.phase = .idle
        if transfer.mustWaitForName { return waitForName(transfer) }
        guard let outcome = transfer.outcome(code) else { return probe(transfer) }
        if let name = transfer.lookup { endLookup(name, failedAs: outcome) }
        finish(transfer, outcome, isNew: isNew)
    }

    func finish(_ transfer: Transfer, _ outcome: WebhookResult.Outcome, isNew: Bool = false) {
        let last = busy.removeLast()
        if last !== transfer {
            busy[transfer.place] = last
            last.place = transfer.place
        }
        if isNew { tally.newConnections += 1 }
        if let patience = transfer.patience { loop.cancel(patience) }
        transfer.patience = nil
        if let sender = transfer.sender { senders.end(sender) }
        transfer.sender = nil
        let done = transfer.done
        transfer.done = nil
        let duration = loop.clock.now - transfer.startedAt
        transfer.clear()
        if spare.count < limits.maxSpareHandles { spare.append(transfer) }
        done?(WebhookResult(outcome: outcome, duration: duration, newConnection: isNew))
        startQueued()
    }

    /// More than one, where some are no longer to be sent.
    private func startQueued() {
        while !isClosed, let next = senders.next() { start(next.request, next.sender, next.done) }
    }
}
