// CloudEvents 1.0 as messages: each attribute is a field of its name, the data the field `data`.
//
// Structured and batched mode (JSON Event Format 1.0.2) come as bodies, binary mode (HTTP Protocol Binding 1.0.2
// §3.1) as headers. The event's `id` is a field like the others, not the entry's ID.

import Crypto
import HTTP
import Net
import Redis

extension API {
    func addEvent(_ bytes: UnsafeRawBufferPointer, _ options: AddOptions) throws(Problem) -> Outcome {
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        var reader = JSONReader(bytes, depthLimit: limits.jsonDepth)
        let events = EventReader(options: options, fieldLimit: fieldLimit(options), scratch: scratch)
        let command = try events.command(&reader, at: .top)
        do { try reader.end() } catch { throw Problem(error) }
        return try add(command, options)
    }

    func addEvents(_ bytes: UnsafeRawBufferPointer, _ options: AddOptions) throws(Problem) -> Outcome {
        try refuseID(options)
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        var reader = JSONReader(bytes, depthLimit: limits.jsonDepth)
        let events = EventReader(options: options, fieldLimit: fieldLimit(options), scratch: scratch)
        var commands: [RedisCommand] = []
        do throws(JSONError) { try reader.enterArray() } catch { throw Problem(error) }
        while try hasNext(&reader) {
            try checkBatch(commands.count + 1)
            commands.append(try events.command(&reader, at: .element(commands.count)))
        }
        do { try reader.end() } catch { throw Problem(error) }
        guard !commands.isEmpty else { throw .body("a batch has at least one event", at: "") }
        return add(commands, options)
    }

    func addBinaryEvent(_ call: Call, _ options: AddOptions) throws(Problem) -> Outcome {
        if let coding = call.request.header("content-encoding"), !coding.equalsIgnoringCase("identity") {
            throw Problem(.unsupportedMediaType, "Content-Encoding is not taken; send the data as it is.")
        }
        guard let bytes = call.bodyAtHand(upTo: limits.bodyBytes) else {
            return call.afterBody(upTo: limits.bodyBytes, addMessages)
        }
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        let event = BinaryEvent(options: options, fieldLimit: fieldLimit(options), scratch: scratch)
        return try add(try event.command(call.request, bytes, depthLimit: limits.jsonDepth), options)
    }
}

/// What an event's attributes must be, in every mode.
struct EventAttributes {
    /// CloudEvents 1.0.2, "Required attributes".
    private static let required: [StaticString] = ["specversion", "id", "source", "type"]
    /// "Optional attributes": none of them may be empty.
    private static let optional: [StaticString] = ["datacontenttype", "dataschema", "subject", "time"]

    private var seen: Set<[UInt8]> = []
    var count: Int { seen.count }

    /// What is wrong with a name; nil when it is one, and new.
    mutating func refusal(_ name: [UInt8]) -> String? {
        let isName = !name.isEmpty && name.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
        }
        guard isName else { return "an attribute's name is of the letters a to z and digits, not \(name.quoted)" }
        guard seen.insert(name).inserted else { return "attribute \(name.quoted) is given more than once" }
        return nil
    }

    /// What is wrong with a text that an attribute shall have.
    static func refusal(_ name: [UInt8], text: UnsafeRawBufferPointer) -> String? {
        if isSame(name, "specversion"), !text.isSame(as: "1.0") { return "'specversion' is \"1.0\": other versions are not taken" }
        return isOwn(name) && text.isEmpty ? "\(name.quoted) is a string that is not empty" : nil
    }

    /// Whether it is one of the specification's own, which are all strings.
    static func isOwn(_ name: [UInt8]) -> Bool { (required + optional).contains { isSame(name, $0) } }

    /// The first required attribute that was not there.
    var missing: StaticString? {
        EventAttributes.required.first { name in !seen.contains { EventAttributes.isSame($0, name) } }
    }

    static func isSame(_ name: [UInt8], _ literal: StaticString) -> Bool {
        name.withUnsafeBytes { $0.isSame(as: literal) }
    }
}

/// Reads events in JSON.
private struct EventReader {
    let options: AddOptions
    let fieldLimit: Int
    let scratch: ByteBuffer

    func command(_ reader: inout JSONReader, at place: MessagePlace) throws(Problem) -> RedisCommand {
        var command = options.command(options.id, reserving: 512)
        var problem: Problem?
        do throws(JSONError) { problem = try copy(&reader, to: &command, at: place) } catch { throw Problem(error) }
        if let problem { throw problem }
        return command
    }

    private func copy(_ reader: inout JSONReader, to command: inout RedisCommand, at place: MessagePlace) throws(JSONError) -> Problem? {
        var attributes = EventAttributes()
        var hasData = false
        try reader.enterObject()
        while let member = try reader.nextMember() {
            let problem: Problem?
            if member == "data" || member == "data_base64" {
                let isNull = try reader.peek() == .null
                guard !hasData || isNull else {
                    return .body("an event has one 'data' or one 'data_base64'", at: "\(place)/\(member.text())")
                }
                hasData = hasData || !isNull
                problem = try copyData(&reader, isBase64: member == "data_base64", to: &command, at: place)
            } else {
                problem = try copyAttribute(member, &reader, &attributes, to: &command, at: place)
            }
            if let problem { return problem }
            guard attributes.count + (hasData ? 1 : 0) <= fieldLimit else { return .tooManyFields(fieldLimit) }
        }
        guard let missing = attributes.missing else { return nil }
        return .body("an event needs '\(missing)', a string that is not empty", at: "\(place)/\(missing)")
    }

    private func copyAttribute(
        _ member: JSONString, _ reader: inout JSONReader, _ attributes: inout EventAttributes,
        to command: inout RedisCommand, at place: MessagePlace
    ) throws(JSONError) -> Problem? {
        let kind = try reader.peek()
        if kind == .null {  // JSON Event Format §2.2: as if it were not there.
            try reader.null()
            return nil
        }
        let name = member.bytes()
        let pointer = "\(place)/" + JSONObject.pointerToken(String(decoding: name.prefix(80), as: UTF8.self))
        if let refusal = attributes.refusal(name) { return .body(refusal, at: pointer) }
        if EventAttributes.isOwn(name) && kind != .string {
            return .body("\(name.quoted) is a string that is not empty", at: pointer)
        }
        command.append(name)
        switch kind {
        case .string:
            let text = try reader.string()
            let refusal = text.bytes().withUnsafeBytes { EventAttributes.refusal(name, text: $0) }
            if let refusal { return .body(refusal, at: pointer) }
            command.append(text, scratch)
        case .number, .boolean: try command.append(value: kind, &reader, scratch)
        case .object, .array, .null:
            return .body("an attribute is a string, a number or a boolean", at: pointer)
        }
        return nil
    }

    /// Null is no data, as SDKs write it.
    private func copyData(
        _ reader: inout JSONReader, isBase64: Bool, to command: inout RedisCommand, at place: MessagePlace
    ) throws(JSONError) -> Problem? {
        let kind = try reader.peek()
        if kind == .null {
            try reader.null()
            return nil
        }
        command.append(literal: "data")
        guard isBase64 else {
            try command.append(value: kind, &reader, scratch)
            return nil
        }
        guard kind == .string, let bytes = Base64.decode(try reader.string().bytes()) else {
            return .body("'data_base64' is a string of base64 (RFC 4648 §4, padded)", at: "\(place)/data_base64")
        }
        command.append(bytes)
        return nil
    }
}

/// Reads an event whose attributes are headers and whose data is the body.
private struct BinaryEvent {
    let options: AddOptions
    let fieldLimit: Int
    let scratch: ByteBuffer

    func command(_ request: Request, _ body: UnsafeRawBufferPointer, depthLimit: Int) throws(Problem) -> RedisCommand {
        var command = options.command(options.id, reserving: 512 + body.count)
        var attributes = EventAttributes()
        for index in 0..<request.headerCount {
            let header = request.headerName(index)
            guard header.count >= 3, UnsafeRawBufferPointer(rebasing: header[..<3]).equalsIgnoringCase("ce-") else { continue }
            try append(header, request.headerValue(index), &attributes, to: &command)
        }
        if let missing = attributes.missing {
            throw .parameter("ce-\(missing)", "an event needs it, and not empty.")
        }
        let type = request.header("content-type")
        if let type {
            command.append(literal: "datacontenttype")
            command.append(type)
        }
        if !body.isEmpty { try append(body, type, to: &command, depthLimit: depthLimit) }
        guard attributes.count + (type == nil ? 0 : 1) + (body.isEmpty ? 0 : 1) <= fieldLimit else { throw .tooManyFields(fieldLimit) }
        return command
    }

    private func append(
        _ header: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer, _ attributes: inout EventAttributes,
        to command: inout RedisCommand
    ) throws(Problem) {
        let name = header.dropFirst(3).map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
        let shown = "ce-" + String(decoding: name.prefix(80), as: UTF8.self)
        if EventAttributes.isSame(name, "datacontenttype") {
            throw .parameter(shown, "the type of the data is the Content-Type.")  // HTTP Protocol Binding §3.1.1.
        }
        if EventAttributes.isSame(name, "data") { throw .parameter(shown, "the data is the body.") }
        if let refusal = attributes.refusal(name) { throw .parameter(shown, refusal + ".") }
        let text = try decoded(value, shown)
        if let refusal = text.withUnsafeBytes({ EventAttributes.refusal(name, text: $0) }) { throw .parameter(shown, refusal + ".") }
        command.append(name)
        command.append(text)
    }

    /// HTTP Protocol Binding §3.1.3.2: quotes off, as older senders write them, then one round of percent-decoding.
    private func decoded(_ value: UnsafeRawBufferPointer, _ header: String) throws(Problem) -> [UInt8] {
        scratch.clear()
        scratch.append(unquoted(value))
        let text: [UInt8]
        do throws(HTTPError) { text = try percentDecode(scratch.bytes) } catch {
            throw .parameter(header, "a '%' stands before two hexadecimal digits; write %25 for the sign itself.")
        }
        guard text.withUnsafeBytes(isValidUTF8) else { throw .parameter(header, "is UTF-8 once it is percent-decoded.") }
        return text
    }

    /// A quoted-string's text (RFC 9110 §5.6.4).
    private func unquoted(_ value: UnsafeRawBufferPointer) -> [UInt8] {
        guard value.count >= 2, value.first == UInt8(ascii: "\""), value.last == UInt8(ascii: "\"") else { return Array(value) }
        var text: [UInt8] = []
        var isEscaped = false
        for byte in value[1..<(value.count - 1)] {
            if byte == UInt8(ascii: "\\") && !isEscaped {
                isEscaped = true
            } else {
                text.append(byte)
                isEscaped = false
            }
        }
        return text
    }

    /// The same as in structured mode: JSON is compact, a JSON string its text; the rest is as it is.
    private func append(
        _ body: UnsafeRawBufferPointer, _ type: UnsafeRawBufferPointer?, to command: inout RedisCommand, depthLimit: Int
    ) throws(Problem) {
        command.append(literal: "data")
        guard let type, MediaType.parse(type).type.isJSONType else { return command.append(body) }
        var reader = JSONReader(body, depthLimit: depthLimit)
        do throws(JSONError) {
            try command.append(value: try reader.peek(), &reader, scratch)
            try reader.end()
        } catch {
            throw Problem(error)
        }
    }
}

extension Request {
    /// Whether it is an event in binary mode: told by the attributes that each must have, unless the media type says
    /// that the whole event is in the body (HTTP Protocol Binding §3).
    var isBinaryEvent: Bool {
        guard headerCount("ce-specversion") + headerCount("ce-id") + headerCount("ce-source") + headerCount("ce-type") > 0
        else { return false }
        guard let type = header("content-type").map({ MediaType.parse($0).type }) else { return true }
        let structured: StaticString = "application/cloudevents"  // Other formats among them, which are 415 then.
        let start = UnsafeRawBufferPointer(rebasing: type.prefix(structured.utf8CodeUnitCount))
        return !start.equalsIgnoringCase(structured)
    }
}

extension UnsafeRawBufferPointer {
    /// `application/json`, `text/json`, `…+json` (RFC 6839 §3.1).
    var isJSONType: Bool {
        if equalsIgnoringCase("application/json") || equalsIgnoringCase("text/json") { return true }
        return count > 5 && UnsafeRawBufferPointer(rebasing: self[(count - 5)...]).equalsIgnoringCase("+json")
    }
}
