// A reply with more messages than are kept in memory at once: it takes them from Redis slice by slice, and the next
// only when the client has taken the last. Between two slices the loop and Redis serve others.
//
// A list of no more than `Limits.wholeReply` bytes is answered whole, with its length; so whatever is wrong with a
// call is known, and told as a problem, before a byte of a streamed reply is sent. From then on nothing can fail it: a
// slice that Redis does not give ends the list before it, as the limit of bytes does. What the client has got is true,
// and the call that goes on where it ended meets the failure itself.

import HTTP
import Net
import Redis

class SlicedReply: ChunkSource {
    final let api: API
    /// What is there already; goes out first.
    private final var begun: ByteBuffer?
    private final var isOver = false
    final var failed: Bool { false }

    init(_ api: API, begun: ByteBuffer? = nil) {
        self.api = api
        self.begun = begun
    }

    /// Appends the next slice. False after the last, behind which the reply has been ended.
    func proceed(_ body: ByteBuffer) async -> Bool { preconditionFailure("Every list knows its slices.") }

    final func next() async -> ByteBuffer? {
        if let begun {
            self.begun = nil
            return begun
        }
        guard !isOver else { return nil }
        let body = api.newBody()
        isOver = await !proceed(body)
        if isOver { body.append(UInt8(ascii: "\n")) }
        return body
    }

    /// The reply that begins with `body` and goes on by slices.
    final func response(begun body: ByteBuffer) -> Response {
        begun = body
        api.metrics.values.streamed += 1
        return Response(contentType: "application/json", body: .stream(self))
    }
}

extension API {
    /// Rows of the next slice of a list, of which `taken` rows of `bytes` in all are there: no one slice is a long
    /// stretch of work for Redis or for us. What rows weigh is known after the first.
    static func sliceCount(left: Int, taken: Int, bytes: Int, first: Int) -> Int {
        if taken == 0 { return min(left, first) }
        return min(left, max(1, min(sliceRows, sliceBytes / max(bytes / taken, 1))))
    }

    /// Redis takes about 3 µs a row where they are small: a thousand at a time kept everybody else waiting for 4 ms.
    static let sliceRows = 250
    private static let sliceBytes = 256 * 1024
}

/// A list of rows that changes nothing in Redis.
class SlicedList: SlicedReply {
    /// At most so many rows.
    private final let wanted: Int
    private final let firstSlice: Int
    private final let byteLimit: Int
    /// Rows and bytes so far.
    final private(set) var taken = 0
    private final var bytes = 0
    /// As far as we know.
    final private(set) var hasMore = true

    /// `firstSlice`: rows of the first slice, where it is known what they weigh.
    init(_ api: API, wanted: Int, sharers: Int = 1, firstSlice: Int? = nil) {
        self.wanted = wanted
        self.firstSlice = firstSlice ?? api.limits.readSlice(sharedBy: sharers)
        byteLimit = api.limits.replyBytes / sharers
        super.init(api)
    }

    /// Takes up to `count` rows; says how many came, and whether there may be more.
    func take(_ count: Int, into body: ByteBuffer) async throws(RedisError) -> (rows: Int, hasMore: Bool) {
        preconditionFailure("Every list knows its rows.")
    }

    /// Ends the list and the object that it is in.
    func end(_ body: ByteBuffer) { preconditionFailure("Every list knows its end.") }

    // MARK: Taking

    final var wantsMore: Bool { hasMore && taken < wanted && bytes < byteLimit && !(taken > 0 && api.isDraining) }

    private final func takeSlice(into body: ByteBuffer) async throws(RedisError) {
        let start = body.count
        let count = API.sliceCount(left: wanted - taken, taken: taken, bytes: bytes, first: firstSlice)
        let slice = try await take(count, into: body)
        taken += slice.rows
        hasMore = slice.hasMore
        bytes += body.count - start
    }

    /// All that is answered whole. Throws only what the first slice failed with.
    final func begin(into body: ByteBuffer) async throws(RedisError) {
        repeat { try await takeOrEnd(into: body) } while wantsMore && bytes < api.limits.wholeReply && !isCut
    }

    /// All, for one who can't stream.
    final func takeAll(into body: ByteBuffer) async throws(RedisError) {
        repeat { try await takeOrEnd(into: body) } while wantsMore && !isCut
        noteCut()
    }

    /// It is over: it may have ended because of its bytes.
    private final func noteCut() {
        if hasMore, taken < wanted, bytes >= byteLimit { api.metrics.values.readsCut += 1 }
    }

    /// Redis has failed in the middle.
    private final var isCut = false

    private final func takeOrEnd(into body: ByteBuffer) async throws(RedisError) {
        do throws(RedisError) {
            try await takeSlice(into: body)
        } catch {
            if taken == 0 { throw error }
            isCut = true
        }
    }

    final override func proceed(_ body: ByteBuffer) async -> Bool {
        do { try await takeSlice(into: body) } catch { isCut = true }
        guard isCut || !wantsMore else { return true }
        noteCut()
        end(body)
        return false
    }

    /// The answer that begins with `body`: whole where nothing more is wanted.
    final func answer(_ body: ByteBuffer) -> Response {
        if wantsMore && !isCut { return response(begun: body) }
        noteCut()
        end(body)
        return api.json(body)
    }
}
