// Bodies in and out: lengths, chunks, expectations, bounds, and what a handler leaves unread.

import HTTP
import Net
import Testing

struct BodyTests {
    private let get = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"

    private func chunked(_ body: String) -> String {
        "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n\(body)"
    }

    @Test(arguments: [
        ("x\r\n", "malformedChunk"), ("\r\n", "malformedChunk"), ("1\nab", "malformedChunk"), ("0x1\r\n", "malformedChunk"),
        ("-1\r\n", "malformedChunk"), ("1 \r\na", "malformedChunk"), ("1\r\nab", "malformedChunk"),
        ("1\r\na\n", "malformedChunk"), ("1;a\u{0}\r\n", "malformedChunk"), ("1;a\n", "malformedChunk"),
        ("1000000000000000\r\n", "chunkSizeTooLarge"), ("ffffffffffffffff1\r\n", "chunkSizeTooLarge"),
        ("1;\(String(repeating: "e", count: 300))", "chunkExtensionTooLong"),
        ("0\r\nX y\r\n\r\n", "malformedChunk"), ("0\r\n folded\r\n\r\n", "malformedChunk"),
        ("0\r\nX: y\n\r\n", "malformedChunk"), ("0\r\n\n", "malformedChunk"), ("0\r\n:\r\n", "malformedChunk"),
        ("0\r\nX: \(String(repeating: "e", count: 5000))", "trailerTooLarge"),
        ("fffffff\r\n\(String(repeating: "e", count: 3000))", "bodyTooLarge"),
    ])
    func `a malformed chunk is refused and the connection closed`(_ body: String, _ reason: String) throws {
        var limits = HTTPLimits()
        limits.body = 2000
        let harness = try Harness(limits: limits, echo)
        let reply = harness.exchange(chunked(body))
        #expect(reply.hasSuffix(reason), "\(body.prefix(20).debugDescription)")
        #expect(reply.contains("Connection: close"))
        #expect(harness.hasClosed)
    }

    @Test func `large bodies come whole, by length and by chunks, and the next request follows`() throws {
        let body = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        let waiters = Waiters()
        let harness = try Harness { request in
            waiters.note(text(request.path))
            do throws(HTTPError) {
                let bytes = try await request.body.collected()
                let isRight = bytes.elementsEqual(body) && text(request.header("x-y")) == "z"
                return Response(body: .bytes(buffer(isRight ? "right" : "wrong")))
            } catch {
                return Response(status: error.status)
            }
        }
        let head = "POST /big HTTP/1.1\r\nHost: h\r\nX-Y: z\r\n"
        harness.send(Array("\(head)Content-Length: 300000\r\n\r\n".utf8) + body)
        #expect(harness.receive().hasSuffix("right"))
        var chunks = Array("\(head)Transfer-Encoding: chunked\r\n\r\n".utf8)
        for start in stride(from: 0, to: body.count, by: 50_000) {
            chunks += Array("C350\r\n".utf8)
            chunks += body[start..<(start + 50_000)]
            chunks += Array("\r\n".utf8)
        }
        harness.send(chunks + Array("0\r\n\r\n\(get)".utf8))
        let replies = harness.receive()
        #expect(replies.components(of: "right") == 1)
        #expect(waiters.notes == ["/big", "/big", "/a"])
    }

    @Test func `a body is pulled piece by piece`() throws {
        var pieces: [String] = []
        let harness = try Harness { request in
            do throws(HTTPError) {
                while let piece = try await request.body.next() { pieces.append(text(piece)) }
            } catch {
                pieces.append("\(error)")
            }
            return Response(body: .bytes(buffer(text(request.path))))
        }
        harness.send("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nab")
        #expect(pieces == ["ab"])
        harness.send("cd")
        harness.send("ef\(get)")
        #expect(pieces == ["ab", "cd", "ef"])
        #expect(harness.receive().components(of: "/p") == 1)
        pieces = []
        harness.send(chunked("2\r\nab\r\n1\r\nc"))
        harness.send("\r\n0\r\n\r\n")
        #expect(pieces == ["ab", "c"])
    }

    @Test func `too long a body is refused before it is read`() throws {
        let harness = try Harness(echo)
        let reply = harness.exchange("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 16777217\r\n\r\n")
        #expect(status(reply) == 413)
        #expect(reply.contains("Connection: close"))
    }

    @Test func `a body that stops or ends early is told`() throws {
        let slow = try Harness(echo)
        slow.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        slow.advance(by: .seconds(29))
        slow.send("b")
        slow.advance(by: .seconds(29))
        #expect(slow.receive() == "")
        slow.advance(by: .seconds(2))
        #expect(slow.receive().hasSuffix("bodyTimeout"))
        let short = try Harness(echo)
        short.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\na")
        short.finishSending()
        #expect(short.receive().hasSuffix("bodyIncomplete"))
        #expect(short.isOver)
    }

    @Test func `100 Continue is sent when the body is asked for, and only then`() throws {
        let head = "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n"
        let harness = try Harness(echo)
        #expect(harness.exchange(head) == "HTTP/1.1 100 Continue\r\n\r\n")
        #expect(harness.exchange("ab").hasSuffix("[ab]"))
        #expect(!harness.exchange(head + "ab").contains("100 Continue"))
        let refusing = try Harness { _ in Response(status: 401) }
        let reply = refusing.exchange(head)
        #expect(status(reply) == 401)
        #expect(reply.contains("Connection: close"))
        #expect(refusing.hasClosed)
    }

    @Test func `a small unread body is thrown away and a large one ends the connection`() throws {
        let harness = try Harness { request in Response(body: .bytes(buffer(text(request.path)))) }
        let small = String(repeating: "x", count: 100_000)
        harness.send("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n\(small)\(get)")
        #expect(harness.receive().hasSuffix("/a"))
        #expect(harness.exchange(chunked("3\r\nabc\r\n0\r\n\r\n") + get).hasSuffix("/a"))
        let reply = harness.exchange("POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n\(small)")
        #expect(reply.contains("Connection: close"))
        #expect(harness.hasClosed)
    }

    @Test func `a large reply comes whole, through a full socket`() throws {
        let body = String(repeating: "0123456789", count: 100_000)
        var lost = 0
        let harness = try Harness { _ in
            var response = Response(body: .bytes(buffer(body)))
            response.onLost = { lost += 1 }
            return response
        }
        let reply = harness.exchange(get + get)
        #expect(reply.utf8.count > 2_000_000)
        #expect(reply.components(of: body) == 2)
        #expect(lost == 0)
    }

    // MARK: Streams

    @Test func `a stream is chunked in 1 1 and ended by closing in 1 0`() throws {
        let harness = try Harness { _ in Response(body: .stream(Pieces(["hello", "", "0123456789abcdef"]))) }
        let reply = harness.exchange(get)
        #expect(reply.contains("Transfer-Encoding: chunked\r\n"))
        #expect(reply.hasSuffix("\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"))
        #expect(harness.exchange("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").hasSuffix("Transfer-Encoding: chunked\r\n\r\n"))
        let old = harness.exchange("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        #expect(old.contains("Connection: close") && !old.contains("chunked"))
        #expect(old.hasSuffix("\r\n\r\nhello0123456789abcdef"))
        #expect(harness.hasClosed)
    }

    @Test func `a stream that failed is cut`() throws {
        let harness = try Harness { _ in Response(body: .stream(Pieces(["hello"], fails: true))) }
        #expect(harness.exchange(get).hasSuffix("5\r\nhello\r\n"))
        #expect(harness.hasClosed)
    }

    @Test func `a stream waits for a client that does not read`() throws {
        let pieces = Pieces(Array(repeating: String(repeating: "x", count: 20_000), count: 500))
        let harness = try Harness { _ in Response(body: .stream(pieces)) }
        harness.send(get)
        harness.loop.runUntilIdle()
        #expect(pieces.given < 50)
        #expect(harness.receive().utf8.count > 10_000_000)
        #expect(pieces.given == 500)
    }
}

/// A body that is there already, piece by piece.
final class Pieces: ChunkSource {
    private let pieces: [String]
    private(set) var given = 0
    let failed: Bool

    init(_ pieces: [String], fails: Bool = false) {
        self.pieces = pieces
        failed = fails
    }

    func next() async -> ByteBuffer? {
        guard given < pieces.count else { return nil }
        given += 1
        return buffer(pieces[given - 1])
    }
}
