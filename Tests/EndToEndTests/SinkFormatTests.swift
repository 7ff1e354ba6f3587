// What a sink's formats put on the wire (SINKS.md §4), read by the libraries that receivers use and taken back by the
// gateway itself.

import Foundation
import Support
import Testing

@Suite(.blocking) struct SinkFormatTests {
    private static let structured = "application/cloudevents+json"

    private struct Sent: Encodable {
        let headers: [String: String]
        let body: String
    }

    /// The events that others' library makes of the deliveries, whose signatures it has checked.
    private func read(_ deliveries: [Receiver.Delivery], as kind: String = "events") throws -> [JSON] {
        let folder = try TemporaryDirectory()
        let file = "\(folder.path)/deliveries.json"
        let sent = deliveries.map { Sent(headers: $0.headers, body: Data($0.body).base64EncodedString()) }
        try JSONEncoder().encode(sent).write(to: URL(filePath: file))
        let program = PythonProgram.root("Tests/Python/read_deliveries.py")
        let run = try PythonProgram.run(program, [file, kind] + SinkRig.secrets)
        #expect(run.code == 0 && run.output.hasSuffix("\(deliveries.count) deliveries verified\n"), "\(run.output)")
        return try run.output.split(separator: "\n").dropLast().map { try JSON(parsing: $0.utf8) }
    }

    /// The fields of a stream's messages.
    private func fields(_ stream: String, _ gateway: GatewayProcess) throws -> [JSON] {
        try TestClient(port: gateway.port).get("/v1/streams/\(stream)/messages?count=100").json["messages"].array.map {
            $0["encoding"] == nil ? $0["fields"] : .array([$0["fields"], $0["encoding"]])
        }
    }

    private struct Event: Sendable {
        let members: String
        /// What the library makes of its data.
        let data: JSON
        /// The same where it came in binary mode, if that differs.
        var binary: JSON?
    }

    private static let events = [
        Event(
            members: #""time":"2018-04-05T17:31:00Z","comexampleextension1":"value","comexampleothervalue":5,"datacontenttype":"application/xml","data":"<much wow=\"xml\"/>""#,
            data: #"<much wow="xml"/>"#),
        Event(members: #""datacontenttype":"application/json","data":[1,true,"x y",null]"#, data: [1, true, "x y", nil]),
        Event(members: #""datacontenttype":"application/vnd.x+json; charset=utf-8","data":{"a":{"b":1}}"#, data: ["a": ["b": 1]]),
        Event(members: #""datacontenttype":"application/json","data":"hello""#, data: "hello"),
        Event(members: #""datacontenttype":"application/json","data":"\"quoted\"""#, data: #""quoted""#),
        Event(members: #""data":"no type\nat \u00e9ll""#, data: "no type\nat éll"),
        Event(members: #""data":7"#, data: 7), Event(members: #""flag":true"#, data: nil),
        Event(members: #""datacontenttype":"application/octet-stream","data_base64":"/wA=""#, data: ["base64": "/wA="]),
        // Bytes that happen to be text: in binary mode the library looks for itself.
        Event(members: #""datacontenttype":"application/vnd.thrift","data_base64":"YWJj""#, data: ["base64": "YWJj"], binary: "abc"),
        Event(members: #""subject":"Euro € 😀 \"x\" 100%","datacontenttype":"text/plain","data":"5""#, data: "5"),
    ]

    @Test(arguments: ["cloudevents", "cloudevents-binary"])
    func `what came in as an event goes out as it was, and others' libraries verify and read it`(format: String) throws {
        let rig = try SinkRig(["format": format])
        let gateway = try rig.newGateway()
        let client = TestClient(port: gateway.port)
        try rig.wait("Redis is there") { try client.get("/readyz").status == 200 }
        for (number, event) in Self.events.enumerated() {
            let body = "{\"specversion\":\"1.0\",\"id\":\"e\(number)\",\"source\":\"/here?a=b\",\"type\":\"com.example\",\(event.members)}"
            try client.begin(
                "POST", "/v1/streams/\(SinkRig.stream)/messages", body: Array(body.utf8), headers: ["Content-Type": Self.structured]
            ).wait().expect(201)
        }
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries.sorted { $0.time < $1.time }
        #expect(deliveries.count == Self.events.count)
        for secret in SinkRig.secrets { #expect(deliveries.allSatisfy { $0.isSigned(with: secret) }) }
        #expect(deliveries.allSatisfy { $0.attempt == 1 && $0.headers["user-agent"]?.hasPrefix("sluice/") == true })
        #expect((format == "cloudevents") == deliveries.allSatisfy { $0.headers["content-type"] == Self.structured })
        let read = try read(deliveries)
        var seen: Set<Int> = []
        for event in read {
            let number = try #require(event["attributes"]["id"].string?.dropFirst().description.integer)
            seen.insert(number)
            let expected = Self.events[number]
            #expect(event["data"] == (format == "cloudevents" ? expected.data : expected.binary ?? expected.data), "\(number): \(event)")
            #expect(event["attributes"]["source"] == "/here?a=b" && event["attributes"]["type"] == "com.example")
        }
        #expect(seen.count == Self.events.count)
        let first = try #require(read.first { $0["attributes"]["id"] == "e0" })["attributes"]
        #expect(first["comexampleothervalue"] == "5" && first["time"] == "2018-04-05T17:31:00+00:00" && first["datacontenttype"] == "application/xml")
        #expect(read.contains { $0["attributes"]["subject"] == "Euro € 😀 \"x\" 100%" })
        try expectSame(deliveries, gateway)
    }

    /// The gateway takes back what it sent, and stores what it had.
    private func expectSame(_ deliveries: [Receiver.Delivery], _ gateway: GatewayProcess) throws {
        for delivery in deliveries {
            var head = delivery.headers.filter { $0.key.hasPrefix("ce-") || $0.key == "content-type" }.map { "\($0.key): \($0.value)\r\n" }.joined()
            head += "Content-Length: \(delivery.body.count)\r\n"
            let socket = try ClientSocket(port: gateway.port)
            try socket.send(Array("POST /v1/streams/again/messages HTTP/1.1\r\nHost: 127.0.0.1:\(gateway.port)\r\n\(head)\r\n".utf8) + delivery.body)
            try socket.reply().expect(201)
        }
        let (before, after) = (try fields(SinkRig.stream, gateway), try fields("again", gateway))
        #expect(before.count == after.count)
        for message in before { #expect(after.contains(message), "\(message)") }
    }

    @Test(arguments: ["cloudevents", "cloudevents-binary"])
    func `a message that is no event becomes one of its own`(format: String) throws {
        let rig = try SinkRig(["format": format, "concurrency": "1"])
        _ = try rig.newGateway()
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let ids = [
            try rig.redis.run("XADD", SinkRig.stream, "1700000000123-7", "orderID", "1001", "traceparent", trace),
            // Nearly an event: no attribute has such a name, and nothing may be dropped.
            try rig.redis.run("XADD", SinkRig.stream, "*", "specversion", "1.0", "id", "x", "source", "s", "type", "t", "order_ID", "1"),
        ].map { String($0.split(whereSeparator: \.isNewline).last ?? "") }
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries
        let events = try read(deliveries)
        #expect(events.map { $0["attributes"]["id"].string } == ids)
        let attributes = events[0]["attributes"]
        #expect(attributes["type"] == "sluice.message" && attributes["source"] == .string("/v1/streams/\(SinkRig.stream)"))
        #expect(attributes["time"] == "2023-11-14T22:13:20.123000+00:00" && attributes["datacontenttype"] == "application/json")
        #expect(events[0]["data"] == ["fields": ["orderID": "1001", "traceparent": .string(trace)]])
        #expect(events[1]["data"]["fields"]["order_ID"] == "1" && events[1]["data"]["fields"]["id"] == "x")
        #expect(deliveries.map { $0.headers["traceparent"] } == [trace, nil])
    }

    @Test func `raw posts one field's bytes; a message without it is a dead letter`() throws {
        let rig = try SinkRig(["format": "'raw:pay load'", "content_type": "text/csv; charset=utf-8", "concurrency": "1"])
        let gateway = try rig.newGateway()
        try rig.redis.run("XADD", SinkRig.stream, "*", "pay load", "a;b\r\n1;2", "pay load", "second")
        try rig.redis.run("XADD", SinkRig.stream, "*", "pay load", "")
        let id = try rig.add()
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries
        #expect(deliveries.map { String(decoding: $0.body, as: UTF8.self) } == ["a;b\r\n1;2", ""])
        #expect(deliveries.allSatisfy { $0.headers["content-type"] == "text/csv; charset=utf-8" })
        _ = try read(deliveries, as: "bodies")
        let letter = try rig.deadLetters(gateway)[id] ?? .null
        #expect(letter["reason"] == "unreadable" && letter["last_error"].string?.contains("no field \"pay load\"") == true, "\(letter)")
        #expect(letter["original_data"] == #"{"fields":{"do":"200"}}"#)
    }

    @Test func `the default format is verified by others too, on every attempt`() throws {
        let rig = try SinkRig { $0.number == 1 ? .status(500) : .status(200) }
        _ = try rig.newGateway()
        try rig.add("naïve \"text\"")
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.map(\.attempt) == [1, 2])
        _ = try read(rig.receiver.deliveries, as: "bodies")
    }

    @Test func `headers name the message's parts; what no header can hold is a dead letter, unsent`() throws {
        let rig = try SinkRig([
            "headers": #"{X-Where: '{stream}|{group}|{id}|{"do":"{field:do}"}|{field:none}', X-Only: '{field:none}'}"#
        ])
        let gateway = try rig.newGateway()
        let good = try rig.add("é 1")
        let bad = try ["a\r\nX-Evil: 1", "bell \u{7}", String(repeating: "x", count: 70_000)].map { try rig.add($0) }
        try rig.waitUntilSettled()
        let deliveries = rig.receiver.deliveries
        #expect(deliveries.map { $0.headers["x-where"] } == [#"\#(SinkRig.stream)|\#(SinkRig.group)|\#(good)|{"do":"é 1"}|"#])
        #expect(deliveries.map { $0.headers["x-evil"] } == [nil])
        let letters = try rig.deadLetters(gateway)
        #expect(Set(letters.keys) == Set(bad))
        #expect(letters.values.allSatisfy { $0["reason"] == "unreadable" && $0["last_status"] == "" && $0["attempts"] == "1" })
        #expect(letters[bad[1]]?["last_error"].string?.contains("header X-Where") == true)
        #expect(letters[bad[2]]?["last_error"].string?.contains("65536 can be sent") == true)
    }
}

extension String {
    fileprivate var integer: Int? { Int(self) }
}
