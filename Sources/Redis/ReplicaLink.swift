// The connection for writes that shall be confirmed by replicas: WAIT counts only what its own connection has
// written, and whatever stands behind a WAIT waits with it, so that it can't be the one of ordinary commands.
//
// Opened at first need, and anew after a break at the next need. Writes go out at once; those that come while a
// WAIT is under way are executed by Redis after it. There is one WAIT at a time, and it answers everybody who
// asked before it went out. None lasts longer than `longestWait`, so that nobody's write stands behind the long
// patience of another. Owned by its RedisClient.

import Net

final class ReplicaLink {
    private unowned let client: RedisClient
    private var connection: RedisConnection?
    private var isReady = false
    private var timer: TimerID?
    /// Counts the connections: a WAIT says nothing of what an earlier one has written.
    private(set) var generation = 0
    private var openers: [UnsafeContinuation<RedisError.Reason?, Never>] = []

    private struct Patience {
        let replicas: Int
        let deadline: Duration
        let continuation: UnsafeContinuation<Int, Never>
    }

    private var waiting: [Patience] = []
    /// Of those in `waiting`, the first so many are covered by the WAIT under way; nil: none is.
    private var covered: Int?

    /// A write behind a WAIT is late by this much at most.
    private static let longestWait = Duration.milliseconds(50)

    init(_ client: RedisClient) { self.client = client }

    var loop: EventLoop { client.loop }

    // MARK: Opening

    /// Returns when the connection takes commands.
    func open() async throws(RedisError) {
        if isReady { return }
        let reason: RedisError.Reason? = await withUnsafeContinuation { caller in
            // Looked at here: before the closure is run the loop may have had its turn.
            if connection == nil { connect() }
            if isReady || connection == nil {
                caller.resume(returning: isReady ? nil : client.lastReason)
            } else {
                openers.append(caller)
            }
        }
        if let reason { throw .unavailable(reason) }
    }

    private func connect() {
        guard let address = client.address else { return }
        do throws(SystemError) {
            let connection = try client.connection(to: address, isSubscription: false, owner: self)
            connection.hasGauges = false
            self.connection = connection
        } catch {
            return  // No descriptor, or no memory: told as no connection.
        }
        generation += 1
        timer = loop.schedule(at: loop.now + client.limits.timeout) { [unowned self] in
            timer = nil
            connection?.fail(.timedOut)
        }
    }

    private func finishOpening(_ reason: RedisError.Reason?) {
        if let timer { loop.cancel(timer) }
        timer = nil
        let all = openers
        openers = []
        for continuation in all { continuation.resume(returning: reason) }
    }

    // MARK: Writing and waiting

    /// The connection, if it is open and takes that much more.
    func carrier(for block: CommandBlock) throws(RedisError) -> RedisConnection {
        guard let connection, isReady else { throw .unavailable(.connectionLost("the one for replicated writes")) }
        try client.checkRoom(on: connection, count: block.count, bytes: block.byteCount)
        block.generation = generation
        return connection
    }

    /// How many replicas have confirmed what the connection `generation` has written so far: waits until they are
    /// `replicas` or the time is over. 0 when that connection is gone: nobody can tell any more.
    func confirm(generation: Int, replicas: Int, within patience: Duration) async -> Int {
        await withUnsafeContinuation { continuation in
            guard isReady, generation == self.generation else { return continuation.resume(returning: 0) }
            waiting.append(Patience(replicas: replicas, deadline: loop.now + patience, continuation: continuation))
            waitForReplicas()
        }
    }

    /// The next WAIT, for as many as the one wants who has waited longest.
    private func waitForReplicas() {
        guard covered == nil, let connection, let first = waiting.first else { return }
        covered = waiting.count
        let nearest = waiting.reduce(first.deadline) { min($0, $1.deadline) }
        let pause = max(min(nearest - loop.now, ReplicaLink.longestWait), .milliseconds(1))
        var command = RedisCommand("WAIT", effect: .read)
        command.append(decimal: first.replicas)
        command.append(milliseconds: pause)
        client.counters.commands.add(1)
        connection.append(
            command, .taker(self), deadline: loop.now + pause + client.limits.timeout)
    }

    /// WAIT's answer; nil: Redis would not or could not give one.
    private func waited(_ answer: Int64?) {
        guard let count = covered else { return }
        covered = nil
        let reached = Int(answer ?? 0)
        let asked = waiting.prefix(count)
        waiting.removeFirst(count)
        var patient: [Patience] = []
        for one in asked {
            if reached >= one.replicas || one.deadline <= loop.now || answer == nil {
                one.continuation.resume(returning: reached)
            } else {
                patient.append(one)
            }
        }
        waiting.insert(contentsOf: patient, at: 0)
        waitForReplicas()
    }

    func checkAlive() { if isReady { connection?.checkAlive() } }

    func close() { connection?.fail(.closed) }
}

extension ReplicaLink: ReplyTaker {
    func redisAnswered(_ reply: RedisReply) { waited(reply.integer) }
    func redisFailed(_ error: RedisError) { waited(nil) }
}

extension ReplicaLink: RedisConnectionOwner {
    func connectionOpened(_ connection: RedisConnection) {
        client.authenticate(connection)
        client.selectDatabase(connection)
        client.send(.make("CLIENT", ["SETNAME", "sluice-replicated"]), .setName, on: connection)
    }

    func connectionAnswered(_ connection: RedisConnection, _ step: HandshakeStep, _ reply: RedisReply) {
        if let error = reply.error, step.isEssential || error.code == .noAuth {
            return connection.fail(.notConnected(reply.text))
        }
        guard step == .setName else { return }
        isReady = true
        finishOpening(nil)
    }

    func connectionHeard(_ connection: RedisConnection, _ message: RedisReply) {}
    func connectionDrained(_ connection: RedisConnection) {}

    /// Nothing is sent again here: who has a key repeats his call.
    func connectionFailed(
        _ connection: RedisConnection, _ reason: RedisError.Reason, unanswered: Fifo<InFlight>, sent: UInt64
    ) {
        self.connection = nil
        isReady = false
        covered = nil
        let abandoned = waiting
        waiting = []
        for one in abandoned { one.continuation.resume(returning: 0) }
        for entry in unanswered {
            if case .block(let block) = entry.waiter { block.lose(sent: entry.sent(of: sent), reason) }
        }
        finishOpening(reason)
    }
}
