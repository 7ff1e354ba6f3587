// A receiver that does what a test tells it to, on the test's own loop. It knows just enough HTTP to see
// where a request ends.

import Glibc
import Net

/// What the receiver does when a request has arrived whole (or, with `atHead`, its head).
enum Step {
    case send(String)
    /// Keeps sending `x` until the peer has had enough.
    case endless
    case close
    case reset
}

final class ScriptedReceiver {
    struct Received {
        let connection: Int
        let head: String
        let body: [UInt8]
    }

    let port: UInt16
    var script: (Received) -> [Step] = { _ in [.send(ScriptedReceiver.ok)] }
    /// Called once more is there than a head: for requests that are answered before their body.
    private(set) var received: [Received] = []
    private(set) var accepted = 0

    static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"

    private let socket: ListeningSocket
    private var acceptor: Acceptor?
    private var connections: [Connection] = []
    fileprivate let loop: EventLoop

    init(loop: EventLoop) throws {
        self.loop = loop
        guard let any = SocketAddress(literal: "127.0.0.1", port: 0) else { throw SystemError("bind", errno: EINVAL) }
        socket = try ListeningSocket(binding: any)
        port = socket.address.port
        acceptor = Acceptor(
            loop: loop, socket: socket, accepted: { [unowned self] in take($0) }, failed: { _ in })
        acceptor?.start()
    }

    func stop() {
        acceptor?.stop()
        for connection in connections { connection.end() }
        connections = []
    }

    private func take(_ file: Int32) {
        accepted += 1
        connections.append(Connection(file, number: accepted, receiver: self))
    }

    fileprivate func answer(_ request: Received) -> [Step] {
        received.append(request)
        return script(request)
    }
}

private final class Connection: Pollable {
    private let file: Int32
    private let number: Int
    private unowned let receiver: ScriptedReceiver
    private var registration: Registration?
    private var input: [UInt8] = []
    private var output: [UInt8] = []
    private var isEndless = false
    private var endsAfterOutput = false

    init(_ file: Int32, number: Int, receiver: ScriptedReceiver) {
        self.file = file
        self.number = number
        self.receiver = receiver
        // Refused only without memory: the test then times out.
        registration = try? receiver.loop.register(file, [.readable, .writable, .edge], self)
    }

    func end(reset: Bool = false) {
        guard let registration else { return }
        receiver.loop.deregister(registration)
        self.registration = nil
        if reset {
            var lingering = linger(l_onoff: 1, l_linger: 0)
            setsockopt(file, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
        }
        close(file)
    }

    func ready(_ events: Readiness) {
        readAll()
        takeRequests()
        writeAll()
    }

    private func readAll() {
        var room = [UInt8](repeating: 0, count: 65536)
        while registration != nil {
            let count = recv(file, &room, room.count, 0)
            if count > 0 { input += room[..<count] } else { return count == 0 || errno != EAGAIN ? end() : () }
        }
    }

    private func takeRequests() {
        while registration != nil, let end = input.indices.first(where: { input[$0...].starts(with: Array("\r\n\r\n".utf8)) }) {
            let head = String(decoding: input[..<(end + 4)], as: UTF8.self)
            let length = head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
            let count = length.flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
            guard input.count >= end + 4 + count else { return }
            let body = Array(input[(end + 4)..<(end + 4 + count)])
            input.removeFirst(end + 4 + count)
            for step in receiver.answer(.init(connection: number, head: head, body: body)) { take(step) }
        }
    }

    private func take(_ step: Step) {
        switch step {
        case .send(let text): output += Array(text.utf8)
        case .endless: isEndless = true
        case .close: endsAfterOutput = true
        case .reset: end(reset: true)
        }
    }

    private func writeAll() {
        while registration != nil {
            if output.isEmpty && isEndless { output = [UInt8](repeating: UInt8(ascii: "x"), count: 65536) }
            guard !output.isEmpty else { break }
            let count = send(file, output, output.count, Int32(MSG_NOSIGNAL))
            guard count > 0 else { return }
            output.removeFirst(count)
        }
        if endsAfterOutput { end() }
    }
}
