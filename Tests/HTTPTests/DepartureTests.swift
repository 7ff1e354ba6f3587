// Clients that leave: whom it is told, what is given back, and that nothing stays behind.

import HTTP
import Net
import Testing

struct DepartureTests {
    private let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    @Test(arguments: [true, false])
    func `a handler hears that its client has gone`(_ byHalfClosing: Bool) throws {
        let waiters = Waiters()
        var isTold = false
        var before: Bool?
        var after: Bool?
        let harness = try Harness { request in
            before = request.isClientGone()
            request.onClientGone = { isTold = true }
            await waiters.wait()
            after = request.isClientGone()
            return Response()
        }
        harness.send(get + "unread")
        #expect(waiters.count == 1 && !isTold)
        if byHalfClosing { harness.finishSending() } else { harness.hangUp() }
        harness.loop.runUntilIdle()
        #expect(isTold)
        waiters.release()
        harness.loop.runUntilIdle()
        #expect(before == false && after == true)
    }

    @Test func `the kernel is asked, not the last event`() throws {
        var isGone: Bool?
        var leave: () -> Void = {}
        let harness = try Harness { request in
            leave()  // In the same job: the loop can't have heard of it.
            isGone = request.isClientGone()
            return Response()
        }
        leave = { [unowned harness] in harness.finishSending() }
        harness.send(get)
        #expect(isGone == true)
    }

    @Test func `what a reply carried is told lost when the client went first`() throws {
        let waiters = Waiters()
        var lost = 0
        let harness = try Harness { _ in
            await waiters.wait()
            var response = Response(body: .bytes(buffer("hello")))
            response.onLost = { lost += 1 }
            return response
        }
        harness.send(get)
        harness.hangUp()
        waiters.release()
        harness.loop.runUntilIdle()
        #expect(lost == 1)
        #expect(harness.isOver)
        #expect(harness.server.counters.lost == 1)
        #expect(harness.server.counters.open == 0 && harness.server.counters.inFlight == 0)
    }

    @Test func `of two replies only the one that did not get away is lost`() throws {
        var lost: [String] = []
        let harness = try Harness { request in
            let path = text(request.path)
            let size = path == "/large" ? 5_000_000 : 5
            var response = Response(body: .bytes(buffer(String(repeating: "x", count: size))))
            response.onLost = { lost.append(path) }
            return response
        }
        harness.send("\(get)GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(lost == [])
        harness.hangUp()
        #expect(lost == ["/large"])
        #expect(harness.isOver)
    }

    @Test func `a client that takes nothing is dropped`() throws {
        var lost = 0
        let harness = try Harness { _ in
            var response = Response(body: .bytes(buffer(String(repeating: "x", count: 5_000_000))))
            response.onLost = { lost += 1 }
            return response
        }
        harness.send(get)
        harness.advance(by: .seconds(29))
        #expect(lost == 0)
        harness.advance(by: .seconds(2))
        #expect(lost == 1 && harness.isOver)
        #expect(harness.server.counters.writeTimeouts == 1)
    }

    @Test func `a client that has not taken its reply when the drain is over is dropped`() throws {
        var lost = 0
        let harness = try Harness { _ in
            var response = Response(body: .bytes(buffer(String(repeating: "x", count: 5_000_000))))
            response.onLost = { lost += 1 }
            return response
        }
        harness.send(get)
        harness.server.drain()
        harness.loop.runUntilIdle()
        #expect(lost == 0 && !harness.isOver)
        harness.server.breakOff()
        harness.loop.runUntilIdle()
        #expect(lost == 1 && harness.isOver)
        #expect(harness.server.counters.open == 0)
    }

    @Test func `a stream whose client has gone is not asked again`() throws {
        let waiters = Waiters()
        let source = WaitingSource(waiters)
        var lost = 0
        let harness = try Harness { request in
            request.onClientGone = { waiters.release() }
            var response = Response(body: .stream(source))
            response.onLost = { lost += 1 }
            return response
        }
        harness.send(get)
        #expect(waiters.count == 1)
        harness.hangUp()
        #expect(source.asked == 2)
        #expect(lost == 1 && harness.isOver)
    }

    @Test func `a stream whose end is the connection's is not told lost when the client has all of it`() throws {
        var lost = 0
        let harness = try Harness { _ in
            var response = Response(body: .stream(ListedSource([String(repeating: "x", count: 100_000), "end"])))
            response.onLost = { lost += 1 }
            return response
        }
        #expect(harness.exchange("GET /a HTTP/1.0\r\n\r\n").hasSuffix("xend"))
        harness.hangUp()
        #expect(lost == 0 && harness.isOver)
    }

    @Test func `connections that come and go leave no buffer, no registration and no object behind`() throws {
        weak var kept: Request?
        let harness = try Harness { request in
            kept = request
            return await echo(request)
        }
        for number in 0..<200 {
            harness.hangUp()
            harness.client = harness.connect()
            #expect(harness.server.counters.open == 1)
            if number % 3 > 0 { harness.send(number % 3 == 1 ? get : "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nab") }
        }
        harness.hangUp()
        #expect(harness.server.counters.open == 0)
        #expect(harness.server.counters.accepted == 201)
        harness.advance(by: .seconds(100))
        #expect(kept == nil)
    }
}

/// Gives its pieces, one after the other.
final class ListedSource: ChunkSource {
    private var pieces: [String]
    let failed = false

    init(_ pieces: [String]) { self.pieces = pieces }

    func next() async -> ByteBuffer? { pieces.isEmpty ? nil : buffer(pieces.removeFirst()) }
}

/// Gives one piece when it is released, and fails then, as a tail does that is told that its client has gone.
final class WaitingSource: ChunkSource {
    private let waiters: Waiters
    private(set) var asked = 0
    let failed = true

    init(_ waiters: Waiters) { self.waiters = waiters }

    func next() async -> ByteBuffer? {
        asked += 1
        guard asked == 1 else { return nil }
        await waiters.wait()
        return buffer("more")
    }
}
