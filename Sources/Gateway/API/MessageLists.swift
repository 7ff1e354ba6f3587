// The lists of a stream's messages that are read without a group: a range, and what comes after an ID.

import HTTP
import Net
import Redis

/// XRANGE or XREVRANGE, from what is left of the range.
final class RangeList: SlicedList {
    private let stream: StreamName
    private var from: StreamBound
    private var to: StreamBound
    private let isDescending: Bool
    private let asPairs: Bool
    private var last: StreamID?

    init(_ api: API, _ stream: StreamName, from: StreamBound, to: StreamBound, descending: Bool, count: Int, asPairs: Bool) {
        (self.stream, self.from, self.to, isDescending, self.asPairs) = (stream, from, to, descending, asPairs)
        super.init(api, wanted: count)
    }

    override func take(_ count: Int, into body: ByteBuffer) async throws(RedisError) -> (rows: Int, hasMore: Bool) {
        // One more tells whether there is more.
        let reply = try await api.store.send(.xrange(stream.bytes, from: from, to: to, count: count + 1, descending: isDescending))
        var entries = reply.elements
        let (rows, hasMore) = (min(count, entries.remaining), entries.remaining > count)
        let writer = MessageWriter(body: body, asPairs: asPairs)
        for row in 0..<rows {
            if taken + row > 0 { body.append(UInt8(ascii: ",")) }
            if row == rows - 1 { last = entries.peekID() }
            writer.write(&entries)
        }
        if let last, isDescending { to = .excluding(last) } else if let last { from = .excluding(last) }
        return (rows, hasMore)
    }

    override func end(_ body: ByteBuffer) {
        body.append(literal: "],\"next\":")
        body.appendNext(after: hasMore ? last : nil)
        body.append(UInt8(ascii: "}"))
    }
}

/// XREAD, from the last message that was seen.
final class TailList: SlicedList {
    private(set) var read: TailRead

    init(_ api: API, _ read: TailRead) {
        self.read = read
        super.init(api, wanted: read.count, sharers: read.sharers)
    }

    override func take(_ count: Int, into body: ByteBuffer) async throws(RedisError) -> (rows: Int, hasMore: Bool) {
        let reply = try await api.store.send(.xread([(read.stream.bytes, .after(read.after))], count: count))
        guard var entries = reply.entriesOfOnlyStream else { return (0, false) }
        let rows = entries.remaining
        let writer = MessageWriter(body: body, asPairs: read.asPairs)
        for row in 0..<rows {
            if taken + row > 0 { body.append(UInt8(ascii: ",")) }
            if row == rows - 1, let id = entries.peekID() { read.after = id }
            writer.write(&entries)
        }
        return (rows, rows >= count)
    }

    override func end(_ body: ByteBuffer) { api.endMessages(of: .tail(read), nil, to: body) }

    func answer(_ body: ByteBuffer, _ block: Block?) -> Response {
        var response = answer(body)
        response.tell(block)
        return response
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
    /// Who would wait, where that is bounded.
    var client: ClientAddress?
}

extension RedisCursor {
    /// The ID of the entry `[id, …]` at the cursor, which stays where it is.
    func peekID() -> StreamID? {
        var peek = self
        guard let parts = peek.enterArray(), parts > 0 else { return nil }
        return peek.takeBytes().flatMap { StreamID($0) }
    }
}
