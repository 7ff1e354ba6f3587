// Sinks over HTTP where something goes wrong: replicas that race, die, or hear nothing; a Redis that is not there.

import Glibc
import Support
import Testing

@Suite(.blocking) struct SinkReplicaTests {
    @Test func `of definitions put at once on two replicas, one holds on both`() throws {
        // With time for Redis: twelve at once on a busy machine are no outage.
        let fleet = try SinkFleet()
        let others = try (0..<3).map { _ in try Receiver() }
        defer { for other in others { other.stop() } }
        for round in 0..<5 {
            let puts = (0..<12).map { number in
                fleet.client(number % 2).begin(
                    "PUT", "/v1/sinks/hook", body: Array(fleet.definition(#""concurrency":\#(number + 1)"#, url: others[number % 3].url).utf8))
            }
            let statuses = try puts.map { try $0.wait().status }
            #expect(statuses.filter { $0 == 201 }.count == (round == 0 ? 1 : 0) && statuses.allSatisfy { $0 == 200 || $0 == 201 }, "\(statuses)")
            let (one, two) = (try fleet.show("hook")["definition"], try fleet.show("hook", on: 1)["definition"])
            #expect(one == two)
            let chosen = try #require(others.first { $0.url == one["url"].string })
            // Whichever replica reads it, once both have heard of the last.
            try waitUntil("ten in a row go to the one") {
                let ids = try (0..<10).map { _ in try fleet.add() }
                try waitUntil("they are delivered") { ids.allSatisfy { id in others.contains { $0.confirmed.contains(id) } } }
                return ids.allSatisfy { chosen.confirmed.contains($0) }
            }
        }
        try fleet.client(1).call("DELETE", "/v1/sinks/hook").expect(200)
        #expect(try fleet.client(0).call("DELETE", "/v1/sinks/hook").code == "SINK_NOT_FOUND")
    }

    @Test func `put and deleted at once, a sink is there or it is not, for both`() throws {
        let fleet = try SinkFleet()
        for _ in 0..<10 {
            let calls = (0..<6).map { number in
                fleet.client(number % 2).begin(
                    number % 3 == 2 ? "DELETE" : "PUT", "/v1/sinks/hook", body: number % 3 == 2 ? nil : Array(fleet.definition().utf8))
            }
            for call in calls { #expect([200, 201, 404].contains(try call.wait().status)) }
            let isThere = try fleet.client(0).get("/v1/sinks/hook").status == 200
            #expect(try fleet.client(1).get("/v1/sinks/hook").status == (isThere ? 200 : 404))
            for index in 0...1 {
                try waitUntil("it runs where it is there, and only there") {
                    try fleet.client(index).get("/metrics").text.contains("sink=\"hook\"") == isThere
                }
            }
        }
        try fleet.put("hook")
        let id = try fleet.add()
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
    }

    @Test func `a replica that is killed leaves its share to the other, also a new one`() throws {
        let fleet = try SinkFleet { $0.attempt == 1 ? .hold : .status(200) }
        try fleet.put("hook", fleet.definition(times: SinkFleet.hasty)).expect(201)
        let ids = try (0..<6).map { _ in try fleet.add() }
        try waitUntil("all are in flight") { fleet.receiver.deliveries.count >= 6 }
        fleet.gateways[0].kill()
        fleet.gateways[1].kill()
        try fleet.addGateway()
        try waitUntil("all are delivered") { Set(ids).isSubset(of: fleet.receiver.confirmed) }
        #expect(try fleet.show("hook", on: 2)["definition"]["url"] == .string(fleet.receiver.url))
    }

    @Test func `who missed the nudge hears of it when it is connected again`() throws {
        let fleet = try SinkFleet()
        try fleet.put("old").expect(201)
        try waitUntil("both tell of it") { try fleet.show("old")["replicas"].array.count == 2 }
        // Nobody is told.
        guard case .bulk(let bytes) = try fleet.redis.ask(["HGET", "sluice:{sinks}", "old"]) else { preconditionFailure("There is no definition.") }
        try fleet.redis.run("HSET", "sluice:{sinks}", "new", String(decoding: bytes, as: UTF8.self).replacing("orders", with: "others").replacing("sink:old", with: "sink:new"))
        try fleet.redis.run("HDEL", "sluice:{sinks}", "old")
        try fleet.redis.run("INCR", "sluice:{sinks}:version")
        try fleet.redis.run("CLIENT", "KILL", "TYPE", "normal")
        try fleet.redis.run("CLIENT", "KILL", "TYPE", "pubsub")
        let id = try fleet.add(to: "others")
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
        for index in 0...1 { try waitUntil("the old one is gone") { try !fleet.client(index).get("/metrics").text.contains("sink=\"old\"") } }
    }

    @Test func `without Redis nothing is changed, and what is not known is said`() throws {
        let fleet = try SinkFleet(gateways: 1)
        try fleet.put("hook").expect(201)
        fleet.redis.freeze()
        let changed = fleet.definition(#""concurrency":5"#)
        let put = try fleet.put("hook", changed)
        // The types of its streams are asked first, and that is a read.
        #expect(put.status == 503 && put.code == "REDIS_UNAVAILABLE", "\(put.text)")
        let calls = ["pause", "resume"].map { fleet.client(0).begin("POST", "/v1/sinks/hook/\($0)") }
        for call in calls { #expect(try call.wait().status == 503) }
        fleet.redis.thaw()
        try waitUntil("Redis answers") { try fleet.client(0).get("/readyz").status == 200 }
        #expect(try fleet.show("hook")["definition"]["concurrency"] == 16)
        fleet.redis.end()
        try waitUntil("the gateway notices") { try fleet.client(0).get("/v1/info").json["redis"]["connected"] == false }
        for (method, path) in [("GET", ""), ("GET", "/hook"), ("PUT", "/hook"), ("DELETE", "/hook"), ("POST", "/hook/pause"), ("POST", "/hook/test"), ("GET", "/hook/deliveries")] {
            let reply = try fleet.client(0).call(method, "/v1/sinks\(path)", json: method == "PUT" ? changed : nil)
            #expect(reply.status == 503 && reply.headers["retry-after"] != nil && reply.json["retryable"] == true, "\(method) \(path): \(reply.text)")
        }
    }

    @Test func `a change that Redis did not answer in time may have happened, and may be repeated`() throws {
        let fleet = try SinkFleet(gateways: 1)
        try fleet.put("hook").expect(201)
        // Reads are answered; scripts that write are not, for longer than the gateway waits.
        try fleet.redis.run("CLIENT", "PAUSE", "60000", "WRITE")
        let reply = try fleet.put("hook", fleet.definition(#""concurrency":5"#))
        #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
        try fleet.redis.run("CLIENT", "UNPAUSE")
        try waitUntil("it is put again") { try fleet.put("hook", fleet.definition(#""concurrency":5"#)).status == 200 }
        #expect(try fleet.show("hook")["definition"]["concurrency"] == 5)
    }

    @Test func `a definition has a bound, and so has their number`() throws {
        let fleet = try SinkFleet(gateways: 1)
        for size in [66_000, 200_000] {
            let large = try fleet.put("large", fleet.definition(#""headers":{"X":"\#(String(repeating: "x", count: size))"}"#))
            #expect(large.status == 413 && large.code == "TOO_LARGE", "\(large.text)")
        }
        // As a thousand calls would leave it, with one of the configuration beside them.
        var words = ["HSET", "sluice:{sinks}"]
        for number in 0..<998 { words += ["s\(number)", #"{"streams":["a"],"url":"http://h/"}"#] }
        try fleet.redis.run(words)
        try fleet.put("last").expect(201)
        #expect(try fleet.put("one-more").code == "TOO_LARGE")
        try fleet.put("last").expect(200)
        #expect(try fleet.client(0).get("/v1/sinks").expect(200).json["sinks"].array.count == 1000)
        try fleet.client(0).call("DELETE", "/v1/sinks/s5").expect(200)
        try fleet.put("one-more").expect(201)
    }

    @Test func `a 410 that comes while the gateway ends is written down, and the gateway ends with 0`() throws {
        let fleet = try SinkFleet(gateways: 1) { _ in
            poll(nil, 0, 300)
            return .status(410)
        }
        try fleet.put("hook").expect(201)
        try fleet.add()
        try waitUntil("it is in flight") { fleet.receiver.deliveries.count == 1 }
        fleet.gateways[0].send(SIGTERM)
        #expect(fleet.gateways[0].waitForEnd() == 0, "\(fleet.gateways[0].log)")
        try fleet.addGateway()
        #expect(try fleet.show("hook", on: 1)["state"] == "disabled")
        #expect(try fleet.redis.run("XPENDING", "orders", "sink:hook").contains("unowned"))
    }

    @Test func `strict_networks holds the sinks of the file to what they name`() throws {
        let receiver = try Receiver()
        defer { receiver.stop() }
        let sink = "{streams: [s], start: earliest, url: '\(receiver.url)'"
        let configuration = "strict_networks: true\nsinks:\n  free: \(sink)}\n  named: \(sink), group: g, allow_networks: [127.0.0.0/8]}\n"
        let fleet = try SinkFleet(gateways: 1, configuration: configuration)
        let id = try fleet.add(to: "s")
        try fleet.waitForReason("target_refused", of: "free")
        try waitUntil("the other is delivered") { receiver.confirmed.contains(id) }
        #expect(receiver.deliveries.allSatisfy { $0.json["group"] == "g" })
    }

    @Test func `tokens see and change the sinks of their own streams`() throws {
        let directory = try TemporaryDirectory()
        for name in ["all", "orders"] { try directory.write("token-of-\(name)\n", to: name) }
        let configuration = """
            tokens:
              - {name: all, file: \(directory.path)/all, scopes: [admin, consume]}
              - {name: orders, file: \(directory.path)/orders, scopes: [admin, consume], streams: ["orders", "orders:*"]}
            """
        let redis = try RedisServerProcess()
        let gateway = try GatewayProcess(["--redis", "unix://\(redis.directory)/redis.sock", "--loops", "1"], configuration: configuration)
        let (all, own) = (TestClient(port: gateway.port, token: "token-of-all"), TestClient(port: gateway.port, token: "token-of-orders"))
        try waitUntil("Redis answers") { try all.get("/readyz").status == 200 }
        func body(_ stream: String) -> String { #"{"streams":["\#(stream)"],"url":"https://example.com/"}"# }
        #expect(try all.call("PUT", "/v1/sinks/other", json: body("other")).status == 201)
        #expect(try own.call("PUT", "/v1/sinks/own", json: body("orders")).status == 201)
        #expect(try own.call("PUT", "/v1/sinks/more", json: body("other")).code == "FORBIDDEN")
        #expect(try own.call("PUT", "/v1/sinks/more", json: #"{"streams":["orders"],"url":"https://h/","dead_letter":"other"}"#).code == "FORBIDDEN")
        #expect(try own.get("/v1/sinks").json["sinks"].array.map { $0["name"] } == ["own"])
        #expect(try all.get("/v1/sinks").json["sinks"].array.count == 2)
        for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/test"), ("GET", "/deliveries")] {
            #expect(try own.call(method, "/v1/sinks/other\(path)").code == "FORBIDDEN", "\(method) \(path)")
        }
        // A sink of theirs is not to be had by putting another in its place.
        #expect(try own.call("PUT", "/v1/sinks/other", json: body("orders")).code == "FORBIDDEN")
        #expect(try own.post("/v1/sinks/own/pause").status == 200)
        #expect(try own.get("/v1/sinks/own").json["reasons"][0]["detail"].string?.contains("by the token 'orders'") == true)
    }
}
