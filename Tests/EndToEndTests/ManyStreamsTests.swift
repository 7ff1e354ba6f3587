// Reads of many streams in one call: what they answer, when they wait, and who gets what (API.md §2 to §4).

import Support
import Testing

/// A row of such a read's answer.
struct StreamRow: Equatable {
    var stream: String
    var numbers: [String]
}

extension Reply {
    /// Rows with messages.
    var rows: [StreamRow] {
        json["streams"].array.filter { !$0["messages"].array.isEmpty }.map { row in
            StreamRow(stream: row["stream"].string ?? "", numbers: row["messages"].array.compactMap { $0["fields"]["n"].string })
        }
    }
}

extension Rig {
    func manyPath(_ streams: [String], _ consumer: String, _ query: String = "") -> String {
        "/v1/groups/g/consumers/\(consumer)/read?" + streams.map { "stream=\($0)" }.joined(separator: "&") + (query.isEmpty ? "" : "&\(query)")
    }

    func readMany(_ streams: [String], _ consumer: String, _ query: String = "") throws -> Reply {
        try client.post(manyPath(streams, consumer, query))
    }

    /// A read that waits; returns when it is parked.
    func parkMany(_ streams: [String], _ consumer: String, _ query: String = "block_ms=0") throws -> PendingReply {
        let before = try parked()
        let pending = client.begin("POST", manyPath(streams, consumer, query))
        try waitUntilParked(before + 1)
        return pending
    }

    func newGroups(_ count: Int, _ name: String) throws -> [String] { try (0..<count).map { _ in try newGroup(name) } }
}

@Suite(.gateway("--max-waiters", "4"), .serialized) struct ManyStreamsTests {
    let rig = Rig.current

    @Test func `the streams that have messages are answered in the query's order, each with up to count`() throws {
        let streams = try rig.newGroups(3, "now")
        #expect(try rig.readMany(streams, "c").json == ["streams": []])
        for number in 1...3 {
            try rig.add(number, to: streams[2])
            try rig.add(number + 10, to: streams[0])
        }
        let reply = try rig.readMany(streams, "c", "count=2&block_ms=1000&stats")
        #expect(reply.rows == [StreamRow(stream: streams[0], numbers: ["11", "12"]), StreamRow(stream: streams[2], numbers: ["1", "2"])])
        #expect(reply.headers["sluice-block-ms"] == "1000")
        #expect(reply.json["streams"][0]["group"] == ["lag": rig.since7(1), "pending": 2])
        #expect(reply.json["streams"][0]["messages"][0]["delivery_count"] == 1)
        let history = try rig.readMany(streams, "c", "id=pending&id=new&id=new&block_ms=60000&fields=pairs").expect(200)
        #expect(history.json["streams"].array.map { $0["messages"].array.count } == [2, 1], "the own pending ones, and never a wait")
        #expect(history.json["streams"][1]["messages"][0]["fields"] == [["n", "3"]])
        #expect(history.headers["sluice-block-ms"] == nil)
        #expect(try rig.readMany(streams, "d").rows == [StreamRow(stream: streams[0], numbers: ["13"])])
        for stream in streams {
            let consumers = try rig.client.get("/v1/streams/\(stream)/groups/g/consumers").json["consumers"].array
            #expect(Set(consumers.compactMap { $0["name"].string }) == ["c", "d"], "an empty read creates its consumer")
        }
    }

    @Test func `a read that waits is woken by each of its streams, and counts as one waiter`() throws {
        let streams = try rig.newGroups(3, "wake")
        for (number, stream) in streams.enumerated() {
            let reader = try rig.parkMany(streams, "c")
            #expect(try rig.parked() == 1)
            try rig.add(number, to: stream)
            #expect(try reader.wait().rows == [StreamRow(stream: stream, numbers: ["\(number)"])])
            try rig.waitUntilParked(0)
        }
        #expect(try rig.readMany(streams, "c", "block_ms=30").json == ["streams": []])
        let readers = try (1...4).map { _ in try rig.parkMany(streams, "c") }
        #expect(try rig.readMany(streams, "c", "block_ms=1000").code == "TOO_MANY_WAITERS")
        for (number, reader) in readers.enumerated() {  // First come, first served, whichever stream it is.
            try rig.add(number, to: streams[number % 3])
            #expect(try reader.wait().rows == [StreamRow(stream: streams[number % 3], numbers: ["\(number)"])])
        }
        #expect(try rig.parked() == 0)
    }

    @Test func `tails of many streams wait for any of them, also for those that are not there yet`() throws {
        let streams = (0..<3).map { _ in rig.newStream("tail") }
        let first = try rig.add(1, to: streams[0])
        try rig.add(2, to: streams[1])
        func path(_ after: [String], _ query: String) -> String {
            "/v1/messages?" + zip(streams, after).map { "stream=\($0)&after=\($1)" }.joined(separator: "&") + "&" + query
        }
        let now = try rig.client.get(path(["earliest", "0", "latest"], "count=5")).expect(200)
        #expect(now.rows == [StreamRow(stream: streams[0], numbers: ["1"]), StreamRow(stream: streams[1], numbers: ["2"])])
        #expect(now.json["streams"][0]["last_id"].string == first)
        #expect(try rig.client.get(path(["latest", "latest", "latest"], "block_ms=20")).json == ["streams": []])
        for (number, stream) in streams.enumerated() {
            let tails = try [0, 1].map { parked in
                let tail = rig.client.begin("GET", path(["latest", "latest", "latest"], "block_ms=0"))
                try rig.waitUntilParked(parked + 1)
                return tail
            }
            let id = try rig.add(number, to: stream)
            for tail in tails {
                let reply = try tail.wait()
                #expect(reply.rows == [StreamRow(stream: stream, numbers: ["\(number)"])], "each gets every message")
                #expect(reply.json["streams"][0]["last_id"].string == id)
            }
        }
        let head = try rig.client.call("HEAD", path(["latest", "latest", "latest"], "block_ms=60000")).expect(200)
        #expect(head.body.isEmpty)
        let names = try rig.client.post("/v1/streams/raw%FF\(streams[0])/messages", json: #"{"fields":{"n":"1"}}"#).expect(201)
        let raw = try rig.client.get("/v1/messages?stream=raw%FF\(streams[0])&after=0").expect(200)
        #expect(raw.json["streams"][0]["stream"].string == "raw%FF\(streams[0])" && raw.json["streams"][0]["stream_encoding"] == "percent")
        #expect(raw.json["streams"][0]["last_id"] == names.json["id"])
    }

    @Test func `a hundred streams are waited for as one, and their commands are under way together`() throws {
        let streams = try rig.newGroups(100, "hundred")
        let reader = try rig.parkMany(streams, "c")
        try rig.add(57, to: streams[57])
        #expect(try reader.wait().rows == [StreamRow(stream: streams[57], numbers: ["57"])])
        for stream in streams { try rig.redis.run("XADD", stream, "*", "n", "1") }
        // Redis stands still: none of the commands waits for the answer to another.
        rig.redis.freeze()
        let read = rig.client.begin("POST", rig.manyPath(streams, "c"))
        try waitUntil("all are sent") { try rig.metric("sluice_redis_in_flight") >= 100 }
        rig.redis.thaw()
        #expect(try read.wait().rows == streams.map { StreamRow(stream: $0, numbers: ["1"]) })
        let refused = try rig.readMany(streams + ["one-more"], "c")
        #expect(refused.status == 400 && refused.json["detail"].string?.contains("at most 100") == true)
    }

    @Test func `readers of many streams and of one compete fairly, and no message is stranded`() throws {
        let streams = try rig.newGroups(3, "compete")
        func begin(_ reader: Int) -> PendingReply {
            let consumer = "c\(reader)"
            let path = reader == 2 ? rig.readPath(streams[1], consumer, "block_ms=0&count=1") : rig.manyPath(streams, consumer, "block_ms=0&count=1")
            return rig.client.begin("POST", path)
        }
        var readers = (0..<3).map(begin)
        var received: [String] = []
        let seed = simulationSeed() ?? UInt64.random(in: 0..<1 << 40)
        var random = SeededRandom(seed: seed)
        func collect() throws {
            for (number, reader) in readers.enumerated() where reader.isDone {
                let reply = try reader.wait().expect(200)
                let rows = number == 2 ? [JSON.object(["stream": .string(streams[1]), "messages": reply.json["messages"]])] : reply.json["streams"].array
                for row in rows {
                    for message in row["messages"].array {
                        received.append(message["fields"]["n"].string ?? "?")
                        let id = message["id"].string ?? ""
                        try rig.client.post("/v1/streams/\(row["stream"].string ?? "")/groups/g/ack?id=\(id)").expect(200)
                    }
                }
                readers[number] = begin(number)
            }
        }
        for number in 0..<150 {
            try rig.add(number, to: streams[Int.random(in: 0..<3, using: &random)])
            if Bool.random(using: &random) { try collect() }
        }
        try waitUntil("all have been read") {
            try collect()
            return received.count >= 150
        }
        #expect(received.count == 150 && Set(received).count == 150, "each once; SEED=\(seed)")
        try rig.waitUntilParked(3)
        for stream in streams { #expect(try rig.pending(stream).isEmpty) }
        for stream in streams { try rig.client.call("DELETE", "/v1/streams/\(stream)/groups/g").expect(200) }
        for reader in readers { #expect(try reader.wait().code == "GROUP_NOT_FOUND") }
    }

    @Test func `noack leaves nothing pending, and unowned and idle messages are taken as by a read of one stream`() throws {
        let streams = try rig.newGroups(2, "options")
        let ids = try streams.map { try rig.add(1, to: $0) }
        #expect(try rig.readMany(streams, "gone", "noack").rows.count == 2)
        for stream in streams { #expect(try rig.pending(stream).isEmpty) }
        for stream in streams { try rig.add(2, to: stream) }
        #expect(try rig.readMany(streams, "gone").rows.count == 2)
        let claimed = try rig.readMany(streams, "c", "claim_min_idle_ms=0")
        #expect(claimed.rows.count == 2)
        for row in claimed.json["streams"].array {
            #expect(row["messages"][0]["delivery_count"] == 2 && row["messages"][0]["consumer"] == "gone")
        }
        // Nothing is idle enough now; in a moment both are.
        let waiting = try rig.readMany(streams, "d", "claim_min_idle_ms=300&block_ms=20000")
        #expect(!waiting.rows.isEmpty && waiting.json["streams"][0]["messages"][0]["delivery_count"] == 3)
        let holder = waiting.rows[0].stream
        let reader = try rig.parkMany(streams, "e", "block_ms=0")
        let id = waiting.json["streams"][0]["messages"][0]["id"].string ?? ""
        try rig.client.post("/v1/streams/\(holder)/groups/g/consumers/d/settle", json: #"{"nack":["\#(id)"]}"#).expect(200)
        let unowned = try reader.wait()
        #expect(unowned.rows == [StreamRow(stream: holder, numbers: ["2"])] && !ids.contains(id))
        #expect(unowned.json["streams"][0]["messages"][0]["consumer"] == "unowned")
    }

    @Test func `a read asks Redis once for each stream, and tells of each once more where that is wanted`() throws {
        let streams = try rig.newGroups(2, "trips")
        func commands(_ path: String, _ method: String) throws -> [String] {
            let monitor = try rig.redis.connect()
            try monitor.send(commands: [["MONITOR"]])
            try monitor.expect("+OK")
            try rig.client.call(method, path).expect(200)
            try rig.redis.run("ECHO", "the end")
            try monitor.expect("the end")
            let sent = monitor.text.split(separator: "\r\n").map { $0.split(separator: "\"").map(String.init) }
            return sent.filter { words in streams.contains(where: words.contains) }.map { $0[1] }
        }
        // The first look is for unowned messages, too.
        _ = try rig.readMany(streams, "c")
        for stream in streams { try rig.add(1, to: stream) }
        #expect(try commands(rig.manyPath(streams, "c"), "POST") == ["XREADGROUP", "XREADGROUP"])
        let tail = "/v1/messages?stream=\(streams[0])&after=0&stream=\(streams[1])&after="
        #expect(try commands(tail + "0", "GET") == ["XREAD", "XREAD"])
        #expect(try commands(tail + "latest", "GET") == ["XINFO", "XREAD", "XREAD"])
    }
}
