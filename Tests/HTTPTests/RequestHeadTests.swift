// The parser of heads: what is refused and why, what is taken and how.

import Testing

@testable import HTTP

struct RequestHeadTests {
    private func failure(_ head: String) -> HTTPError? {
        do throws(HTTPError) {
            _ = try Request(head: Array(head.utf8))
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [
        // The request line, RFC 9112 §3.
        ("GET /\r\n\r\n", HTTPError.malformedRequestLine),
        ("GET\r\n\r\n", .malformedRequestLine),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", .malformedRequestLine),
        (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET / http/1.1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET / HTTP/1\r\nHost: a\r\n\r\n", .malformedRequestLine),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", .unsupportedVersion),
        ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", .unsupportedVersion),
        ("PRI * HTTP/2.0\r\n\r\n", .unsupportedVersion),
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
        ("GET /\r HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        // Targets, RFC 9112 §3.2.
        ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", .connectNotSupported),
        ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET /caf\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET /a\u{0}b HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        ("GET http://u@a/x HTTP/1.1\r\nHost: a\r\n\r\n", .malformedTarget),
        // Field lines, RFC 9112 §5.
        ("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", .bareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", .bareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\n\n", .bareLineFeed),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", .obsoleteFolding),
        ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", .obsoleteFolding),
        ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", .spaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", .spaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", .spaceBeforeColon),
        ("GET / HTTP/1.1\r\nHost: a\r\nnocolon\r\n\r\n", .malformedHeader),
        ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", .malformedHeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX(y): b\r\n\r\n", .malformedHeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX\u{e9}: b\r\n\r\n", .malformedHeaderName),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a\u{0}b\r\n\r\n", .controlInHeader),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a long value, with\u{7f} in it\r\n\r\n", .controlInHeader),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: a long value, with \r in it\r\n\r\n", .controlInHeader),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: tabs\tmay\tbe, this \u{b} not\r\n\r\n", .controlInHeader),
        // Host, RFC 9112 §3.2.
        ("GET / HTTP/1.1\r\n\r\n", .missingHost),
        ("GET http://a/ HTTP/1.1\r\n\r\n", .missingHost),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", .repeatedHost),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a:8o\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: a%2\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: []\r\n\r\n", .malformedHost),
        ("GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", .malformedHost),
        // Length, RFC 9112 §6.
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1 1\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", .malformedContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n", .conflictingContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", .conflictingContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n", .conflictingContentLength),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", .lengthAndTransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nContent-Length: 1\r\n\r\n", .lengthAndTransferEncoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", .unknownTransferCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", .unknownTransferCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n", .unknownTransferCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n", .unknownTransferCoding),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", .chunkedNotLast),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", .chunkedNotLast),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n", .chunkedNotLast),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", .chunkedNotLast),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", .chunkedNotLast),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n", .controlInHeader),
        ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", .transferEncodingInHTTP10),
        ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n", .unsupportedExpectation),
    ])
    func `a malformed head is refused with its reason`(_ head: String, _ reason: HTTPError) {
        #expect(failure(head) == reason, "\(head.debugDescription)")
    }

    @Test func `every error has a sentence and a status`() {
        for error in HTTPError.allCases {
            #expect(error.detail.hasSuffix("."))
            #expect((400...505).contains(error.status))
        }
    }

    @Test func `sizes have their own errors`() {
        let long = String(repeating: "a", count: 9000)
        #expect(failure("GET /\(long) HTTP/1.1\r\nHost: a\r\n\r\n") == .targetTooLong)
        let most = String(repeating: "X: y\r\n", count: 99)
        #expect(failure("GET / HTTP/1.1\r\nHost: a\r\n\(most)\r\n") == nil)
        #expect(failure("GET / HTTP/1.1\r\nHost: a\r\n\(most)X: y\r\n\r\n") == .tooManyHeaders)
    }

    @Test func `a target is split into path and query`() throws {
        for (line, path, query, host) in [
            ("GET /a%2Fb/c?x=1&y=2?z HTTP/1.1", "/a%2Fb/c", "x=1&y=2?z", "h:80"),
            ("GET /a HTTP/1.1", "/a", nil, "h:80"),
            ("GET /a? HTTP/1.1", "/a", "", "h:80"),
            ("GET //a HTTP/1.1", "//a", nil, "h:80"),
            ("GET http://other:1/p?q HTTP/1.1", "/p", "q", "other:1"),
            ("GET HTTPS://[::1]:9 HTTP/1.1", "/", nil, "[::1]:9"),
            ("GET http://other?q=1 HTTP/1.1", "/", "q=1", "other"),
            ("OPTIONS * HTTP/1.1", "*", nil, "h:80"),
            ("OPTIONS http://other HTTP/1.1", "*", nil, "other"),
            ("GET /v1?match=a[bc]* HTTP/1.7", "/v1", "match=a[bc]*", "h:80"),
        ] as [(String, String, String?, String)] {
            let request = try Request(head: Array("\(line)\r\nHost: h:80\r\n\r\n".utf8))
            #expect(text(request.path) == path)
            #expect(request.hasQuery == (query != nil))
            #expect(text(request.query) == query ?? "")
            #expect(text(request.host) == host)
        }
    }

    @Test func `fields are found in any case, trimmed, in order, and counted`() throws {
        let request = try Request(
            head: Array("get / HTTP/1.0\r\nX-A: \t one \t\r\nx-a:two\r\nX_A: three\r\nEmpty:\r\nU: caf\u{e9}\r\n\r\n".utf8))
        #expect(request.method == .other)
        #expect(text(request.methodName) == "get")
        #expect(text(request.header("x-a")) == "one")
        #expect(request.headerCount("x-a") == 2)
        #expect(text(request.header("empty")) == "")
        #expect(request.header("x-b") == nil)
        #expect(text(request.header("u")) == "caf\u{e9}")
        #expect((0..<request.headerCount).map { text(request.headerName($0)) } == ["X-A", "x-a", "X_A", "Empty", "U"])
        #expect(text(request.headerValue(1)) == "two")
    }

    @Test func `every valid host is taken`() throws {
        for host in ["a", "a.b:80", "a:", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a_b~c!", "%41"] {
            let request = try Request(head: Array("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n".utf8))
            #expect(text(request.host) == host)
        }
    }
}
