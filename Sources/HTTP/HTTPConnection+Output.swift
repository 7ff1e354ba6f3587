// Writing: handlers append, the loop flushes once a tick, and one `sendmsg` takes all there is.

import Glibc
import Net

extension HTTPConnection {
    var hasOutput: Bool { output != nil || large != nil }

    /// Where replies are appended. Ask `flushSoon` after.
    func takeOutput() -> ByteBuffer {
        if let output { return output }
        let buffer = buffers.take()
        output = buffer
        return buffer
    }

    func flushSoon() {
        guard !isDirty else { return }
        isDirty = true
        loop.flushLater(self)
    }

    /// Whether a reply may be appended: nothing large is under way, and the client keeps up.
    var hasRoom: Bool { large == nil && (output?.count ?? 0) <= limits.outputMark }

    /// Suspends until a reply may be appended.
    func waitForRoom() async {
        while !isBroken, !hasRoom { await wait(for: .output) }
    }

    /// Suspends until the kernel has everything.
    func drainOutput() async {
        while hasOutput, !isBroken { await wait(for: .output) }
    }

    public func flush() {
        isDirty = false
        if asksBeforeWriting {
            asksBeforeWriting = false
            if isClientGone() { return breakOff() }
        }
        while hasOutput {
            do throws(SystemError) {
                switch try socket.write(output?.bytes, large?.bytes) {
                case .bytes(let count): advance(count)
                case .wouldBlock, .ended:
                    if writeDeadline == nil { writeDeadline = loop.now + limits.writeTime }
                    if state == .open { wantsRoom = true }
                    return
                }
            } catch {
                return breakOff()
            }
        }
        wake(.output)
    }

    /// Of an open reply: as much of `bytes` as the kernel takes at once; how many. Where that is not all,
    /// `OpenReply.clientTakes` is called when there is room. Chunks are framed by whoever writes: see `isChunked`.
    public func write(_ bytes: UnsafeRawBufferPointer) -> Int {
        if hasOutput { flush() }
        var written = 0
        while written < bytes.count, !hasOutput, !isBroken {
            do throws(SystemError) {
                switch try socket.write(UnsafeRawBufferPointer(rebasing: bytes[written...])) {
                case .bytes(let count):
                    written += count
                    appended += count
                    sent += count
                    counters.bytesOut += count
                    writeDeadline = nil
                    continue
                case .wouldBlock, .ended: break
                }
            } catch {
                breakOff()
            }
            break
        }
        if written < bytes.count, !isBroken {
            wantsRoom = true
            if writeDeadline == nil { writeDeadline = loop.now + limits.writeTime }
        }
        return written
    }

    /// Whether an open reply is made of chunks (RFC 9112 §7.1), not ended by the connection's end.
    public var isChunked: Bool { request.isHTTP11 }

    private func advance(_ count: Int) {
        sent += count
        counters.bytesOut += count
        writeDeadline = nil
        var rest = count
        if let output = output.take() {
            let taken = min(rest, output.count)
            output.discard(taken)
            rest -= taken
            if output.isEmpty { buffers.give(output) } else { self.output = output }
        }
        if let large = large.take() {
            large.discard(rest)
            if large.isEmpty { buffers.give(large) } else { self.large = large }
        }
        if !hooks.isEmpty { confirmSoon() }
        wake(.output)
    }

    /// Nothing more can be sent: tells those whose reply is lost, and whoever waits. Idempotent.
    func breakOff() {
        guard !isBroken else { return }
        isBroken = true
        if let output { buffers.give(output) }
        if let large { buffers.give(large) }
        output = nil
        large = nil
        writeDeadline = nil
        let arrived = !hooks.isEmpty && nothingMoreArrives ? sent - unconfirmed : sent
        let lost = hooks.filter { $0.end > arrived }
        hooks = []
        counters.lost += lost.count
        for hook in lost { hook.call() }
        tellClientGone()
        wake(.input)
        wake(.output)
    }

    // MARK: Whether it came

    /// What the client's kernel has not said to have, it never will. A reset alone is no such sign: a client that has read all
    /// may reset the connection before its kernel's acknowledgement was due, which takes half a second at most (RFC 9293 §3.8.6.3).
    /// And what we close in peace the kernel may still bring.
    private var nothingMoreArrives: Bool { socket.isReset && (hasEnded || loop.now - sentAt > HTTPConnection.acknowledgedIn) }

    private static let acknowledgedIn = Duration.seconds(1)

    /// Bytes of replies that the kernel has, and the client's kernel has not said to have.
    private var unconfirmed: Int { max(socket.unacknowledgedCount - (hasSaidEnd ? 1 : 0), 0) }

    private func confirmSoon() {
        sentAt = loop.now
        guard !isToBeConfirmed, hooks[0].end <= sent else { return }
        isToBeConfirmed = true
        server.confirmSoon(self)
    }

    /// Forgets what has come to the client. False: nothing is to be confirmed any more.
    func confirm() -> Bool {
        if !hooks.isEmpty {
            let arrived = sent - unconfirmed
            hooks.removeAll { $0.end <= arrived }
        }
        isToBeConfirmed = hooks.contains { $0.end <= sent }
        return isToBeConfirmed
    }

    /// The client has ended: its kernel says, within a round trip, whether the last reply still came.
    func waitForConfirmation() async {
        let end = loop.now + limits.lingerTime
        while !isBroken, confirm(), loop.now < end {
            if socket.isReset { return breakOff() }
            hasTimedOut = false
            readDeadline = min(loop.now + HTTPServer.confirmInterval, end)
            await wait(for: .input)
        }
        readDeadline = nil
    }
}

extension Socket {
    /// Two stretches in one call; at least one of them holds bytes.
    func write(_ first: UnsafeRawBufferPointer?, _ second: UnsafeRawBufferPointer?) throws(SystemError) -> IOResult {
        guard let first, !first.isEmpty else {
            return try write(second ?? .empty)
        }
        guard let second else { return try write(first) }
        return try writeBoth(first, second)
    }

    private func writeBoth(
        _ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer
    ) throws(SystemError) -> IOResult {
        // sendmsg reads through these pointers only: nothing is mutated.
        var parts = (
            iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count),
            iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
        )
        while true {
            let count = withUnsafeMutablePointer(to: &parts) { pointer in
                pointer.withMemoryRebound(to: iovec.self, capacity: 2) { list in
                    var message = msghdr()
                    message.msg_iov = list
                    message.msg_iovlen = 2
                    return sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
                }
            }
            if count >= 0 { return .bytes(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw SystemError("sendmsg")
            }
        }
    }

    /// Both directions end at once, before the descriptor does.
    func shutdownBoth() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}
