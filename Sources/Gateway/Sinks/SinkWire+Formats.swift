// The formats of a sink whose body is the same for every attempt: made once, when the message is read.

import Net
import Redis
import Webhook

extension SinkWire {
    /// The body, and the headers that the format has of its own; or why the message can't have them.
    func compose(_ message: SinkMessage, _ fields: RedisCursor) {
        switch format {
        case .json, .ndjson: break  // Its body tells the attempt.
        case .cloudEvents, .cloudEventsBinary:
            write(CloudEvent(entry: fields) ?? ownEvent(message), to: message)
        case .raw(let field):
            guard let value = SinkWire.value(of: Array(field.utf8), in: fields) else {
                return message.unreadable = "it has no field \"\(printable(field))\", which is to be the body"
            }
            message.body = value
        }
    }

    /// Of a message that nobody has added.
    func composeSample(_ message: SinkMessage) {
        switch format {
        case .json, .ndjson: break
        case .cloudEvents, .cloudEventsBinary: write(ownEvent(message), to: message)
        case .raw: message.body = Array("test".utf8)
        }
    }

    private func ownEvent(_ message: SinkMessage) -> CloudEvent {
        CloudEvent(id: message.id, source: source, data: message.originalData)
    }

    private func write(_ event: CloudEvent, to message: SinkMessage) {
        guard format == .cloudEventsBinary else {
            scratch.clear()
            event.appendStructured(to: scratch)
            message.eventID = event.id
            return message.body = scratch.takeArray()
        }
        if let type = event.contentType, !SinkWire.isHeaderText(type) {
            return message.unreadable = "datacontenttype: \(type.quoted) can't be a header's value"
        }
        event.appendHeaders(to: &message.headers)
        message.body = event.binaryData
    }

    /// `/v1/streams/{s}` as a URI-reference: what a path's segment may hold stays as it is (RFC 3986 §3.3).
    static func source(of stream: String) -> String {
        let kept = Set("!$&'()*+,;=:@".utf8)
        return "/v1/streams/" + stream.utf8.map { kept.contains($0) ? String(UnicodeScalar($0)) : [$0].percentEncoded }.joined()
    }
}

extension SinkDefinition {
    /// The Content-Type of every request; nil: each message has its own.
    var contentTypeHeader: String? {
        switch format {
        case .json: "application/json"
        case .ndjson: "application/x-ndjson"
        case .cloudEvents: isBatched ? "application/cloudevents-batch+json" : "application/cloudevents+json"
        case .cloudEventsBinary: nil
        case .raw: contentType
        }
    }
}
