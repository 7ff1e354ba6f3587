// A server over one end of a socketpair, on a loop whose clock the test moves; the test holds the other end.

import Glibc
import HTTP
import Net

/// Answers with whatever the test's closure says; errors become their status and sentence.
final class ScriptedResponder: HTTPResponder {
    var handler: (Request) async -> Answer
    /// Asked first; nil: the handler is, in a task.
    var atOnce: (Request) -> Answer? = { _ in nil }

    init(_ handler: @escaping (Request) async -> Answer) { self.handler = handler }

    func respond(to request: Request) -> Answer {
        atOnce(request) ?? .task { [handler] in await handler(request) }
    }

    func respond(to error: HTTPError, request: Request?) -> Response {
        Response(status: error.status, contentType: "text/plain", body: .bytes(buffer("\(error)\n")))
    }
}

final class Harness {
    let clock = ManualClock()
    let loop: EventLoop
    let server: HTTPServer
    let responder: ScriptedResponder
    /// Nil once the test has closed it.
    var client: Client?

    /// The test's end of the pair.
    final class Client {
        let socket: Socket
        init(_ descriptor: Int32) { socket = Socket(owning: descriptor) }

        /// Other tests start programs, and a child on its way to exec still has a copy of each descriptor: closing
        /// ours would not end the connection before that has gone.
        deinit { shutdown(socket.descriptor, Int32(SHUT_RDWR)) }
    }

    /// True when every connection has ended.
    var isOver: Bool { server.counters.open == 0 && unfinished.isEmpty }
    private let unfinished = Tasks()

    /// Tasks of the server that have not returned.
    private final class Tasks {
        var count = 0
        var isEmpty: Bool { count == 0 }
    }

    convenience init(limits: HTTPLimits = HTTPLimits(), _ handler: @escaping (Request) async -> Response) throws {
        try self.init(limits: limits, answering: { .response(await handler($0)) })
    }

    init(limits: HTTPLimits = HTTPLimits(), answering handler: @escaping (Request) async -> Answer) throws {
        loop = try EventLoop(clock: clock)
        server = HTTPServer(loop: loop, limits: limits)
        responder = ScriptedResponder(handler)
        // All of these live on the one thread that runs the loop: the test's.
        nonisolated(unsafe) let (server, tasks) = (server, unfinished)
        let loop = loop
        server.responder = responder
        server.startTask = {
            tasks.count += 1
            loop.spawn {
                await server.runErrands()
                tasks.count -= 1
            }
        }
        client = Harness.connect(to: server)
        loop.runUntilIdle()
    }

    /// A further client of the same server.
    func connect() -> Client {
        defer { loop.runUntilIdle() }
        return Harness.connect(to: server)
    }

    private static func connect(to server: HTTPServer) -> Client {
        var ends: [Int32] = [0, 0]
        // Other tests start programs: one that inherited the client's end would keep it open.
        let flags = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        precondition(socketpair(AF_UNIX, flags, 0, &ends) == 0)
        server.accept(ends[1])
        return Client(ends[0])
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    /// Sends all of it, letting the loop read whenever the socket is full.
    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        var stalls = 0
        while !rest.isEmpty, stalls < 1000, let client {
            // A server that has closed is what some tests want to see: the rest is dropped.
            guard let transfer = try? rest.withUnsafeBytes({ try client.socket.write($0) }) else { break }
            if case .bytes(let count) = transfer { rest = rest.dropFirst(count) } else { stalls += 1 }
            loop.runUntilIdle()
        }
    }

    /// All that has come by now.
    func receive() -> String { String(decoding: receiveBytes(), as: UTF8.self) }

    func receiveBytes() -> [UInt8] {
        var all: [UInt8] = []
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 1)
        defer { room.deallocate() }
        loop.runUntilIdle()
        // A reset ends what can be received, like an end does.
        while let transfer = try? client?.socket.read(into: room), case .bytes(let count) = transfer {
            all += room[..<count]
            loop.runUntilIdle()
        }
        return all
    }

    /// True when the server has closed its side and all was received.
    var hasClosed: Bool {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)
        defer { room.deallocate() }
        loop.runUntilIdle()
        // An error is a closed connection too.
        return (try? client?.socket.read(into: room) ?? .ended) != .wouldBlock
    }

    func exchange(_ text: String) -> String {
        send(text)
        return receive()
    }

    func finishSending() { client?.socket.shutdownWriting() }

    func hangUp() {
        client = nil
        loop.runUntilIdle()
    }

    func advance(by duration: Duration) {
        clock.advance(by: duration)
        loop.runUntilIdle()
    }

}

func buffer(_ text: String) -> ByteBuffer {
    let buffer = ByteBuffer()
    buffer.append(text)
    return buffer
}

func text(_ bytes: UnsafeRawBufferPointer?) -> String? { bytes.map { String(decoding: $0, as: UTF8.self) } }
func text(_ bytes: UnsafeRawBufferPointer) -> String { String(decoding: bytes, as: UTF8.self) }

/// The status of the first reply.
func status(_ reply: String) -> Int {
    Int(reply.utf8.count > 12 ? String(decoding: Array(reply.utf8)[9..<12], as: UTF8.self) : "") ?? 0
}

/// Method, target and body, said back: what most tests ask of a handler.
func echo(_ request: Request) async -> Response {
    let line = "\(text(request.methodName)) \(text(request.path))?\(text(request.query)) @\(text(request.host))"
    do throws(HTTPError) {
        let body = try await request.body.collected()
        return Response(body: .bytes(buffer("\(line) [\(text(body))]")))
    } catch {
        return Response(status: error.status, body: .bytes(buffer("\(error)")))
    }
}

/// The seed of a random test: `SEED=` or a new one; printed when the test fails.
func seed() -> UInt64 {
    getenv("SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators").
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
