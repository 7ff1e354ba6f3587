// One socket to one server: commands out, once a tick; answers in, to whoever waits first.
//
// Owned by a RedisClient, which hears of its opening, of what comes unasked, and of its end. Ends once:
// after `fail` or `close` nothing more is told, and every waiter has been given back or answered.

import Net

/// What a connection tells its client.
protocol RedisConnectionOwner: AnyObject {
    func connectionOpened(_ connection: RedisConnection)
    func connectionAnswered(_ connection: RedisConnection, _ step: HandshakeStep, _ reply: RedisReply)
    /// A message of a subscription.
    func connectionHeard(_ connection: RedisConnection, _ message: RedisReply)
    /// It is gone. `unanswered`: what was in flight, in order; those in `sent` reached the kernel whole.
    func connectionFailed(
        _ connection: RedisConnection, _ reason: RedisError.Reason, unanswered: Fifo<InFlight>, sent: UInt64)
    /// Nothing is in flight any more.
    func connectionDrained(_ connection: RedisConnection)
}

final class RedisConnection: Pollable, Flushable {
    private let loop: EventLoop
    private let limits: RedisLimits
    private let counters: RedisCounters
    private weak var owner: (any RedisConnectionOwner)?
    private let isSubscription: Bool

    private var socket: Socket?
    private var registration: Registration?
    private var isConnected = false
    private var output: ByteBuffer?
    private let parser: ReplyParser
    private let scratch: UnsafeMutableRawBufferPointer

    /// Whether the gauges of what is in flight tell of this connection.
    var hasGauges = true
    private var inFlight = Fifo<InFlight>()
    /// Commands, however many a place in the queue stands for.
    private(set) var inFlightCount = 0
    private(set) var inFlightBytes = 0
    /// How many at the front of `inFlight` have had their deadline.
    private var expired = 0
    private var deadlineTimer: TimerID?
    private var patienceTimer: TimerID?
    private var appended: UInt64 = 0
    private var sent: UInt64 = 0

    private var flushIsDue = false
    private var readIsDue = false
    private var pingIsOut = false
    private var silentPings = 0
    private var heardSomething = false

    /// Bytes asked of the kernel at a time.
    private static let readSize = 64 << 10
    /// Intervals with a PING out and nothing heard, after which the connection is given up.
    static let silenceLimit = 2

    init(
        loop: EventLoop, address: SocketAddress, limits: RedisLimits, counters: RedisCounters, isSubscription: Bool,
        owner: any RedisConnectionOwner
    ) throws(SystemError) {
        self.loop = loop
        self.limits = limits
        self.counters = counters
        self.isSubscription = isSubscription
        self.owner = owner
        parser = ReplyParser(replyLimit: limits.replyBytes)
        scratch = .allocate(byteCount: RedisConnection.readSize, alignment: 16)
        let socket = try Socket.connect(to: address)
        let file = socket.descriptor
        self.socket = consume socket
        registration = try loop.register(file, [.readable, .writable, .peerClosed, .edge], self)
    }

    deinit {
        close()
        scratch.deallocate()
    }

    var isOpen: Bool { registration != nil }

    // MARK: Commands

    func append(
        _ command: RedisCommand, _ waiter: ReplyWaiter, deadline: Duration, patience: Duration? = nil, mayRepeat: Bool = false,
        late: ((RedisReply) -> Void)? = nil, mayHaveRun: Bool = false
    ) {
        let output = self.output ?? loop.buffers.take()
        self.output = output
        let before = output.count
        output.append(UInt8(ascii: "*"))
        output.append(decimal: command.argumentCount)
        output.append(literal: "\r\n")
        command.withArguments { output.append($0) }
        let size = output.count - before
        appended += UInt64(size)
        inFlightBytes += size
        inFlight.append(
            InFlight(
                waiter: waiter, effect: command.effect, deadline: deadline, patience: patience, size: size, end: appended,
                command: mayRepeat ? command : nil, late: late, mayHaveRun: mayHaveRun))
        inFlightCount += 1
        if deadlineTimer == nil { scheduleDeadline(deadline) }
        if patience != nil && patienceTimer == nil { schedulePatience() }
        flushSoon()
    }

    /// What of the block has no answer yet.
    func append(_ block: CommandBlock) {
        let output = self.output ?? loop.buffers.take()
        self.output = output
        let size = block.encode(to: output)
        appended += UInt64(size)
        inFlightBytes += size
        inFlightCount += block.unansweredCount
        inFlight.append(
            InFlight(
                waiter: .block(block), effect: block.effect, deadline: block.deadline, patience: nil, size: size, end: appended))
        if deadlineTimer == nil { scheduleDeadline(block.deadline) }
        flushSoon()
    }

    private func flushSoon() {
        guard !flushIsDue else { return }
        flushIsDue = true
        loop.flushFirst(self)
    }

    func flush() {
        flushIsDue = false
        guard isOpen, isConnected else { return }
        updateGauges()
        write()
        if readIsDue {
            readIsDue = false
            read(untilEnd: true)
        }
    }

    private func write() {
        guard let output else { return }
        while !output.isEmpty {
            switch transferred({ (socket) throws(SystemError) in try socket.write(output.bytes) }) {
            case .bytes(let count):
                output.discard(count)
                sent += UInt64(count)
                counters.bytesOut.add(count)
            case .wouldBlock, .ended: return  // The kernel tells when there is room again.
            }
        }
        loop.buffers.give(output)
        self.output = nil
    }

    // MARK: Answers

    func ready(_ events: Readiness) {
        if !isConnected {
            guard events.contains(.writable) || !events.isDisjoint(with: .hangup) else { return }
            if let error = socket?.connectError { return fail(.connectionLost(error.description)) }
            guard !events.isDisjoint(with: .writable) else { return }
            isConnected = true
            owner?.connectionOpened(self)
        } else if !events.isDisjoint(with: .writable) {
            write()
        }
        guard isOpen else { return }
        read(untilEnd: !events.isDisjoint(with: [.peerClosed, .hangup]))
    }

    /// A short read has emptied the socket (epoll(7), question 9), unless the peer's end is what comes next.
    private func read(untilEnd: Bool) {
        var budget = limits.readBytesPerTick
        while isOpen {
            guard budget > 0 else {
                readIsDue = true
                return flushSoon()
            }
            switch transferred({ (socket) throws(SystemError) in try socket.read(into: scratch) }) {
            case .bytes(let count):
                budget -= count
                heardSomething = true
                counters.bytesIn.add(count)
                receive(UnsafeRawBufferPointer(rebasing: scratch[..<count]))
                if count < scratch.count && !untilEnd { return }
            case .wouldBlock: return
            case .ended: return fail(.connectionLost("the server closed the connection"))
            }
        }
    }

    /// A broken socket fails the connection, and is "not yet" to the caller.
    private func transferred(_ body: (borrowing Socket) throws(SystemError) -> IOResult) -> IOResult {
        do throws(SystemError) {
            guard socket != nil else { return .wouldBlock }
            return try body(socket!)
        } catch {
            fail(.connectionLost(error.description))
            return .wouldBlock
        }
    }

    private func receive(_ bytes: UnsafeRawBufferPointer) {
        do throws(ProtocolError) {
            try parser.feed(bytes) { reply in
                answer(reply)
                return isOpen
            }
        } catch {
            fail(.protocolError(error.reason))
        }
        updateGauges()
        if isOpen && inFlight.isEmpty { owner?.connectionDrained(self) }
    }

    private func answer(_ reply: RedisReply) {
        if isSubscription, reply.isMessage {
            owner?.connectionHeard(self, reply)
            return
        }
        if let block = inFlight.firstBlock {
            answerBlock(block, reply)
            return
        }
        guard let entry = inFlight.popFirst() else {
            // A server that turns us away says why before it is asked anything.
            let isRefusal = reply.kind == .error
            return fail(isRefusal ? .connectionLost(reply.text) : .protocolError("an answer that nobody asked for"))
        }
        inFlightBytes -= entry.size
        inFlightCount -= 1
        if expired > 0 { expired -= 1 }
        switch entry.waiter {
        case .taker(let taker): give(reply, to: taker)
        case .caller(let continuation): continuation.resume(returning: result(reply))
        case .batch(let batch, let index): batch.settle(index, result(reply))
        case .handshake(let step): owner?.connectionAnswered(self, step, reply)
        case .ping: pingIsOut = false
        case .late(let taker): if reply.error == nil { taker(reply) }
        case .nobody: break
        case .block: preconditionFailure("A block at the front was dealt with before.")
        }
    }

    private func answerBlock(_ block: CommandBlock, _ reply: RedisReply) {
        counters.replies.add(1)
        if reply.kind == .error { counters.errors.add(1) }
        inFlightCount -= 1
        block.receive(reply)
        guard block.isAnswered, let entry = inFlight.popFirst() else { return }
        inFlightBytes -= entry.size
        if expired > 0 { expired -= 1 }
    }

    private func give(_ reply: RedisReply, to taker: any ReplyTaker) {
        counters.replies.add(1)
        guard let error = reply.error else { return taker.redisAnswered(reply) }
        counters.errors.add(1)
        taker.redisFailed(error)
    }

    private func result(_ reply: RedisReply) -> Result<RedisReply, RedisError> {
        counters.replies.add(1)
        guard let error = reply.error else { return .success(reply) }
        counters.errors.add(1)
        return .failure(error)
    }

    // MARK: Deadlines

    private func scheduleDeadline(_ deadline: Duration) {
        deadlineTimer = loop.schedule(at: deadline) { [unowned self] in
            deadlineTimer = nil
            expire()
        }
    }

    /// Deadlines stand in the order of sending: one timer, moved only when it fires, is enough.
    private func expire() {
        while expired < inFlight.count {
            let deadline = inFlight[expired].deadline
            guard deadline <= loop.now else { return scheduleDeadline(deadline) }
            expired += 1
            giveUp(expired - 1)
        }
    }

    /// Tells whoever waits that no answer came in time.
    private func giveUp(_ place: Int) {
        let entry = inFlight[place]
        switch entry.waiter {
        case .block(let block):
            counters.timeouts.add(block.unansweredCount)
            return block.expire()  // It stays where it is, and counts the answers that still come.
        case .handshake, .ping, .nobody, .late: return  // The attempt to connect and the signs of life have clocks of their own.
        case .taker, .caller, .batch: break
        }
        // Before anybody is told: a taker may send its next command at once.
        inFlight[place].waiter = entry.late.map { .late($0) } ?? .nobody
        inFlight[place].command = nil
        switch entry.waiter {
        case .taker(let taker): taker.redisFailed(timedOut(entry.effect))
        case .caller(let continuation): continuation.resume(returning: .failure(timedOut(entry.effect)))
        case .batch(let batch, let index): batch.settle(index, .failure(timedOut(entry.effect)))
        case .handshake, .ping, .nobody, .late, .block: break
        }
    }

    /// Those whose patience ends before their deadline are looked for ten times a second while there are any: nearly
    /// all are answered within a millisecond, and a timer each would cost more than that.
    private static let patienceInterval = Duration.milliseconds(100)

    private func schedulePatience() {
        patienceTimer = loop.schedule(at: loop.now + RedisConnection.patienceInterval) { [unowned self] in
            patienceTimer = nil
            var areMore = false
            for place in expired..<inFlight.count {
                guard let end = inFlight[place].patience else { continue }
                if end <= loop.now { giveUp(place) } else { areMore = true }
            }
            if areMore { schedulePatience() }
        }
    }

    private func timedOut(_ effect: RedisCommand.Effect) -> RedisError {
        counters.timeouts.add(1)
        return effect == .read ? .unavailable(.timedOut) : .outcomeUnknown(effect, .timedOut)
    }

    // MARK: Signs of life

    /// Once an interval: asks for a sign of life, and gives up a connection that gave none twice.
    func checkAlive() {
        silentPings = heardSomething || !pingIsOut ? 0 : silentPings + 1
        heardSomething = false
        guard silentPings < RedisConnection.silenceLimit else {
            return fail(.connectionLost("no answer to PING for \(limits.pingInterval * RedisConnection.silenceLimit)"))
        }
        guard !pingIsOut else { return }
        pingIsOut = true
        append(RedisCommand("PING", effect: .read), .ping, deadline: loop.now + limits.timeout)
    }

    // MARK: The end

    func fail(_ reason: RedisError.Reason) {
        guard isOpen else { return }
        let (unanswered, sent) = (inFlight, sent)
        close()
        owner?.connectionFailed(self, reason, unanswered: unanswered, sent: sent)
    }

    /// Closes at once; whoever waits is not told.
    func close() {
        guard let registration else { return }
        loop.deregister(registration)
        self.registration = nil
        socket = nil
        if let deadlineTimer { loop.cancel(deadlineTimer) }
        deadlineTimer = nil
        if let patienceTimer { loop.cancel(patienceTimer) }
        patienceTimer = nil
        if let output { loop.buffers.give(output) }
        output = nil
        inFlight = Fifo()
        inFlightBytes = 0
        inFlightCount = 0
        expired = 0
        updateGauges()
    }

    private func updateGauges() {
        guard hasGauges, !isSubscription else { return }
        counters.inFlight.set(inFlightCount)
        counters.inFlightBytes.set(inFlightBytes)
    }
}
