// Reading: the next request's head, a body's bytes, and what is thrown away at the end.

import Net

extension HTTPConnection {
    enum Incoming {
        case request
        /// The connection ends after the reply.
        case refused(HTTPError)
    }

    /// What a task waited for.
    enum Awaited {
        case request
        case refused(HTTPError)
        case ended
    }

    /// Least room for a read: a request of the usual size in one.
    private static let headRoom = 2048
    /// Room for a read of a body: few system calls for large ones.
    private static let bodyRoom = 16 * 1024

    // MARK: Heads

    /// The next request's head, if all of it has come. What a pipelining client sent with the last request is
    /// looked at first.
    func readRequest() -> Incoming? {
        while true {
            if let input, !input.isEmpty, let incoming = look(at: input) { return incoming }
            guard canRead, !isBroken else {
                releaseIdleInput()
                return nil
            }
            readHead()
        }
    }

    /// The same, waiting for it.
    func nextRequest() async -> Awaited {
        var hasBegun = false
        var hasLookedLast = false
        hasTimedOut = false
        readDeadline = idleUntil
        defer { readDeadline = nil }
        while !isBroken {
            switch readRequest() {
            case .request?: return .request
            case .refused(let error)?: return .refused(error)
            case nil: break
            }
            if isBroken || hasEnded { break }
            if !hasBegun, input != nil {
                hasBegun = true
                readDeadline = loop.now + limits.headTime
            }
            if isDraining, !hasBegun {
                // A request may have come since the last event: one look before the door is shut.
                guard !hasLookedLast else { break }
                hasLookedLast = true
                canRead = true
                continue
            }
            await wait(for: .input)
            guard hasTimedOut else { continue }
            if hasBegun { return .refused(.headTimeout) }
            counters.idleTimeouts += 1
            break
        }
        return .ended
    }

    /// Nil: more must come.
    private func look(at input: ByteBuffer) -> Incoming? {
        request.head.method = .other  // A refused head whose method is unknown is not that of a HEAD.
        do throws(HTTPError) {
            while true {
                switch try finder.look(at: input.bytes, limits) {
                case .incomplete: return nil
                case .emptyLine(let length): input.discard(length)
                case .head(let length):
                    finder = HeadFinder()
                    try request.begin(in: input, length, limits)
                    mustContinue = request.head.flags.contains(.expectsContinue)
                    return .request
                }
            }
        } catch {
            return .refused(error)
        }
    }

    private func readHead() {
        let buffer = input ?? buffers.take()
        input = buffer
        _ = read(into: buffer, buffer.reserve(HTTPConnection.headRoom))
    }

    /// Afterwards there is an input only if something is in it.
    func releaseIdleInput() {
        guard input?.isEmpty == true, let empty = input.take() else { return }
        buffers.give(empty)
    }

    // MARK: Bodies

    /// Appends between 1 and `most` bytes of the body to `buffer`.
    func readBody(into buffer: ByteBuffer, atMost most: Int) async throws(HTTPError) {
        if mustContinue { sendContinue() }
        hasTimedOut = false
        readDeadline = loop.now + limits.bodyTime
        defer { readDeadline = nil }
        while true {
            if isBroken { throw .connectionLost }
            if canRead {
                let room = buffer.reserve(min(most, HTTPConnection.bodyRoom))
                if read(into: buffer, UnsafeMutableRawBufferPointer(rebasing: room.prefix(most))) { return }
                continue
            }
            if hasEnded { throw .bodyIncomplete }
            if hasTimedOut { throw .bodyTimeout }
            await wait(for: .input)
        }
    }

    /// Of a body that the handler did not want: so much that the next request may follow; false when it is more.
    func skipBody() async -> Bool {
        guard request.body.failure == nil else { return false }
        do throws(HTTPError) {
            return try await request.body.skip(upTo: limits.unwantedBody)
        } catch {
            return false  // The reply is sent already: all that is left to do is to close.
        }
    }

    /// One read; true when bytes came.
    private func read(into buffer: ByteBuffer, _ room: UnsafeMutableRawBufferPointer) -> Bool {
        do throws(SystemError) {
            switch try socket.read(into: room) {
            case .bytes(let count):
                buffer.wrote(count)
                counters.bytesIn += count
                // Less than there was room for: the kernel has no more. But the end, if it was announced, is
                // still to be read, and no edge will tell of it again.
                if count < room.count, !isPeerClosed { canRead = false }
                return true
            case .wouldBlock:
                canRead = false
            case .ended:
                canRead = false
                hasEnded = true
                if !hooks.isEmpty, socket.isReset { breakOff() }
            }
        } catch {
            canRead = false
            breakOff()
        }
        return false
    }

    // MARK: The end

    /// RFC 9112 §9.6: closing in stages. A close with unread bytes is a reset, which may take our last
    /// reply from the client: so we say that we are done, and read on for a while.
    func linger() async {
        await drainOutput()
        guard !isBroken, !hasEnded else { return await waitForConfirmation() }
        socket.shutdownWriting()
        hasSaidEnd = true
        hasTimedOut = false
        readDeadline = loop.now + limits.lingerTime
        let scrap = input ?? buffers.take()
        input = scrap
        var left = limits.unwantedBody
        while !isBroken, !hasEnded, !hasTimedOut, left > 0 {
            guard canRead else {
                await wait(for: .input)
                continue
            }
            scrap.clear()
            if read(into: scrap, scrap.reserve(HTTPConnection.bodyRoom)) { left -= scrap.count }
        }
        readDeadline = nil
        if hasEnded { await waitForConfirmation() }
    }
}
