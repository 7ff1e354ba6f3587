// What a sink puts on the wire (SINKS.md §4): body, Standard Webhooks headers, configured headers.
//
// What is the same for every message of a stream is made once; what is the same for every attempt of a message is
// made when it is read (`message`); the rest, the signature above all, anew for each attempt (`request`).

import Crypto
import Net
import Redis
import Webhook

struct SinkWire {
    /// A piece of a header's value.
    enum Piece: Equatable {
        case text(String)
        case id
        case field([UInt8])
    }

    static let userAgent = "sluice/\(GatewayMain.version)"

    let definition: SinkDefinition
    let secrets: [WebhookSecret]
    let target: TargetGuard?
    private let stream: StreamName
    private let head: [UInt8]
    private let idSeed: [UInt8]
    private let headers: [(name: String, pieces: [Piece])]

    init(_ definition: SinkDefinition, stream: String, secrets: [WebhookSecret], target: TargetGuard?) {
        self.definition = definition
        self.secrets = secrets
        self.target = target
        self.stream = StreamName(stream)
        let buffer = ByteBuffer(capacity: 256)
        buffer.append(literal: "{\"stream\":")
        buffer.appendJSON(stream)
        buffer.append(literal: ",\"group\":")
        buffer.appendJSON(definition.group)
        buffer.append(literal: ",\"id\":\"")
        head = buffer.takeArray()
        idSeed = Array("\(definition.name)\0\(stream)\0\(definition.group)\0".utf8)
        headers = definition.headers.map { header in
            (header.name, SinkWire.pieces(of: header.value, stream: stream, group: definition.group))
        }
    }

    // MARK: A message

    /// Reads the fields at the cursor and passes them.
    func message(_ id: StreamID, fields: inout RedisCursor, scratch: ByteBuffer) -> SinkMessage {
        let again = fields
        scratch.clear()
        MessageWriter(body: scratch).writeFields(&fields)
        var message = SinkMessage(id: id, fields: scratch.takeArray())
        fill(&message, again)
        return message
    }

    private func fill(_ message: inout SinkMessage, _ fields: RedisCursor) {
        for (name, pieces) in headers {
            var value: [UInt8] = []
            for piece in pieces {
                switch piece {
                case .text(let text): value += text.utf8
                case .id: value += message.id.description.utf8
                case .field(let name): value += SinkWire.value(of: name, in: fields) ?? []
                }
            }
            guard let text = SinkWire.headerText(value) else {
                return message.unreadable = "header \(name): its value has line breaks or is not UTF-8"
            }
            message.headers.append(.init(name: name, value: text))
        }
        // W3C Trace Context: passed on as it came, if it is one.
        if !isConfigured("traceparent"), let trace = SinkWire.value(of: Array("traceparent".utf8), in: fields),
            (55...512).contains(trace.count), trace.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        {
            message.headers.append(.init(name: "traceparent", value: String(decoding: trace, as: UTF8.self)))
        }
    }

    /// The first value of the field `name`.
    private static func value(of name: [UInt8], in entry: RedisCursor) -> [UInt8]? {
        var entry = entry
        guard var fields = entry.takeArray() else { return nil }
        while let other = fields.takeBytes(), let value = fields.takeBytes() {
            if other.elementsEqual(name) { return Array(value) }
        }
        return nil
    }

    /// RFC 9110 §5.5: CR, LF and NUL would end the header, or worse.
    private static func headerText(_ value: [UInt8]) -> String? {
        guard !value.contains(where: { $0 == 0x0D || $0 == 0x0A || $0 == 0 }) else { return nil }
        return String(validating: value, as: UTF8.self)
    }

    private func isConfigured(_ name: String) -> Bool { headers.contains { $0.name.lowercased() == name } }

    // MARK: An attempt

    func request(_ message: SinkMessage, deliveryCount: Int, wallTime: Duration) -> WebhookRequest {
        let body = body(message, deliveryCount: deliveryCount)
        let id = webhookID(message.id)
        let timestamp = Int(wallTime.components.seconds)
        var all: [(String, String)] = []
        if !isConfigured("content-type") { all.append(("Content-Type", "application/json")) }
        if !isConfigured("user-agent") { all.append(("User-Agent", SinkWire.userAgent)) }
        all += message.headers.map { ($0.name, $0.value) }
        all.append(("Sluice-Delivery-Count", String(deliveryCount)))
        all.append(("webhook-id", id))
        all.append(("webhook-timestamp", String(timestamp)))
        if !secrets.isEmpty {
            all.append(("webhook-signature", WebhookSignature.header(id: id, timestamp: timestamp, body: body, secrets: secrets)))
        }
        return WebhookRequest(
            url: definition.url, method: WebhookRequest.Method(definition.method), headers: all, body: body,
            timeout: definition.timeout, connectTimeout: definition.connectTimeout, guard: target)
    }

    func body(_ message: SinkMessage, deliveryCount: Int) -> [UInt8] {
        var body = head
        body.reserveCapacity(head.count + message.fields.count + 128)
        body += message.id.description.utf8
        body += "\",\"timestamp_ms\":\(message.id.milliseconds),\"fields\":".utf8
        body += message.fields
        body += ",\"delivery_count\":\(deliveryCount)}".utf8
        return body
    }

    /// The same for every attempt, takeover and redrive that keeps the entry's id.
    func webhookID(_ id: StreamID) -> String {
        "msg_" + Base32.encode(Digest.sha256(idSeed + id.description.utf8)).prefix(26)
    }

    // MARK: Templates

    /// `{stream}`, `{group}`, `{id}` and `{field:NAME}`; any other brace is itself.
    static func pieces(of value: String, stream: String, group: String) -> [Piece] {
        var pieces: [Piece] = []
        var text = ""
        var rest = value[...]
        while let open = rest.firstIndex(of: "{"), let close = rest[open...].firstIndex(of: "}") {
            let word = rest[rest.index(after: open)..<close]
            var piece: Piece?
            text += rest[..<open]
            switch word {
            case "stream": text += stream
            case "group": text += group
            case "id": piece = .id
            case _ where word.hasPrefix("field:"): piece = .field(Array(word.dropFirst(6).utf8))
            default: text += rest[open...close]
            }
            if let piece {
                if !text.isEmpty { pieces.append(.text(text)) }
                pieces.append(piece)
                text = ""
            }
            rest = rest[rest.index(after: close)...]
        }
        text += rest
        if !text.isEmpty { pieces.append(.text(text)) }
        return pieces
    }
}

extension WebhookRequest.Method {
    fileprivate init(_ method: SinkDefinition.Method) {
        self = switch method {
        case .post: .post
        case .put: .put
        case .patch: .patch
        }
    }
}
