// Entries as CloudEvents: which are events, and what their data is.

import Net
import Testing

@testable import Gateway
@testable import Redis
@testable import Webhook

struct SinkCloudEventTests {
    /// As Redis sends it.
    private func entry(_ fields: [(String, [UInt8])]) throws -> RedisCursor {
        let bytes = ByteBuffer()
        bytes.append("*1\r\n*\(fields.count * 2)\r\n")
        for part in fields.flatMap({ [Array($0.0.utf8), $0.1] }) {
            bytes.append("$\(part.count)\r\n")
            bytes.append(part)
            bytes.append("\r\n")
        }
        var reply: RedisReply?
        try ReplyParser(replyLimit: 1 << 20).feed(bytes.bytes) {
            reply = $0
            return true
        }
        return try #require(reply).elements
    }

    private func event(_ more: [(String, [UInt8])]) throws -> CloudEvent? {
        let four = [("specversion", "1.0"), ("id", "a"), ("source", "/s"), ("type", "t")].map { ($0.0, Array($0.1.utf8)) }
        return CloudEvent(entry: try entry(four + more))
    }

    private func structured(_ event: CloudEvent?) -> String {
        let body = ByteBuffer()
        event?.appendStructured(to: body)
        return String(decoding: body.bytes, as: UTF8.self)
    }

    private static let noEvents: [[(String, String)]] = [
        [], [("specversion", "1.0"), ("id", "a"), ("source", "s")],
        [("specversion", "0.3"), ("id", "a"), ("source", "s"), ("type", "t")], [("specversion", "1.0"), ("id", ""), ("source", "s"), ("type", "t")],
        [("specversion", "1.0"), ("id", "a"), ("source", "s"), ("type", "t"), ("id", "b")],
        [("specversion", "1.0"), ("id", "a"), ("source", "s"), ("type", "t"), ("orderID", "b")],
        [("specversion", "1.0"), ("id", "a"), ("source", "s"), ("type", "t"), ("subject", "")],
        [("specversion", "1.0"), ("id", "a"), ("source", "s"), ("type", "t"), ("data", "1"), ("data", "2")],
    ]

    @Test(arguments: noEvents) func `what the gateway would not take as an event is none`(fields: [(String, String)]) throws {
        #expect(CloudEvent(entry: try entry(fields.map { ($0.0, Array($0.1.utf8)) })) == nil)
    }

    @Test func `an attribute that is not UTF-8 makes it none`() throws {
        #expect(try event([("x", [0xFF])]) == nil)
        #expect(try event([("data", [0xFF])]) != nil)
    }

    /// Type, stored data, what stands for it in structured mode, the body in binary mode.
    private static let forms: [(String?, [UInt8], String, String)] = [
        (nil, Array("A".utf8), #""data":"A""#, "A"), (nil, Array("5".utf8), #""data":5"#, "5"), (nil, Array(#"{"a":1}"#.utf8), #""data":{"a":1}"#, #"{"a":1}"#),
        (nil, Array(#""A""#.utf8), #""data":"\"A\"""#, #""A""#), (nil, [0xFF], #""data_base64":"/w==""#, "\u{FFFD}"), (nil, [], #""data":"""#, ""),
        ("application/json", Array("A".utf8), #""data":"A""#, #""A""#), ("application/json", Array("[1, 2]".utf8), #""data":[1, 2]"#, "[1, 2]"),
        ("application/json", Array("{\"a\":1} x".utf8), #""data":"{\"a\":1} x""#, #""{\"a\":1} x""#), ("text/json", [], #""data":"""#, #""""#),
        ("application/x+json;charset=utf-8", Array("null".utf8), #""data":null"#, "null"),
        ("text/plain", Array("5".utf8), #""data":"5""#, "5"), ("TEXT/CSV", Array("a\n".utf8), #""data":"a\n""#, "a\n"), ("text/plain", [0xC3], #""data_base64":"ww==""#, "\u{FFFD}"),
        ("image/svg+xml", Array("<a/>".utf8), #""data":"<a/>""#, "<a/>"), ("application/foo; charset=us-ascii", Array("a".utf8), #""data":"a""#, "a"),
        ("application/foo", Array("a".utf8), #""data_base64":"YQ==""#, "a"), ("application/octet-stream", [], #""data_base64":"""#, ""),
    ]

    @Test(arguments: forms) func `data is what its type says`(type: String?, stored: [UInt8], structured: String, binary: String) throws {
        let typed = type.map { [("datacontenttype", Array($0.utf8))] } ?? []
        let event = try event(typed + [("data", stored)])
        let told = type.map { #","datacontenttype":"\#($0)""# } ?? ""
        #expect(self.structured(event) == #"{"specversion":"1.0","id":"a","source":"/s","type":"t"\#(told),\#(structured)}"#)
        #expect(String(decoding: event?.binaryData ?? [], as: UTF8.self) == binary)
    }

    @Test func `JSON as deep as can be added is JSON, and nothing overflows beyond`() throws {
        func data(_ depth: Int) -> [UInt8] { Array((String(repeating: "[", count: depth) + String(repeating: "]", count: depth)).utf8) }
        #expect(structured(try event([("data", data(1000))])).contains(#""data":[["#))
        #expect(structured(try event([("data", data(100_000))])).contains(#""data":"[["#))
    }

    @Test func `headers are encoded as the binding has it, and the data's type is the Content-Type as it is`() throws {
        let event = try event([("x", Array("Euro € 😀".utf8)), ("y", Array("\"%\r\n~!".utf8)), ("z", []), ("datacontenttype", Array("text/plain; charset=\"x\"".utf8))])
        var headers = WebhookFields()
        event?.appendHeaders(to: &headers)
        let all = headers.all.map { "\($0.0): \($0.1)" }
        // HTTP Protocol Binding 1.0.2 §3.1.3.2 has the first.
        #expect(all.suffix(4) == ["ce-x: Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-y: %22%25%0D%0A~!", "ce-z: ", "Content-Type: text/plain; charset=\"x\""])
        #expect(all.first == "ce-specversion: 1.0")
    }

    @Test func `a message of its own tells where and when it was added`() {
        let far = CloudEvent(id: StreamID(UInt64.max, 1), source: "/v1/streams/a", data: Array("{}".utf8))
        #expect(structured(far) == #"{"specversion":"1.0","id":"18446744073709551615-1","source":"/v1/streams/a","type":"sluice.message","datacontenttype":"application/json","data":{}}"#)
        let near = CloudEvent(id: StreamID(1_709_251_200_007, 0), source: "/v1/streams/a", data: [])
        #expect(structured(near).contains(#""time":"2024-03-01T00:00:00.007Z""#))
        #expect(SinkWire.source(of: "orders:payments/a b%é") == "/v1/streams/orders:payments%2Fa%20b%25%C3%A9")
    }
}
