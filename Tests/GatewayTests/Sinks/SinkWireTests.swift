// What a sink puts on the wire, and where its secrets come from.

import Glibc
import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis
@testable import Webhook

@Suite(.blocking) struct SinkWireTests {
    private func wire(_ change: (inout SinkDefinition) -> Void = { _ in }) throws -> SinkWire {
        var definition = SinkDefinition(name: "pay")
        definition.url = "https://example.org/"
        change(&definition)
        return SinkWire(definition, stream: "orders", resources: try SinkResources(definition))
    }

    private let message = SinkMessage(id: StreamID(1_709_251_200_000, 3), fields: Array(#"{"a":"b"}"#.utf8))

    @Test func `templates name stream, group, id and fields, and leave other braces alone`() {
        func pieces(_ value: String) -> [SinkWire.Piece] { SinkWire.pieces(of: value, stream: "s", group: "g") }
        #expect(pieces("plain") == [.text("plain")])
        #expect(pieces("{stream}/{group}:{id}") == [.text("s/g:"), .id])
        #expect(pieces("a{field:x y}b{other}{") == [.text("a"), .field(Array("x y".utf8)), .text("b{other}{")])
        #expect(pieces(#"{"a":{"b":"{id}"}}"#) == [.text(#"{"a":{"b":""#), .id, .text(#""}}"#)])
        #expect(pieces("") == [])
    }

    // python3: base64.b32encode(hashlib.sha256(b'pay\0orders\0sink:pay\0' + b'1709251200000-3').digest())[:26]
    @Test func `the webhook-id is the digest of what the message is`() throws {
        for attempt in 1...2 {
            let headers = try wire().request(message, deliveryCount: attempt, wallTime: .zero).headers
            #expect(headers.first { $0.0 == "webhook-id" }?.1 == "msg_6TYJPTMKE34RP6XYSCJBW2JKG3")
        }
    }

    @Test func `configured headers win over our own, and nothing is signed without a secret`() throws {
        let request = try wire { $0.headers = [.init(name: "content-type", value: "text/x"), .init(name: "User-Agent", value: "me")] }
            .request(message, deliveryCount: 2, wallTime: .milliseconds(5999))
        let names = request.headers.map { $0.0.lowercased() }
        #expect(names == ["sluice-delivery-count", "webhook-timestamp", "webhook-id", "content-type", "user-agent"])
        #expect(request.headers.map(\.1).suffix(2) == ["text/x", "me"])
        #expect(request.headers.first { $0.0 == "webhook-timestamp" }?.1 == "5")
        let own = try wire().request(message, deliveryCount: 1, wallTime: .zero)
        #expect(own.headers.first { $0.0 == "User-Agent" }?.1.hasPrefix("sluice/") == true)
    }

    @Test func `a message that can't go into a header is a dead letter, unsent`() throws {
        let rig = try RedisRig()
        var definition = SinkDefinition(name: "test")
        definition.streams = ["orders"]
        definition.start = .earliest
        definition.url = "http://receiver.example/"
        definition.headers = [.init(name: "X-Name", value: "{field:name}")]
        try rig.gateway.on { [definition] in try $0.add(definition) }
        try rig.server.run(["XADD", "orders", "1-0", "name", "a\r\nX-Evil: 1"])
        try rig.server.run(["XADD", "orders", "2-0", "name", "a", "name", "b"])
        #expect(rig.wait { $0.sinks[0].state.counters[0].deadLetters == [.unreadable: 1] })
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 1 })
        rig.gateway.on { gateway in
            #expect(gateway.outbound.requests.count == 1)
            let body = String(decoding: gateway.outbound.requests[0].body, as: UTF8.self)
            #expect(body.contains(#""fields":[["name","a"],["name","b"]],"delivery_count":1}"#))
        }
        let letter = try #require(rig.fields(try rig.send(.xrange("orders:dlq")).get()))
        #expect(letter.contains { $0 == ("original_data", #"{"fields":{"name":"a\r\nX-Evil: 1"}}"#) })
        #expect(letter.contains { $0 == ("last_status", "") })
        rig.close()
    }

    // MARK: Secrets

    private func problem(_ secret: SinkDefinition.Secret) -> String? {
        var definition = SinkDefinition(name: "pay")
        definition.secrets = [secret]
        do throws(SinkError) {
            _ = try SinkSecrets.resolve(definition)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func `secrets come from the environment and from files, and a sentence says what is wrong`() {
        let good = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        #expect(problem(.literal(good)) == nil)
        #expect(problem(.environment("SLUICE_NO_SUCH_NAME")) == "sink pay: secret 1: the environment variable SLUICE_NO_SUCH_NAME is not set")
        #expect(problem(.file("/nonexistent/key")) == "sink pay: secret 1: cannot open /nonexistent/key: No such file or directory")
        #expect(problem(.file("/tmp"))?.contains("cannot read /tmp: Is a directory") == true)
        var path = Array("/tmp/sluice-secret-XXXXXX".utf8CString)
        let file = mkstemp(&path)
        let name = String(decoding: path.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        defer { unlink(name) }
        write(file, "\(good)\n", good.utf8.count + 1)
        close(file)
        #expect(problem(.file(name)) == nil)
        truncate(name, 3)
        let short = problem(.file(name)) ?? ""
        #expect(short.contains(name) && !short.contains("whs\""))
    }
}
