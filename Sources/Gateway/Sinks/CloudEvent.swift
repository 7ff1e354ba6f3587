// A message as a CloudEvent 1.0 (SINKS.md §4): an entry that came in as an event is that event again, any other
// becomes one whose data is the message.
//
// The way in (`API/CloudEvents.swift`) keeps texts: of a JSON string its text, of any other JSON its compact text, of an
// attribute that is a number or a boolean its literal. The way out decides by the type of the data what a text was.
// Data of a JSON type, or of none, is JSON where its text is JSON and no string (a quoted text can only have been
// inside one), else a string; so a string whose text is itself JSON, as "5", comes back as that JSON. Attributes come
// back as strings, which every attribute has a form of (CloudEvents 1.0.2, "Type System").

import Crypto
import Net
import Redis
import Webhook

struct CloudEvent {
    /// What the data is.
    enum Form {
        /// A JSON text.
        case json
        /// UTF-8, which a JSON string can hold.
        case text
        case bytes
    }

    /// In the entry's order, the data not among them. All are UTF-8, and no name comes twice.
    private(set) var attributes: [(name: [UInt8], value: [UInt8])] = []
    private(set) var data: [UInt8]?
    private(set) var form = Form.json

    var id: String? {
        attributes.first { $0.name.elementsEqual("id".utf8) }.map { String(decoding: $0.value, as: UTF8.self) }
    }

    /// Deepest JSON that the reader takes: what is nested deeper is a string here.
    private static let depthLimit = 1000

    // MARK: From an entry

    /// Nil: the entry is no event. It is one when it has what each event must have, and nothing that none can have.
    init?(entry: RedisCursor) {
        var entry = entry
        var rules = EventAttributes()
        guard var fields = entry.takeArray() else { return nil }
        while let name = fields.takeBytes(), let value = fields.takeBytes() {
            if name.isSame(as: "data") {
                guard data == nil else { return nil }
                data = Array(value)
                continue
            }
            let attribute = (name: Array(name), value: Array(value))
            guard rules.refusal(attribute.name) == nil, EventAttributes.refusal(attribute.name, text: value) == nil, isValidUTF8(value)
            else { return nil }
            attributes.append(attribute)
        }
        guard rules.missing == nil else { return nil }
        form = data.map { $0.withUnsafeBytes(form(of:)) } ?? .json
    }

    /// Of a message that is no event.
    /// - Parameters:
    ///   - source: a URI-reference.
    ///   - data: the message's JSON, `fields` and `encoding`.
    init(id: StreamID, source: String, data: [UInt8]) {
        let known: [(String, String)] = [("specversion", "1.0"), ("id", id.description), ("source", source), ("type", "sluice.message")]
        attributes = known.map { (Array($0.0.utf8), Array($0.1.utf8)) }
        if let time = CloudEvent.time(of: id) { attributes.append((Array("time".utf8), time)) }
        attributes.append((CloudEvent.dataContentType, Array("application/json".utf8)))
        self.data = data
    }

    /// RFC 3339; nil past the year 9999, which an ID may well be.
    private static func time(of id: StreamID) -> [UInt8]? {
        guard id.milliseconds < 253_402_300_800_000 else { return nil }
        let buffer = ByteBuffer(capacity: 64)
        LogLine.appendTime(to: buffer, .milliseconds(Int64(id.milliseconds)))
        return buffer.takeArray()
    }

    // MARK: Data

    private static let dataContentType = Array("datacontenttype".utf8)

    /// The type of the data; nil where none is told.
    var contentType: [UInt8]? { attributes.first { $0.name == CloudEvent.dataContentType }?.value }

    private func form(of data: UnsafeRawBufferPointer) -> Form {
        guard let contentType else { return CloudEvent.formOfJSON(data) }
        return contentType.withUnsafeBytes { header in
            let (type, charset) = MediaType.parse(header)
            if type.isJSONType { return CloudEvent.formOfJSON(data) }
            // RFC 2046 §4.5.3: a type that one does not know is bytes.
            return (charset != nil || type.isTextType) && isValidUTF8(data) ? .text : .bytes
        }
    }

    private static func formOfJSON(_ data: UnsafeRawBufferPointer) -> Form {
        var reader = JSONReader(data, depthLimit: depthLimit)
        do throws(JSONError) {
            guard try reader.peek() != .string else { return isValidUTF8(data) ? .text : .bytes }
            try reader.skip()
            try reader.end()
            return .json
        } catch {
            return isValidUTF8(data) ? .text : .bytes
        }
    }

    // MARK: Structured mode (JSON Event Format 1.0.2)

    func appendStructured(to body: ByteBuffer) {
        var mark = UInt8(ascii: "{")
        for (name, value) in attributes {
            body.append(mark)
            mark = UInt8(ascii: ",")
            name.withUnsafeBytes { body.appendJSON(string: $0) }
            body.append(UInt8(ascii: ":"))
            value.withUnsafeBytes { body.appendJSON(string: $0) }
        }
        data?.withUnsafeBytes { data in
            switch form {
            case .json:
                body.append(literal: ",\"data\":")
                body.append(data)
            case .text:
                body.append(literal: ",\"data\":")
                body.appendJSON(string: data)
            case .bytes:
                body.append(literal: ",\"data_base64\":")
                body.appendBase64(data)
            }
        }
        body.append(UInt8(ascii: "}"))
    }

    // MARK: Binary mode (HTTP Protocol Binding 1.0.2 §3.1)

    /// The data's type is the Content-Type, as it is; the others are encoded.
    func appendHeaders(to headers: inout WebhookFields) {
        for (name, value) in attributes {
            if name == CloudEvent.dataContentType {
                value.withUnsafeBytes { headers.append("Content-Type", $0) }
            } else {
                CloudEvent.headerValue(value).withUnsafeBytes { headers.append("ce-" + String(decoding: name, as: UTF8.self), $0) }
            }
        }
    }

    /// §3.1.3.2: all but U+0021 to U+007E percent-encoded, and of these `"` and `%`.
    static func headerValue(_ value: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return value.flatMap { byte -> [UInt8] in
            let isPlain = (0x21...0x7E).contains(byte) && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "%")
            return isPlain ? [byte] : [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }

    /// JSON where the type says JSON; where none is said, what was stored.
    var binaryData: [UInt8] {
        guard let data else { return [] }
        guard form == .text, contentType?.withUnsafeBytes({ MediaType.parse($0).type.isJSONType }) == true else { return data }
        let quoted = ByteBuffer(capacity: data.count + 16)
        data.withUnsafeBytes { quoted.appendJSON(string: $0) }
        return quoted.takeArray()
    }
}

extension UnsafeRawBufferPointer {
    /// Types whose data is text by what they are: `text/…`, XML, forms and YAML.
    fileprivate var isTextType: Bool {
        let tree: StaticString = "text/"
        if count > 5, UnsafeRawBufferPointer(rebasing: self[..<5]).equalsIgnoringCase(tree) { return true }
        if count > 4, UnsafeRawBufferPointer(rebasing: self[(count - 4)...]).equalsIgnoringCase("+xml") { return true }
        let others: [StaticString] = ["application/xml", "application/x-www-form-urlencoded", "application/yaml"]
        return others.contains { equalsIgnoringCase($0) }
    }
}
