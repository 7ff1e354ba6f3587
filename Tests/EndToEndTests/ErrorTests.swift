// Every row of API.md's table of errors, as far as its calls exist: the status, the code, and the members that a
// problem always has.

import Support
import Testing

@Suite(.gateway(
    "--max-batch", "5", "--max-fields", "5", "--max-ids", "5", "--max-body-bytes", "4096", "--max-json-depth", "8"))
struct ErrorTests {
    let rig = Rig.current
    static let add = "/v1/streams/S/messages"
    static let group = "/v1/streams/S/groups/g"
    static let read = "/v1/streams/S/groups/g/consumers/c/read"

    static let parameters: [BadCall] = [
        BadCall("GET", "\(add)?cuont=1", 400, "INVALID_PARAMETER", says: "did you mean count"),
        BadCall("GET", "\(add)?count=1&count=2", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(add)?count=0", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(add)?count=10001", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(add)?count=1e3", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(add)?count", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(add)?count=%2B1", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("GET", "\(add)?order=up", 400, "INVALID_PARAMETER", says: "order"),
        BadCall("GET", "\(add)?fields=list", 400, "INVALID_PARAMETER", says: "fields"),
        BadCall("GET", "\(add)?after=0&order=asc", 400, "INVALID_PARAMETER", says: "order"),
        BadCall("GET", "\(add)?after=0&end=5", 400, "INVALID_PARAMETER", says: "end"),
        BadCall("GET", "\(add)?after=0&start=5", 400, "INVALID_PARAMETER", says: "start"),
        BadCall("GET", "\(add)?block_ms=5", 400, "INVALID_PARAMETER", says: "block_ms"),
        BadCall("GET", "\(add)?after=0&block_ms=-5", 400, "INVALID_PARAMETER", says: "block_ms"),
        BadCall("GET", "/v1/streams//messages", 400, "INVALID_PARAMETER", says: "stream"),
        BadCall("GET", "/v1/streams/a%00b/messages", 400, "INVALID_PARAMETER", says: "NUL"),
        BadCall("GET", "/v1/streams/\(String(repeating: "a", count: 513))/messages", 400, "INVALID_PARAMETER", says: "512"),
        BadCall("GET", "\(group)/pending/messages?consumer=", 400, "INVALID_PARAMETER", says: "consumer"),
        BadCall("GET", "\(group)/pending/messages?min_idle_ms=x", 400, "INVALID_PARAMETER", says: "min_idle_ms"),
        BadCall("POST", "\(read)?noack=yes", 400, "INVALID_PARAMETER", says: "noack"),
        BadCall("POST", "\(read)?noack&claim_min_idle_ms=5", 400, "INVALID_PARAMETER", says: "claim_min_idle_ms"),
        BadCall("POST", "\(read)?id=pending&claim_min_idle_ms=5", 400, "INVALID_PARAMETER", says: "claim_min_idle_ms"),
        BadCall("POST", "\(read)?unowned=0", 400, "INVALID_PARAMETER", says: "unowned"),
        BadCall("POST", "\(read)?stats=maybe", 400, "INVALID_PARAMETER", says: "stats"),
        BadCall("POST", "\(group)/ack?id=1-1&stats=maybe", 400, "INVALID_PARAMETER", says: "stats"),
        BadCall("POST", "\(group)/ack?id=1-1&id=1-2&id=1-3&id=1-4&id=1-5&id=1-6", 400, "INVALID_PARAMETER", says: "5"),
        BadCall("POST", "\(group)/consumers/c/claim?idle_ms=1&time_ms=1", #"{"ids":["1-1"]}"#, 400, "INVALID_PARAMETER", says: "time_ms"),
        BadCall("POST", "\(group)/consumers/c/claim?retry_count=9007199254740992", 400, "INVALID_PARAMETER", says: "9007199254740991"),
        BadCall("POST", "\(group)/consumers/c/claim?id=1-1", 400, "INVALID_PARAMETER", says: "id"),
        BadCall("POST", "\(group)/consumers/c/autoclaim?count=6", 400, "INVALID_PARAMETER", says: "count"),
        BadCall("POST", "\(add)?maxlen=1&minid=1", #"{"fields":{"a":"1"}}"#, 400, "INVALID_PARAMETER", says: "minid"),
        BadCall("POST", "\(add)?limit=1", #"{"fields":{"a":"1"}}"#, 400, "INVALID_PARAMETER", says: "limit"),
        BadCall("POST", "\(add)?maxlen=1&limit=1&approx=false", #"{"fields":{"a":"1"}}"#, 400, "INVALID_PARAMETER", says: "limit"),
        BadCall("POST", "\(add)?id=9-9", #"{"fields":{"a":"1"},"id":"9-9"}"#, 400, "INVALID_PARAMETER", says: "id"),
        BadCall("PUT", "/v1/streams/S/groups/x?mkstream=1", 400, "INVALID_PARAMETER", says: "mkstream"),
        BadCall("PUT", "/v1/streams/S/groups/x?entries_read=-2", 400, "INVALID_PARAMETER", says: "entries_read"),
        BadCall("GET", "/healthz?verbose", 400, "INVALID_PARAMETER", says: "verbose"),
        BadCall("GET", "/readyz?verbose", 400, "INVALID_PARAMETER", says: "verbose"),
        BadCall("GET", "/v1/info?verbose", 400, "INVALID_PARAMETER", says: "verbose"),
    ]

    static let ids: [BadCall] = [
        BadCall("GET", "\(add)?start=abc", 400, "INVALID_ID", says: "abc"),
        BadCall("GET", "\(add)?start=1-1-1", 400, "INVALID_ID"),
        BadCall("GET", "\(add)?end=18446744073709551616-0", 400, "INVALID_ID"),
        BadCall("GET", "\(add)?start=-1", 400, "INVALID_ID"),
        BadCall("GET", "\(add)?after=new", 400, "INVALID_ID"),
        BadCall("GET", "\(add)/latest", 400, "INVALID_ID"),
        BadCall("GET", "\(add)/%2A", 400, "INVALID_ID"),
        BadCall("POST", "\(read)?id=latest", 400, "INVALID_ID"),
        BadCall("POST", "\(group)/ack?id=", 400, "INVALID_ID"),
        BadCall("POST", "\(group)/ack", #"{"ids":["1-1","x"]}"#, 400, "INVALID_ID", says: "/ids/1"),
        BadCall("POST", "\(add)?id=0-0", #"{"fields":{"a":"1"}}"#, 400, "INVALID_ID"),
        BadCall("POST", add, #"{"fields":{"a":"1"},"id":"0-0"}"#, 400, "INVALID_ID"),
        BadCall("PUT", "/v1/streams/S/groups/x?id=pending", 400, "INVALID_ID"),
        BadCall("PATCH", group, #"{"id":"x"}"#, 400, "INVALID_ID"),
    ]

    static let json: [BadCall] = [
        BadCall("POST", add, #"{"fields":{"a":"1"}"#, 400, "INVALID_JSON"),
        BadCall("POST", add, #"{"fields":{"a":"1"}}x"#, 400, "INVALID_JSON"),
        BadCall("POST", add, #"{"fields":{"a":01}}"#, 400, "INVALID_JSON"),
        BadCall("POST", add, #"{"fields":{"a":null}}"#, 400, "INVALID_JSON", says: "null"),
        BadCall("POST", add, #"{"fields":{"a":"1","a":"2"}}"#, 400, "INVALID_JSON", says: "pairs"),
        BadCall("POST", add, #"{"fields":{"a":"1"},"fields":{"a":"1"}}"#, 400, "INVALID_JSON", says: "more than once"),
        BadCall("POST", add, #"{"field":{"a":"1"}}"#, 400, "INVALID_JSON", says: "did you mean fields"),
        BadCall("POST", add, #"{"fields":{}}"#, 400, "INVALID_JSON"),
        BadCall("POST", add, #"{"fields":[["a"]]}"#, 400, "INVALID_JSON", says: "pair"),
        BadCall("POST", add, #"{"fields":"a"}"#, 400, "INVALID_JSON"),
        BadCall("POST", add, #"{"fields":{"YQ==":"!"},"encoding":"base64"}"#, 400, "INVALID_JSON", says: "base64"),
        BadCall("POST", add, #"{"encoding":"base64","messages":[{"fields":{"YQ==":"YQ=="}}]}"#, 400, "INVALID_JSON", says: "encoding"),
        BadCall("POST", add, #"{"messages":[{"fields":{"YQ==":"YQ=="}}],"encoding":"base64"}"#, 400, "INVALID_JSON", says: "encoding"),
        BadCall("POST", add, #"{"fields":{"a":"1"},"encoding":"hex"}"#, 400, "INVALID_JSON", says: "base64"),
        BadCall("POST", add, #"{"messages":[]}"#, 400, "INVALID_JSON", says: "/messages"),
        BadCall("POST", add, #"{"messages":[{"fields":{"a":"1"}},{"feilds":{}}]}"#, 400, "INVALID_JSON", says: "/messages/1/feilds"),
        BadCall("POST", add, #"{"messages":[{"fields":{"a":"1"}},{"fields":{"a":null}}]}"#, 400, "INVALID_JSON", says: "/messages/1/fields"),
        BadCall("POST", add, #"[{"fields":{"a":"1"}}]"#, 400, "INVALID_JSON"),
        BadCall("POST", add, #"{"fields":{"a":[[[[[[[[[[1]]]]]]]]]]}}"#, 400, "INVALID_JSON", says: "8"),
        BadCall("POST", add, "", 400, "INVALID_JSON"),
        BadCall("POST", add, "\u{FEFF}{}", 400, "INVALID_JSON"),
        BadCall("POST", add, "\n", type: "application/x-ndjson", 400, "INVALID_JSON"),
        BadCall("POST", "\(group)/ack", #"{"ids":[]}"#, 400, "INVALID_JSON"),
        BadCall("POST", "\(group)/ack", #"{"ids":["1-1"],"id":"1-1"}"#, 400, "INVALID_JSON"),
        BadCall("POST", "\(group)/ack", #"{"ids":[1]}"#, 400, "INVALID_JSON"),
        BadCall("PATCH", group, #"{"entries_read":1}"#, 400, "INVALID_JSON"),
        BadCall("PATCH", group, #"{"id":"0","id":"1"}"#, 400, "INVALID_JSON"),
    ]

    static let requests: [BadCall] = [
        BadCall("POST", add, "hello", type: "application/x-www-form-urlencoded", 400, "INVALID_REQUEST", says: "="),
        BadCall("POST", "\(group)/ack", 400, "INVALID_REQUEST", says: "ids"),
        BadCall("POST", read, #"{"count":1}"#, 400, "INVALID_REQUEST", says: "no body"),
        BadCall("PUT", "/v1/streams/S/groups/g", headers: ["If-None-Match": "\"x\""], 400, "INVALID_REQUEST"),
        BadCall("POST", "/v1/streams/sluice:x/messages", #"{"fields":{"a":"1"}}"#, 403, "RESERVED_NAME"),
        BadCall("GET", "/v1/streams/sluice%3Ax/messages", 403, "RESERVED_NAME"),
        BadCall("POST", "\(group)/consumers/unowned/read", 403, "RESERVED_NAME"),
        BadCall("GET", add, headers: ["Origin": "http://evil.example"], 403, "FORBIDDEN_ORIGIN"),
        BadCall("GET", add, headers: ["Origin": "null"], 403, "FORBIDDEN_ORIGIN"),
        BadCall("POST", add, "a=1", type: "text/plain", headers: ["Sec-Fetch-Site": "cross-site"], 403, "FORBIDDEN_ORIGIN"),
        BadCall("POST", add, "a=1", type: "text/plain", headers: ["Sec-Fetch-Site": "same-site"], 403, "FORBIDDEN_ORIGIN"),
        BadCall("GET", "/v1/nothing", 404, "NOT_FOUND"),
        BadCall("GET", "/v1/stream", 404, "NOT_FOUND"),
        BadCall("GET", "/v1/streams/S/messages/", 400, "INVALID_PARAMETER"),
        BadCall("DELETE", add, 405, "METHOD_NOT_ALLOWED", says: "GET, HEAD, POST, OPTIONS"),
        BadCall("GET", read, 405, "METHOD_NOT_ALLOWED", says: "POST, OPTIONS"),
        BadCall("GET", add, headers: ["Accept": "text/html"], 406, "NOT_ACCEPTABLE"),
        BadCall("GET", add, headers: ["Accept": "application/json;q=0"], 406, "NOT_ACCEPTABLE"),
        BadCall("GET", "/v1/streams/S/groups", headers: ["Accept": "text/event-stream"], 406, "NOT_ACCEPTABLE"),
        BadCall("POST", add, "<a/>", type: "application/xml", 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("POST", add, "{}", type: "application/vnd.kafka.v2+json", 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("POST", add, "x", type: "text/plain; charset=latin1", 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("POST", add, "{}", headers: ["Content-Encoding": "gzip"], 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("POST", "\(group)/ack", "a=1", type: "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        BadCall("PUT", "/v1/streams/S/groups/g", headers: ["If-None-Match": "*"], 412, "GROUP_EXISTS"),
    ]

    static let missing: [BadCall] = [
        BadCall("GET", "/v1/streams/N/messages", 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/N/messages/1-1", 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/messages?nomkstream", #"{"fields":{"a":"1"}}"#, 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/N/groups", 404, "STREAM_NOT_FOUND"),
        BadCall("PUT", "/v1/streams/N/groups/g", 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/N/groups/g", 404, "STREAM_NOT_FOUND"),
        BadCall("PATCH", "/v1/streams/N/groups/g", #"{"id":"0"}"#, 404, "STREAM_NOT_FOUND"),
        BadCall("DELETE", "/v1/streams/N/groups/g", 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/N/groups/g/consumers", 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/groups/g/consumers/c/read", 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/groups/g/consumers/c/read?block_ms=60000", 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/groups/g/consumers/c/read?claim_min_idle_ms", 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/groups/g/ack?id=1-1", 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/N/groups/g/pending", 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/N/groups/g/pending/messages", 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/groups/g/consumers/c/claim", #"{"ids":["1-1"]}"#, 404, "STREAM_NOT_FOUND"),
        BadCall("POST", "/v1/streams/N/groups/g/consumers/c/autoclaim", 404, "STREAM_NOT_FOUND"),
        BadCall("GET", "/v1/streams/S/groups/x", 404, "GROUP_NOT_FOUND"),
        BadCall("PATCH", "/v1/streams/S/groups/x", #"{"id":"0"}"#, 404, "GROUP_NOT_FOUND"),
        BadCall("DELETE", "/v1/streams/S/groups/x", 404, "GROUP_NOT_FOUND"),
        BadCall("GET", "/v1/streams/S/groups/x/consumers", 404, "GROUP_NOT_FOUND"),
        BadCall("POST", "/v1/streams/S/groups/x/consumers/c/read", 404, "GROUP_NOT_FOUND"),
        BadCall("POST", "/v1/streams/S/groups/x/consumers/c/read?block_ms=60000", 404, "GROUP_NOT_FOUND"),
        BadCall("POST", "/v1/streams/S/groups/x/ack?id=1-1", 404, "GROUP_NOT_FOUND"),
        BadCall("GET", "/v1/streams/S/groups/x/pending", 404, "GROUP_NOT_FOUND"),
        BadCall("GET", "/v1/streams/S/groups/x/pending/messages", 404, "GROUP_NOT_FOUND"),
        BadCall("POST", "/v1/streams/S/groups/x/consumers/c/claim", #"{"ids":["1-1"]}"#, 404, "GROUP_NOT_FOUND"),
        BadCall("POST", "/v1/streams/S/groups/x/consumers/c/autoclaim", 404, "GROUP_NOT_FOUND"),
        BadCall("GET", "\(add)/1-1", 404, "MESSAGE_NOT_FOUND"),
    ]

    static let otherTypes: [BadCall] = [
        BadCall("GET", "/v1/streams/T/messages", 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/messages?after=0", 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/messages?after=latest", 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/messages/1-1", 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/messages", #"{"fields":{"a":"1"}}"#, 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/messages", #"{"messages":[{"fields":{"a":"1"}}]}"#, 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/groups", 409, "NOT_A_STREAM"),
        BadCall("PUT", "/v1/streams/T/groups/g", 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/groups/g", 409, "NOT_A_STREAM"),
        BadCall("PATCH", "/v1/streams/T/groups/g", #"{"id":"0"}"#, 409, "NOT_A_STREAM"),
        BadCall("DELETE", "/v1/streams/T/groups/g", 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/groups/g/consumers/c/read", 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/groups/g/consumers/c/read?claim_min_idle_ms", 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/groups/g/ack?id=1-1", 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/groups/g/pending", 409, "NOT_A_STREAM"),
        BadCall("GET", "/v1/streams/T/groups/g/pending/messages", 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/groups/g/consumers/c/claim", #"{"ids":["1-1"]}"#, 409, "NOT_A_STREAM"),
        BadCall("POST", "/v1/streams/T/groups/g/consumers/c/autoclaim", 409, "NOT_A_STREAM"),
        BadCall("POST", add, #"{"fields":{"a":"1"},"id":"1-1"}"#, 409, "ID_TOO_SMALL"),
        BadCall("POST", "\(add)?id=1-1", #"{"fields":{"a":"1"}}"#, 409, "ID_TOO_SMALL"),
        BadCall("POST", add, #"{"messages":[{"fields":{"a":"1"},"id":"1-1"}]}"#, 409, "ID_TOO_SMALL"),
    ]

    static let sizes: [BadCall] = [
        BadCall("POST", add, #"{"fields":{"a":"\#(String(repeating: "x", count: 4096))"}}"#, 413, "TOO_LARGE"),
        BadCall("POST", add, #"{"fields":{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}}"#, 413, "TOO_LARGE", says: "5"),
        BadCall("POST", add, "a=1&b=1&c=1&d=1&e=1&f=1", type: "application/x-www-form-urlencoded", 413, "TOO_LARGE", says: "5"),
        BadCall("POST", add, #"{"messages":[\#(Array(repeating: #"{"fields":{"a":1}}"#, count: 6).joined(separator: ","))]}"#, 413, "TOO_LARGE"),
        BadCall("POST", "\(group)/ack", #"{"ids":["1-1","1-2","1-3","1-4","1-5","1-6"]}"#, 413, "TOO_LARGE", says: "5"),
        BadCall("GET", "\(add)?start=\(String(repeating: "1", count: 9000))", 414, "TOO_LARGE"),
        BadCall("GET", add, headers: ["X-Large": String(repeating: "x", count: 17000)], 431, "TOO_LARGE"),
    ]

    @Test(arguments: [parameters, recovery, ids, json, requests, missing, otherTypes, sizes, settling, sinks])
    func `a call that must fail says what was wrong`(calls: [BadCall]) throws {
        try rig.refuse(calls)
    }

    // MARK: Below HTTP

    @Test(arguments: [
        ("GET /healthz HTTP/1.1\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET /healthz HTTP/1.1\nHost: localhost\n\n", 400, "INVALID_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nA: b\r\n c\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nA : b\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "INVALID_REQUEST"),
        ("GET  /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "INVALID_REQUEST"),
        ("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "INVALID_REQUEST"),
        ("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\naa", 400, "INVALID_REQUEST"),
        ("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na", 400, "INVALID_REQUEST"),
        ("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400, "INVALID_REQUEST"),
        ("POST /v1/streams/s/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "INVALID_REQUEST"),
        ("GET /healthz HTTP/2.0\r\nHost: localhost\r\n\r\n", 505, "UNSUPPORTED_HTTP_VERSION"),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, "METHOD_NOT_ALLOWED"),
        ("GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n", 421, "MISDIRECTED"),
        ("GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 421, "MISDIRECTED"),
        ("GET /v1/streams/%zz/messages HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "INVALID_PARAMETER"),
        ("GET /v1/streams/s/messages?start=%2 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "INVALID_PARAMETER"),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\n\r\n", 400, "INVALID_REQUEST"),
    ]) func `a malformed request is refused as what it is`(text: String, status: Int, code: String) throws {
        let socket = try ClientSocket(port: rig.port)
        try socket.send(text)
        let reply = try socket.reply()
        #expect(reply.status == status && reply.code == code, "\(reply.text)")
        reply.expectProblem()
        if status == 405 { #expect(reply.headers["allow"] != nil) }
    }

    // MARK: Hints, names, IDs of requests

    @Test func `a hint is a line that a shell can run, and it helps`() throws {
        let stream = try rig.newGroup("hint")
        let reply = try rig.client.get("/v1/streams/\(stream)/groups/it%27s%20ours").expect(404)
        #expect(
            reply.json["hint"].string
                == "curl -X PUT 'http://127.0.0.1:\(rig.port)/v1/streams/\(stream)/groups/it%27s%20ours?mkstream'")
        #expect(try rig.client.put("/v1/streams/\(stream)/groups/it%27s%20ours?mkstream").status == 201)
        let form = try rig.client.begin("POST", "/v1/streams/\(stream)/messages", body: Array("hello".utf8)).wait()
        #expect(
            form.json["hint"].string
                == #"curl -d '{"fields":{"name":"value"}}' 'http://127.0.0.1:\#(rig.port)/v1/streams/\#(stream)/messages'"#)
    }

    @Test func `a sane request ID comes back, any other is replaced`() throws {
        #expect(try rig.client.get("/healthz", headers: ["X-Request-Id": "a.B_c:1-2"]).headers["x-request-id"] == "a.B_c:1-2")
        #expect(try rig.client.get("/healthz").headers["x-request-id"] == nil)
        for id in ["a b", String(repeating: "a", count: 129), "a\"b"] {
            let reply = try rig.client.get("/nothing", headers: ["X-Request-Id": id]).expect(404)
            #expect(reply.headers["x-request-id"] != id && reply.headers["x-request-id"] != nil)
            #expect(reply.json["request_id"].string == reply.headers["x-request-id"])
        }
        let reply = try rig.client.get("/nothing", headers: ["X-Request-Id": "mine"])
        #expect(reply.json["request_id"] == "mine")
    }

    @Test func `HEAD answers as GET without a body, OPTIONS says what there is, and nothing is cached`() throws {
        let stream = try rig.newGroup("head")
        try rig.add(1, to: stream)
        let path = "/v1/streams/\(stream)/messages"
        let get = try rig.client.get(path)
        #expect(get.headers["cache-control"] == "no-store")
        let head = try rig.client.call("HEAD", path).expect(200)
        #expect(head.body.isEmpty && head.headers["content-length"] == "\(get.body.count)")
        #expect(try rig.client.call("HEAD", "/v1/streams/none/messages").status == 404)
        let begin = ContinuousClock.now
        try rig.client.call("HEAD", "\(path)?after=latest&block_ms=60000").expect(200)
        #expect(ContinuousClock.now - begin < .seconds(20))
        let options = try rig.client.call("OPTIONS", path).expect(204)
        #expect(options.headers["allow"] == "GET, HEAD, POST, OPTIONS")
        #expect(try rig.client.call("OPTIONS", "/nothing").status == 404)
        #expect(options.headers["access-control-allow-origin"] == nil)
    }

    @Test func `the own origin may call, and so may the names of loopback`() throws {
        let own = try rig.client.get("/v1/info", headers: ["Origin": "http://127.0.0.1:\(rig.port)", "Sec-Fetch-Site": "same-origin"])
        own.expect(200)
        #expect(own.headers["access-control-allow-origin"] == nil)
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:\(rig.port)", "[::1]:80", "[::1]"] {
            let socket = try ClientSocket(port: rig.port)
            try socket.send("GET /healthz HTTP/1.1\r\nHost: \(host)\r\n\r\n")
            #expect(try socket.reply().status == 200)
        }
    }
}
