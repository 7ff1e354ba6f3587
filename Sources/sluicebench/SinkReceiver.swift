// Receivers of webhooks in this process, a port each, so that libcurl has as many hosts to keep connections to: 204 to
// everything, or, while one hangs, no answer at all to what it takes. Away it listens no more, and its connections are gone.
//
// Each message tells its own time, as `Arrivals` has it.

import Glibc
import Net

final class SinkReceiver {
    enum Manner { case well, hanging }

    private let loop: EventLoop
    private let arrivals: Arrivals
    private var address = SocketAddress(literal: "127.0.0.1", port: 0)!
    private var acceptor: Acceptor?
    /// Closed where nobody listens: a connection is refused then, and not kept waiting.
    private var socket: Listening?
    private var connections: [ReceiverConnection] = []
    private var manner = Manner.well
    /// Requests that were answered.
    private(set) var answered = 0
    /// Requests that hang.
    var owed: Int { connections.count { $0.isOwed && !$0.isClosed } }

    private final class Listening {
        let socket: ListeningSocket
        init(_ address: SocketAddress) throws { socket = try ListeningSocket(binding: address) }
    }

    init(_ loop: EventLoop, _ arrivals: Arrivals) throws {
        (self.loop, self.arrivals) = (loop, arrivals)
        try comeBack()
    }

    var port: UInt16 { address.port }
    var url: String { "http://127.0.0.1:\(port)/" }

    /// Listens, at the port that it had.
    func comeBack() throws {
        let listening = try Listening(address)
        address = listening.socket.address
        socket = listening
        acceptor = Acceptor(loop: loop, socket: listening.socket) { [unowned self] file in
            take(file)
        } failed: { error in
            say("receiver: \(error)")
        }
        acceptor?.start()
    }

    func goAway() {
        acceptor?.stop()
        acceptor = nil
        socket = nil
        for connection in connections { connection.close() }
        connections = []
    }

    func hang() { manner = .hanging }

    /// All that was taken meanwhile is answered.
    func recover() {
        manner = .well
        for connection in connections { connection.answerWhatIsOwed() }
    }

    private func take(_ file: Int32) {
        connections.removeAll { $0.isClosed }
        // One that can't be watched is one that never answers, which the bench sees.
        if let connection = try? ReceiverConnection(loop, file, owner: self) { connections.append(connection) }
    }

    /// Whether it is to be answered.
    fileprivate func took(_ body: UnsafeRawBufferPointer) -> Bool {
        if manner == .hanging { return false }
        arrivals.take(body)
        answered += 1
        return true
    }

    fileprivate func tookLate() { answered += 1 }
}

private final class ReceiverConnection: Pollable {
    private unowned let owner: SinkReceiver
    private let loop: EventLoop
    private let socket: Socket
    private let input = ByteBuffer(capacity: 512)
    private var registration: Registration?
    private(set) var isOwed = false
    private(set) var isClosed = false

    private static let answer = Array("HTTP/1.1 204 No Content\r\n\r\n".utf8)

    init(_ loop: EventLoop, _ file: Int32, owner: SinkReceiver) throws {
        (self.loop, self.owner) = (loop, owner)
        socket = Socket(owning: file)
        socket.setNoDelay()
        registration = try loop.register(file, [.readable, .peerClosed, .edge], self)
    }

    deinit { close() }

    func close() {
        isClosed = true
        if let registration { loop.deregister(registration) }
        registration = nil
        shutdown(socket.descriptor, Int32(SHUT_RDWR))
    }

    func answerWhatIsOwed() {
        guard isOwed, !isClosed else { return }
        isOwed = false
        owner.tookLate()
        answer()
    }

    func ready(_ events: Readiness) {
        while !isClosed {
            let room = input.reserve(8 * 1024)
            // Broken and closed are one here.
            guard let transfer = try? socket.read(into: room) else { return close() }
            switch transfer {
            case .bytes(let count):
                input.wrote(count)
                takeRequest()
                if count < room.count { return }
            case .wouldBlock: return
            case .ended: return close()
            }
        }
    }

    /// A request's head ends as an answer's does, and says as an answer's does how long its body is.
    private func takeRequest() {
        guard let head = AnswerHead(input.bytes), input.count >= head.length + head.bodyLength else { return }
        let isAnswered = owner.took(UnsafeRawBufferPointer(rebasing: input.bytes[head.length..<head.length + head.bodyLength]))
        input.discard(head.length + head.bodyLength)
        if isAnswered { answer() } else { isOwed = true }
    }

    private func answer() {
        // Shorter than any socket's room; one that broke is seen by the next read.
        _ = try? ReceiverConnection.answer.withUnsafeBytes { bytes throws(SystemError) in try socket.write(bytes) }
    }
}
