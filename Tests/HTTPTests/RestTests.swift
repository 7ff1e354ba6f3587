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
        let harness = try Harness(answering: { _ in .later(promise) })
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
        let harness = try Harness(answering: { _ in
            count += 1
            return count == 1 ? .later(promise) : .response(Response(status: 202))
        })
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
        let harness = try Harness(answering: { _ in .later(promise) })
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
        let harness = try Harness(answering: { _ in .later(promise) })
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
        let harness = try Harness(answering: { _ in .later(promise) })
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

    // MARK: Answered where the bytes arrive

    /// Answers at once; what begins with `/soon` when the test says so, what begins with `/task` in a task.
    private final class Prompt: LaterResponse {
        var client: HTTPConnection?
        var isClientGone = false
        var tasks = 0
        /// Paths, in the order in which their requests came to the responder.
        var asked: [String] = []

        func begin(_ client: HTTPConnection) { self.client = client }
        func clientGone() { isClientGone = true }

        func answer(_ request: Request) -> Answer {
            let path = text(request.path)
            asked.append(path)
            if path.hasPrefix("/soon") { return .soon(self) }
            guard !path.hasPrefix("/task"), let body = request.body.collectedAlready() else {
                return .task { [self] in
                    tasks += 1
                    return .response(await echo(request))
                }
            }
            return .response(Response(body: .bytes(buffer("\(path) [\(text(body))]\n"))))
        }

        /// What was kept of the request, and the reply.
        func release(_ response: Response? = nil) {
            let path = client.map { text($0.request.path) } ?? "none"
            let client = client
            self.client = nil
            client?.answer(response ?? Response(body: .bytes(buffer("\(path) released\n"))))
        }
    }

    private func prompt() throws -> (Harness, Prompt) {
        let prompt = Prompt()
        let harness = try Harness(echo)
        harness.responder.atOnce = prompt.answer
        return (harness, prompt)
    }

    private func get(_ path: String, _ more: String = "") -> String { "GET \(path) HTTP/1.1\r\nHost: a\r\n\(more)\r\n" }

    private func bodies(_ replies: String) -> [String] {
        replies.split(separator: "\r\n\r\n").dropFirst().map { String($0.prefix { $0 != "\n" && $0 != "\r\n" }) }
    }

    @Test func `of a pipeline each is answered in its turn, at once, soon or by a task`() throws {
        let (harness, prompt) = try prompt()
        harness.send(get("/1") + get("/soon") + get("/2") + get("/task") + get("/soon2") + get("/3"))
        #expect(bodies(harness.receive()) == ["/1 []"])
        #expect(prompt.asked == ["/1", "/soon"], "Nothing is begun behind one that is not answered.")
        prompt.release()
        #expect(bodies("\r\n\r\n" + harness.receive()).count == 3)
        #expect(prompt.asked.last == "/soon2" && prompt.tasks == 1)
        prompt.release()
        #expect(harness.receive().contains("/3 []"))
        #expect(harness.server.counters.inFlight == 0 && !harness.isOver)
        harness.advance(by: .seconds(74))
        #expect(!harness.isOver)
        harness.advance(by: .seconds(2))
        #expect(harness.isOver)
    }

    @Test func `a pipeline longer than the client takes is answered as it is taken, and holds no more output than it may`() throws {
        let (harness, prompt) = try prompt()
        let count = 5000  // What a socket holds of them is more than what it holds of their replies.
        harness.send((0..<count).map { get("/\($0)") }.joined())
        #expect(prompt.asked.count < count)
        #expect(harness.receive().components(of: "HTTP/1.1 200") == count)
        #expect(prompt.asked == (0..<count).map { "/\($0)" } && prompt.tasks == 0)
    }

    @Test func `a body that comes after its head is waited for by a task`() throws {
        let (harness, prompt) = try prompt()
        harness.send("POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
        #expect(harness.receive() == "")
        harness.send("llo" + get("/next"))
        let replies = harness.receive()
        #expect(replies.contains("[hello]") && replies.contains("/next []"))
        #expect(prompt.tasks == 1)
    }

    @Test func `a body that nobody read is passed over, or ends the connection where it is long`() throws {
        let (harness, prompt) = try prompt()
        let responder = harness.responder
        responder.atOnce = { request in
            text(request.path) == "/unread" ? .response(Response(status: 202)) : prompt.answer(request)
        }
        harness.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" + get("/next"))
        #expect(harness.receive().contains("/next []"))
        harness.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\nhello")
        #expect(harness.receive().contains("Connection: close"))
        #expect(harness.hasClosed)
    }

    @Test func `100 Continue goes out only for a body that has not come`() throws {
        let (harness, _) = try prompt()
        let head = "POST /p HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
        harness.send(head)
        #expect(harness.receive() == "HTTP/1.1 100 Continue\r\n\r\n")
        harness.send("hi")
        #expect(harness.receive().contains("[hi]"))
        let reply = harness.exchange(head + "hi")
        #expect(reply.hasPrefix("HTTP/1.1 200") && reply.contains("/p [hi]"))
    }

    @Test func `HEAD is answered at once without a body`() throws {
        let (harness, _) = try prompt()
        let reply = harness.exchange("HEAD /h HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(reply.contains("Content-Length: 6\r\n") && reply.hasSuffix("\r\n\r\n"))
    }

    @Test func `a client that half-closes gets what it has asked for, and then the end`() throws {
        let (harness, prompt) = try prompt()
        harness.send(get("/1") + get("/soon") + get("/2"))
        harness.finishSending()
        harness.loop.runUntilIdle()
        #expect(prompt.isClientGone)
        prompt.release()
        let replies = harness.receive()
        #expect(replies.contains("/soon released") && replies.contains("/2 []"))
        #expect(harness.isOver)
    }

    @Test func `what comes soon for a client that has gone is told lost`() throws {
        let (harness, prompt) = try prompt()
        harness.send(get("/soon"))
        harness.hangUp()
        var isLost = false
        var response = Response(body: .bytes(buffer("x")))
        response.onLost = { isLost = true }
        prompt.release(response)
        harness.loop.runUntilIdle()
        #expect(isLost && harness.isOver)
        #expect(harness.server.counters.inFlight == 0)
    }

    @Test func `a refused head behind good ones is answered after them, and the connection ends`() throws {
        let (harness, prompt) = try prompt()
        harness.send(get("/1") + get("/soon") + "G@T / HTTP/1.1\r\n\r\n")
        prompt.release()
        let replies = harness.receive()
        let order = ["/1 []", "/soon released", "malformedRequestLine"].compactMap { replies.firstRange(of: $0)?.lowerBound }
        #expect(order.count == 3 && order == order.sorted())
        #expect(harness.hasClosed)
    }

    @Test func `in a drain the request under way is answered and says that the connection ends`() throws {
        let (harness, prompt) = try prompt()
        let idle = harness.connect()
        harness.send(get("/soon"))
        harness.server.drain()
        harness.loop.runUntilIdle()
        #expect(harness.server.counters.open == 1, "The idle one is gone.")
        prompt.release()
        #expect(harness.receive().contains("Connection: close"))
        harness.advance(by: .seconds(3))
        #expect(harness.isOver)
        withExtendedLifetime(idle) {}
    }

    @Test func `a head in pieces has its time, however the ones before were answered`() throws {
        let (harness, _) = try prompt()
        harness.send(get("/1") + "GET /2 HT")
        #expect(bodies(harness.receive()) == ["/1 []"])
        harness.advance(by: .seconds(11))
        #expect(harness.receive().hasPrefix("HTTP/1.1 408"))
    }

    @Test func `an answer that is there before the connection asked for it counts`() throws {
        /// Answers from inside `begin`.
        final class Eager: LaterResponse {
            func begin(_ client: HTTPConnection) { client.answer(Response(status: 203)) }
            func clientGone() {}
        }
        let (harness, prompt) = try prompt()
        harness.responder.atOnce = { text($0.path) == "/eager" ? .soon(Eager()) : prompt.answer($0) }
        let replies = harness.exchange(get("/eager") + get("/eager") + get("/1") + get("/eager"))
        #expect(replies.split(separator: "HTTP/1.1 ").map { $0.prefix(3) } == ["203", "203", "200", "203"])
    }
}
