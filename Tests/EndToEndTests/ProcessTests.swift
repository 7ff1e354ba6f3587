// The process: how it starts, is refused, drains and dies; who may call.

import Support
import Synchronization
import Testing

@Suite(.blocking) struct ProcessTests {
    // MARK: Starting

    @Test func `a gateway is ready when Redis answers all its loops, not one of them`() throws {
        final class Pings: Sendable {
            let count = Mutex(0)
            func next() -> Int { count.withLock { $0 += 1; return $0 } }
        }
        let pings = Pings()
        let redis = try ScriptedServer { words in
            guard words[0] == "PING" else { return .usual }
            return .reply(pings.next() == 1 ? "+PONG\r\n" : "-LOADING Redis is loading the dataset in memory\r\n")
        }
        let gateway = try GatewayProcess(["--redis", redis.url, "--loops", "2"])
        let client = TestClient(port: gateway.port)
        try waitUntil("both were asked") {
            let status = try client.get("/readyz").status
            #expect(status == 503)
            return pings.count.withLock { $0 } >= 2
        }
        withExtendedLifetime(redis) {}
    }

    @Test func `who comes while the gateway starts is answered when Redis is reached, whatever loop takes him`() throws {
        let redis = try RedisServerProcess()
        redis.freeze()
        let gateway = try GatewayProcess(["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "2"])
        let clients = try (0..<8).map { _ in try ClientSocket(port: gateway.port) }
        for client in clients { try client.request("GET", "/v1/streams/orders") }
        redis.thaw()
        for client in clients { #expect(try client.reply().status == 404) }
    }

    // MARK: Refusals

    @Test func `an open address without credentials is refused`() throws {
        let refused = try GatewayProcess.run(["--host", "0.0.0.0", "--port", "0", "--redis", "redis://127.0.0.1:1"])
        #expect(refused.code == 2 && refused.log.contains("token"), "\(refused.log)")
        let open = try GatewayProcess(["--host", "0.0.0.0", "--insecure-no-auth", "--redis", "redis://127.0.0.1:1"])
        #expect(try TestClient(port: open.port).get("/healthz").status == 200)
    }

    @Test func `a port in use is refused, and says which`() throws {
        let first = try GatewayProcess(["--redis", "redis://127.0.0.1:1"])
        let second = try GatewayProcess.run(["--port", "\(first.port)", "--redis", "redis://127.0.0.1:1"])
        #expect(second.code == 2 && second.log.contains("\(first.port)"), "\(second.log)")
    }

    @Test func `a data directory in use is refused, and says which`() throws {
        let directory = try TemporaryDirectory()
        let first = try GatewayProcess(["--data-dir", directory.path])
        let second = try GatewayProcess.run(["--port", "0", "--data-dir", directory.path])
        #expect(second.code == 2 && second.log.contains(directory.path), "\(second.log)")
        #expect(try TestClient(port: first.port).get("/healthz").status == 200)
    }

    @Test(arguments: [
        (["--prot", "1"], 64, "--port"), (["--port", "x"], 2, "port"), (["--redis", "http://x"], 2, "redis://"),
        (["--loops", "0"], 2, "loops"),
    ]) func `a wrong option is refused with a sentence`(arguments: [String], code: Int32, says: String) throws {
        let refused = try GatewayProcess.run(arguments)
        #expect(refused.code == code && refused.log.contains(says), "\(refused.log)")
    }

    @Test func `an unknown key of the file is refused with the nearest known`() throws {
        let refused = try GatewayProcess.run(["--port", "0"], configuration: "prot: 1\n")
        #expect(refused.code == 2 && refused.log.contains("port"), "\(refused.log)")
    }

    // MARK: The end

    @Test func `SIGTERM answers the parked with an empty 200, finishes what is under way, and ends with 0`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("drain")
        let parked = try (0..<3).map { _ in
            let socket = try ClientSocket(port: rig.port)
            try socket.request("POST", rig.readPath(stream, "c", "block_ms=0"))
            return socket
        }
        try rig.waitUntilParked(3)
        let slow = try ClientSocket(port: rig.port)
        try slow.send("POST /v1/streams/\(stream)/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 21\r\n\r\n{\"fields\":")
        let idle = try ClientSocket(port: rig.port)
        try idle.request("GET", "/healthz")
        #expect(try idle.reply().status == 200)
        let begin = ContinuousClock.now
        rig.gateway.send(15)
        for socket in parked {
            let reply = try socket.reply()
            #expect(reply.status == 200 && reply.json == ["messages": []] && reply.headers["connection"] == "close")
            #expect(try socket.readToEnd() == "")
        }
        #expect(try idle.readToEnd() == "")
        #expect(throws: (any Error).self, "nobody listens any more") { try ClientSocket(port: rig.port) }
        try slow.send("{\"n\":\"1\"} }")
        let reply = try slow.reply()
        #expect(reply.status == 201 && reply.headers["connection"] == "close", "\(reply.text)")
        #expect(rig.gateway.waitForEnd(atMost: .seconds(30)) == 0)
        #expect(ContinuousClock.now - begin < .seconds(30))
        #expect(try rig.redis.run("XLEN", stream) == ":1\r\n")
    }

    @Test func `what a look still brings during the shutdown becomes unowned`() throws {
        let rig = try Rig()
        let stream = try rig.newGroup("drain")
        let reader = try rig.park(stream, "c")
        let looks = try rig.metric("sluice_looks_total")
        try rig.redis.transaction([["XADD", stream, "*", "n", "1"], ["CLIENT", "PAUSE", "60000", "WRITE"]])
        try waitUntil("the look is under way") { try rig.metric("sluice_looks_total") > looks }
        rig.gateway.send(15)
        #expect(try reader.wait().json == ["messages": []])
        try rig.redis.run("CLIENT", "UNPAUSE")
        #expect(rig.gateway.waitForEnd(atMost: .seconds(30)) == 0)
        let pending = try rig.redis.run("XPENDING", stream, "g", "-", "+", "10")
        #expect(pending.contains("unowned"), "\(pending)")
    }

    @Test func `kill -9 at any moment loses no confirmed message, and leaves each claimable`() throws {
        var random = SeededRandom()
        let redis = try RedisServerProcess()
        try redis.run("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
        var confirmed: Set<String> = []
        for round in 0..<5 {
            let gateway = try GatewayProcess(["--redis", "unix://\(redis.directory)/redis.sock"])
            let client = TestClient(port: gateway.port)
            try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
            var adds: [PendingReply] = []
            for number in 0..<60 {
                adds.append(client.begin("POST", "/v1/streams/s/messages", body: Array("n=\(round)-\(number)".utf8)))
                if number % 6 == 0 { _ = client.begin("POST", "/v1/streams/s/groups/g/consumers/c\(number)/read?count=3&block_ms=0") }
            }
            let enough = Int.random(in: 0..<60, using: &random)
            try waitUntil("some are confirmed") { adds.filter(\.isDone).count >= enough }
            gateway.kill()
            for add in adds {
                // Those that were cut off are not confirmed.
                if let reply = try? add.wait(), reply.status == 201, let id = reply.json["id"].string { confirmed.insert(id) }
            }
        }
        let gateway = try GatewayProcess(["--redis", "unix://\(redis.directory)/redis.sock"])
        let client = TestClient(port: gateway.port)
        try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
        #expect(!confirmed.isEmpty)
        let stored = Set(try client.get("/v1/streams/s/messages?count=1000").ids)
        #expect(confirmed.isSubset(of: stored), "\(random.note)")
        let claimed = try client.post("/v1/streams/s/groups/g/consumers/heir/read?claim_min_idle_ms=0&count=1000")
        #expect(confirmed.isSubset(of: Set(claimed.ids)), "\(random.note)")
    }

    // MARK: Who may call

    @Test func `tokens open what their scopes and patterns say, and nothing else`() throws {
        let configuration = """
            host: 0.0.0.0
            tokens:
              - {name: writer, file: TOKENS/writer, scopes: [publish], streams: ["orders*"]}
              - {name: reader, file: TOKENS/reader, scopes: [consume]}
              - {name: admin, file: TOKENS/admin, scopes: [admin, consume, publish]}
            """
        let redis = try RedisServerProcess()
        let directory = try TemporaryDirectory()
        for name in ["writer", "reader", "admin"] { try directory.write("token-of-\(name)\n", to: name) }
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(redis.directory)/redis.sock"],
            configuration: configuration.replacing("TOKENS", with: directory.path))
        let nobody = TestClient(port: gateway.port)
        let (writer, reader, admin) = (
            TestClient(port: gateway.port, token: "token-of-writer"), TestClient(port: gateway.port, token: "token-of-reader"),
            TestClient(port: gateway.port, token: "token-of-admin"))
        try waitUntil("Redis answers") { try nobody.get("/readyz").status == 200 }

        for path in ["/healthz", "/readyz", "/openapi.yaml"] { #expect(try nobody.get(path).status == 200) }
        for path in ["/metrics", "/v1/info", "/v1/streams/orders/messages"] {
            let reply = try nobody.get(path)
            #expect(reply.status == 401 && reply.code == "UNAUTHENTICATED", "\(path)")
            #expect(reply.headers["www-authenticate"]?.hasPrefix("Bearer") == true)
        }
        #expect(try TestClient(port: gateway.port, token: "token-of-writes").get("/v1/info").status == 401)
        #expect(try nobody.get("/v1/info", headers: ["Authorization": "Basic dG9rZW4="]).status == 401)
        #expect(try nobody.get("/v1/info", headers: ["Authorization": "bearer token-of-reader"]).status == 200)
        for client in [writer, reader, admin] {
            #expect(try client.get("/metrics").status == 200 && client.get("/v1/info").status == 200)
        }
        let message = #"{"fields":{"n":"1"}}"#
        #expect(try writer.post("/v1/streams/orders:1/messages", json: message).status == 201)
        #expect(try writer.post("/v1/streams/other/messages", json: message).code == "FORBIDDEN")
        #expect(try writer.post("/v1/streams/%6Frders/messages", json: message).status == 201)
        #expect(try writer.get("/v1/streams/orders/messages").code == "FORBIDDEN")
        #expect(try writer.call("HEAD", "/v1/streams/orders/messages").status == 403)
        #expect(try reader.post("/v1/streams/orders/messages", json: message).code == "FORBIDDEN")
        #expect(try reader.get("/v1/streams/orders/messages").status == 200)
        #expect(try reader.put("/v1/streams/orders/groups/g").code == "FORBIDDEN")
        #expect(try admin.put("/v1/streams/orders/groups/g").status == 201)
        #expect(try reader.post("/v1/streams/orders/groups/g/consumers/c/read").ids.count == 1)
        #expect(!gateway.log.contains("token-of"))
    }

    @Test func `allowed origins and hosts are let in`() throws {
        let redis = try RedisServerProcess()
        let gateway = try GatewayProcess([
            "--redis", "unix://\(redis.directory)/redis.sock", "--allowed-origins", "https://app.example.com",
            "--allowed-hosts", "gateway.test",
        ])
        let client = TestClient(port: gateway.port)
        #expect(try client.get("/healthz", headers: ["Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"]).status == 200)
        #expect(try client.get("/healthz", headers: ["Origin": "https://app.example.com.evil.example"]).status == 403)
        for (host, status) in [("gateway.test", 200), ("GATEWAY.test:80", 200), ("gateway.test.evil.example", 421), ("evil.example", 421)] {
            let socket = try ClientSocket(port: gateway.port)
            try socket.request("GET", "/healthz", headers: "")
            #expect(try socket.reply().status == 200)
            try socket.send("GET /healthz HTTP/1.1\r\nHost: \(host)\r\n\r\n")
            #expect(try socket.reply().status == status, "\(host)")
        }
    }
}
