// HTTP/1.1 load over keep-alive connections, one request at a time each, on one loop: no task, no String and
// no allocation a request, so that it costs about what wrk does and the servers get the machine.
//
// It understands what the servers under test send: a status line, Content-Length or chunks, a body. Anything else,
// and any status but 2xx, is a failed request.

import Glibc
import Net

/// An answer, good until the callback returns.
struct Answer {
    let connection: Int
    let status: Int
    let body: UnsafeRawBufferPointer
}

final class LoadClient {
    /// Writes the connection's next request; false when it has none. The answer is nil for the first one.
    typealias Next = (_ connection: Int, _ answer: Answer?, _ request: ByteBuffer) -> Bool

    private let loop: EventLoop
    private let next: Next
    private var connections: [LoadConnection] = []
    private var busy = 0
    private var isOver = false
    private(set) var round = Round()

    init(_ loop: EventLoop, _ address: SocketAddress, connections count: Int, next: @escaping Next) throws {
        self.loop = loop
        self.next = next
        for number in 0..<count {
            connections.append(try LoadConnection(loop, address, number: number, owner: self))
        }
    }

    /// Runs for `length`, then lets what is under way finish without counting it.
    func run(for length: Duration) -> Round {
        let clock = loop.clock
        let start = clock.now
        begin()
        _ = loop.run(atMost: length) { busy == 0 }
        round.elapsed = clock.now - start
        let result = round
        isOver = true
        if !loop.run(atMost: .seconds(10), until: { busy == 0 }) { round.failed += busy }
        var final = result
        final.failed = round.failed
        final.firstFailure = round.firstFailure
        return final
    }

    /// The same, with what it cost the server, its Redis and this client.
    func run(for length: Duration, server: Server, redis: Server) -> Round {
        let meter = CPUMeter([server.pid, redis.pid, getpid()])
        var round = run(for: length)
        let cpu = meter.perRequest(round.requests)
        round.cpu = cpu[0]
        round.redisCPU = cpu[1]
        round.clientCPU = cpu[2]
        return round
    }

    /// Sends each connection's first request, one after the other within `time`, and leaves the running to the caller.
    func begin(over time: Duration = .zero) {
        guard time > .zero else { return connections.forEach { begin($0) } }
        let start = loop.clock.now
        for (number, connection) in connections.enumerated() {
            loop.schedule(at: start + time * number / connections.count) { [weak self] in self?.begin(connection) }
        }
    }

    func close() {
        isOver = true
        for connection in connections { connection.close() }
    }

    /// The client says no more, in the middle of its request. An answer that comes all the same is told, and is its last.
    func vanish(_ number: Int) { connections[number].vanish() }

    private func begin(_ connection: LoadConnection) {
        guard !isOver, next(connection.number, nil, connection.output) else { return }
        busy += 1
        connection.send()
    }

    fileprivate func finished(_ connection: LoadConnection, status: Int, body: UnsafeRawBufferPointer, took: Duration) {
        if status / 100 == 2 {
            round.requests += 1
        } else {
            round.failed += 1
            if round.firstFailure == nil { round.firstFailure = "\(status) " + String(decoding: body.prefix(300), as: UTF8.self) }
        }
        round.latencies.append(UInt32(clamping: Int64(took.inSeconds * 1e6)))
        let answer = Answer(connection: connection.number, status: status, body: body)
        if next(connection.number, answer, connection.output) && !isOver && !connection.hasVanished {
            connection.send()
        } else {
            busy -= 1
        }
    }

    fileprivate func broke(_ connection: LoadConnection) {
        guard !connection.hasVanished else { return busy -= 1 }
        round.failed += 1
        if round.firstFailure == nil { round.firstFailure = "the connection broke" }
        busy -= 1
    }
}

private final class LoadConnection: Pollable {
    let number: Int
    let output = ByteBuffer(capacity: 1024)
    private let input = ByteBuffer(capacity: 16 * 1024)
    private let socket: Socket
    private let loop: EventLoop
    private unowned let owner: LoadClient
    private var registration: Registration?
    private var sentAt = Duration.zero
    private var isWaiting = false
    private var isClosed = false
    private(set) var hasVanished = false

    init(_ loop: EventLoop, _ address: SocketAddress, number: Int, owner: LoadClient) throws {
        self.loop = loop
        self.number = number
        self.owner = owner
        socket = try Socket.connect(to: address)
        var file = pollfd(fd: socket.descriptor, events: Int16(POLLOUT), revents: 0)
        poll(&file, 1, 5000)
        if let error = socket.connectError { throw error }
        registration = try loop.register(socket.descriptor, [.readable, .writable, .peerClosed, .edge], self)
    }

    deinit { close() }

    func close() {
        isClosed = true
        if let registration { loop.deregister(registration) }
        registration = nil
        socket.shutdownWriting()
    }

    func vanish() {
        hasVanished = true
        socket.shutdownWriting()
    }

    func send() {
        guard !isClosed else { return owner.broke(self) }
        sentAt = loop.clock.now
        isWaiting = true
        write()
    }

    private func write() {
        guard !output.isEmpty else { return }
        // A write that fails is seen by the read that follows it.
        if case .bytes(let count)? = try? socket.write(output.bytes) { output.discard(count) }
    }

    func ready(_ events: Readiness) {
        if events.contains(.writable) { write() }
        while !isClosed {
            let room = input.reserve(8 * 1024)
            // Broken and closed are one here: the request has failed.
            guard let transfer = try? socket.read(into: room) else { return fail() }
            switch transfer {
            case .bytes(let count):
                input.wrote(count)
                takeAnswer()
                if count < room.count { return }
            case .wouldBlock: return
            case .ended: return fail()
            }
        }
    }

    private func fail() {
        let wasWaiting = isWaiting
        isWaiting = false
        close()
        if wasWaiting { owner.broke(self) }
    }

    private func takeAnswer() {
        guard isWaiting, let head = AnswerHead(input.bytes) else { return }
        // One request at a time: the last chunk is the last that comes. (No JSON of ours has a line feed before its end.)
        guard !head.isChunked || input.bytes.suffix(7).elementsEqual(LoadConnection.lastChunk) else { return }
        let bodyLength = head.isChunked ? input.count - head.length : head.bodyLength
        guard input.count >= head.length + bodyLength else { return }
        isWaiting = false
        let body = UnsafeRawBufferPointer(rebasing: input.bytes[head.length..<head.length + bodyLength])
        let took = loop.clock.now - sentAt
        owner.finished(self, status: head.status, body: body, took: took)
        input.discard(head.length + bodyLength)
    }

    private static let lastChunk = Array("\r\n0\r\n\r\n".utf8)
}

/// The head of an answer: nil until it is whole.
struct AnswerHead {
    let length: Int
    let status: Int
    let bodyLength: Int
    let isChunked: Bool

    init?(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return nil }
        var line = 0
        var bodyLength = 0
        var isChunked = false
        while let found = memchr(base + line, 10, bytes.count - line) {
            let end = UnsafeRawPointer(found) - base
            if line > 0 && end == line + 1 {  // Only "\r\n": the end of the head.
                length = end + 1
                status = (9..<12).reduce(0) { $0 * 10 + Int(bytes[$1]) - 48 }
                self.bodyLength = bodyLength
                self.isChunked = isChunked
                return
            }
            let rest = UnsafeRawBufferPointer(rebasing: bytes[line..<end])
            if let value = AnswerHead.value(of: "content-length:", in: rest) {
                bodyLength = 0
                for byte in value where byte >= 48 && byte <= 57 { bodyLength = bodyLength * 10 + Int(byte) - 48 }
            } else if AnswerHead.value(of: "transfer-encoding:", in: rest) != nil {
                isChunked = true
            }
            line = end + 1
        }
        return nil
    }

    /// What stands behind `name`, which is in lower case, in a line that begins with it, in whatever case.
    private static func value(of name: StaticString, in line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let count = name.utf8CodeUnitCount
        // Most lines are told apart by their first letter.
        guard let base = line.baseAddress, line.count > count, line[0] | 0x20 == name.utf8Start[0] else { return nil }
        let isSame = strncasecmp(
            base.assumingMemoryBound(to: CChar.self), UnsafeRawPointer(name.utf8Start).assumingMemoryBound(to: CChar.self), count) == 0
        return isSame ? UnsafeRawBufferPointer(rebasing: line[count...]) : nil
    }
}

extension ByteBuffer {
    /// A whole POST.
    func appendPost(_ path: String, body: String, type: StaticString = "application/json") {
        append(literal: "POST ")
        append(path)
        append(literal: " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: ")
        append(literal: type)
        append(literal: "\r\nContent-Length: ")
        append(decimal: body.utf8.count)
        append(literal: "\r\n\r\n")
        append(body)
    }
}
