// The looks of a parked call, each reported to its waiter's home: first that, which goes on with the next waiter, then the
// answer.
//
// The usual one is a single XREADGROUP, and needs no task: ten thousand calls at rest on a stream each are five hundred such
// looks a second. What is more than that, or has to be explained, is a task's.

import HTTP
import Net
import Redis

// MARK: Without a task

extension ParkedCall: ReplyTaker {
    /// It was told to. Where its connection is not there yet, which knows whether the client is, that has to wait too.
    func look() {
        guard client != nil, case .group(let read) = read, api.isOneCommand(read) else { return api.startWork(.look(waiter.id)) }
        guard mayLook() else { return }
        do throws(RedisError) {
            try api.store.send(
                api.plainCommand(read, read.count), to: self, patience: nil,
                late: { [api] reply in api.handBack(read, late: .read(reply)) })
            api.looksUnderWay += 1
        } catch {
            lookFailed(error)
        }
    }

    func redisAnswered(_ reply: RedisReply) {
        api.looksUnderWay -= 1
        guard case .group(let read) = read else { preconditionFailure("A tail looks in a task.") }
        var batch = Batch()
        let body = api.openReply()
        api.absorb(reply, read, read.count, into: body, &batch)
        api.noteUnowned(read, &batch)
        api.noteIdle(read, &batch)
        if api.report(self, batch, body) { api.answer(self, read, batch, body) }
    }

    func redisFailed(_ error: RedisError) {
        api.looksUnderWay -= 1
        lookFailed(error)
    }

    private func lookFailed(_ error: RedisError) {
        // What is gone is found out by another look, which may wait for the explanation.
        if error.saysThereIsNoGroup { return api.startWork(.look(waiter.id)) }
        api.lookFailed(self)
    }
}

extension API {
    /// Whether a look is one plain command, and its answer all that the reply is made of.
    fileprivate func isOneCommand(_ read: GroupRead) -> Bool {
        isPlain(read) && firstSlice(read) == read.count && !read.wantsStats
    }

    /// Tells the waiter's home. False: nothing was found, and the call goes on waiting.
    fileprivate func report(_ call: ParkedCall, _ batch: Batch, _ body: ByteBuffer) -> Bool {
        let result: WaitHome.Look.Result = batch.isEmpty ? .nothing : .found(full: batch.isFull)
        if batch.isEmpty {
            loop.buffers.give(body)
            call.lookedInVain()
        }
        longPoll.report(call.waiter, WaitHome.Look(result: result, unownedDue: batch.unownedDue, claimDue: batch.claimDue))
        return !batch.isEmpty
    }

    /// With all that was found.
    fileprivate func answer(_ call: ParkedCall, _ read: GroupRead, _ batch: Batch, _ body: ByteBuffer, _ stats: ByteBuffer? = nil) {
        noteCut(read, batch)
        var response = answer(to: call.read, body, call.block, stats)
        if !read.noAck { response.onLost = { [self] in handBack(read, batch) } }
        if call.found(response) { return }
        loop.buffers.give(body)
        handBack(read, batch)
    }

    /// Redis is away: parked readers stay parked (API.md §4, rule 5). Where the connection broke in the middle of the
    /// look, what Redis gave nevertheless stays with the consumer until it is claimed. It can't be handed back exactly:
    /// another client may read under the same name, here or at another gateway, and nothing in the pending list tells
    /// what it was given from what was lost. Only a note written by Redis itself with each look could, a second write
    /// for every message, to shorten the rare wait for a lease.
    fileprivate func lookFailed(_ call: ParkedCall) {
        call.lookedInVain()
        longPoll.report(call.waiter, WaitHome.Look(result: .failed))
    }
}

// MARK: In a task

extension API {
    /// One look of whatever waits.
    func look(_ id: WaiterID) async {
        let owner = longPoll.waiter(id)?.owner
        if let part = owner as? ManyCall.Part { return await look(part) }
        if let tail = owner as? GroupTail { return await tail.look() }
        guard let call = owner as? ParkedCall, call.mayLook() else { return }
        let body = openReply()
        switch call.read {
        case .group(let read): await look(call, read, into: body)
        case .tail(let read): await look(call, read, into: body)
        }
    }

    private func look(_ call: ParkedCall, _ read: GroupRead, into body: ByteBuffer) async {
        let batch: Batch
        do {
            batch = try await take(read, .ofParked, into: body)
        } catch {
            loop.buffers.give(body)
            return await failed(call, read, error)
        }
        // Its home goes on with the next waiter, whatever this one still asks for.
        guard report(call, batch, body) else { return }
        guard wantsMore(read, batch) else {
            return answer(call, read, batch, body, read.wantsStats ? await stats(read.stream, read.group) : nil)
        }
        if call.found(ReadStream(self, read, batch).answer(body, call.block)) { return }
        loop.buffers.give(body)
        handBack(read, batch)
    }

    private func failed(_ call: ParkedCall, _ read: GroupRead, _ error: RedisError) async {
        guard error.saysThereIsNoGroup else { return lookFailed(call) }
        let problem = await explain(error, read.stream, read.group)
        guard let end = problem.waitEnd else { return lookFailed(call) }
        longPoll.report(call.waiter, WaitHome.Look(result: .ended(end)))
        call.failed(problem)
    }

    private func look(_ call: ParkedCall, _ tail: TailRead, into body: ByteBuffer) async {
        let list = TailList(self, tail)
        var result = WaitHome.Look.Result.failed
        do {
            try await list.begin(into: body)
            result = list.taken == 0 ? .nothing : .found(full: false)
        } catch where error.code == .wrongType {
            result = .nothing  // The key became another type for now: the tail goes on waiting.
        } catch {
            // Redis is away; the tail stays parked.
        }
        if case .found = result {
            longPoll.report(call.waiter, WaitHome.Look(result: result))
            if !call.found(list.answer(body, call.block)) { loop.buffers.give(body) }
        } else {
            loop.buffers.give(body)
            call.lookedInVain()
            longPoll.report(call.waiter, WaitHome.Look(result: result))
        }
    }

    /// A parked call whose time is up, and which wants the group's numbers with its empty answer.
    func answerEmpty(_ id: WaiterID) async {
        guard let call = longPoll.waiter(id)?.owner as? ParkedCall, case .group(let read) = call.read else { return }
        call.answerEmpty(await stats(read.stream, read.group))
    }
}
