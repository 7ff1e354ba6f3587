// A consumer's read on its own account: one look, which is a plain XREADGROUP where it can be.
//
//   look → found                                             → the answer
//        → nothing, and it may wait                          → a parked call
//        → nothing, and it may not                           → another look, in a task
//        → more slices, the group's numbers, or a failure    → the rest in a task
//        → more than is answered whole                       → a `ReadStream`

import HTTP
import Net
import Redis

final class PendingRead: PendingCall {
    private let read: GroupRead
    /// How long to wait where nothing is found.
    private let block: Block?
    private let body: ByteBuffer
    private var batch = Batch()
    private let lateness: Lateness
    private var hasLookedOnceMore = false
    /// Of a look that will queue up where it finds nothing.
    private var round: Int?

    init(_ api: API, _ read: GroupRead, orWait block: Block? = nil) {
        self.read = read
        self.block = block
        body = api.openReply()
        lateness = Lateness(ofOwnLook: block, from: api.loop.now, redisTimeout: api.limits.redisTimeout)
        super.init(api)
    }

    func begin() throws(Problem) -> Outcome {
        if block != nil { round = api.longPoll.beginLook(read.key) }
        guard api.isPlain(read) else { return .task { () async throws(Problem) in try await self.lookInTask() } }
        do throws(Problem) {
            return try send(
                api.plainCommand(read, api.firstSlice(read)), patience: lateness.patience,
                late: lateness.handsBack ? { [api, read] reply in api.handBack(read, late: .read(reply)) } : nil)
        } catch {
            endLook()
            api.loop.buffers.give(body)
            throw error
        }
    }

    // MARK: A plain look

    override func redisAnswered(_ reply: RedisReply) {
        api.absorb(reply, read, api.firstSlice(read), into: body, &batch)
        guard api.wantsMore(read, batch) else { return finish(outcome) }
        finish(.success(.task { () async throws(Problem) in try await self.lookOn() }))
    }

    override func redisFailed(_ error: RedisError) {
        finish(.success(.task { () async throws(Problem) in try await self.failed(error) }))
    }

    // MARK: In a task

    private func lookInTask() async throws(Problem) -> Outcome {
        do {
            batch = try await api.take(read, lateness, into: body)
        } catch {
            return try await failed(error)
        }
        return try outcome.get()
    }

    private var wantsAnotherLook: Bool { block == nil && !hasLookedOnceMore && api.mayBeUntold(read, batch) }

    private func lookOnceMore() async throws(Problem) -> Outcome {
        hasLookedOnceMore = true
        api.unowned.delayed(read.key)
        return try await lookInTask()
    }

    private func lookOn() async throws(Problem) -> Outcome {
        await api.takeMore(read, lateness, into: body, &batch)
        return try outcome.get()
    }

    private func answerWithStats() async -> Outcome {
        .response(answer(await api.stats(read.stream, read.group)))
    }

    private func failed(_ error: RedisError) async throws(Problem) -> Outcome {
        endLook()
        if error.isTimeout, lateness.handsBack { return .response(answer()) }
        api.loop.buffers.give(body)
        throw await api.explain(error, read.stream, read.group)
    }

    // MARK: What it comes to

    private var outcome: Result<Outcome, Problem> {
        defer { endLook() }
        if batch.isEmpty, wantsAnotherLook { return .success(.task { () async throws(Problem) in try await self.lookOnceMore() }) }
        if batch.isEmpty {
            if api.store.features?.emptyReadCreatesConsumer == false { api.createConsumerSoon(read) }
            if let block { return park(block) }
        }
        if api.wantsMore(read, batch) { return .success(.response(ReadStream(api, read, batch).answer(body, waited))) }
        guard read.wantsStats else { return .success(.response(answer())) }
        return .success(.task { () async throws(Problem) in await self.answerWithStats() })
    }

    private func park(_ block: Block) -> Result<Outcome, Problem> {
        api.loop.buffers.give(body)
        do throws(Problem) {
            return .success(.parked(try ParkedCall(.group(read), block, api, afterLook: true)))
        } catch {
            return .failure(error)
        }
    }

    /// What the caller is told of its wish to wait.
    private var waited: Block? { read.position == .new ? read.block : nil }

    private func answer(_ stats: ByteBuffer? = nil) -> Response {
        api.noteCut(read, batch)
        var response = api.answer(to: .group(read), body, waited, stats)
        if !batch.isEmpty, !read.noAck { response.onLost = { [self] in api.handBack(read, batch) } }
        return response
    }

    /// Whoever came meanwhile may queue up: this one has, or has something.
    private func endLook() {
        guard let round else { return }
        self.round = nil
        api.longPoll.endLook(read.key, round: round)
    }
}
