// What `longpoll` is made of: when messages arrived; and the peer, which has a connection to Redis for each reader and
// blocks on it.

import Glibc
import Net

/// Takes the time out of each message: how old it is when its whole answer is here.
final class Arrivals {
    private let loop: EventLoop
    var latencies: [UInt32] = []

    init(_ loop: EventLoop) { self.loop = loop }

    func take(_ body: UnsafeRawBufferPointer) {
        let name: StaticString = "\"t\":\""
        var at = 0
        while at + name.utf8CodeUnitCount < body.count {
            if memcmp(body.baseAddress! + at, name.utf8Start, name.utf8CodeUnitCount) == 0 {
                at += name.utf8CodeUnitCount
                var sent = 0
                while at < body.count, body[at] &- 48 < 10 {
                    sent = sent * 10 + Int(body[at] &- 48)
                    at += 1
                }
                note(sentAt: sent)
            }
            at += 1
        }
    }

    /// In the clock's microseconds.
    func note(sentAt sent: Int) {
        latencies.append(UInt32(clamping: Int64(loop.clock.now.inSeconds * 1e6) - Int64(sent)))
    }
}

/// Readers that block on a connection to Redis each, as a client without a gateway would.
final class BlockedReaders {
    private var readers: [BlockedReader] = []

    init(_ loop: EventLoop, _ address: SocketAddress, count: Int, streams: Int, _ arrivals: Arrivals) throws {
        for number in 0..<count { readers.append(try BlockedReader(loop, address, number: number, stream: number % streams, arrivals)) }
    }

    func close() {
        for reader in readers { reader.close() }
        readers = []
    }
}

private final class BlockedReader: Pollable {
    private let socket: Socket
    private let loop: EventLoop
    private let arrivals: Arrivals
    private let question = ByteBuffer(capacity: 128)
    private let input = ByteBuffer(capacity: 512)
    private var registration: Registration?

    init(_ loop: EventLoop, _ address: SocketAddress, number: Int, stream: Int, _ arrivals: Arrivals) throws {
        self.loop = loop
        self.arrivals = arrivals
        socket = try Socket.connect(to: address)
        var file = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&file, 1, 5000)
        if let error = socket.connectError { throw error }
        question.appendCommand(["XREADGROUP", "GROUP", "g", "p\(number)", "COUNT", "1", "BLOCK", "0", "STREAMS", "bench:\(stream)", ">"])
        registration = try loop.register(socket.descriptor, [.readable, .edge], self)
        ask()
    }

    deinit { close() }

    func close() {
        if let registration { loop.deregister(registration) }
        registration = nil
    }

    /// Shorter than any socket's room; a link that broke shows as messages that never came.
    private func ask() { _ = try? socket.write(question.bytes) }

    func ready(_ events: Readiness) {
        // As above.
        while case .bytes(let count)? = try? socket.read(into: input.reserve(512)) { input.wrote(count) }
        take()
    }

    /// The value of `t` is the last that comes.
    private func take() {
        let bytes = input.bytes
        guard bytes.count > 2, bytes[bytes.count - 1] == UInt8(ascii: "\n"), bytes.contains(UInt8(ascii: "t")) else { return }
        let digits = bytes.dropLast(2).reversed().prefix { $0 &- 48 < 10 }
        arrivals.note(sentAt: digits.reversed().reduce(0) { $0 * 10 + Int($1) - 48 })
        input.clear()
        ask()
    }
}
