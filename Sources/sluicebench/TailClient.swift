// Many live tails on one loop: counts what each is sent, and how old it is by then. A message tells its own time, as
// `"t":"<microseconds>"` in a line of its event.
//
// Some of the tails leave: each is reset in its turn and another comes in its place. The others must miss nothing.

import Glibc
import Net

final class TailClient {
    private let loop: EventLoop
    private let address: SocketAddress
    private let path: (_ number: Int) -> String
    private var tails: [TailConnection] = []
    fileprivate let scratch = ByteBuffer(capacity: 64 * 1024)
    private let leavers: Int
    private var nextLeaver = 0
    private var leaving: TimerID?
    /// Since the round began: of all tails, and of those that stay.
    private(set) var latencies: [UInt32] = []
    private(set) var receivedByStaying = 0
    private(set) var opened = 0
    private(set) var failed = 0
    private(set) var left = 0

    init(_ loop: EventLoop, _ address: SocketAddress, tails count: Int, leavers: Int, path: @escaping (_ number: Int) -> String) throws {
        self.loop = loop
        self.address = address
        self.path = path
        self.leavers = leavers
        for number in 0..<count { tails.append(try newTail(number)) }
        guard loop.run(atMost: .seconds(30), until: { opened + failed >= count }), failed == 0 else {
            throw BenchError.failedRequests(count - opened)
        }
    }

    private func newTail(_ number: Int) throws -> TailConnection {
        try TailConnection(loop, address, path(number), owner: self, stays: number >= leavers)
    }

    func close() {
        if let leaving { loop.cancel(leaving) }
        for tail in tails { tail.close() }
    }

    /// Whoever is to leave does within `length`.
    func begin(for length: Duration) {
        latencies.removeAll(keepingCapacity: true)
        (receivedByStaying, failed, left) = (0, 0, 0)
        if leavers > 0 { leave(every: length / leavers, until: loop.clock.now + length) }
    }

    private func leave(every pause: Duration, until end: Duration) {
        leaving = nil
        guard loop.clock.now < end else { return }
        tails[nextLeaver].close()
        left += 1
        // One that can't connect is told by the count.
        if let tail = try? newTail(nextLeaver) { tails[nextLeaver] = tail } else { failed += 1 }
        nextLeaver = (nextLeaver + 1) % leavers
        leaving = loop.schedule(at: loop.clock.now + pause) { [unowned self] in leave(every: pause, until: end) }
    }

    fileprivate func began() { opened += 1 }
    fileprivate func broke() { failed += 1 }

    /// Whole lines.
    fileprivate func take(_ lines: UnsafeRawBufferPointer, stays: Bool, now: Int64) {
        guard let base = lines.baseAddress else { return }
        var at = 0
        while let found = memchr(base + at, 58, lines.count - at) {  // A colon.
            at = UnsafeRawPointer(found) - base + 1
            guard at > 3, at < lines.count, memcmp(base + at - 4, "\"t\":\"", 5) == 0 else { continue }
            at += 1
            var sent: Int64 = 0
            while at < lines.count, lines[at] &- 48 < 10 {
                sent = sent * 10 + Int64(lines[at] &- 48)
                at += 1
            }
            latencies.append(UInt32(clamping: now - sent))
            if stays { receivedByStaying += 1 }
        }
    }
}

private final class TailConnection: Pollable {
    private unowned let owner: TailClient
    private let loop: EventLoop
    private let socket: Socket
    private let stays: Bool
    private var registration: Registration?
    /// The beginning of a line whose end has not come.
    private var rest: [UInt8] = []
    private var isOpen = false
    private var isClosed = false

    init(_ loop: EventLoop, _ address: SocketAddress, _ path: String, owner: TailClient, stays: Bool) throws {
        (self.loop, self.owner, self.stays) = (loop, owner, stays)
        socket = try Socket.connect(to: address)
        var file = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&file, 1, 5000)
        if let error = socket.connectError { throw error }
        let request = Array("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n".utf8)
        _ = try request.withUnsafeBytes { bytes throws(SystemError) in try socket.write(bytes) }  // A new socket takes it whole.
        registration = try loop.register(socket.descriptor, [.readable, .peerClosed, .edge], self)
    }

    deinit { close() }

    func close() {
        isClosed = true
        if let registration { loop.deregister(registration) }
        registration = nil
        var lingering = linger(l_onoff: 1, l_linger: 0)
        setsockopt(socket.descriptor, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
    }

    func ready(_ events: Readiness) {
        let input = owner.scratch
        while !isClosed {
            input.clear()
            if !rest.isEmpty { input.append(rest) }
            let room = input.reserve(32 * 1024)
            // Broken and closed are one here: the tail was ended.
            guard let transfer = try? socket.read(into: room) else { return fail() }
            switch transfer {
            case .bytes(let count):
                input.wrote(count)
                take(input.bytes)
                if count < room.count { return }
            case .wouldBlock: return
            case .ended: return fail()
            }
        }
    }

    private func take(_ bytes: UnsafeRawBufferPointer) {
        if !isOpen {
            guard bytes.starts(with: Array("HTTP/1.1 200 ".utf8)) else { return fail() }
            isOpen = true
            owner.began()
        }
        guard let end = bytes.lastIndex(of: 10) else { return rest = Array(bytes) }
        let length = end + 1
        rest = length < bytes.count ? Array(bytes[length...]) : []
        owner.take(
            UnsafeRawBufferPointer(rebasing: bytes[..<length]), stays: stays, now: Int64(loop.clock.now.inSeconds * 1e6))
    }

    private func fail() {
        guard !isClosed else { return }
        close()
        owner.broke()
    }
}
