// A message that a sink holds: what a delivery and a dead letter need of it, and no more.
//
// Everything is copied out of Redis' reply, whose memory a whole read shares: one small message that waits an hour
// for its retry must not keep a megabyte alive.

import Redis
import Webhook

/// One entry of the stream, as it is delivered. A class: it goes through many hands, and none of them changes what
/// `SinkWire` has made.
final class SinkMessage: Equatable {
    let id: StreamID
    /// The value of `fields` as JSON (API.md §1, "A message"), and, where it is base64, `,"encoding":"base64"` behind it.
    let fields: [UInt8]
    /// What is sent, where it is the same for every attempt.
    var body: [UInt8]?
    /// The configured headers with their templates filled in, and `traceparent`.
    var headers = WebhookFields()
    /// What the receiver knows it by, where that is not `id`: a CloudEvent has an ID of its own.
    var eventID: String?
    /// What it has in common with those that it goes one after the other with (`order_by`): a hash of the field's value,
    /// so that a collision costs time alone. Nil: it has no order.
    var lane: Int?
    /// Why it can't be sent at all; nil: it can.
    var unreadable: String?

    init(id: StreamID, fields: [UInt8]) { (self.id, self.fields) = (id, fields) }

    static func == (a: SinkMessage, b: SinkMessage) -> Bool {
        a.id == b.id && a.fields == b.fields && a.body == b.body && a.headers == b.headers && a.eventID == b.eventID
            && a.lane == b.lane && a.unreadable == b.unreadable
    }

    /// `original_data` of a dead letter (API.md §6).
    var originalData: [UInt8] {
        Array("{\"fields\":".utf8) + fields + [UInt8(ascii: "}")]
    }
}

/// A message as a read or a takeover brings it.
struct SinkArrival: Equatable {
    let message: SinkMessage
    /// This delivery included: what the pending list says now. Of an ordered sink, the attempts that were begun.
    let deliveryCount: Int
    /// Some other consumer, or nobody, held it before.
    let wasTakenOver: Bool
    /// Of an ordered sink, since 1970: its next attempt's time, where it waits for one.
    var due: Duration?
}

/// Why a message became a dead letter. The raw values are the field `reason` (API.md §6).
enum DeadLetterReason: String, Sendable, CaseIterable {
    case maxRetriesExceeded = "max_retries_exceeded"
    case rejected
    case unreadable
    case trimmed
    case expired
    /// The receiver said that it does not want it.
    case dropped
}
