// Messages of a stream, read without a group (API.md §2): ranges, one by ID, and the tail. The lists are slices:
// see `SlicedList`.

import HTTP
import Net
import Redis

extension API {
    /// `GET /v1/streams/{s}/messages`: a range, with `after` the tail, or a live tail.
    func listMessages(_ call: Call) async throws(Problem) -> Outcome {
        if call.wantsEvents { return .response(try await tailStream(call)) }
        let query = try call.query(["start", "end", "order", "count", "after", "block_ms", "fields"])
        guard let after = try query.bytes("after") else {
            if query.contains("block_ms") { throw .parameter("block_ms", "goes with after: only a tail can wait.") }
            return .response(try await listRange(call, query))
        }
        if let range = (["start", "end", "order"] as [StaticString]).first(where: query.contains) {
            throw .parameter(range.text, "not together with after: a tail has no range.")
        }
        return try await readTail(call, query, after: try after.tailStart("after"))
    }

    private func listRange(_ call: Call, _ query: QueryParameters) async throws(Problem) -> Response {
        let stream = try call.stream()
        let isDescending = try query.word("order", ["asc", "desc"]) == 1
        let from = try query.bytes("start")?.rangeBound("start") ?? .earliest
        let to = try query.bytes("end")?.rangeBound("end") ?? .latest
        let count = try query.integer("count", in: 1...limits.count) ?? 100
        let list = RangeList(
            self, stream, from: from, to: to, descending: isDescending, count: count, asPairs: try query.wantsPairs())
        let body = openReply()
        do {
            try await list.begin(into: body)
        } catch {
            loop.buffers.give(body)
            throw await explain(error, stream)
        }
        if list.taken == 0 { try await requireStream(stream) }
        return list.answer(body)
    }

    /// `GET /v1/streams/{s}/messages/{id}`
    func showMessage(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["fields"])
        let (stream, id) = (try call.stream(), try call.messageID())
        let asPairs = try query.wantsPairs()
        let reply = try await ask(.xrange(stream.bytes, from: .including(id), to: .including(id), count: 1), stream)
        var entries = reply.elements
        guard entries.remaining == 1 else {
            try await requireStream(stream)
            throw .messageNotFound(id, in: stream)
        }
        let body = newBody()
        MessageWriter(body: body, asPairs: asPairs).write(&entries)
        return json(body)
    }

    // MARK: The tail

    private func readTail(_ call: Call, _ query: QueryParameters, after: StreamTailStart) async throws(Problem) -> Outcome {
        let stream = try call.stream()
        let count = try query.integer("count", in: 1...limits.count) ?? 10
        let asPairs = try query.wantsPairs()
        let block = try block(query)
        var read = TailRead(stream: stream, after: .zero, count: count, asPairs: asPairs)
        if block != nil { read.client = waitingClient(call) }
        switch after {
        case .after(let id): read.after = id
        case .latest: read.after = try await lastID(stream)
        }
        let body = openReply()
        let list = TailList(self, read)
        do {
            try await list.begin(into: body)
        } catch {
            loop.buffers.give(body)
            throw await explain(error, stream)
        }
        // A HEAD request never waits (API.md §1.10).
        if list.taken == 0, let block, call.request.method != .head {
            loop.buffers.give(body)
            return .parked(try ParkedCall(.tail(read), block, self, afterLook: true))
        }
        return .response(list.answer(body, block))
    }

    /// Where `latest` is now; 0-0 where there is no stream yet.
    func lastID(_ stream: StreamName) async throws(Problem) -> StreamID {
        do {
            return try await store.send(.xinfoStream(stream.bytes)).lastGeneratedID.flatMap { StreamID($0) } ?? .zero
        } catch {
            let problem = await explain(error, stream)
            if problem.code == .streamNotFound { return .zero }
            throw problem
        }
    }
}
