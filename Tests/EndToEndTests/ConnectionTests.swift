// Connections: many, rude, slow, and gone; nothing of them stays.

import Support
import Testing

@Suite(.gateway("--header-timeout-ms", "5000", "--body-timeout-ms", "5000", "--keepalive-timeout-ms", "5000"), .serialized)
struct ConnectionTests {
    let rig = Rig.current

    @Test func `pipelined requests are answered in order, also where one has to wait`() throws {
        let stream = try rig.newGroup("pipeline")
        let socket = try ClientSocket(port: rig.port)
        var requests = ""
        for number in 0..<200 {
            let body = #"{"fields":{"n":"\#(number)"}}"#
            requests += "POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            if number % 50 == 0 { requests += "GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n" }
            if number == 100 {
                requests += "POST \(rig.readPath(stream, "c", "count=101")) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
                requests += "POST \(rig.readPath(stream, "c", "block_ms=100")) HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            }
        }
        try socket.send(requests)
        for number in 0..<200 {
            #expect(try socket.reply().status == 201)
            if number % 50 == 0 { #expect(try socket.reply().status == 404) }
            if number == 100 {
                #expect(try socket.reply().numbers == (0...100).map(String.init))
                #expect(try socket.reply().json == ["messages": []])
            }
        }
    }

    @Test func `a half-closed client still gets its answers`() throws {
        let stream = try rig.newGroup("half")
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", "/v1/streams/\(stream)/messages", body: #"{"fields":{"n":"1"}}"#)
        try socket.request("GET", "/v1/streams/\(stream)/messages")
        socket.finishSending()
        #expect(try socket.reply().status == 201)
        #expect(try socket.reply().numbers == ["1"])
        #expect(try socket.readToEnd() == "")
    }

    @Test func `requests that come too slowly are told so, idle connections just end`() throws {
        let rig = try Rig(["--header-timeout-ms", "700", "--body-timeout-ms", "700", "--keepalive-timeout-ms", "4000"])
        let head = try ClientSocket(port: rig.port)
        try head.send("GET /healthz HT")
        let body = try ClientSocket(port: rig.port)
        try body.send("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        let idle = try ClientSocket(port: rig.port)
        for socket in [head, body] {
            let reply = try socket.reply(atMost: .seconds(9))  // Less than by default.
            #expect(reply.status == 408 && reply.code == "REQUEST_TIMEOUT" && reply.headers["connection"] == "close")
            #expect(reply.json["retryable"] == true)
            #expect(try socket.readToEnd() == "")
        }
        #expect(try idle.readToEnd(atMost: .seconds(20)) == "")
        for labels in ["timeouts_total{phase=\"head\"}", "timeouts_total{phase=\"body\"}", "timeouts_total{phase=\"keep_alive\"}"] {
            #expect(try rig.metric("sluice_http_\(labels)") >= 1, "\(labels)")
        }
        #expect(try rig.metric("sluice_http_rejected_total{code=\"REQUEST_TIMEOUT\",status=\"408\"}") >= 2)
    }

    @Test func `a request that is cut off adds nothing`() throws {
        let stream = rig.newStream("cut")
        let whole = "POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 20\r\n\r\n{\"fields\":{\"n\":\"1\"}}"
        for length in stride(from: 1, to: whole.utf8.count, by: 7) {
            let socket = try ClientSocket(port: rig.port)
            try socket.send(Array(whole.utf8.prefix(length)))  // Bytes: CR LF is one Character.
            if length % 2 == 0 { socket.reset() } else { socket.finishSending() }
            if length % 2 == 1 { _ = try socket.readToEnd() }
        }
        #expect(try rig.redis.run("EXISTS", stream) == ":0\r\n")
    }

    @Test func `twenty thousand connections opened and dropped leave no trace`() throws {
        let stream = try rig.newGroup("dropped")
        func round(_ count: Int) throws {
            for number in 0..<count {
                if number % 500 == 0 { try waitUntilGone() }  // Or memory would show how many there were at once.
                let socket = try ClientSocket(port: rig.port)
                switch number % 5 {
                case 0: socket.reset()
                case 1:
                    try socket.send("GET /heal")
                    socket.close()
                case 2:
                    try socket.request("POST", rig.readPath(stream, "c", "block_ms=0"))
                    socket.reset()
                case 3:
                    try socket.send("POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
                    socket.reset()
                default:
                    try socket.request("GET", "/healthz")
                    socket.reset()
                }
            }
            try waitUntilGone()
        }
        func waitUntilGone() throws {
            try waitUntil("all are gone") { try rig.metric("sluice_http_connections") <= 2 && rig.parked() == 0 }
        }
        try round(10_000)  // Pools, tables and the heap have the size that such a crowd needs.
        let (descriptors, memory) = (rig.gateway.descriptorCount, rig.gateway.memory)
        try round(10_000)
        #expect(rig.gateway.descriptorCount <= descriptors + 2)
        #expect(rig.gateway.memory < memory + 4 << 20, "\(rig.gateway.memory - memory) bytes more")
        #expect(try rig.pending(stream).isEmpty)
        let id = try rig.add(1, to: stream)
        #expect(try rig.read(stream, "c").ids == [id])
    }

    @Test func `one connection too many is told so, and so is one waiter too many`() throws {
        let rig = try Rig(["--max-connections", "8", "--max-waiters", "2"])
        let stream = try rig.newGroup("full")
        let waiters = try (1...2).map { try rig.park(stream, "c", asNumber: $0) }
        let third = try rig.read(stream, "c", "block_ms=100")
        #expect(third.status == 429 && third.code == "TOO_MANY_WAITERS" && third.headers["retry-after"] != nil, "\(third.text)")
        var sockets: [ClientSocket] = []
        var refused: Reply?
        for _ in 0..<8 where refused == nil {
            let socket = try ClientSocket(port: rig.port)
            try socket.request("GET", "/healthz")
            let reply = try socket.reply()
            if reply.status == 503 { refused = reply }
            sockets.append(socket)
        }
        #expect(refused?.code == "OVERLOADED" && refused?.headers["retry-after"] != nil && refused?.headers["connection"] == "close")
        sockets = []
        for waiter in waiters { waiter.cancel() }
    }
}
