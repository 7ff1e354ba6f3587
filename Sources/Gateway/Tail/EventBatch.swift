// Server-Sent Events as bytes (WHATWG HTML §9.2.6): made once, framed once, and shared by all who are sent them, on
// whatever loop.

import Net
import Redis

/// Events that go out together.
final class EventBatch: Sendable {
    /// One message among them, and whatever is told before it.
    struct Event: Sendable {
        let id: StreamID
        /// Where it ends in `bytes`.
        let end: Int
    }

    /// Whoever has seen everything up to here is to get all of them.
    let after: StreamID
    /// The position of a reader who has got them.
    let last: StreamID
    let events: [Event]
    /// Nobody's position is true any more: the stream was set back, and is told from its beginning.
    let isReset: Bool
    /// Whole, as one chunk of HTTP/1.1 (RFC 9112 §7.1).
    let bytes: [UInt8]
    /// The same without the chunk's frame, for HTTP/1.0.
    let payload: Range<Int>

    fileprivate init(
        _ payload: UnsafeRawBufferPointer, _ events: [Event], after: StreamID, last: StreamID, isReset: Bool = false
    ) {
        let size = Array(String(payload.count, radix: 16).utf8)
        let start = size.count + 2
        bytes = [UInt8](unsafeUninitializedCapacity: payload.count + start + 2) { room, count in
            let room = UnsafeMutableRawBufferPointer(room)
            room.copyBytes(from: size)
            EventBatch.write("\r\n", to: room, at: size.count)
            UnsafeMutableRawBufferPointer(rebasing: room[start...]).copyMemory(from: payload)
            EventBatch.write("\r\n", to: room, at: start + payload.count)
            count = start + payload.count + 2
        }
        self.payload = start..<start + payload.count
        self.events = events.map { Event(id: $0.id, end: $0.end + start) }
        (self.after, self.last, self.isReset) = (after, last, isReset)
    }

    private static func write(_ literal: StaticString, to room: UnsafeMutableRawBufferPointer, at place: Int) {
        for index in 0..<literal.utf8CodeUnitCount { room[place + index] = literal.utf8Start[index] }
    }

    /// What is no message: comments and the like. Whoever gets it stays where it is.
    static func text(_ text: String, at position: StreamID) -> EventBatch {
        of(text) { EventBatch($0, [], after: position, last: position) }
    }

    private static func of(_ text: String, _ make: (UnsafeRawBufferPointer) -> EventBatch) -> EventBatch {
        var text = text
        return text.withUTF8 { make(UnsafeRawBufferPointer($0)) }
    }

    /// A consumer's messages, which nobody else gets.
    convenience init(_ payload: UnsafeRawBufferPointer, _ ids: [StreamID]) {
        self.init(payload, ids.map { Event(id: $0, end: payload.count) }, after: .zero, last: .zero)
    }

    /// Tells that the stream's last ID is below `position`, and that it is told from its beginning.
    static func reset(from position: StreamID, last: StreamID) -> EventBatch {
        of("event: reset\nid: 0-0\ndata: {\"after\":\"\(position)\",\"last_id\":\"\(last)\"}\n\n") {
            EventBatch($0, [], after: position, last: .zero, isReset: true)
        }
    }

    /// Batches that follow one another, as one: a tail that gets several at a time is written to once.
    static func joined(_ batches: [EventBatch]) -> EventBatch {
        guard batches.count > 1, let first = batches.first, let last = batches.last else { return batches[0] }
        var payload: [UInt8] = []
        var events: [Event] = []
        for batch in batches {
            let shift = payload.count - batch.payload.lowerBound
            events += batch.events.map { Event(id: $0.id, end: $0.end + shift) }
            payload += batch.bytes[batch.payload]
        }
        return payload.withUnsafeBytes { EventBatch($0, events, after: first.after, last: last.last) }
    }

    /// The events of messages above `position`, for one who has seen some of them. Nil: all of them.
    func part(after position: StreamID) -> EventBatch? {
        var (start, seen) = (payload.lowerBound, 0)
        while seen < events.count, events[seen].id <= position {
            start = events[seen].end
            seen += 1
        }
        guard seen < events.count else { return nil }
        return bytes.withUnsafeBytes { bytes in
            EventBatch(
                UnsafeRawBufferPointer(rebasing: bytes[start..<payload.upperBound]),
                events[seen...].map { Event(id: $0.id, end: $0.end - start) }, after: position, last: last)
        }
    }
}

/// Collects the events of one batch in a borrowed buffer.
struct EventWriter {
    let buffer: ByteBuffer
    private(set) var events: [EventBatch.Event] = []
    private let messages: MessageWriter

    init(_ buffer: ByteBuffer, asPairs: Bool) {
        self.buffer = buffer
        messages = MessageWriter(body: buffer, asPairs: asPairs)
    }

    /// What was after `position` is gone up to `first`.
    func writeGap(after position: StreamID, first: StreamID) {
        buffer.append("event: gap\ndata: {\"after\":\"\(position)\",\"first\":\"\(first)\"}\n\n")
    }

    /// The entry at the cursor, which passes it.
    mutating func write(_ entries: inout RedisCursor) {
        var peek = entries
        guard let id = entries.peekID(), peek.enterArray() != nil, let text = peek.takeBytes() else { return entries.skip() }
        buffer.beginEvent(text)
        messages.write(&entries)
        buffer.append(literal: "\n\n")
        events.append(EventBatch.Event(id: id, end: buffer.count))
    }

    func batch(after position: StreamID) -> EventBatch {
        EventBatch(buffer.bytes, events, after: position, last: events.last?.id ?? position)
    }
}

extension ByteBuffer {
    /// Up to the event's data, which is one line: our JSON has no line ends.
    func beginEvent(_ id: UnsafeRawBufferPointer) {
        append(literal: "id: ")
        append(id)
        append(literal: "\ndata: ")
    }
}
