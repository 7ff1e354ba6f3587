// Messages of a stream, read without a group (API.md §2): ranges, one by ID, and the tail.

import HTTP
import Net
import Redis

extension API {
    /// `GET /v1/streams/{s}/messages`: a range, or with `after` the tail.
    func listMessages(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["start", "end", "order", "count", "after", "block_ms", "fields"])
        guard let after = try query.bytes("after") else {
            if query.contains("block_ms") { throw .parameter("block_ms", "goes with after: only a tail can wait.") }
            return try await listRange(call, query)
        }
        if let range = (["start", "end", "order"] as [StaticString]).first(where: query.contains) {
            throw .parameter(range.text, "not together with after: a tail has no range.")
        }
        return try await readTail(call, query, after: try after.tailStart("after"))
    }

    private func listRange(_ call: Call, _ query: QueryParameters) async throws(Problem) -> Response {
        let stream = try call.stream()
        let isDescending = try query.word("order", ["asc", "desc"]) == 1
        var from = try query.bytes("start")?.rangeBound("start") ?? .earliest
        var to = try query.bytes("end")?.rangeBound("end") ?? .latest
        let count = try query.integer("count", in: 1...limits.count) ?? 100
        let body = newBody()
        body.append(literal: "{\"messages\":[")
        let writer = MessageWriter(body: body, asPairs: try query.wantsPairs())
        var written = 0
        var last: [UInt8] = []
        var hasMore = true
        while hasMore && written < count && body.count < limits.replyBytes {
            let slice = min(count - written, limits.readSlice)
            let reply = try await ask(
                .xrange(stream.bytes, from: from, to: to, count: slice + 1, descending: isDescending), stream)
            var entries = reply.elements
            hasMore = entries.remaining > slice
            for _ in 0..<min(slice, entries.remaining) {
                if written > 0 { body.append(UInt8(ascii: ",")) }
                var peek = entries
                if peek.enterArray() == 2, let id = peek.takeBytes() { last = Array(id) }
                writer.write(&entries)
                written += 1
            }
            if hasMore, let id = last.withUnsafeBytes({ StreamID($0) }) {
                if isDescending { to = .excluding(id) } else { from = .excluding(id) }
            }
        }
        if written == 0 { try await requireStream(stream) }
        body.append(literal: "],\"next\":")
        last.withUnsafeBytes { body.appendNext(after: hasMore ? $0 : nil) }
        body.append(UInt8(ascii: "}"))
        return json(body)
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

    private func readTail(_ call: Call, _ query: QueryParameters, after: StreamTailStart) async throws(Problem) -> Response {
        let stream = try call.stream()
        let count = try query.integer("count", in: 1...limits.count) ?? 10
        let asPairs = try query.wantsPairs()
        let block = try query.milliseconds("block_ms").map { Block(wish: $0, limit: limits.block) }
        var read = TailRead(stream: stream, after: .zero, count: count, asPairs: asPairs)
        switch after {
        case .after(let id): read.after = id
        case .latest: read.after = try await lastID(stream)
        }
        let body = openReply()
        let found: Int
        do {
            found = try await look(&read, into: body)
        } catch {
            loop.buffers.give(body)
            throw await explain(error, stream)
        }
        // A HEAD request never waits (API.md §1.10).
        if found == 0, let block, call.request.method != .head {
            loop.buffers.give(body)
            return try ParkedCall(.tail(read), block, self, afterLook: true).response
        }
        return answer(to: .tail(read), body, block)
    }

    /// Appends up to `count` messages after `read.after`, and moves it on.
    func look(_ read: inout TailRead, into body: ByteBuffer) async throws(RedisError) -> Int {
        let writer = MessageWriter(body: body, asPairs: read.asPairs)
        var written = 0
        while written < read.count && body.count < limits.replyBytes / read.sharers {
            let slice = min(read.count - written, limits.readSlice(sharedBy: read.sharers))
            let reply = try await store.send(.xread([(read.stream.bytes, .after(read.after))], count: slice))
            guard var entries = reply.entriesOfOnlyStream else { return written }
            let found = entries.remaining
            for _ in 0..<found {
                if written > 0 { body.append(UInt8(ascii: ",")) }
                var peek = entries
                if peek.enterArray() == 2, let id = peek.takeBytes().flatMap({ StreamID($0) }) { read.after = id }
                writer.write(&entries)
                written += 1
            }
            if found < slice { return written }
        }
        return written
    }

    /// Where `latest` is now; 0-0 where there is no stream yet.
    private func lastID(_ stream: StreamName) async throws(Problem) -> StreamID {
        do {
            return try await store.send(.xinfoStream(stream.bytes)).lastGeneratedID.flatMap { StreamID($0) } ?? .zero
        } catch {
            let problem = await explain(error, stream)
            if problem.code == .streamNotFound { return .zero }
            throw problem
        }
    }
}

/// What a reader without a group asked for.
struct TailRead {
    var stream: StreamName
    /// The last message it has seen.
    var after: StreamID
    var count: Int
    var asPairs: Bool
    /// How many streams are read into the same answer.
    var sharers = 1
}
