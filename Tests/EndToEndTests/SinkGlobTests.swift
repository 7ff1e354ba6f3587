// Sinks whose streams are globs: what they read, from where on, and what they leave alone.

import Support
import Testing

@Suite(.blocking) struct SinkGlobTests {
    private static let configuration = "sink_scan_ms: 50\n" + SinkFleet.configuration

    private static let key = "sluice:{sinks}:globs:glob"

    /// With `start: latest`: what a new stream brings is read for another reason.
    private static func definition(_ fleet: SinkFleet, _ streams: String = #"["orders:*"]"#, _ more: String = "") -> String {
        fleet.definition(more, streams: streams).replacing(#""start":"earliest""#, with: #""start":"latest""#)
    }

    private static func streams(_ fleet: SinkFleet, on index: Int = 0) throws -> [String] {
        try fleet.show("glob", on: index)["streams"].array.compactMap { $0["stream"].string }
    }

    /// A message that is older than any sink.
    private static func addOld(_ fleet: SinkFleet, to name: String) throws { try fleet.redis.run("XADD", name, "1000-0", "do", "before") }

    /// When it is read, every walk that began before has ended.
    private static func seeNewStream(_ fleet: SinkFleet, _ name: String) throws {
        let id = try fleet.add(to: name)
        try waitUntil("\(name) is found") { fleet.receiver.confirmed.contains(id) }
    }

    @Test func `what matches is read, and what comes later from its beginning; dead letters never are`() throws {
        let fleet = try SinkFleet(configuration: SinkGlobTests.configuration)
        let alone = ["orders:1:dlq", "orders:dead", "orders:lost", "orders:1.failed", "other", "sluice:orders"]
        for name in alone + ["orders:1"] { try SinkGlobTests.addOld(fleet, to: name) }
        try fleet.redis.run("XADD", "orders:micro", "1700000000000000-0", "do", "before")  // IDs that are no time.
        // What one of the name has left that was in a file.
        try fleet.redis.run("HSET", SinkGlobTests.key, "9:sink:glob:*rder[r-t]:*", "1 walked")
        try fleet.put("letters", fleet.definition(#""dead_letter":"orders:dead""#, streams: #"["letters"]"#)).expect(201)
        try fleet.client(0).put("/v1/streams/lost/groups/g?mkstream").expect(201)
        try fleet.client(0).call("PUT", "/v1/streams/lost/groups/g/recovery", json: #"{"max_idle_ms":60000,"dead_letter":"orders:lost"}"#).expect(201)
        try fleet.put("glob", SinkGlobTests.definition(fleet, #"["named","*rder[r-t]:*"]"#, #""dead_letter":"{stream}.failed""#), on: 1).expect(201)
        for index in 0...1 { try waitUntil("both know") { try SinkGlobTests.streams(fleet, on: index) == ["named", "orders:1", "orders:micro"] } }
        #expect(try fleet.show("glob")["definition"]["streams"] == ["named", "*rder[r-t]:*"])
        let id = try fleet.add("200", to: "orders:1")
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
        // Also where its IDs say that they are older than the sink.
        try fleet.redis.run("EVAL", "for i = 1, 3 do redis.call('XADD', 'orders:2', i .. '-0', 'do', '200') end", "0")
        try waitUntil("all of a new stream is delivered") { ["1-0", "2-0", "3-0"].allSatisfy { fleet.receiver.confirmed.contains($0) } }
        try SinkGlobTests.seeNewStream(fleet, "orders:3")
        #expect(fleet.receiver.deliveries.allSatisfy { $0.json["fields"]["do"] != "before" })
        for name in alone { #expect(try !fleet.redis.run("XINFO", "GROUPS", name).contains("sink:glob"), "\(name)") }
        #expect(try Set(SinkGlobTests.streams(fleet)) == ["named", "orders:1", "orders:2", "orders:3", "orders:micro"])
        for index in 0...1 {
            try waitUntil("each has found them") { try fleet.client(index).get("/metrics").text.contains("sluice_sink_streams{sink=\"glob\"} 5\n") }
        }
        // What is a dead-letter stream no more is read from then on, also by one that hears of it only now.
        try fleet.client(0).call("DELETE", "/v1/sinks/letters").expect(200)
        try fleet.put("glob", SinkGlobTests.definition(fleet, #"["*rder[r-t]:*"]"#, #""dead_letter":"{stream}.failed""#)).expect(200)
        try waitUntil("it is read") { try SinkGlobTests.streams(fleet).contains("orders:dead") }
        try SinkGlobTests.seeNewStream(fleet, "orders:dead")
        #expect(fleet.receiver.deliveries.allSatisfy { $0.json["fields"]["do"] != "before" })
        #expect(try fleet.client(1).call("DELETE", "/v1/sinks/glob").status == 200)
        try waitUntil("nothing is left of it") { try fleet.keys("sluice:*globs:glob*").isEmpty }
    }

    @Test func `a stream that comes while no gateway runs is read from its beginning`() throws {
        let fleet = try SinkFleet(gateways: 1, configuration: SinkGlobTests.configuration)
        try fleet.put("glob", SinkGlobTests.definition(fleet)).expect(201)
        try fleet.waitForReason("no_streams", of: "glob")
        fleet.gateways[0].kill()
        let id = try fleet.add(to: "orders:1")
        try fleet.addGateway()
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
        // Other globs make another sink of it: what is there now is not meant.
        try SinkGlobTests.addOld(fleet, to: "bills:1")
        try fleet.put("glob", SinkGlobTests.definition(fleet, #"["orders:*","bills:*"]"#), on: 1).expect(200)
        try waitUntil("it is found") { try SinkGlobTests.streams(fleet, on: 1).contains("bills:1") }
        let later = try fleet.add(to: "bills:1")
        try waitUntil("what comes is delivered") { fleet.receiver.confirmed.contains(later) }
        #expect(fleet.receiver.deliveries.allSatisfy { $0.json["fields"]["do"] != "before" })
    }

    @Test func `a glob that is replaced loses no message, and another group begins with what comes`() throws {
        let fleet = try SinkFleet(configuration: SinkGlobTests.configuration)
        try SinkGlobTests.addOld(fleet, to: "orders:1")
        try fleet.put("glob", SinkGlobTests.definition(fleet)).expect(201)
        for stream in ["orders:2", "orders:3"] { try SinkGlobTests.seeNewStream(fleet, stream) }
        // While it is paused nobody looks.
        try fleet.client(0).call("POST", "/v1/sinks/glob/pause").expect(200)
        try fleet.redis.run("XADD", "orders:new", "5-0", "do", "200")
        try fleet.put("glob", SinkGlobTests.definition(fleet, #"["*ers:*"]"#), on: 1).expect(200)
        try fleet.client(0).call("POST", "/v1/sinks/glob/resume").expect(200)
        try waitUntil("what came before is delivered") { fleet.receiver.confirmed.contains("5-0") }
        try waitUntil("the old glob is forgotten") { try !fleet.redis.run("HKEYS", SinkGlobTests.key).contains(":orders:*") }
        try fleet.put("glob", SinkGlobTests.definition(fleet, #"["*ers:*"]"#, #""group":"other""#)).expect(200)
        for index in 0...1 { try waitUntil("it is read") { try SinkGlobTests.streams(fleet, on: index).count == 4 } }
        for stream in ["orders:1", "orders:2", "orders:new"] { try SinkGlobTests.seeNewStream(fleet, stream) }
        #expect(fleet.receiver.deliveries.allSatisfy { $0.json["fields"]["do"] != "before" })
        #expect(fleet.receiver.deliveries(of: "5-0").count == 1)
        #expect(try fleet.redis.run("PTTL", SinkGlobTests.key) == ":-1\r\n" && fleet.redis.run("HLEN", SinkGlobTests.key) == ":2\r\n")
    }

    @Test func `a stream that comes later is read from its beginning, wherever the others were to begin`() throws {
        let fleet = try SinkFleet(gateways: 1, configuration: SinkGlobTests.configuration)
        try SinkGlobTests.addOld(fleet, to: "orders:1")
        let definition = SinkGlobTests.definition(fleet).replacing(#""start":"latest""#, with: #""start":"1700000000000-0""#)
        try fleet.put("glob", definition).expect(201)
        for stream in ["orders:1", "orders:2", "orders:3"] { try SinkGlobTests.seeNewStream(fleet, stream) }
        try fleet.redis.run("EVAL", "for i = 1, 2 do redis.call('XADD', 'orders:4', i .. '-0', 'do', '200') end", "0")
        try waitUntil("all of it is delivered") { ["1-0", "2-0"].allSatisfy { fleet.receiver.confirmed.contains($0) } }
        #expect(fleet.receiver.deliveries.allSatisfy { $0.json["fields"]["do"] != "before" })
    }

    @Test func `a stream that Redis keeps from the sink is not new when it may be read`() throws {
        let fleet = try SinkFleet(gateways: 1, configuration: SinkGlobTests.configuration)
        try SinkGlobTests.addOld(fleet, to: "orders:secret")
        try fleet.redis.run("ACL", "SETUSER", "default", "resetkeys", "~sluice:*", "~fixed", "~orders:?", "~orders:?:dlq")
        try fleet.put("glob", SinkGlobTests.definition(fleet)).expect(201)
        for stream in ["orders:1", "orders:2"] { try SinkGlobTests.seeNewStream(fleet, stream) }
        fleet.gateways[0].kill()
        try fleet.redis.run("ACL", "SETUSER", "default", "~*")
        try fleet.addGateway()
        try waitUntil("it is found") { try SinkGlobTests.streams(fleet, on: 1).contains("orders:secret") }
        try SinkGlobTests.seeNewStream(fleet, "orders:secret")
        #expect(fleet.receiver.deliveries.allSatisfy { $0.json["fields"]["do"] != "before" })
    }

    @Test func `a stream that is deleted is not made again, and is read when it comes back`() throws {
        let fleet = try SinkFleet(configuration: SinkGlobTests.configuration)
        try fleet.put("glob", SinkGlobTests.definition(fleet)).expect(201)
        try SinkGlobTests.seeNewStream(fleet, "orders:1")
        try fleet.redis.run("DEL", "orders:1")
        for index in 0...1 { try waitUntil("it is forgotten") { try SinkGlobTests.streams(fleet, on: index) == [] } }
        try SinkGlobTests.seeNewStream(fleet, "orders:2")
        #expect(try fleet.redis.run("EXISTS", "orders:1") == ":0\r\n")
        for number in 0..<5 {
            try SinkGlobTests.seeNewStream(fleet, "orders:1")
            try fleet.redis.run("DEL", "orders:1")
            if number % 2 == 0 { try SinkGlobTests.seeNewStream(fleet, "orders:1") }
            try fleet.redis.run("DEL", "orders:1")
        }
        // What becomes a dead-letter stream is left alone from then on.
        try fleet.put("letters", fleet.definition(#""dead_letter":"orders:2""#, streams: #"["letters"]"#)).expect(201)
        try waitUntil("it is read no more") { try !SinkGlobTests.streams(fleet).contains("orders:2") }
    }

    @Test func `a stream beyond the limit is told of, and the others are read`() throws {
        // A walk over a thousand streams is work for a debug build.
        let fleet = try SinkFleet(gateways: 1, configuration: "sink_scan_ms: 500\n" + SinkFleet.configuration)
        try fleet.redis.run("EVAL", "for i = 1, 1002 do redis.call('XADD', 'orders:' .. string.format('%04d', i), i .. '-1', 'do', '200') end", "0")
        try fleet.put("glob", SinkGlobTests.definition(fleet)).expect(201)
        try waitUntil("a thousand are read") { try SinkGlobTests.streams(fleet).count == 1000 }
        try fleet.waitForReason("too_many_streams", of: "glob")
        #expect(try fleet.client(0).get("/metrics").text.contains("sluice_sink_streams_left_out{sink=\"glob\"} 2\n"))
        let last = try fleet.add(to: "orders:1000")
        try waitUntil("the last of them is") { fleet.receiver.confirmed.contains(last) }
        // Where one goes, another has its place: it was there before the sink, and is read from then on.
        let id = try fleet.add(to: "orders:1001")
        try fleet.redis.run("DEL", "orders:0007")
        try waitUntil("one of the others is read") { fleet.receiver.confirmed.contains(id) }
        #expect(Set(fleet.receiver.confirmed) == [last, id])
    }

    @Test func `what waits of a deleted stream gives its room to others`() throws {
        let fleet = try SinkFleet(gateways: 1, configuration: SinkGlobTests.configuration) {
            $0.json["stream"] == "orders:1" ? .status(500) : .status(200)
        }
        // Tried for as long as it takes.
        let definition = fleet.definition(#""concurrency":1,"max_held":2,"breaker_failures":1000"#, streams: #"["orders:*"]"#)
        try fleet.put("glob", definition.replacing(#""base_ms":100"#, with: #""max_deliveries":1000,"base_ms":100"#)).expect(201)
        for _ in 0..<4 { try fleet.add(to: "orders:1") }
        try waitUntil("all room is taken") { try fleet.show("glob")["replicas"][0]["held"] == 2 && fleet.receiver.deliveries.count >= 3 }
        let id = try fleet.add(to: "orders:2")
        try waitUntil("the other is found") { try SinkGlobTests.streams(fleet).contains("orders:2") }
        #expect(fleet.receiver.deliveries(of: id).isEmpty)
        try fleet.redis.run("DEL", "orders:1")
        try waitUntil("it is delivered") { fleet.receiver.confirmed.contains(id) }
        try waitUntil("nothing is held") { try fleet.show("glob")["replicas"][0]["held"] == 0 }
    }

    @Test func `a token is for a glob if it is for all that may match it`() throws {
        let directory = try TemporaryDirectory()
        try directory.write("token-of-orders\n", to: "orders")
        let fleet = try RedisServerProcess()
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(fleet.directory)/redis.sock", "--loops", "1"],
            configuration: "tokens:\n  - {name: orders, file: \(directory.path)/orders, scopes: [admin, consume], streams: [\"orders:*\", \"b?\"]}\n")
        let client = TestClient(port: gateway.port, token: "token-of-orders")
        try waitUntil("Redis answers") { try client.get("/readyz").status == 200 }
        func put(_ streams: String, _ dead: String = "{stream}:dlq") throws -> Reply {
            try client.call("PUT", "/v1/sinks/s", json: #"{"streams":["\#(streams)"],"url":"https://example.com/","dead_letter":"\#(dead)"}"#)
        }
        for streams in ["orders:*", "orders:[ab]?:*", "orders:1"] { #expect(try [200, 201].contains(put(streams).status), "\(streams)") }
        #expect(try put("b?", "orders:dead").status == 200)
        for streams in ["*", "order*", "[o]rders:*", "b*"] {
            let reply = try put(streams, "orders:dead")
            #expect(reply.code == "FORBIDDEN" && reply.text.contains("a prefix of it and *"), "\(streams): \(reply.text)")
        }
        #expect(try put("orders:*", "dead:{stream}").code == "FORBIDDEN")
    }
}
