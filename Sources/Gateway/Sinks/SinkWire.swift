// What a sink puts on the wire (SINKS.md §4): body, Standard Webhooks headers, configured headers.
//
// What is the same for every message of a stream is made once (`endpoint`); what is the same for every attempt of a
// message is made when it is read (`message`); the rest, the signature above all, anew for each attempt (`request`).

import Crypto
import Net
import Redis
import Webhook

/// A class: many references, which a copy would count.
final class SinkWire {
    /// A piece of a header's value.
    enum Piece: Equatable {
        case text(String)
        case id
        case field([UInt8])
    }

    static let userAgent = "sluice/\(GatewayMain.version)"

    let secrets: [WebhookSecret]
    let format: SinkDefinition.Format
    /// A request has several messages, and none of their headers.
    let isBatched: Bool
    /// Where an event says it comes from.
    let source: String
    /// With the headers that are the same for every message.
    let endpoint: WebhookEndpoint
    /// What a body begins with.
    private let head: [UInt8]
    /// Of what a message is, all but its id.
    private let identity: PrefixedSHA256
    private let text = ByteBuffer(capacity: 64)
    let scratch = ByteBuffer(capacity: 2048)
    /// Configured headers that depend on the message.
    private let templates: [(name: String, pieces: [Piece])]
    private let passesTrace: Bool
    private let order: SinkDefinition.Order

    init(_ definition: SinkDefinition, stream: String, resources: SinkResources) {
        secrets = resources.secrets
        order = definition.orderBy
        format = definition.format
        isBatched = definition.isBatched
        source = SinkWire.source(of: stream)
        let buffer = ByteBuffer(capacity: 256)
        buffer.append(literal: "{\"stream\":")
        buffer.appendJSON(stream)
        buffer.append(literal: ",\"group\":")
        buffer.appendJSON(definition.group)
        buffer.append(literal: ",\"id\":\"")
        head = buffer.takeArray()
        identity = PrefixedSHA256(Array("\(definition.name)\0\(stream)\0\(definition.group)\0".utf8))
        var (fixed, templates): ([(String, String)], [(String, [Piece])]) = ([], [])
        for header in definition.headers {
            let pieces = SinkWire.pieces(of: header.value, stream: stream, group: definition.group)
            switch pieces.first {
            case nil: fixed.append((header.name, ""))
            case .text(let text) where pieces.count == 1: fixed.append((header.name, text))
            default: templates.append((header.name, pieces))
            }
        }
        self.templates = templates
        let names = Set(definition.headers.map { $0.name.lowercased() })
        passesTrace = !names.contains("traceparent") && !definition.isBatched
        if !names.contains("content-type"), let type = definition.contentTypeHeader { fixed.append(("Content-Type", type)) }
        if !names.contains("user-agent") { fixed.append(("User-Agent", SinkWire.userAgent)) }
        if let authorization = resources.authorization, !definition.authorizationMayChange { fixed.append(("Authorization", authorization)) }
        endpoint = WebhookEndpoint(
            url: definition.url, method: WebhookRequest.Method(definition.method), headers: fixed,
            timeout: definition.timeout, connectTimeout: definition.connectTimeout, guard: resources.target,
            http2: definition.httpVersion == .two, tls: resources.tls,
            keptBodyBytes: definition.isBatched ? 4096 + 128 * definition.batch.maxMessages : nil)
    }

    // MARK: A message

    /// Reads the fields at the cursor and passes them.
    func message(_ id: StreamID, fields: inout RedisCursor, scratch: ByteBuffer) -> SinkMessage {
        let again = fields
        scratch.clear()
        MessageWriter(body: scratch).writeFields(&fields)
        let message = SinkMessage(id: id, fields: scratch.takeArray())
        message.lane = lane(again)
        fill(message, again)
        if format != .json, message.unreadable == nil { compose(message, again) }
        if message.headers.byteCount > SinkLimits.headerBytes, message.unreadable == nil {
            message.unreadable = "its headers would be \(message.headers.byteCount) bytes; \(SinkLimits.headerBytes) can be sent"
        }
        return message
    }

    /// A message that nobody has added, for a test: it says so in a field and in a header.
    func sample(_ id: StreamID) -> SinkMessage {
        let message = SinkMessage(id: id, fields: Array("{\"sluice\":\"test\"}".utf8))
        for (name, pieces) in templates {
            let texts = pieces.map { piece in
                switch piece {
                case .text(let text): text
                case .id: id.description
                case .field: ""
                }
            }
            message.headers.append(name, texts.joined())
        }
        composeSample(message)
        Array("true".utf8).withUnsafeBytes { message.headers.append(own: "Sluice-Test", $0) }
        return message
    }

    private func fill(_ message: SinkMessage, _ fields: RedisCursor) {
        for (name, pieces) in templates {
            var value: [UInt8] = []
            for piece in pieces {
                switch piece {
                case .text(let text): value += text.utf8
                case .id: value += message.id.description.utf8
                case .field(let name): value += SinkWire.value(of: name, in: fields) ?? []
                }
            }
            guard let text = SinkWire.headerText(value) else {
                return message.unreadable = "header \(name): its value has control characters or is not UTF-8"
            }
            message.headers.append(name, text)
        }
        // W3C Trace Context: passed on as it came, if it is one.
        if passesTrace, let trace = SinkWire.value(of: SinkWire.traceparent, in: fields),
            (55...512).contains(trace.count), trace.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        {
            trace.withUnsafeBytes { message.headers.append(own: "traceparent", $0) }
        }
    }

    private func lane(_ fields: RedisCursor) -> Int? {
        switch order {
        case .none: nil
        case .stream: 0
        case .field(let name): SinkWire.value(of: Array(name.utf8), in: fields)?.hashValue
        }
    }

    private static let traceparent = Array("traceparent".utf8)

    /// The first value of the field `name`.
    static func value(of name: [UInt8], in entry: RedisCursor) -> [UInt8]? {
        var entry = entry
        guard var fields = entry.takeArray() else { return nil }
        while let other = fields.takeBytes(), let value = fields.takeBytes() {
            if other.elementsEqual(name) { return Array(value) }
        }
        return nil
    }

    /// RFC 9110 §5.5: CR, LF and NUL would end the header, or worse; the other control characters are invalid too.
    static func isHeaderText(_ value: [UInt8]) -> Bool {
        value.allSatisfy { $0 >= 0x20 && $0 != 0x7F || $0 == 0x09 }
    }

    private static func headerText(_ value: [UInt8]) -> String? {
        isHeaderText(value) ? String(validating: value, as: UTF8.self) : nil
    }

    // MARK: An attempt

    /// - Parameter authorization: the value of the header, where it is none of the endpoint's.
    func request(_ message: SinkMessage, deliveryCount: Int, wallTime: Duration, authorization: String? = nil) -> WebhookRequest {
        if isBatched || format == .ndjson {
            let key = SinkState.Key(stream: 0, id: message.id)
            return request(
                [.init(key: key, message: message, deliveryCount: deliveryCount)], wallTime: wallTime, authorization: authorization)
        }
        let body = message.body ?? body(message, deliveryCount)
        return request(message.headers, body, deliveryCount: deliveryCount, wallTime: wallTime, authorization: authorization) {
            writeWebhookID(text(of: message.id), into: $0)
        }
    }

    /// With several messages, of which one has headers only where it is alone by definition.
    func request(_ parcels: [SinkState.Parcel], wallTime: Duration, authorization: String? = nil) -> WebhookRequest {
        if format != .ndjson { scratch.append(UInt8(ascii: "[")) }
        var separator = false
        for parcel in parcels {
            if separator && format != .ndjson { scratch.append(UInt8(ascii: ",")) }
            separator = true
            if let body = parcel.message.body { scratch.append(body) } else { append(parcel.message, parcel.deliveryCount) }
            if format == .ndjson { scratch.append(UInt8(ascii: "\n")) }
        }
        if format != .ndjson { scratch.append(UInt8(ascii: "]")) }
        let body = scratch.takeArray()
        for parcel in parcels {
            if !scratch.isEmpty { scratch.append(UInt8(0)) }
            scratch.append(text(of: parcel.message.id))
        }
        defer { scratch.clear() }
        let count = parcels.reduce(1) { max($0, $1.deliveryCount) }
        return request(parcels[0].message.headers, body, deliveryCount: count, wallTime: wallTime, authorization: authorization) {
            writeWebhookID(scratch.bytes, into: $0)
        }
    }

    private func request(
        _ fields: WebhookFields, _ body: [UInt8], deliveryCount: Int, wallTime: Duration, authorization: String?,
        writeID: (UnsafeMutableRawBufferPointer) -> Void
    ) -> WebhookRequest {
        let timestamp = wallTime.milliseconds / 1000
        var fields = fields
        fields.reserve(192 + 64 * secrets.count)
        fields.append(own: "Sluice-Delivery-Count", decimal(deliveryCount))
        fields.append(own: "webhook-timestamp", decimal(timestamp))
        withUnsafeTemporaryAllocation(byteCount: SinkWire.idLength, alignment: 1) { room in
            writeID(room)
            let id = UnsafeRawBufferPointer(room)
            fields.append(own: "webhook-id", id)
            guard !secrets.isEmpty else { return }
            let signature = WebhookSignature.header(
                id: String(decoding: id, as: UTF8.self), timestamp: timestamp, body: body, secrets: secrets)
            Array(signature.utf8).withUnsafeBytes { fields.append(own: "webhook-signature", $0) }
        }
        if let authorization { fields.append("Authorization", authorization) }
        return WebhookRequest(to: endpoint, fields: fields, body: body)
    }

    private func body(_ message: SinkMessage, _ deliveryCount: Int) -> [UInt8] {
        append(message, deliveryCount)
        return scratch.takeArray()
    }

    private func append(_ message: SinkMessage, _ deliveryCount: Int) {
        scratch.append(head)
        scratch.append(text(of: message.id))
        scratch.append(literal: "\",\"timestamp_ms\":")
        scratch.append(decimal: message.id.milliseconds)
        scratch.append(literal: ",\"fields\":")
        scratch.append(message.fields)
        scratch.append(literal: ",\"delivery_count\":")
        scratch.append(decimal: deliveryCount)
        scratch.append(UInt8(ascii: "}"))
    }

    /// `msg_` and 26 digits.
    private static let idLength = 30

    /// The same for every attempt, takeover and redrive that keeps the entry's id; of several messages, for every attempt
    /// with the same ones in the same order (`ids` are joined by NUL).
    private func writeWebhookID(_ ids: UnsafeRawBufferPointer, into room: UnsafeMutableRawBufferPointer) {
        room.copyBytes(from: "msg_".utf8)
        withUnsafeTemporaryAllocation(byteCount: 32, alignment: 8) { digest in
            identity.digest(ids, into: digest)
            Base32.encode(UnsafeRawBufferPointer(digest), into: UnsafeMutableRawBufferPointer(rebasing: room[4...]))
        }
    }

    // Both are good until the next of them.

    private func text(of id: StreamID) -> UnsafeRawBufferPointer {
        text.clear()
        text.append(decimal: id.milliseconds)
        text.append(UInt8(ascii: "-"))
        text.append(decimal: id.sequence)
        return text.bytes
    }

    private func decimal(_ number: Int) -> UnsafeRawBufferPointer {
        text.clear()
        text.append(decimal: number)
        return text.bytes
    }

    // MARK: Templates

    /// What may stand between braces; any other brace is itself.
    private enum Template {
        case stream, group, id
        case field(Substring)

        init?(_ word: Substring) {
            switch word {
            case "stream": self = .stream
            case "group": self = .group
            case "id": self = .id
            case _ where word.hasPrefix("field:"): self = .field(word.dropFirst(6))
            default: return nil
            }
        }
    }

    static func pieces(of value: String, stream: String, group: String) -> [Piece] {
        var pieces: [Piece] = []
        var text = ""
        var rest = value[...]
        while let open = rest.firstIndex(of: "{") {
            text += rest[..<open]
            rest = rest[rest.index(after: open)...]
            guard let close = rest.firstIndex(of: "}"), let template = Template(rest[..<close]) else {
                text += "{"
                continue
            }
            rest = rest[rest.index(after: close)...]
            let piece: Piece
            switch template {
            case .stream:
                text += stream
                continue
            case .group:
                text += group
                continue
            case .id: piece = .id
            case .field(let name): piece = .field(Array(name.utf8))
            }
            if !text.isEmpty { pieces.append(.text(text)) }
            pieces.append(piece)
            text = ""
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
