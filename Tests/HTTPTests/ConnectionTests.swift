// A connection's life over a socketpair: order, keep-alive, lengths, deadlines and ends.

import HTTP
import Net
import Testing

struct ConnectionTests {
    private let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    @Test func `a reply has a date, a length and its body`() throws {
        let harness = try Harness { _ in
            var response = Response(status: 201, contentType: "application/json", body: .bytes(buffer("{}\n")))
            response.literalHeaders = "Cache-Control: no-store\r\n"
            response.addHeader("X-Request-Id", "a\r\nb")
            return response
        }
        #expect(
            harness.exchange(get) == """
                HTTP/1.1 201 Created\r
                Date: Fri, 01 Mar 2024 00:00:00 GMT\r
                Content-Type: application/json\r
                Content-Length: 3\r
                Cache-Control: no-store\r
                X-Request-Id: a  b\r
                \r
                {}

                """)
        harness.advance(by: .milliseconds(61_500))
        #expect(harness.exchange(get).contains("Date: Fri, 01 Mar 2024 00:01:01 GMT\r\n"))
        #expect(!harness.isOver)
    }

    @Test func `every split of a request gives the same answer`() throws {
        let requests = [
            get,
            "\r\n\r\nGET /a?b=c HTTP/1.1\r\nHost: h\r\nX: y\r\n\r\n",
            "POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello\r\n\r\nyo",
            "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n5;a=\"b\"\r\nhello\r\n0a \t;x\r\n0123456789\r\n00\r\nT: v\r\n\r\n",
        ]
        let harness = try Harness(echo)
        for request in requests {
            let bytes = Array(request.utf8)
            let whole = harness.exchange(request)
            #expect(status(whole) == 200)
            for split in 1..<bytes.count {
                harness.send(Array(bytes[..<split]))
                #expect(harness.receive() == "")
                harness.send(Array(bytes[split...]))
                #expect(harness.receive() == whole, "\(request.debugDescription) at \(split)")
            }
            for byte in bytes { harness.send([byte]) }
            #expect(harness.receive() == whole)
            harness.send(bytes + bytes)
            #expect(harness.receive() == whole + whole)
        }
        #expect(harness.server.counters.inFlight == 0)
    }

    @Test func `pipelined requests are answered in order`() throws {
        let loop = Waiters()
        let harness = try Harness { request in
            if text(request.path) == "/slow" { await loop.wait() }
            return await echo(request)
        }
        harness.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\(get)")
        #expect(harness.receive() == "")
        loop.release()
        let reply = harness.receive()
        let bodies = ["GET /slow? @h []", "POST /2? @h [abc]", "GET /a? @h []"]
        #expect(bodies.allSatisfy { reply.contains($0) })
        #expect(reply.components(of: "HTTP/1.1 200 OK") == 3)
        #expect(reply.firstRange(of: bodies[0])!.lowerBound < reply.firstRange(of: bodies[1])!.lowerBound)
        #expect(reply.hasSuffix(bodies[2]))
    }

    @Test func `HTTP 1 0 closes unless it is asked to stay, 1 1 stays unless it is asked to close`() throws {
        for (request, header, stays) in [
            ("GET / HTTP/1.0\r\n\r\n", "Connection: close\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "Connection: keep-alive\r\n", true),
            ("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", "Connection: close\r\n", false),
            (get, "", true),
        ] {
            let harness = try Harness(echo)
            let reply = harness.exchange(request)
            #expect(status(reply) == 200)
            #expect(header.isEmpty ? !reply.contains("Connection") : reply.contains(header))
            #expect(harness.hasClosed == !stays)
        }
    }

    @Test func `HEAD has the headers of GET and no body`() throws {
        let harness = try Harness { _ in Response(body: .bytes(buffer("hello"))) }
        let head = harness.exchange("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        #expect(head + "hello" == harness.exchange(get))
    }

    @Test func `204 has neither length nor body`() throws {
        let harness = try Harness { _ in Response(status: 204) }
        #expect(!harness.exchange(get).contains("Content-Length"))
    }

    @Test func `a refused head is answered and the connection closed, without losing what came before`() throws {
        let harness = try Harness(echo)
        let reply = harness.exchange("\(get)GET / HTTP/1.1\r\nBad Header: x\r\n\r\n\(get)")
        #expect(reply.components(of: "HTTP/1.1 ") == 2)
        #expect(reply.contains("HTTP/1.1 400 Bad Request"))
        #expect(reply.contains("Connection: close"))
        #expect(reply.hasSuffix("spaceBeforeColon\n"))
        #expect(harness.hasClosed)
        #expect(!harness.isOver, "It lingers, for the client to read the reply.")
        harness.hangUp()
        #expect(harness.isOver)
        #expect(harness.server.counters[.spaceBeforeColon] == 1)
    }

    @Test func `what is no HTTP is told at once`() throws {
        for (bytes, error) in [
            ("\u{16}\u{3}\u{1}", "malformedRequestLine"), ("hello\r\n", "malformedRequestLine"),
            ("GET /\n", "bareLineFeed"), ("\n", "bareLineFeed"), ("\r\n\r\n\r\n\r\n\r\n", "malformedRequestLine"),
            ("GET /\(String(repeating: "a", count: 9000))", "targetTooLong"),
            ("GET / HTTP/1.1\r\nHost: h\r\n\(String(repeating: "X: y\r\n", count: 3000))", "headTooLarge"),
        ] {
            let harness = try Harness(echo)
            #expect(harness.exchange(bytes).hasSuffix("\(error)\n"), "\(bytes.prefix(20).debugDescription)")
        }
    }

    @Test func `a slow head is told and an idle connection is closed silently`() throws {
        let slow = try Harness(echo)
        slow.send("GET / HT")
        slow.advance(by: .seconds(9))
        slow.send("TP")
        #expect(slow.receive() == "")
        slow.advance(by: .seconds(2))
        #expect(status(slow.receive()) == 408)
        slow.advance(by: .seconds(3))
        #expect(slow.isOver, "Lingering ends too.")

        let idle = try Harness(echo)
        for _ in 0..<3 {
            idle.advance(by: .seconds(70))
            #expect(status(idle.exchange(get)) == 200)
        }
        idle.advance(by: .seconds(76))
        #expect(idle.receive() == "")
        #expect(idle.hasClosed)
        #expect(idle.server.counters.idleTimeouts == 1)
    }

    @Test func `a handler may take as long as it likes`() throws {
        let waiters = Waiters()
        let harness = try Harness { _ in
            await waiters.wait()
            return Response()
        }
        harness.send(get)
        harness.advance(by: .seconds(3600))
        #expect(harness.receive() == "")
        waiters.release()
        #expect(status(harness.receive()) == 200)
        harness.advance(by: .seconds(74))
        #expect(!harness.isOver)
    }

    @Test func `a half-closed client still gets its answers`() throws {
        let harness = try Harness(echo)
        harness.send(get + get)
        harness.finishSending()
        #expect(harness.receive().components(of: "200 OK") == 2)
        #expect(harness.isOver)
    }

    @Test func `draining closes the idle and tells the busy`() throws {
        let waiters = Waiters()
        let harness = try Harness { _ in
            await waiters.wait()
            return Response()
        }
        let idle = harness.connect()
        harness.send(get)
        #expect(harness.server.counters.open == 2)
        harness.server.drain()
        harness.loop.runUntilIdle()
        #expect(harness.server.counters.open == 1)
        waiters.release()
        #expect(harness.receive().contains("Connection: close"))
        #expect(harness.hasClosed)
        #expect(idle !== harness.client)
    }

    @Test func `a connection too many is told and closed`() throws {
        var limits = HTTPLimits()
        limits.connections = 1
        let harness = try Harness(limits: limits, echo)
        let first = harness.client
        harness.client = harness.connect()
        #expect(status(harness.receive()) == 503)
        #expect(harness.hasClosed)
        #expect(harness.server.counters.refused == 1)
        #expect(first !== harness.client)
    }
}

/// Where handlers wait until the test lets them go.
final class Waiters {
    private var waiting: [UnsafeContinuation<Void, Never>] = []
    var count: Int { waiting.count }
    private(set) var notes: [String] = []

    func note(_ text: String) { notes.append(text) }

    func wait() async { await withUnsafeContinuation { waiting.append($0) } }

    func release() {
        for waiter in waiting { waiter.resume() }
        waiting = []
    }
}

extension String {
    /// How often `part` occurs.
    func components(of part: String) -> Int { ranges(of: part).count }
}
