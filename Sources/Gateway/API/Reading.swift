// Reading as a consumer of a group (API.md §4).

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/groups/{g}/consumers/{c}/read`
    func readMessages(_ call: Call) throws(Problem) -> Outcome {
        let read = try GroupRead(call, self)
        guard call.bodyAtHand() != nil else { return call.afterBody(readMessages) }
        try call.refuseBodyAtHand()
        return try begin(read)
    }

    private func begin(_ read: GroupRead) throws(Problem) -> Outcome {
        guard let block = read.block, read.position == .new else { return try PendingRead(self, read).begin() }
        // Whoever waits for the group already was here first; a claim looks on its own account.
        // (With Redis away it is told so at once, instead of queueing up in hope.)
        if read.claimMinIdle == nil && store.features != nil && longPoll.isWaitedFor(read.key) {
            let call = try ParkedCall(.group(read), block, self, afterLook: false)
            createConsumerSoon(read)
            return .parked(call)
        }
        return try PendingRead(self, read, orWait: block).begin()
    }

    /// `block_ms`, as far as the server lets a call wait.
    func block(_ query: QueryParameters) throws(Problem) -> Block? {
        guard let wish = try query.milliseconds("block_ms") else { return nil }
        if limits.block != .zero && wish > limits.block { metrics.values.blocksCut += 1 }
        return Block(wish: wish, limit: limits.block)
    }

    /// Who would wait, where that is bounded: elsewhere the kernel need not be asked.
    func waitingClient(_ call: Call) -> ClientAddress? { limits.clientWaiters == 0 ? nil : call.request.clientAddress }

    /// An empty read creates its consumer, on every version (API.md §3): before 7.2 Redis does not, and who
    /// queues up behind others has not read yet. All of a tick go in one pipeline.
    func createConsumerSoon(_ read: GroupRead) {
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

    /// What `appendStats` appends, in a buffer of its own.
    func stats(_ stream: StreamName, _ group: GroupName) async -> ByteBuffer {
        let body = newBody()
        await appendStats(stream, group, to: body)
        return body
    }

    static let unknownStats: StaticString = ",\"group\":null"

    /// `,"group":{"lag":n|null,"pending":n}` at the end of `body`; null where Redis does not tell in time. What the call
    /// was for is done by then, and must be told whatever happens to the numbers.
    func appendStats(_ stream: StreamName, _ group: GroupName, to body: ByteBuffer) async {
        do throws(Problem) {
            let groups = try await ask(.xinfoGroups(stream.bytes), stream, group, patience: loop.now + API.statsTime)
            try writeStats(group, of: stream, groups.elements, to: body)
        } catch {
            body.append(literal: API.unknownStats)
        }
    }

    /// The same, from the rows of XINFO GROUPS.
    func writeStats(_ group: GroupName, of stream: StreamName, _ groups: RedisCursor, to body: ByteBuffer) throws(Problem) {
        guard let row = GroupRow.find(group, in: groups) else { throw .groupNotFound(group, of: stream) }
        body.append(literal: ",\"group\":{\"lag\":")
        body.append(row.position.lag)
        body.append(literal: ",\"pending\":")
        body.append(row.pending)
        body.append(UInt8(ascii: "}"))
    }
}

extension GroupRead {
    init(_ call: Call, _ api: API) throws(Problem) {
        let query = try call.query(
            ["count", "block_ms", "noack", "id", "claim_min_idle_ms", "unowned", "fields", "stats"])
        stream = try call.stream()
        group = try call.group()
        consumer = try call.readingConsumer()
        try take(query, api)
        block = try api.block(query)
        if block != nil { client = api.waitingClient(call) }
        if let id = try query.bytes("id") { position = try id.readPosition("id") }
        try settlePosition()
    }

    /// What is the same for every stream of a call.
    mutating func take(_ query: QueryParameters, _ api: API) throws(Problem) {
        count = try query.integer("count", in: 1...api.limits.count) ?? 10
        noAck = try query.flag("noack") ?? false
        takesUnowned = try query.flag("unowned") ?? true
        asPairs = try query.wantsPairs()
        wantsStats = try query.flag("stats") ?? false
        claimMinIdle = try api.claimIdle("claim_min_idle_ms", query, of: key)
    }

    /// What does not go together, and what a read of the consumer's own history leaves.
    mutating func settlePosition() throws(Problem) {
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
        _ = try await body()
        try refuseBodyAtHand()
    }

    /// The same, where the body has come.
    func refuseBodyAtHand() throws(Problem) {
        guard bodyAtHand()?.isEmpty ?? true else {
            throw Problem(.invalidRequest, "This call takes no body; its options are query parameters.")
        }
    }
}
