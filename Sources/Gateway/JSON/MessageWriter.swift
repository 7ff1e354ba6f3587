// Stream entries as JSON (API.md §1, "A message"), straight from Redis' reply: nothing is decoded in between.

import Crypto
import Net
import Redis

/// Who held a message before this delivery.
struct DeliveryDetails {
    var deliveryCount: Int64
    var idle: Int64?
    var consumer: UnsafeRawBufferPointer?
}

struct MessageWriter {
    let body: ByteBuffer
    /// `?fields=pairs`: fields as `[["name","value"],…]` always, not only where a name is repeated.
    var asPairs = false

    /// So many names are compared one by one where their bits are alike; more, by a set.
    private static let comparedNames = 16

    private enum Shape {
        case object, pairs, base64Object, base64Pairs

        var isObject: Bool { self == .object || self == .base64Object }
        var isBase64: Bool { self == .base64Object || self == .base64Pairs }
    }

    /// Writes the entry `[id, [name, value, …]]` at the cursor and passes it. The fields of one that was
    /// deleted while it was pending are null.
    func write(_ entries: inout RedisCursor, _ details: DeliveryDetails? = nil) {
        guard entries.enterArray() == 2 else { return }
        let id = entries.takeBytes()
        write(id: id, fields: &entries, details)
    }

    /// The same for an entry whose two parts stand in the cursor one after the other.
    func write(id: UnsafeRawBufferPointer?, fields entries: inout RedisCursor, _ details: DeliveryDetails? = nil) {
        body.append(literal: "{\"id\":\"")
        if let id { body.append(id) }
        body.append(literal: "\",\"fields\":")
        writeFields(&entries)
        if let details { write(details) }
        body.append(UInt8(ascii: "}"))
    }

    private func write(_ details: DeliveryDetails) {
        body.append(literal: ",\"delivery_count\":")
        body.append(decimal: details.deliveryCount)
        if let idle = details.idle {
            body.append(literal: ",\"idle_ms\":")
            body.append(decimal: idle)
        }
        if let consumer = details.consumer { body.appendName("consumer", consumer) }
    }

    /// The value of `fields`, and `,"encoding":"base64"` behind it where that is so. Passes the fields.
    func writeFields(_ entries: inout RedisCursor) {
        let (start, before) = (body.count, entries.place)
        var shape: Shape = asPairs ? .pairs : .object
        while true {
            guard let count = entries.enterArray() else { return body.append(literal: "null") }
            switch write(&entries, pairs: count / 2, shape) {
            case .written:
                if shape.isBase64 { body.append(literal: ",\"encoding\":\"base64\"") }
                return
            case .notText: shape = shape == .object ? .base64Object : .base64Pairs
            case .repeatsName: shape = shape == .object ? .pairs : .base64Pairs
            }
            body.truncate(to: start)  // Once more from the beginning, in another shape.
            entries.goBack(to: before)
        }
    }

    private enum Written {
        case written
        /// A name or value is not UTF-8: the whole message is base64.
        case notText
        /// An object can't hold it.
        case repeatsName
    }

    /// What was written is worthless unless it is all.
    private func write(_ fields: inout RedisCursor, pairs count: Int, _ shape: Shape) -> Written {
        let first = fields.place
        if shape.isObject, count > MessageWriter.comparedNames, MessageWriter.repeatName(fields, count) { return .repeatsName }
        var names: UInt64 = 0
        body.append(shape.isObject ? UInt8(ascii: "{") : UInt8(ascii: "["))
        for place in 0..<count {
            // Names and values are texts; what is none would be written as an empty one.
            let name = fields.takeBytes() ?? .empty
            let value = fields.takeBytes() ?? .empty
            if shape.isObject, count <= MessageWriter.comparedNames {
                let bit = name.nameBit
                if names & bit != 0, MessageWriter.has(name, among: fields, from: first, place) { return .repeatsName }
                names |= bit
            }
            if place > 0 { body.append(UInt8(ascii: ",")) }
            if !shape.isObject { body.append(UInt8(ascii: "[")) }
            guard append(name, shape) else { return .notText }
            body.append(shape.isObject ? UInt8(ascii: ":") : UInt8(ascii: ","))
            guard append(value, shape) else { return .notText }
            if !shape.isObject { body.append(UInt8(ascii: "]")) }
        }
        body.append(shape.isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"))
        return .written
    }

    private func append(_ text: UnsafeRawBufferPointer, _ shape: Shape) -> Bool {
        guard shape.isBase64 else { return body.appendJSONIfUTF8(text) }
        body.appendBase64(text)
        return true
    }

    /// Whether one of the first `count` pairs, which begin at `first`, has that name.
    private static func has(
        _ name: UnsafeRawBufferPointer, among fields: RedisCursor, from first: RedisCursor.Place, _ count: Int
    ) -> Bool {
        var rest = fields
        rest.goBack(to: first)
        for _ in 0..<count {
            if let other = rest.takeBytes(), other.isSame(as: name) { return true }
            rest.skip()
        }
        return false
    }

    /// Whether two of many pairs have one name.
    private static func repeatName(_ fields: RedisCursor, _ count: Int) -> Bool {
        var names = Set<[UInt8]>()
        var rest = fields
        for _ in 0..<count {
            if let name = rest.takeBytes(), !names.insert(Array(name)).inserted { return true }
            rest.skip()
        }
        return false
    }
}

extension ByteBuffer {
    /// Quoted base64.
    func appendBase64(_ bytes: UnsafeRawBufferPointer) {
        append(UInt8(ascii: "\""))
        let room = reserve(Base64.encodedCount(bytes.count))
        wrote(Base64.encode(bytes, into: room))
        append(UInt8(ascii: "\""))
    }

    /// `,"member":"name"`; a name that is not UTF-8 comes percent-encoded, and says so (API.md §1.3).
    func appendName(_ member: StaticString, _ name: UnsafeRawBufferPointer) {
        append(literal: ",\"")
        append(literal: member)
        append(literal: "\":")
        appendNameValue(member, name)
    }

    /// The same without the comma and the member's name: for the first member of an object.
    func appendNameValue(_ member: StaticString, _ name: UnsafeRawBufferPointer) {
        if isValidUTF8(name) { return appendJSON(string: name) }
        appendJSON(Array(name).percentEncoded)
        append(literal: ",\"")
        append(literal: member)
        append(literal: "_encoding\":\"percent\"")
    }
}

extension UnsafeRawBufferPointer {
    /// A bit of a name: names without a bit in common differ.
    var nameBit: UInt64 {
        guard count > 0 else { return 1 }
        return 1 << ((UInt64(self[0]) &+ 7 &* UInt64(self[count - 1]) &+ 3 &* UInt64(truncatingIfNeeded: count)) & 63)
    }
}
