// The machine that answers requests where their bytes arrive, and the task that does what must wait; see
// HTTPConnection.swift for its states.

import Net

extension HTTPConnection {
    // MARK: The machine

    /// Answers requests for as long as that needs no waiting.
    func serve() {
        guard !isServing else { return }
        isServing = true
        while state == .asleep, takeRequest() {
            begin()
            settle(server.responder.respond(to: request))
        }
        isServing = false
    }

    /// True when a request is there; false when the connection sleeps on, or has an errand.
    private func takeRequest() -> Bool {
        if isBroken || isDraining {
            handToTask(.read)
        } else if !hasRoom {
            handToTask(.makeRoom)
        } else {
            switch readRequest() {
            case .request: return true
            case .refused(let error):
                reject(error)
                handToTask(.linger)
            case nil where hasEnded || isBroken || input != nil: handToTask(.read)
            case nil: readDeadline = idleUntil
            }
        }
        return false
    }

    private func begin() {
        state = .busy
        readDeadline = nil
        closesAfterAnswer = false
        wasParked = false
        counters.requests += 1
        counters.inFlight += 1
        if !hooks.isEmpty { hooks.removeAll { $0.end <= sent } }  // Who asks again has its reply, as far as anybody can tell.
    }

    private func settle(_ answer: consuming Answer) {
        switch consume answer {
        case .soon(let later): rest(.pending, later)
        case .later(let later): park(later)
        case .response(let response):
            switch response.body {
            case .open(let open): begin(open, response)
            case .stream where request.method != .head && !isBroken: handToTask(.settle(.response(response)))
            default: conclude(reply(response))
            }
        case .task(let work): handToTask(.settle(.task(work)))
        }
    }

    /// The reply is under way: ends its request.
    private func conclude(_ goesOn: Bool) {
        counters.inFlight -= 1
        guard !goesOn || request.body.isComplete else {
            handToTask(.skip(thenPark: nil))
            return
        }
        endRequest()
        if goesOn { fallAsleep() } else { handToTask(.linger) }
    }

    private func endRequest() {
        if let failure = request.body.failure { counters.count(failure) }
        endBody()
        request.end()
    }

    func fallAsleep() {
        state = .asleep
        idleUntil = loop.now + limits.keepAliveTime
    }

    // MARK: Answers that come later

    /// Lets go of the request but for what its reply needs.
    private func park(_ later: any LaterResponse) {
        guard request.body.isComplete else {
            handToTask(.skip(thenPark: later))
            return
        }
        park(later, isSkipped: true)
    }

    /// Of its bytes: what its reply needs of it stays.
    private func letGoOfRequest() {
        endBody()
        request.forgetBytes()
    }

    private func endBody() {
        if let input, let next = request.body.end(input, buffers) { self.input = next }
        releaseIdleInput()
    }

    private func park(_ later: any LaterResponse, isSkipped: Bool) {
        closesAfterAnswer = !isSkipped
        wasParked = true
        letGoOfRequest()
        rest(.parked, later)
    }

    // MARK: Open replies

    private func begin(_ reply: any OpenReply, _ response: Response) {
        guard request.method != .head, !isBroken else {
            if isBroken { reply.clientGone() }
            conclude(self.reply(response))
            return
        }
        appendHead(response, .close, request.isHTTP11 ? .chunked : .close)
        letGoOfRequest()
        state = .open
        openReply = reply
        reply.begin(self)
        if isPeerClosed, openReply === reply { reply.clientGone() }
    }

    /// Ends an open reply, and the connection after it. Once, on the loop.
    public func end() {
        precondition(state == .open, "A reply that was begun is ended once.")
        openReply = nil
        wantsRoom = false
        if !isBroken, request.isHTTP11 { appendLastChunk() }
        conclude(false)
    }

    private func rest(_ state: State, _ later: any LaterResponse) {
        self.state = state
        self.later = later
        later.begin(self)
        if isPeerClosed, self.later === later { later.clientGone() }
    }

    /// The reply of a pending or parked request. Once, on the loop.
    public func answer(_ response: Response) { answer(.response(response)) }

    /// The same, where it may take a task to get it.
    public func answer(_ answer: consuming Answer) {
        later = nil
        switch state {
        case .pending:
            state = .busy
            settle(consume answer)
            serve()
        case .parked:
            // Whoever answers is in the middle of something, and the next request may be about the same thing.
            handToTask(.settle(answer))
        case .busy, .asleep, .open: preconditionFailure("A request that waits for its answer is answered once.")
        }
    }

    // MARK: The task

    /// Has a task do what must wait.
    func handToTask(_ errand: Errand) {
        state = .busy
        self.errand = errand
        if !hasTask { server.giveTask(self) }
    }

    /// Does its errands. True when the connection has ended and holds nothing any more.
    func runErrands() async -> Bool {
        hasTask = true
        defer { hasTask = false }
        while let errand {
            self.errand = nil
            if await perform(errand) {
                close()
                return true
            }
            serve()
        }
        return false
    }

    /// True when the connection must close.
    private func perform(_ errand: Errand) async -> Bool {
        switch errand {
        case .refuse:
            reject(.tooManyConnections)
            await linger()
            return true
        case .makeRoom:
            await waitForRoom()
            state = .asleep
        case .read: return await readInPieces()
        case .settle(let answer): await settleInTask(answer)
        case .skip(let later):
            let isSkipped = await skipBody()
            if let later {
                park(later, isSkipped: isSkipped)
            } else {
                endRequest()
                if isSkipped { fallAsleep() } else { handToTask(.linger) }
            }
        case .linger:
            await linger()
            return true
        }
        return false
    }

    private func readInPieces() async -> Bool {
        switch await nextRequest() {
        case .ended:
            // Nothing was asked that we have not answered: no reply can be lost to a reset of ours.
            await drainOutput()
            if hasEnded { await waitForConfirmation() }
            return true
        case .refused(let error):
            reject(error)
            handToTask(.linger)
        case .request:
            begin()
            settle(server.responder.respond(to: request))
        }
        return false
    }

    private func settleInTask(_ answer: Answer) async {
        var answer = answer
        while case .task(let work) = answer { answer = await work() }
        if case .response(let response) = answer, case .stream = response.body {
            conclude(await stream(response))
        } else {
            settle(answer)
        }
    }
}
