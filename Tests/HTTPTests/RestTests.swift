// Connections that rest without a task: asleep between requests, or parked until a reply comes later.

import Testing

@testable import HTTP
@testable import Net

struct RestTests {
    /// A reply that comes when the test says so.
    private final class Promise: LaterResponse {
        var client: HTTPConnection?
        var isClientGone = false
        func begin(_ client: HTTPConnection) { self.client = client }
        func clientGone() { isClientGone = true }
    }

    private let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

    @Test func `a connection that slept is answered as before`() throws {
        let harness = try Harness { _ in Response(status: 200) }
        for _ in 0..<3 {
            harness.send(ask)
            #expect(harness.receive().hasPrefix("HTTP/1.1 200"))
            harness.advance(by: .seconds(3))
            #expect(!harness.isOver, "It sleeps, it has not ended.")
        }
    }

    @Test func `a request that comes in the moment of falling asleep is answered at once`() throws {
        let harness = try Harness { _ in Response(status: 200) }
        harness.send(ask)
        #expect(harness.receive().hasPrefix("HTTP/1.1 200"))
        // The loop sees both in one tick: that it has been idle for long enough, and what came.
        _ = try ask.utf8.withContiguousStorageIfAvailable { try harness.client?.socket.write(UnsafeRawBufferPointer($0)) }
        harness.advance(by: .seconds(2))
        #expect(harness.receive().hasPrefix("HTTP/1.1 200"))
    }

    @Test func `a connection that sleeps is closed when its time is up`() throws {
        let harness = try Harness { _ in Response(status: 200) }
        harness.send(ask)
        harness.advance(by: .seconds(74))
        #expect(!harness.isOver)
        harness.advance(by: .seconds(2))
        #expect(harness.isOver)
        #expect(harness.server.counters.idleTimeouts == 1)
    }

    @Test func `a request that comes in pieces wakes its connection once for each`() throws {
        let harness = try Harness { _ in Response(status: 200) }
        harness.advance(by: .seconds(3))
        for byte in ask.utf8 { harness.send([byte]) }
        #expect(harness.receive().hasPrefix("HTTP/1.1 200"))
    }

    @Test func `a later reply is sent when it comes, and the connection goes on`() throws {
        let promise = Promise()
        let harness = try Harness { _ in Response(body: .later(promise)) }
        harness.send(ask)
        #expect(harness.receive().isEmpty)
        harness.advance(by: .seconds(200))
        #expect(harness.receive().isEmpty, "A parked request outlives the keep-alive time.")
        promise.client?.answer(Response(status: 201))
        harness.loop.runUntilIdle()
        #expect(harness.receive().hasPrefix("HTTP/1.1 201"))
        harness.send(ask)
        #expect(promise.client != nil && !harness.isOver)
    }

    @Test func `what a client sends behind a parked request is answered after it`() throws {
        let promise = Promise()
        var count = 0
        let harness = try Harness { _ in
            count += 1
            return count == 1 ? Response(body: .later(promise)) : Response(status: 202)
        }
        harness.send(ask + ask)
        harness.send(ask)
        #expect(harness.receive().isEmpty)
        promise.client?.answer(Response(status: 201))
        harness.loop.runUntilIdle()
        let replies = harness.receive().split(separator: "HTTP/1.1 ").map { $0.prefix(3) }
        #expect(replies == ["201", "202", "202"])
    }

    @Test func `a client that leaves while it is parked is told of, and its connection ends with the answer`() throws {
        let promise = Promise()
        let harness = try Harness { _ in Response(body: .later(promise)) }
        harness.send(ask)
        #expect(!promise.isClientGone)
        harness.hangUp()
        #expect(promise.isClientGone)
        var response = Response()
        response.closesConnection = true
        promise.client?.answer(response)
        harness.loop.runUntilIdle()
        harness.advance(by: .seconds(3))
        #expect(harness.isOver)
        #expect(harness.server.counters.inFlight == 0)
    }

    @Test func `a later reply to a client that has gone is told lost`() throws {
        let promise = Promise()
        let harness = try Harness { _ in Response(body: .later(promise)) }
        harness.send(ask)
        harness.hangUp()
        var isLost = false
        var response = Response()
        response.onLost = { isLost = true }
        promise.client?.answer(response)
        harness.loop.runUntilIdle()
        #expect(isLost)
    }

    @Test(arguments: [true, false])
    func `a later reply is not written to a client that left after it was answered`(_ byHalfClosing: Bool) throws {
        let promise = Promise()
        let harness = try Harness { _ in Response(body: .later(promise)) }
        harness.send(ask)
        var isLost = false
        var response = Response(body: .bytes(buffer("hello")))
        response.onLost = { isLost = true }
        promise.client?.answer(response)
        // The kernel has its end before the reply, and the loop has heard of neither.
        if byHalfClosing { harness.finishSending() } else { harness.client = nil }
        harness.loop.runUntilIdle()
        #expect(isLost && harness.receive().isEmpty)
        harness.advance(by: .seconds(3))
        #expect(harness.isOver)
    }
}
