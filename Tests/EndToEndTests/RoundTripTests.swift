// A call asks Redis no more than it needs: what Redis was sent for each, as MONITOR tells it. The exceptions are
// those that openapi.yaml names.

import Support
import Testing

@Suite(.gateway(), .serialized) struct RoundTripTests {
    let rig = Rig.current

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
            guard words.contains(stream), !words[0].contains(" lua]") else { return nil }
            return words[1].uppercased()
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
            ("DELETE", "/v1/streams/S", nil, ["EVALSHA"]),
            ("DELETE", "/v1/streams/S", nil, ["EVALSHA"]),
        ]
        // The first time loads the scripts.
        for name in ["warm", "measured"] {
            let stream = try rig.newGroup(name)
            for number in 1...12 { try rig.redis.run("XADD", stream, "\(number)-0", "n", "1") }
            #expect(try rig.read(stream, "c", "count=10").ids.count == 10)
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
