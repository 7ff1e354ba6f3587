// What XINFO STREAM tells, plain and FULL: flat lists of names and values, in an order that differs by version.
// What a version does not tell is null. Pointers and cursors are good while the reply is held.

import Net
import Redis

/// XINFO STREAM.
struct StreamInfo {
    private let reply: RedisReply
    private(set) var length: Int64 = 0
    private(set) var lastGeneratedID = UnsafeRawBufferPointer.empty
    private var radixTreeKeys: Int64 = 0
    private var radixTreeNodes: Int64 = 0
    private var groups: Int64 = 0
    // These three since 7.0.
    private var maximumDeletedID: UnsafeRawBufferPointer?
    private var entriesAdded: Int64?
    private var firstRecordedID: UnsafeRawBufferPointer?
    /// At the entry; nil in an empty stream.
    private var first: RedisCursor?
    private var last: RedisCursor?

    init(_ reply: RedisReply) {
        self.reply = reply
        var members = reply.elements
        while let key = members.takeBytes() {
            if key.isSame(as: "length") { length = members.takeInteger() ?? 0 }
            else if key.isSame(as: "radix-tree-keys") { radixTreeKeys = members.takeInteger() ?? 0 }
            else if key.isSame(as: "radix-tree-nodes") { radixTreeNodes = members.takeInteger() ?? 0 }
            else if key.isSame(as: "last-generated-id") { lastGeneratedID = members.takeBytes() ?? lastGeneratedID }
            else if key.isSame(as: "max-deleted-entry-id") { maximumDeletedID = members.takeBytes() }
            else if key.isSame(as: "entries-added") { entriesAdded = members.takeInteger() }
            else if key.isSame(as: "recorded-first-entry-id") { firstRecordedID = members.takeBytes() }
            else if key.isSame(as: "groups") { groups = members.takeInteger() ?? 0 }
            else if key.isSame(as: "first-entry") { first = StreamInfo.entry(&members) }
            else if key.isSame(as: "last-entry") { last = StreamInfo.entry(&members) }
            else { members.skip() }
        }
    }

    private static func entry(_ members: inout RedisCursor) -> RedisCursor? {
        defer { members.skip() }
        return members.kind == .array ? members : nil
    }

    /// The members of the object, braces not included.
    func write(by writer: MessageWriter) {
        let body = writer.body
        body.append(literal: "\"length\":")
        body.append(length)
        body.append(literal: ",\"radix_tree_keys\":")
        body.append(radixTreeKeys)
        body.append(literal: ",\"radix_tree_nodes\":")
        body.append(radixTreeNodes)
        body.append(literal: ",\"last_generated_id\":")
        body.appendJSON(string: lastGeneratedID)
        body.append(literal: ",\"max_deleted_entry_id\":")
        body.append(text: maximumDeletedID)
        body.append(literal: ",\"entries_added\":")
        body.append(entriesAdded)
        body.append(literal: ",\"recorded_first_entry_id\":")
        body.append(text: firstRecordedID)
        body.append(literal: ",\"groups\":")
        body.append(groups)
        body.append(literal: ",\"first_entry\":")
        StreamInfo.write(first, by: writer)
        body.append(literal: ",\"last_entry\":")
        StreamInfo.write(last, by: writer)
    }

    private static func write(_ entry: RedisCursor?, by writer: MessageWriter) {
        guard var entry else { return writer.body.append(literal: "null") }
        writer.write(&entry)
    }
}

/// What XINFO STREAM FULL tells beyond that: entries, and the groups with what they hold.
struct StreamDetails {
    private let reply: RedisReply
    private var entries: RedisCursor?
    private var groups: RedisCursor?

    init(_ reply: RedisReply) {
        self.reply = reply
        var members = reply.elements
        while let key = members.takeBytes() {
            if key.isSame(as: "entries") { entries = members.takeArray() }
            else if key.isSame(as: "groups") { groups = members.takeArray() }
            else { members.skip() }
        }
    }

    /// The members of the object, with a comma before them.
    func write(by writer: MessageWriter) {
        let body = writer.body
        body.append(literal: ",\"entries\":")
        body.appendList(entries) { writer.write(&$0) }
        body.append(literal: ",\"group_details\":")
        body.appendList(groups) { rows in
            if let group = GroupDetails(&rows) { group.write(to: body) }
        }
    }
}

/// A group of XINFO STREAM FULL.
private struct GroupDetails {
    private var position = GroupPosition()
    private var pendingCount: Int64 = 0
    private var pending: RedisCursor?
    private var consumers: RedisCursor?

    init?(_ rows: inout RedisCursor) {
        guard var row = rows.takeArray() else { return nil }
        while let key = row.takeBytes() {
            if key.isSame(as: "pel-count") { pendingCount = row.takeInteger() ?? 0 }
            else if key.isSame(as: "pending") { pending = row.takeArray() }
            else if key.isSame(as: "consumers") { consumers = row.takeArray() }
            else if !position.take(key, from: &row) { row.skip() }
        }
    }

    func write(to body: ByteBuffer) {
        body.append(literal: "{\"name\":")
        body.appendNameValue("name", position.name)
        position.write(to: body)
        body.append(literal: ",\"pel_count\":")
        body.append(pendingCount)
        body.append(literal: ",\"pending\":")
        body.appendList(pending) { $0.writePending(withConsumer: true, to: body) }
        body.append(literal: ",\"consumers\":")
        body.appendList(consumers) { rows in
            if let consumer = ConsumerDetails(&rows) { consumer.write(to: body) }
        }
        body.append(UInt8(ascii: "}"))
    }
}

/// A consumer of XINFO STREAM FULL.
private struct ConsumerDetails {
    private var name = UnsafeRawBufferPointer.empty
    private var seenTime: Int64 = 0
    /// Since 7.2; nil also where it never got anything.
    private var activeTime: Int64?
    private var pendingCount: Int64 = 0
    private var pending: RedisCursor?

    init?(_ rows: inout RedisCursor) {
        guard var row = rows.takeArray() else { return nil }
        while let key = row.takeBytes() {
            if key.isSame(as: "name") { name = row.takeBytes() ?? name }
            else if key.isSame(as: "seen-time") { seenTime = row.takeInteger() ?? 0 }
            else if key.isSame(as: "active-time") { activeTime = row.takeInteger().flatMap { $0 < 0 ? nil : $0 } }
            else if key.isSame(as: "pel-count") { pendingCount = row.takeInteger() ?? 0 }
            else if key.isSame(as: "pending") { pending = row.takeArray() }
            else { row.skip() }
        }
    }

    func write(to body: ByteBuffer) {
        body.append(literal: "{\"name\":")
        body.appendNameValue("name", name)
        body.append(literal: ",\"seen_time_ms\":")
        body.append(seenTime)
        body.append(literal: ",\"active_time_ms\":")
        body.append(activeTime)
        body.append(literal: ",\"pel_count\":")
        body.append(pendingCount)
        body.append(literal: ",\"pending\":")
        body.appendList(pending) { $0.writePending(withConsumer: false, to: body) }
        body.append(UInt8(ascii: "}"))
    }
}

extension RedisCursor {
    /// Writes the row [id, consumer (a group's rows only), delivery time, delivery count] and passes it.
    fileprivate mutating func writePending(withConsumer: Bool, to body: ByteBuffer) {
        guard var row = takeArray() else { return }
        body.append(literal: "{\"id\":")
        body.append(text: row.takeBytes())
        if withConsumer { body.appendName("consumer", row.takeBytes() ?? .empty) }
        body.append(literal: ",\"delivery_time_ms\":")
        body.append(row.takeInteger())
        body.append(literal: ",\"delivery_count\":")
        body.append(row.takeInteger())
        body.append(UInt8(ascii: "}"))
    }
}

extension ByteBuffer {
    /// A text that is UTF-8, or `null`.
    fileprivate func append(text: UnsafeRawBufferPointer?) {
        if let text { appendJSON(string: text) } else { append(literal: "null") }
    }
}
