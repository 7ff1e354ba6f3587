// CloudEvents 1.0 as messages, in the three modes of HTTP. Examples are those of the specifications, v1.0.2.

import Support
import Testing

@Suite(.gateway("--max-batch", "3", "--max-fields", "12")) struct CloudEventTests {
    let rig = Rig.current

    private static let one = "application/cloudevents+json"
    private static let many = "application/cloudevents-batch+json"

    private func post(_ stream: String, _ body: String, _ headers: [String: String], query: String = "") throws -> Reply {
        try rig.client.begin("POST", "/v1/streams/\(stream)/messages\(query)", body: Array(body.utf8), headers: headers).wait()
    }

    /// The fields of what the stream holds, as they come.
    private func fields(_ stream: String) throws -> [String] {
        let text = try rig.client.get("/v1/streams/\(stream)/messages").text
        return text.split(separator: "\"fields\":").dropFirst().map { String($0.prefix { $0 != "}" }) + "}" }
    }

    private static let events: [(String, String)] = [
        // JSON Event Format §3.2, "Example event with String-valued data".
        (#"{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","subject":null,"id":"C234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,"datacontenttype":"application/xml","data":"<much wow=\"xml\"/>"}"#,
         #"{"specversion":"1.0","type":"com.example.someevent","source":"/mycontext","id":"C234-1234-1234","time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":"5","datacontenttype":"application/xml","data":"<much wow=\"xml\"/>"}"#),
        // "Example event with Binary-valued data", with data that is text, to see it.
        (#"{"specversion":"1.0","type":"t","source":"s","id":"D","datacontenttype":"application/vnd.apache.thrift.binary","data_base64":"aMOp"}"#,
         #"{"specversion":"1.0","type":"t","source":"s","id":"D","datacontenttype":"application/vnd.apache.thrift.binary","data":"hé"}"#),
        // "Example event with JSON data": compact.
        (#" {"specversion" : "1.0","type":"t","source":"s","id":"A", "unsetextension": null, "datacontenttype" : "application/json", "data" : [ 1, true, "x y" ]} "#,
         #"{"specversion":"1.0","type":"t","source":"s","id":"A","datacontenttype":"application/json","data":"[1,true,\"x y\"]"}"#),
        // A JSON string is its text, a number its literal, a boolean too; no data is no field.
        (#"{"id":"A","source":"s","type":"t","specversion":"1.0","data":"\u0041","flag":true}"#, #"{"id":"A","source":"s","type":"t","specversion":"1.0","data":"A","flag":"true"}"#),
        (#"{"id":"A","source":"s","type":"t","specversion":"1.0","data":1.50}"#, #"{"id":"A","source":"s","type":"t","specversion":"1.0","data":"1.50"}"#),
        (#"{"id":"A","source":"s","type":"t","specversion":"1.0","data":null}"#, #"{"id":"A","source":"s","type":"t","specversion":"1.0"}"#),
    ]

    @Test(arguments: events) func `an event in structured mode is a message`(body: String, expected: String) throws {
        let stream = rig.newStream("structured")
        try post(stream, body, ["Content-Type": Self.one + "; charset=UTF-8"]).expect(201)
        #expect(try fields(stream) == [expected])
    }

    @Test func `bytes are bytes`() throws {
        let stream = rig.newStream("bytes")
        try post(stream, #"{"specversion":"1.0","type":"t","source":"s","id":"D","data_base64":"/wA="}"#, ["Content-Type": Self.one]).expect(201)
        let message = try rig.client.get("/v1/streams/\(stream)/messages").json["messages"][0]
        #expect(message["encoding"] == "base64" && message["fields"]["ZGF0YQ=="] == "/wA=")
    }

    @Test func `a batch of events is a batch, checked wholly, and keys hold for it`() throws {
        let stream = rig.newStream("batched")
        func event(_ id: String) -> String { "{\"specversion\":\"1.0\",\"type\":\"t\",\"source\":\"s\",\"id\":\"\(id)\"}" }
        let headers = ["Content-Type": Self.many, "Idempotency-Key": "k"]
        let first = try post(stream, "[\(event("1")),\(event("2"))]", headers).expect(201)
        #expect(first.json["results"].array.count == 2)
        #expect(try post(stream, "[\(event("1")),\(event("2"))]", headers).expect(200).json["results"][1]["replayed"] == true)
        let bad = try post(stream, "[\(event("3")),{\"specversion\":\"1.0\"}]", ["Content-Type": Self.many]).expect(400)
        #expect(bad.json["errors"][0]["pointer"] == "/1/id", "\(bad.text)")
        #expect(try fields(stream).count == 2)
        #expect(try post(stream, "[]", ["Content-Type": Self.many]).expect(400).code == "INVALID_JSON")
        #expect(try post(stream, event("1"), ["Content-Type": Self.many]).expect(400).code == "INVALID_JSON")
        #expect(try post(stream, "[\(event("1"))]", ["Content-Type": Self.many], query: "?id=5-1").expect(400).code == "INVALID_PARAMETER")
        let four = (0..<4).map { event("\($0)") }.joined(separator: ",")
        #expect(try post(stream, "[\(four)]", ["Content-Type": Self.many]).expect(413).code == "TOO_LARGE")
    }

    private static let refused: [(String, String)] = [
        (#"{"id":"A","source":"s","type":"t"}"#, "/specversion"), (#"{"specversion":"0.3","id":"A","source":"s","type":"t"}"#, "/specversion"),
        (#"{"specversion":1.0,"id":"A","source":"s","type":"t"}"#, "/specversion"), (#"{"specversion":"1.0","id":"","source":"s","type":"t"}"#, "/id"),
        (#"{"specversion":"1.0","id":"A","type":"t"}"#, "/source"), (#"{"specversion":"1.0","id":"A","source":"s","type":null}"#, "/type"),
        (#"{"specversion":"1.0","id":"A","source":"s","type":"t","Big":"x"}"#, "/Big"), (#"{"specversion":"1.0","id":"A","source":"s","type":"t","a/b":"x"}"#, "/a~1b"),
        (#"{"specversion":"1.0","id":"A","source":"s","type":"t","x":{}}"#, "/x"), (#"{"specversion":"1.0","id":"A","source":"s","type":"t","id":"B"}"#, "/id"),
        (#"{"specversion":"1.0","id":"A","source":"s","type":"t","subject":""}"#, "/subject"), (#"{"specversion":"1.0","id":"A","source":"s","type":"t","data":1,"data_base64":"AA=="}"#, "/data_base64"),
        (#"{"specversion":"1.0","id":"A","source":"s","type":"t","data_base64":"A"}"#, "/data_base64"), (#"{"specversion":"1.0","id":"A","source":"s","type":"t","data_base64":1}"#, "/data_base64"),
    ]

    @Test(arguments: refused) func `what is no event is refused, saying where`(body: String, pointer: String) throws {
        let reply = try post("refused", body, ["Content-Type": Self.one]).expect(400)
        #expect(reply.code == "INVALID_JSON" && reply.json["errors"][0]["pointer"] == .string(pointer), "\(reply.text)")
    }

    @Test func `other formats are not taken, and fields are counted`() throws {
        #expect(try post("refused", "x", ["Content-Type": "application/cloudevents+xml", "ce-id": "1"]).expect(415).code == "UNSUPPORTED_MEDIA_TYPE")
        #expect(try post("refused", "{}", ["Content-Type": Self.one, "Content-Encoding": "gzip"]).expect(415).code == "UNSUPPORTED_MEDIA_TYPE")
        #expect(try post("refused", "[1]", ["Content-Type": Self.one]).expect(400).code == "INVALID_JSON")
        #expect(try post("refused", "", ["Content-Type": Self.one]).expect(400).code == "INVALID_JSON")
        let extensions = (0..<9).map { "\"x\($0)\":\"\"" }.joined(separator: ",")
        #expect(try post("refused", "{\"specversion\":\"1.0\",\"id\":\"A\",\"source\":\"s\",\"type\":\"t\",\(extensions)}", ["Content-Type": Self.one]).expect(413).code == "TOO_LARGE")
    }

    // MARK: Binary mode

    private static let event = ["ce-specversion": "1.0", "ce-type": "com.example.someevent", "ce-source": "/mycontext", "ce-id": "1234-1234-1234"]

    private func binary(_ stream: String, _ headers: String, _ body: String) throws -> Reply {
        let socket = try ClientSocket(port: rig.port)
        try socket.request("POST", "/v1/streams/\(stream)/messages", headers: headers, body: body)
        return try socket.reply()
    }

    private static let head = "ce-specversion: 1.0\r\nCE-Type: t\r\nce-source: /s\r\nce-id: A\r\n"

    /// Headers besides those, the body, the fields besides those.
    private static let binaryEvents: [(String, String, String)] = [
        // HTTP Protocol Binding §3.1.3.2: "Euro € 😀".
        ("ce-comexample: Euro%20%E2%82%AC%20%F0%9F%98%80", "", #","comexample":"Euro € 😀"}"#),
        // The same paragraph: quotes must be taken off, and one round of percent-decoding done.
        (#"ce-x: "a \"b\" \\%2525""#, "", #","x":"a \"b\" \\%25"}"#),
        ("Content-Type: application/json; charset=utf-8", #" {"a" : 1} "#, #","datacontenttype":"application/json; charset=utf-8","data":"{\"a\":1"#),
        ("Content-Type: application/vnd.x+json", #""hello""#, #","datacontenttype":"application/vnd.x+json","data":"hello"}"#),
        ("Content-Type: text/xml", "<a b='1'/>", #","datacontenttype":"text/xml","data":"<a b='1'/>"}"#),
        ("Content-Type: application/x-www-form-urlencoded", "a=1", #","datacontenttype":"application/x-www-form-urlencoded","data":"a=1"}"#),
        ("", "plain", #","data":"plain"}"#), ("ce-empty: ", "", #","empty":""}"#),
    ]

    @Test(arguments: binaryEvents) func `an event in binary mode is a message`(header: String, body: String, tail: String) throws {
        let stream = rig.newStream("binary")
        try binary(stream, Self.head + (header.isEmpty ? "" : "\(header)\r\n"), body).expect(201)
        let expected = #"{"specversion":"1.0","type":"t","source":"/s","id":"A""# + tail
        #expect(try fields(stream) == [expected.hasSuffix("}") ? expected : expected + "}"])
    }

    private static let wrongVersion = "ce-specversion: 1.1\r\nce-type: t\r\nce-source: /s\r\nce-id: A\r\n"

    private static let refusedHeaders: [(String, String)] = [
        ("ce-id: A\r\n", "ce-specversion"), ("ce-specversion: 1.0\r\nce-type: t\r\nce-source: s\r\n", "ce-id"), (wrongVersion, "ce-specversion"),
        (head + "ce-bad_name: x\r\n", "ce-bad_name"), (head + "ce-id: B\r\n", "ce-id"), (head + "ce-x: %zz\r\n", "ce-x"),
        (head + "ce-x: %FF\r\n", "ce-x"), (head + "ce-datacontenttype: text/plain\r\n", "ce-datacontenttype"),
        (head + "ce-data: x\r\n", "ce-data"), (head + "ce-subject: \r\n", "ce-subject"), (head + "ce-: x\r\n", "ce-"),
    ]

    @Test(arguments: refusedHeaders) func `headers that make no event are refused by name`(headers: String, name: String) throws {
        let reply = try binary("refused", headers, "x").expect(400)
        #expect(reply.code == "INVALID_PARAMETER" && reply.json["detail"].string?.hasPrefix("\(name): ") == true, "\(reply.text)")
    }

    @Test func `data that is not the JSON it claims to be is refused`() throws {
        let reply = try binary("refused", Self.head + "Content-Type: application/json\r\n", "nope").expect(400)
        #expect(reply.code == "INVALID_JSON")
    }

    @Test func `a structured event with headers beside it is structured, and takes an ID of the query`() throws {
        let stream = rig.newStream("both")
        let body = #"{"specversion":"1.0","type":"t","source":"s","id":"inside"}"#
        try post(stream, body, Self.event.merging(["Content-Type": Self.one]) { $1 }, query: "?id=5-1").expect(201)
        #expect(try rig.client.get("/v1/streams/\(stream)/messages/5-1").json["fields"]["id"] == "inside")
    }
}
