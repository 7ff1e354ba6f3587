// Live tails over HTTP (API.md §5): who asks for events, and where they begin.

import HTTP
import Net
import Redis

extension API {
    /// `GET /v1/streams/{s}/messages` with `Accept: text/event-stream`
    func tailStream(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["after", "fields", "start", "end", "order", "count", "block_ms"])
        if let other = (["start", "end", "order", "count", "block_ms"] as [StaticString]).first(where: query.contains) {
            throw .parameter(other.text, "not with Accept: text/event-stream, which has neither a range nor an end.")
        }
        let key = FeedKey(stream: try call.stream(), asPairs: try query.wantsPairs())
        let wish = try query.bytes("after")
        let start = if let last = try call.lastEventID() { last } else { try wish?.tailStart("after") ?? .latest }
        var (after, first) = (StreamID.zero, RedisReply?.none)
        switch start {
        case .latest: after = try await lastID(key.stream)
        case .after(let id):
            after = id
            first = try await ask(Tail.read(key.stream, after: id, ReadPace()), key.stream)
        }
        // A HEAD request opens nothing (API.md §1.10).
        let opens = call.request.method != .head
        let place = opens ? try longPoll.takePlace([key.stream], for: waitingClient(call)) : nil
        return Tail(self, key, after: after, first: first, place).response
    }
}

extension API {
    /// `POST /v1/streams/{s}/groups/{g}/consumers/{c}/stream`
    func streamMessages(_ call: Call) async throws(Problem) -> Response {
        try await call.refuseBody()
        return try await tailGroup(call)
    }

    /// `GET /v1/streams/{s}/groups/{g}/consumers/{c}/messages`: the one GET that changes a group, so it is asked for in so
    /// many words.
    func followMessages(_ call: Call) async throws(Problem) -> Response {
        guard call.request.header("accept")?.trimmed.equalsIgnoringCase("text/event-stream") ?? false else {
            throw Problem(.notAcceptable, "Answers are text/event-stream, for who sends exactly Accept: text/event-stream; POST …/read answers JSON.")
        }
        return try await tailGroup(call)
    }

    private func tailGroup(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["max_pending", "fields"])
        var read = GroupRead(stream: try call.stream(), group: try call.group(), consumer: try call.readingConsumer())
        read.asPairs = try query.wantsPairs()
        read.asEvents = true
        let maxPending = try query.integer("max_pending", in: 1...Limits.tailPending) ?? 100
        guard call.request.method != .head else { return GroupTail(self, read, maxPending: maxPending, first: nil, nil).response }
        let place = try longPoll.takePlace([read.stream], for: waitingClient(call))
        do throws(Problem) {
            let first = Recall(read, after: .zero, count: GroupTail.firstCount(maxPending, limits))
            try await first.ask(self)
            return GroupTail(self, read, maxPending: maxPending, first: first, place).response
        } catch {
            longPoll.givePlace(place)
            throw error
        }
    }
}

extension Call {
    /// Whether a stream of events is what the caller takes. One who names JSON too gets that, as ever.
    var wantsEvents: Bool {
        guard let accept = request.header("accept"), !accept.isSame(as: "*/*") else { return false }
        return MediaType.names(accept, "text/event-stream") && !MediaType.names(accept, "application/json")
            && !MediaType.names(accept, "application/*")
    }

    /// The last event that the client has got, as browsers tell it when they come back.
    func lastEventID() throws(Problem) -> StreamTailStart? {
        guard let id = request.header("last-event-id"), !id.isEmpty else { return nil }
        return .after(try Array(id).entryID("Last-Event-ID"))
    }
}
