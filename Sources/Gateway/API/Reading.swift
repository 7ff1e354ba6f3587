// Reading as a consumer of a group (API.md §4).

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/groups/{g}/consumers/{c}/read`
    func readMessages(_ call: Call) async throws(Problem) -> Response {
        let read = try await GroupRead(call, self)
        try await call.refuseBody()
        guard let block = read.block, read.position == .new else { return try await readNow(read) }
        // Whoever waits for the group already was here first; a claim looks on its own account.
        // (With Redis away it is told so at once, instead of queueing up in hope.)
        if read.claimMinIdle == nil && store.features != nil && longPoll.isWaitedFor(read.key) {
            let call = try ParkedCall(.group(read), block, self, afterLook: false)
            createConsumerSoon(read)
            return call.response
        }
        let round = longPoll.beginLook(read.key)
        defer { longPoll.endLook(read.key, round: round) }
        return try await readNow(read, orWait: block)
    }

    /// A look on the caller's own account.
    private func readNow(_ read: GroupRead, orWait block: Block? = nil) async throws(Problem) -> Response {
        let body = openReply()
        let lateness = Lateness(ofOwnLook: block, from: loop.now, redisTimeout: limits.redisTimeout)
        var batch: Batch
        do {
            batch = try await take(read, lateness, into: body)
            // The word of a nack may still be on its way to us. Who waits will be told; who does not asks once more.
            if batch.isEmpty, block == nil, read.takesUnowned, unowned.search(read.key, now: loop.now) == .nothing {
                unowned.delayed(read.key)
                batch = try await take(read, lateness, into: body)
            }
        } catch {
            loop.buffers.give(body)
            if error.isTimeout, lateness.handsBack { return answer(to: .group(read), openReply(), block) }
            throw await explain(error, read.stream, read.group)
        }
        if batch.isEmpty {
            if store.features?.emptyReadCreatesConsumer == false { createConsumerSoon(read) }
            if let block {
                loop.buffers.give(body)
                return try ParkedCall(.group(read), block, self, afterLook: true).response
            }
        }
        let stats = read.wantsStats ? await stats(read.stream, read.group) : nil
        var response = answer(to: .group(read), body, read.position == .new ? read.block : nil, stats)
        if !batch.isEmpty, !read.noAck { response.onLost = { [self] in handBack(read, batch) } }
        return response
    }

    /// An empty read creates its consumer, on every version (API.md §3): before 7.2 Redis does not, and who
    /// queues up behind others has not read yet. All of a tick go in one pipeline.
    private func createConsumerSoon(_ read: GroupRead) {
        if consumersToCreate.isEmpty { startWork(.createConsumers) }
        consumersToCreate.append(
            .xgroupCreateConsumer(read.stream.bytes, group: read.group.bytes, consumer: read.consumer.bytes))
    }

    func createConsumers() async {
        let commands = consumersToCreate
        consumersToCreate = []
        // Its failure is the business of the next command that meets it.
        _ = try? await store.send(commands, tracked: false)
    }

    /// How long messages, or the answer that there are none, wait for the group's numbers.
    static let statsTime = Duration.milliseconds(250)

    /// `,"group":{"lag":n|null,"pending":n}`, or null where Redis does not tell in time, in a buffer of its own.
    func stats(_ stream: StreamName, _ group: GroupName) async -> ByteBuffer {
        let body = newBody()
        do {
            try await appendStats(stream, group, patience: loop.now + API.statsTime, to: body)
        } catch {
            body.append(literal: API.unknownStats)  // Nothing is lost for their sake.
        }
        return body
    }

    static let unknownStats: StaticString = ",\"group\":null"

    /// The same, at the end of `body`.
    func appendStats(
        _ stream: StreamName, _ group: GroupName, patience: EventLoop.Instant? = nil, to body: ByteBuffer
    ) async throws(Problem) {
        let groups = try await ask(.xinfoGroups(stream.bytes), stream, group, patience: patience)
        try writeStats(group, of: stream, groups.elements, to: body)
    }

    /// The same, from the rows of XINFO GROUPS.
    func writeStats(_ group: GroupName, of stream: StreamName, _ groups: RedisCursor, to body: ByteBuffer) throws(Problem) {
        guard let row = GroupRow.find(group, in: groups) else { throw .groupNotFound(group, of: stream) }
        body.append(literal: ",\"group\":{\"lag\":")
        body.append(row.lag)
        body.append(literal: ",\"pending\":")
        body.append(row.pending)
        body.append(UInt8(ascii: "}"))
    }
}

extension GroupRead {
    init(_ call: Call, _ api: API) async throws(Problem) {
        let query = try call.query(
            ["count", "block_ms", "noack", "id", "claim_min_idle_ms", "unowned", "fields", "stats"])
        stream = try call.stream()
        group = try call.group()
        consumer = try call.readingConsumer()
        count = try query.integer("count", in: 1...api.limits.count) ?? 10
        noAck = try query.flag("noack") ?? false
        takesUnowned = try query.flag("unowned") ?? true
        asPairs = try query.wantsPairs()
        wantsStats = try query.flag("stats") ?? false
        if let wish = try query.milliseconds("block_ms") { block = Block(wish: wish, limit: api.limits.block) }
        if let id = try query.bytes("id") { position = try id.readPosition("id") }
        claimMinIdle = try await api.claimIdle("claim_min_idle_ms", query, of: WaitKey(stream: stream, group: group))
        if noAck && claimMinIdle != nil {
            throw .parameter("claim_min_idle_ms", "not with noack: a claimed message stays pending until it is acknowledged.")
        }
        if position != .new {
            if claimMinIdle != nil {
                throw .parameter("claim_min_idle_ms", "only with id=new: a consumer's own pending entries need no claim.")
            }
            takesUnowned = false
        }
    }
}

extension QueryParameters {
    /// `fields=pairs`
    func wantsPairs() throws(Problem) -> Bool {
        guard contains("fields") else { return false }
        return try word("fields", ["object", "pairs"]) == 1
    }
}

extension Call {
    /// For calls that take no body: a person who sent one meant something that did not happen.
    func refuseBody() async throws(Problem) {
        guard !request.body.isEmpty else { return }
        let body = try await body()
        guard body.isEmpty else {
            throw Problem(.invalidRequest, "This call takes no body; its options are query parameters.")
        }
    }
}
