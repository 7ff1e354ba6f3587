// How a client comes to its two connections, loses them, and comes by new ones.

import Net

/// An attempt to connect, and what it has learnt of the server so far.
struct ConnectionAttempt {
    var handshake = Handshake()
    var features = ServerFeatures()
    /// The subscription's number: where tracking is to send to.
    var clientID: Int64?
    var hearsInvalidations = false
    /// COMMAND DOCS is what comes next. Its nesting may be more than hiredis reads.
    var isReadingDocs = false
    /// The last error reply: mostly the reason why the server then hangs up.
    var lastError: String?
}

extension RedisClient {
    // MARK: An attempt

    func connect() {
        attempt = ConnectionAttempt()
        timers.attempt = loop.schedule(at: loop.now + limits.timeout) { [unowned self] in
            abandon(.notConnected("\(endpoint) did not answer within \(limits.timeout)"))
        }
        if addresses.isEmpty { findAddresses() } else { open(addresses.removeFirst()) }
    }

    private func findAddresses() {
        switch endpoint.place {
        case .unix(let path):
            guard let address = SocketAddress(unixPath: path) else {
                return abandon(.notConnected("\(path) is too long for a socket's path"))
            }
            open(address)
        case .tcp(let host, let port):
            if let address = SocketAddress(literal: host, port: port) { return open(address) }
            let resolution = HostResolution(host, port: port, on: loop) { [unowned self] in resolved($0) }
            self.resolution = resolution
            guard resolution.start() else {
                return abandon(.notConnected("no thread to resolve \(host) on"))
            }
        }
    }

    private func resolved(_ result: Result<[SocketAddress], ResolveError>) {
        resolution = nil
        switch result {
        case .success(let found):
            addresses = found
            guard !addresses.isEmpty else { return abandon(.notConnected("\(endpoint) has no address")) }
            open(addresses.removeFirst())
        case .failure(let error):
            abandon(.notConnected("\(error.host): \(error.reason)"))
        }
    }

    private func open(_ address: SocketAddress) {
        do throws(SystemError) {
            self.address = address
            commands = try connection(to: address, isSubscription: false, owner: self)
            subscription = try connection(to: address, isSubscription: true, owner: self)
        } catch {
            abandon(.notConnected("\(address): \(error)"))
        }
    }

    func connection(
        to address: SocketAddress, isSubscription: Bool, owner: any RedisConnectionOwner
    ) throws(SystemError) -> RedisConnection {
        try RedisConnection(
            loop: loop, address: address, limits: limits, counters: counters, isSubscription: isSubscription,
            owner: owner)
    }

    /// Gives up what there is of a connection.
    private func abandon(_ reason: RedisError.Reason) {
        if let commands { return commands.fail(reason) }
        if let subscription { return subscription.fail(reason) }
        down(reason)
    }

    // MARK: Up

    private func perform(_ action: Handshake.Action) {
        switch action {
        case .wait: break
        case .track(let redirect): commands.map { send(.tracking(redirect: redirect), .tracking, on: $0) }
        case .finish: up()
        }
    }

    private func up() {
        guard let attempt, let commands else { preconditionFailure("A handshake ends with its connections there.") }
        let features = attempt.features
        self.attempt = nil
        self.features = features
        cancel(\.attempt)
        if wasConnected { counters.reconnects.add(1) }
        wasConnected = true
        failures = 0
        addresses = []
        counters.connected.set(1)
        counters.tracking.set(features.tracking ? 1 : 0)
        schedulePing()
        sendRepeats(to: commands)
        delegate?.redisConnected(self, features: features)
    }

    private func schedulePing() {
        timers.ping = loop.schedule(at: loop.now + limits.pingInterval) { [unowned self] in
            timers.ping = nil
            guard features != nil, !isClosing else { return }
            schedulePing()
            commands?.checkAlive()
            subscription?.checkAlive()
            replicaLink.checkAlive()
        }
    }

    // MARK: Down

    /// The subscription is gone. Nothing new is sent on the other connection, but what is in flight is answered: a
    /// group's messages in an answer that is cut off are pending with a consumer who never hears of them.
    private func leave(_ commands: RedisConnection, _ reason: RedisError.Reason) {
        guard attempt == nil, commands.inFlightCount > 0 else { return commands.fail(reason) }
        guard !isClosing else { return }
        features = nil
        leaving = reason
        lastReason = reason
        counters.connected.set(0)
        counters.tracking.set(0)
        // Nobody asks for a sign of life any more: no longer than one would be waited for.
        let patience = min(limits.timeout, limits.pingInterval * RedisConnection.silenceLimit)
        timers.leave = loop.schedule(at: loop.now + patience) { [unowned self] in
            timers.leave = nil
            self.commands?.fail(reason)
        }
    }

    /// The last of the two connections is gone.
    private func down(_ reason: RedisError.Reason) {
        let reason = explained(reason)
        let wasUp = features != nil || leaving != nil
        leaving = nil
        cancel(\.leave)
        attempt = nil
        features = nil
        resolution?.cancel()
        resolution = nil
        cancel(\.attempt)
        cancel(\.ping)
        counters.connected.set(0)
        counters.tracking.set(0)
        lastReason = reason
        guard !isClosing else { return finishClosing() }
        // A name may have several addresses: the next one is tried at once.
        let isOver = wasUp || addresses.isEmpty
        timers.retry = loop.schedule(at: loop.now + (isOver ? backoff() : .zero)) { [unowned self] in
            timers.retry = nil
            connect()
        }
        if isOver { delegate?.redisDisconnected(self, reason: reason) }
    }

    /// The reason in words that hold what the server last said.
    private func explained(_ reason: RedisError.Reason) -> RedisError.Reason {
        guard let error = attempt?.lastError, case .connectionLost(let text) = reason else { return reason }
        return .connectionLost("\(text), after: \(error)")
    }

    private func backoff() -> Duration {
        let pause = min(limits.reconnectBase * (1 << min(failures, 16)), limits.reconnectMaximum)
        failures += 1
        return pause / 2 + pause / 2 * Double.random(in: 0...1)
    }

    func finishClosing() {
        guard !isClosed else { return }
        isClosed = true
        for timer in timers.all { loop.cancel(timer) }
        timers = Timers()
        resolution?.cancel()
        resolution = nil
        commands?.fail(.closed)
        commands = nil
        subscription?.close()
        subscription = nil
        replicaLink.close()
        attempt = nil
        features = nil
        lastReason = .closed
        counters.connected.set(0)
        counters.tracking.set(0)
    }

    func cancel(_ timer: WritableKeyPath<Timers, TimerID?>) {
        if let id = timers[keyPath: timer] { loop.cancel(id) }
        timers[keyPath: timer] = nil
    }
}

// MARK: What the connections tell

extension RedisClient: RedisConnectionOwner {
    func connectionOpened(_ connection: RedisConnection) {
        if connection === commands { greetCommands(connection) } else { greetSubscription(connection) }
    }

    func connectionAnswered(_ connection: RedisConnection, _ step: HandshakeStep, _ reply: RedisReply) {
        guard attempt != nil else { return }
        if let error = reply.error {
            attempt?.lastError = reply.text
            if step.isEssential || error.code == .noAuth { return connection.fail(.notConnected(reply.text)) }
        }
        let event = learn(step, reply)
        // Until it has its data it refuses everything, also what was in flight before and goes out once more.
        if step == .info, attempt?.features.isLoading == true { return connection.fail(.notConnected("\(endpoint) is loading its data")) }
        if let event, let action = attempt?.handshake.event(event) { perform(action) }
    }

    func connectionHeard(_ connection: RedisConnection, _ message: RedisReply) {
        var elements = message.elements
        elements.skip()
        guard let channel = elements.takeBytes() else { return }
        if channel.isSame(as: NudgeChannel.name) {
            counters.nudges.add(1)
            if let payload = elements.takeBytes() { delegate?.redisNudged(self, payload: payload) }
        } else if channel.isSame(as: "__redis__:invalidate") {
            heardInvalidation(elements)
        }
    }

    /// An array of keys; a null of either kind after FLUSHALL and FLUSHDB.
    private func heardInvalidation(_ elements: RedisCursor) {
        var elements = elements
        counters.invalidations.add(1)
        guard let count = elements.enterArray() else {
            delegate?.redisInvalidatedAll(self)
            return
        }
        for _ in 0..<count {
            if let key = elements.takeBytes() { delegate?.redisInvalidated(self, key: key) }
        }
    }

    func connectionFailed(
        _ connection: RedisConnection, _ reason: RedisError.Reason, unanswered: Fifo<InFlight>, sent: UInt64
    ) {
        if case .protocolError = reason, attempt?.isReadingDocs == true { asksForDocs = false }
        if connection === subscription {
            subscription = nil
            if let commands { return leave(commands, reason) }
        } else {
            commands = nil
            subscription?.close()
            subscription = nil
            down(reason)
            // When it is known that we are down: whoever is told may send the next command at once.
            giveBack(unanswered, sent: sent, reason)
            return
        }
        down(reason)
    }

    func connectionDrained(_ connection: RedisConnection) {
        guard connection === commands else { return }
        if isClosing { finishClosing() } else if let leaving { connection.fail(leaving) }
    }
}
