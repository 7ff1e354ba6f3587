// A call asks Redis no more than it needs: what Redis was sent for each, as MONITOR tells it. The exceptions are
// those that openapi.yaml names.

import Support
import Testing

@Suite(.gateway(), .serialized) struct RoundTripTests {
    let rig = Rig.current

    /// Those that have nothing to ask Redis about a stream.
    private static let exempt: Set = [
        "checkHealth", "checkReadiness", "showMetrics", "showInfo", "showOpenAPI", "showDocs", "showErrors", "showHome",
        // They never end, and read in rounds.
        "streamMessages", "followMessages",
        // Of definitions, and of as many streams as a sink has: no Redis command is their like.
        "listSinks", "showSink", "putSink", "deleteSink", "pauseSink", "resumeSink", "testSink", "listDeliveries",
    ]

    /// Milliseconds; of a policy as those here.
    private static let walkInterval = 10_000

    /// The commands that name `stream` and came over a connection (not from a script), while `body` ran.
    private func commands(of stream: String, _ body: () throws -> Void) throws -> [String] {
        let monitor = try rig.redis.connect()
        try monitor.send(commands: [["MONITOR"]])
        try monitor.expect("+OK")
        try body()
        try rig.redis.run("ECHO", "the end of \(stream)")
        try monitor.expect("the end of \(stream)")
        return monitor.text.split(separator: "\r\n").compactMap { line in
            // +1795372304.028 [0 unix:…] "XDEL" "stream" …
            let words = line.split(separator: "\"").map(String.init)
            guard words.contains(where: { $0.contains(stream) }), !words[0].contains(" lua]") else { return nil }
            // What each loop looks up when it hears of a policy is nobody's round trip, nor is its walk (which names its interval).
            let command = words[1].uppercased()
            let isWalk = command == "EVALSHA" && words.contains(stream) && words.contains("\(RoundTripTests.walkInterval)")
            return command == "ECHO" || command == "HMGET" || isWalk ? nil : command
        }
    }

    @Test func `each call is sent what its Redis command needs`() throws {
        let isNative = try rig.redis.offers("XTRIM", "KEEPREF")
        let table: [(String, String, String?, [String])] = [
            ("GET", "/v1/streams?match=S", nil, ["SCAN"]),
            ("GET", "/v1/streams/S", nil, ["XINFO"]),
            ("GET", "/v1/streams/S?full", nil, ["XINFO", "XINFO"]),  // Both in one round trip.
            ("PATCH", "/v1/streams/S", #"{"last_id":"99-0"}"#, ["XSETID"]),
            ("PATCH", "/v1/streams/S", #"{"last_id":"0-1"}"#, ["XSETID", "XINFO"]),
            ("DELETE", "/v1/streams/S/messages/1-0", nil, ["XDEL"]),
            ("DELETE", "/v1/streams/S/messages/1-0", nil, ["XDEL", "TYPE"]),
            ("POST", "/v1/streams/S/delete", #"{"ids":["2-0","77-7"]}"#, ["XDEL"]),
            ("POST", "/v1/streams/S/delete", #"{"ids":["2-0"]}"#, ["XDEL", "TYPE"]),
            ("POST", "/v1/streams/S/delete?ref=keep", #"{"ids":["3-0"]}"#, [isNative ? "XDELEX" : "EVALSHA"]),
            ("POST", "/v1/streams/S/delete?ref=delete", #"{"ids":["4-0"]}"#, [isNative ? "XDELEX" : "EVALSHA"]),
            ("POST", "/v1/streams/S/delete?ref=acked", #"{"ids":["5-0"]}"#, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/ack?delete", #"{"ids":["6-0"]}"#, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/ack?delete", #"{"ids":["6-0"]}"#, ["EVALSHA", "XINFO"]),
            ("POST", "/v1/streams/S/groups/g/ack?delete&ref=delete&stats", #"{"ids":["7-0"]}"#, ["EVALSHA", "XINFO"]),
            ("POST", "/v1/streams/S/trim?maxlen=3", nil, ["XTRIM"]),
            ("POST", "/v1/streams/S/trim?minid=1", nil, ["XTRIM", "TYPE"]),
            ("POST", "/v1/streams/S/messages?id=100-0", #"{"fields":{"n":"1"}}"#, ["XADD"]),
            ("POST", "/v1/streams/S/messages", #"{"messages":[{"fields":{"n":"1"}},{"fields":{"n":"2"}}]}"#, ["XADD", "XADD"]),
            ("GET", "/v1/streams/S/messages", nil, ["XRANGE"]),
            ("GET", "/v1/streams/S/messages?start=999-0", nil, ["XRANGE"]),
            ("GET", "/v1/streams/S/messages?end=1-0", nil, ["XRANGE", "TYPE"]),
            ("GET", "/v1/streams/S/messages?after=earliest", nil, ["XREAD"]),
            ("GET", "/v1/streams/S/messages?after=latest", nil, ["XINFO", "XREAD"]),
            ("GET", "/v1/streams/S/messages/100-0", nil, ["XRANGE"]),
            ("GET", "/v1/streams/S/messages/1-0", nil, ["XRANGE", "TYPE"]),
            ("GET", "/v1/messages?stream=S&after=earliest", nil, ["XREAD"]),
            ("GET", "/v1/messages?stream=S&after=latest", nil, ["XINFO", "XREAD"]),
            ("GET", "/v1/streams/S/groups", nil, ["XINFO"]),
            ("GET", "/v1/streams/S/groups/g", nil, ["XINFO"]),
            ("PATCH", "/v1/streams/S/groups/g", #"{"id":"latest"}"#, ["XGROUP", "PUBLISH"]),  // Both in one round trip.
            ("PATCH", "/v1/streams/S/groups/g", #"{"id":"earliest"}"#, ["XGROUP", "PUBLISH"]),
            ("PUT", "/v1/streams/S/groups/h", nil, ["XGROUP", "XINFO"]),  // Both in one round trip.
            ("DELETE", "/v1/streams/S/groups/h", nil, ["EVALSHA"]),
            ("GET", "/v1/streams/S/groups/g/consumers", nil, ["XINFO"]),
            ("PUT", "/v1/streams/S/groups/g/consumers/d", nil, ["XGROUP"]),
            ("DELETE", "/v1/streams/S/groups/g/consumers/d", nil, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/consumers/c/read?unowned=false&count=1", nil, ["XREADGROUP"]),
            ("POST", "/v1/streams/S/groups/g/consumers/c/read?unowned=false&count=1&stats", nil, ["XREADGROUP", "XINFO"]),
            ("POST", "/v1/streams/S/groups/g/consumers/c/read?unowned=false&claim_min_idle_ms=0", nil, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/consumers/c/read?id=pending", nil, ["XREADGROUP"]),
            ("POST", "/v1/groups/g/consumers/c/read?stream=S&id=pending", nil, ["XREADGROUP"]),
            ("GET", "/v1/streams/S/groups/g/pending", nil, ["XPENDING"]),
            ("GET", "/v1/streams/S/groups/g/pending/messages?count=1000", nil, ["XPENDING"]),
            ("POST", "/v1/streams/S/groups/g/consumers/e/claim?min_idle_ms=0", #"{"ids":["8-0"]}"#, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/consumers/e/claim?min_idle_ms=0&stats", #"{"ids":["8-0"]}"#, ["EVALSHA", "XINFO"]),
            ("POST", "/v1/streams/S/groups/g/consumers/e/autoclaim?min_idle_ms=0", nil, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/consumers/e/autoclaim?min_idle_ms=0&stats", nil, ["EVALSHA", "XINFO"]),
            ("POST", "/v1/streams/S/groups/g/consumers/e/settle?stats", #"{"ack":["8-0"]}"#, ["EVALSHA"]),
            ("POST", "/v1/streams/S/groups/g/ack", #"{"ids":["11-0"]}"#, ["XACK"]),
            ("POST", "/v1/streams/S/groups/g/ack", #"{"ids":["11-0"]}"#, ["XACK", "XINFO"]),
            ("POST", "/v1/streams/S/groups/g/ack?stats", #"{"ids":["11-0"]}"#, ["XACK", "XINFO"]),
            ("POST", "/v1/streams/S/groups/g/ack?stats", #"{"ids":["12-0"]}"#, ["XACK", "XINFO"]),
            ("POST", "/v1/streams/S-dead/redrive", #"{"ids":["1-0"]}"#, ["TYPE", "XRANGE", "EVALSHA"]),
            ("PUT", "/v1/streams/S/groups/g/recovery", #"{"max_idle_ms":3600000}"#, ["XPENDING", "TYPE", "EVALSHA", "EVALSHA"]),
            ("GET", "/v1/streams/S/groups/g/recovery", nil, ["XINFO"]),  // And HMGET.
            ("DELETE", "/v1/streams/S/groups/g/recovery", nil, ["EVALSHA", "ZREM"]),
            ("DELETE", "/v1/streams/S", nil, ["EVALSHA"]),
            ("DELETE", "/v1/streams/S", nil, ["EVALSHA"]),
        ]
        let covered = try table.compactMap { try Contract.shared.get().operationName($0.0, $0.1) }
        #expect(try Contract.shared.get().operationNames.subtracting(RoundTripTests.exempt) == Set(covered))
        // The first time loads the scripts.
        for name in ["warm", "measured"] {
            let stream = try rig.newGroup(name)
            for number in 1...12 { try rig.redis.run("XADD", stream, "\(number)-0", "n", "1") }
            #expect(try rig.read(stream, "c", "count=10").ids.count == 10)
            try rig.redis.run(
                "XADD", "\(stream)-dead", "1-0", "original_stream", stream, "original_id", "10-0", "original_data", #"{"fields":{"n":"1"}}"#,
                "group", "g", "reason", "rejected")
            for (method, path, json, wanted) in table {
                let sent = try commands(of: stream) {
                    let path = path.replacing("/S", with: "/\(stream)").replacing("=S", with: "=\(stream)")
                    let reply = try rig.client.call(method, path, json: json)
                    #expect(reply.status < 500, "\(method) \(path): \(reply.text)")
                }
                if name == "measured" { #expect(sent == wanted, "\(method) \(path)") }
            }
        }
    }
}
