// What XINFO tells, as typed rows: a flat list of names and values, in an order that differs by version.

import Net
import Redis

/// How far a group is: what XINFO GROUPS and XINFO STREAM FULL both tell of it.
struct GroupPosition {
    private(set) var name = UnsafeRawBufferPointer.empty
    private(set) var lastDeliveredID = UnsafeRawBufferPointer.empty
    /// Nil before 7.0, and where Redis can't tell.
    private(set) var entriesRead: Int64?
    private(set) var lag: Int64?

    /// Takes the value of `key`; false, and takes nothing, when it is no key of these.
    mutating func take(_ key: UnsafeRawBufferPointer, from row: inout RedisCursor) -> Bool {
        if key.isSame(as: "name") { name = row.takeBytes() ?? name }
        else if key.isSame(as: "last-delivered-id") { lastDeliveredID = row.takeBytes() ?? lastDeliveredID }
        else if key.isSame(as: "entries-read") { entriesRead = row.takeInteger() }
        else if key.isSame(as: "lag") { lag = row.takeInteger() }
        else { return false }
        return true
    }

    /// All members but the name, each with a comma before it.
    func write(to body: ByteBuffer) {
        body.append(literal: ",\"last_delivered_id\":")
        body.appendJSON(string: lastDeliveredID)
        body.append(literal: ",\"entries_read\":")
        body.append(entriesRead)
        body.append(literal: ",\"lag\":")
        body.append(lag)
    }
}

/// A row of XINFO GROUPS.
struct GroupRow {
    private(set) var position = GroupPosition()
    private(set) var consumers: Int64 = 0
    private(set) var pending: Int64 = 0

    /// Passes one row; nil at the end.
    init?(_ rows: inout RedisCursor) {
        guard var row = rows.takeArray() else { return nil }
        while let key = row.takeBytes() {
            if key.isSame(as: "consumers") { consumers = row.takeInteger() ?? 0 }
            else if key.isSame(as: "pending") { pending = row.takeInteger() ?? 0 }
            else if !position.take(key, from: &row) { row.skip() }
        }
    }

    /// The row of one group. Its pointers are good while `reply` is held.
    static func find(_ group: GroupName, in reply: RedisReply) -> GroupRow? { find(group, in: reply.elements) }

    static func find(_ group: GroupName, in rows: RedisCursor) -> GroupRow? {
        var rows = rows
        while let row = GroupRow(&rows) {
            if row.position.name.elementsEqual(group.bytes) { return row }
        }
        return nil
    }

    /// The members of the object, braces not included.
    func write(to body: ByteBuffer) {
        body.append(literal: "\"name\":")
        body.appendNameValue("name", position.name)
        body.append(literal: ",\"consumers\":")
        body.append(decimal: consumers)
        body.append(literal: ",\"pending\":")
        body.append(decimal: pending)
        position.write(to: body)
    }
}

/// A row of XINFO CONSUMERS.
struct ConsumerRow {
    var name = UnsafeRawBufferPointer.empty
    var pending: Int64 = 0
    /// Milliseconds since the consumer last tried to do something.
    var idle: Int64 = 0
    /// Milliseconds since it last did; nil before 7.2, and where it never has.
    var inactive: Int64?

    init?(_ rows: inout RedisCursor) {
        guard var row = rows.takeArray() else { return nil }
        while let key = row.takeBytes() {
            if key.isSame(as: "name") { name = row.takeBytes() ?? name }
            else if key.isSame(as: "pending") { pending = row.takeInteger() ?? 0 }
            else if key.isSame(as: "idle") { idle = row.takeInteger() ?? 0 }
            else if key.isSame(as: "inactive") { inactive = row.takeInteger().flatMap { $0 < 0 ? nil : $0 } }
            else { row.skip() }
        }
    }

    func write(to body: ByteBuffer) {
        body.append(literal: "{\"name\":")
        body.appendNameValue("name", name)
        body.append(literal: ",\"pending\":")
        body.append(decimal: pending)
        body.append(literal: ",\"idle_ms\":")
        body.append(decimal: idle)
        body.append(literal: ",\"inactive_ms\":")
        body.append(inactive)
        body.append(UInt8(ascii: "}"))
    }
}

extension ByteBuffer {
    /// A number, or `null`.
    func append(_ number: Int64?) {
        if let number { append(decimal: number) } else { append(literal: "null") }
    }

    func append(_ number: Int64) { append(decimal: number) }
}
