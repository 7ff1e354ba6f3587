// What follows a request's head: pulled by the handler, so that a slow handler slows its client and
// nobody else.
//
// Raw bytes are taken first from the connection's input buffer, after the head; when those are used up,
// from a second buffer, so that the head stays where it is. What is left there when the request ends is
// the beginning of the next one. A body that failed stays failed, and its connection ends.

import Net

public final class RequestBody {
    enum Framing { case none, length, chunked }

    /// Unsafe: it owns the request that this is of, and takes itself away from here before it goes (`Request.detach`).
    unowned(unsafe) var connection: HTTPConnection?
    private(set) var framing = Framing.none
    /// Of a Content-Length: bytes not yet handed out.
    private(set) var remaining = 0
    private(set) var failure: HTTPError?
    private var limit = 0
    private var limits = HTTPLimits.Framing()
    private var decoder = ChunkedDecoder()
    private var announced = 0

    /// Where raw bytes lie, and where the first unread one is.
    private var source: ByteBuffer?
    private var position = 0
    /// The second buffer: `source`, once the connection's input is used up.
    private var overflow: ByteBuffer?
    private var gathered: ByteBuffer?
    /// What `collected` has answered.
    private var whole: UnsafeRawBufferPointer?

    init() {}

    // MARK: For handlers

    /// True when the request has none (RFC 9112 §6.3): neither chunks nor a Content-Length above 0.
    public var isEmpty: Bool { framing == .none }

    /// Content-Length; nil when chunked.
    public var length: Int? { framing == .chunked ? nil : announced }

    /// The next bytes, valid until the next call; nil at the end.
    public func next() async throws(HTTPError) -> UnsafeRawBufferPointer? {
        if let failure { throw failure }
        while true {
            if let piece = try takePiece() { return piece }
            if isComplete { return nil }
            try await fill(keeping: false)
        }
    }

    /// All of it, in one piece, valid until the reply is sent; the same when it is asked again. More than `bound`
    /// bytes (default: `HTTPLimits.body`) is `bodyTooLarge`, at once when Content-Length tells.
    public func collected(upTo bound: Int? = nil) async throws(HTTPError) -> UnsafeRawBufferPointer {
        if let failure { throw failure }
        if let bytes = collectedAlready(upTo: bound) { return bytes }
        let bytes =
            switch framing {
            case .none: UnsafeRawBufferPointer.empty
            case .length: try await collectLength(bound ?? limit)
            case .chunked: try await collectChunks(bound ?? limit)
            }
        whole = bytes
        return bytes
    }

    /// The same, if all of it is here already, as of a small request it is; nil: ask `collected`.
    public func collectedAlready(upTo bound: Int? = nil) -> UnsafeRawBufferPointer? {
        if let whole { return whole }
        guard failure == nil else { return nil }
        switch framing {
        case .none: return .empty
        case .length:
            let unread = unread
            guard remaining <= bound ?? limit, unread.count >= remaining else { return nil }
            let bytes = unread.part(0, remaining)
            position += remaining
            remaining = 0
            whole = bytes
            return bytes
        case .chunked: return nil
        }
    }

    // MARK: For the connection

    var isComplete: Bool {
        switch framing {
        case .none: true
        case .length: remaining == 0
        case .chunked: decoder.isDone
        }
    }

    /// `buffer` holds the head's `headLength` bytes, and maybe more.
    func begin(_ length: Int, isChunked: Bool, in buffer: ByteBuffer, at headLength: Int, _ limits: HTTPLimits) {
        source = buffer
        position = headLength
        failure = nil
        whole = nil
        limit = limits.body
        announced = length
        remaining = length
        if isChunked {
            framing = .chunked
            self.limits = HTTPLimits.Framing(limits)
            decoder = ChunkedDecoder()
        } else {
            framing = remaining > 0 ? .length : .none
        }
    }

    /// Ends the request: what comes next is in `input`, the connection's buffer, unless there is one that takes its place.
    func end(_ input: ByteBuffer, _ pool: BufferPool) -> ByteBuffer? {
        defer { position = 0 }
        source = nil
        whole = nil
        if let gathered = gathered.take() { pool.give(gathered) }
        guard let overflow = overflow.take() else {
            input.discard(position)
            return nil
        }
        overflow.discard(position)
        pool.give(input)
        return overflow
    }

    /// Reads on and throws away, as long as no more than `bound` bytes come; false when the rest is longer.
    func skip(upTo bound: Int) async throws(HTTPError) -> Bool {
        var skipped = 0
        if framing == .length, remaining > bound { return false }
        while let piece = try await next() {
            skipped += piece.count
            if skipped > bound { return false }
        }
        return true
    }

    // MARK: Pieces

    private var unread: UnsafeRawBufferPointer {
        guard let bytes = source?.bytes else { return .empty }
        return bytes.part(position, bytes.count)
    }

    private func takePiece() throws(HTTPError) -> UnsafeRawBufferPointer? {
        let unread = unread
        switch framing {
        case .none: return nil
        case .length:
            let count = min(unread.count, remaining)
            guard count > 0 else { return nil }
            position += count
            remaining -= count
            return unread.part(0, count)
        case .chunked: return try takeChunk(unread)
        }
    }

    private func takeChunk(_ unread: UnsafeRawBufferPointer) throws(HTTPError) -> UnsafeRawBufferPointer? {
        let step: ChunkedDecoder.Step
        do throws(HTTPError) {
            step = try decoder.decode(unread, limits)
        } catch {
            throw fail(error)
        }
        switch step {
        case .data(let start, let consumed):
            position += consumed
            return unread.part(start, consumed)
        case .end(let consumed), .needsMore(let consumed):
            position += consumed
            return nil
        }
    }

    private func collectLength(_ bound: Int) async throws(HTTPError) -> UnsafeRawBufferPointer {
        guard remaining <= bound else { throw fail(.bodyTooLarge) }
        while unread.count < remaining { try await fill(keeping: true) }
        defer {
            position += remaining
            remaining = 0
        }
        return unread.part(0, remaining)
    }

    private func collectChunks(_ bound: Int) async throws(HTTPError) -> UnsafeRawBufferPointer {
        let whole = gathered ?? takeBuffer()
        gathered = whole
        whole.clear()
        while let piece = try await next() {
            guard whole.count + piece.count <= bound else { throw fail(.bodyTooLarge) }
            whole.append(piece)
        }
        return whole.bytes
    }

    // MARK: Bytes

    /// Waits for more raw bytes. `keeping`: those unread stay in one piece with the new ones.
    private func fill(keeping: Bool) async throws(HTTPError) {
        guard let connection else { throw fail(.bodyIncomplete) }
        let target = overflow ?? moveUnread()
        if !keeping {
            target.discard(position)
            position = 0
        }
        do throws(HTTPError) {
            // With a known length never past its end: the next request then needs no copy.
            let most = framing == .length ? remaining - (target.count - position) : Int.max
            try await connection.readBody(into: target, atMost: most)
        } catch {
            throw fail(error)
        }
    }

    /// From the connection's input, where the head must not move, to a buffer of our own.
    private func moveUnread() -> ByteBuffer {
        let buffer = takeBuffer()
        buffer.append(unread)
        overflow = buffer
        source = buffer
        position = 0
        return buffer
    }

    private func takeBuffer() -> ByteBuffer { connection?.buffers.take() ?? ByteBuffer() }

    private func fail(_ error: HTTPError) -> HTTPError {
        failure = error
        return error
    }
}
