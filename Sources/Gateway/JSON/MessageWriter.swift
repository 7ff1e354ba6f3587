// Stream entries as JSON (API.md §1, "A message"), straight from Redis' reply: nothing is decoded in between.

import Crypto
import Glibc
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

    /// Names compared with one another up to here; beyond, by a set.
    private static let comparedNames = 16

    private enum Shape { case object, pairs, base64Object, base64Pairs }

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
        guard entries.kind == .array else {
            entries.skip()
            return body.append(literal: "null")
        }
        let start = body.count
        var fields = entries.takeArray()!
        let again = fields
        let repeats = hasRepeatedName(fields)
        let shape: Shape = asPairs || repeats ? .pairs : .object
        if write(&fields, shape) { return }
        body.truncate(to: start)  // Something is not UTF-8: the whole message is base64.
        fields = again
        _ = write(&fields, shape == .object ? .base64Object : .base64Pairs)
        body.append(literal: ",\"encoding\":\"base64\"")
    }

    /// False when a name or value is not UTF-8: what was written so far is worthless.
    private func write(_ fields: inout RedisCursor, _ shape: Shape) -> Bool {
        let isObject = shape == .object || shape == .base64Object
        body.append(isObject ? UInt8(ascii: "{") : UInt8(ascii: "["))
        var isFirst = true
        while let name = fields.takeBytes(), let value = fields.takeBytes() {
            if !isFirst { body.append(UInt8(ascii: ",")) }
            isFirst = false
            if !isObject { body.append(UInt8(ascii: "[")) }
            if shape == .base64Object || shape == .base64Pairs {
                body.appendBase64(name)
                body.append(isObject ? UInt8(ascii: ":") : UInt8(ascii: ","))
                body.appendBase64(value)
            } else {
                guard isValidUTF8(name), isValidUTF8(value) else { return false }
                body.appendJSON(string: name)
                body.append(isObject ? UInt8(ascii: ":") : UInt8(ascii: ","))
                body.appendJSON(string: value)
            }
            if !isObject { body.append(UInt8(ascii: "]")) }
        }
        body.append(isObject ? UInt8(ascii: "}") : UInt8(ascii: "]"))
        return true
    }

    private func hasRepeatedName(_ fields: RedisCursor) -> Bool {
        let count = fields.remaining / 2
        if count < 2 || asPairs { return false }
        if count > MessageWriter.comparedNames { return hasRepeatedNameAmongMany(fields) }
        var outer = fields
        while let name = outer.takeBytes() {
            outer.skip()
            var inner = outer
            while let other = inner.takeBytes() {
                inner.skip()
                if name.isSame(as: other) { return true }
            }
        }
        return false
    }

    private func hasRepeatedNameAmongMany(_ fields: RedisCursor) -> Bool {
        var names = Set<[UInt8]>()
        var rest = fields
        while let name = rest.takeBytes() {
            rest.skip()
            if !names.insert(Array(name)).inserted { return true }
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
    func isSame(as other: UnsafeRawBufferPointer) -> Bool {
        guard count == other.count, let a = baseAddress, let b = other.baseAddress else { return count == other.count }
        return memcmp(a, b, count) == 0
    }
}
