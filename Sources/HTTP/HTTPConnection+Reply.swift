// Framing replies: length or chunks, keep-alive or close, HEAD, and 100 Continue.

import Net

extension HTTPConnection {
    /// A body up to this size is copied behind its head; a larger one is sent from where it lies.
    private static let copyLimit = 8 * 1024

    /// Sends `response` to the present request; false when the connection ends after it.
    func reply(_ response: Response) -> Bool {
        guard !isBroken else {
            lose(response)
            return false
        }
        let closes = mustClose(response)
        // While it was parked a client could leave unseen by us, and this reply would be taken for delivered.
        if wasParked, response.onLost != nil { asksBeforeWriting = true }
        append(response, isHead: request.method == .head, closes ? .close : persistence)
        request.onClientGone = nil
        return !closes
    }

    /// The same for one whose body comes piece by piece.
    func stream(_ response: Response) async -> Bool {
        guard !isBroken, case .stream(let source) = response.body, request.method != .head else { return reply(response) }
        let closes = mustClose(response) || !request.isHTTP11
        if wasParked, response.onLost != nil { asksBeforeWriting = true }  // As in `reply`.
        appendHead(response, closes ? .close : persistence, request.isHTTP11 ? .chunked : .close)
        let isWhole = await stream(source)
        request.onClientGone = nil
        if isBroken { lose(response) } else { note(response.onLost) }
        return isWhole && !closes && !isDraining
    }

    /// The last reply of a connection whose request can't be understood, or that is one too many.
    func reject(_ error: HTTPError) {
        counters.count(error)
        guard !isBroken else { return }
        append(server.responder.respond(to: error, request: nil), isHead: request.method == .head, .close)
    }

    /// RFC 9110 §10.1.1: the client waits for it before it sends the body.
    func sendContinue() {
        mustContinue = false
        appendFraming { $0.append(literal: "HTTP/1.1 100 Continue\r\n\r\n") }
    }

    // MARK: Framing

    private var persistence: Persistence { request.isHTTP11 ? .byDefault : .keepAlive }

    private func mustClose(_ response: borrowing Response) -> Bool {
        let body = request.body
        if response.closesConnection || closesAfterAnswer || isDraining || body.failure != nil || !request.head.wantsKeepAlive { return true }
        guard !body.isComplete else { return false }
        // RFC 9110 §10.1.1: whether the body still comes is the client's choice, so its end can't be known.
        return mustContinue || body.remaining > limits.unwantedBody
    }

    private func append(_ response: borrowing Response, isHead: Bool, _ persistence: Persistence) {
        let hasContent = !isHead && response.status != 204 && response.status != 304
        switch response.body {
        case .empty:
            appendHead(response, persistence, lengthFraming(response.status, 0))
        case .bytes(let bytes):
            let output = appendHead(response, persistence, lengthFraming(response.status, bytes.count))
            if hasContent { appendContent(bytes, to: output) } else { buffers.give(bytes) }
        case .stream, .open:
            // HEAD: what GET would be framed with, and the source is asked for nothing.
            appendHead(response, persistence, request.isHTTP11 ? .chunked : .close)
        }
        note(response.onLost)
    }

    /// RFC 9110 §8.6: no length with 204; with 304 it would be that of the 200.
    private func lengthFraming(_ status: Int, _ length: Int) -> ReplyFraming {
        status == 204 || status == 304 ? .noContent : .length(length)
    }

    /// Returns where it was appended.
    @discardableResult
    func appendHead(_ response: borrowing Response, _ persistence: Persistence, _ framing: ReplyFraming) -> ByteBuffer {
        let buffer = takeOutput()
        let before = buffer.count
        server.date.refresh(loop)
        ResponseEncoder.appendHead(of: response, framing, persistence, date: server.date.line, to: buffer)
        appended += buffer.count - before
        flushSoon()
        return buffer
    }

    /// Takes `bytes` over. Nothing may be appended behind a large one: see `waitForRoom`.
    private func appendContent(_ bytes: ByteBuffer, to output: ByteBuffer) {
        appended += bytes.count
        if bytes.count > HTTPConnection.copyLimit {
            large = bytes
        } else {
            output.append(bytes.bytes)
            buffers.give(bytes)
        }
        flushSoon()
    }

    // MARK: Streams

    /// False when the client must see that the body is incomplete.
    private func stream(_ source: any ChunkSource) async -> Bool {
        let isChunked = request.isHTTP11
        while true {
            await waitForRoom()
            guard !isBroken else { return false }
            guard let piece = await source.next() else { break }
            guard !isBroken, !piece.isEmpty else {
                buffers.give(piece)
                continue
            }
            await waitForRoom()
            if isChunked { appendFraming { ResponseEncoder.appendChunkSize(piece.count, to: $0) } }
            appendContent(piece, to: takeOutput())
            if isChunked {
                await waitForRoom()
                appendFraming { $0.append(literal: "\r\n") }
            }
        }
        guard !source.failed else { return false }
        if isChunked { appendLastChunk() }
        return true
    }

    func appendLastChunk() {
        appendFraming { $0.append(literal: "0\r\n\r\n") }
    }

    private func appendFraming(_ write: (ByteBuffer) -> Void) {
        guard !isBroken else { return }
        let buffer = takeOutput()
        let before = buffer.count
        write(buffer)
        appended += buffer.count - before
        flushSoon()
    }

    // MARK: Losing

    private func note(_ hook: (() -> Void)?) {
        // The end of a stream to HTTP/1.0 is no byte: the kernel may have all of it by now.
        guard let hook, appended > sent else { return }
        hooks.append((end: appended, call: hook))
    }

    private func lose(_ response: borrowing Response) {
        if case .bytes(let bytes) = response.body { buffers.give(bytes) }
        counters.lost += 1
        response.onLost?()
    }
}
