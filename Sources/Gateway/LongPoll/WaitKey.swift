// Who waits, for what, and why a wait may end for good.

/// One parked request. Its top 16 bits name the loop that holds the connection.
struct WaiterID: Hashable, Sendable, Comparable {
    let raw: UInt64

    init(loop: Int, number: UInt64) { raw = UInt64(loop) << 48 | number }
    var loop: Int { Int(raw >> 48) }
    static func < (a: WaiterID, b: WaiterID) -> Bool { a.raw < b.raw }
}

/// What is waited for: a group's next message, or, without a group, whatever is added to the stream.
struct WaitKey: Hashable, Sendable {
    let stream: StreamName
    /// Nil for readers without a group (`after=`): each of them gets every message.
    let group: GroupName?
}

/// Why waiters are sent away for good.
enum WaitEnd: Sendable, Equatable {
    case streamGone, groupGone, notAStream
}
