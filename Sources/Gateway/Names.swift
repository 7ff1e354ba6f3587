// The names that Redis knows things by: bytes, seldom anything but UTF-8, and never empty.

/// A stream's key in Redis.
struct StreamName: Hashable, Sendable {
    let bytes: [UInt8]
}

/// A consumer group of some stream.
struct GroupName: Hashable, Sendable {
    let bytes: [UInt8]
}

/// A consumer of some group.
struct ConsumerName: Hashable, Sendable {
    let bytes: [UInt8]

    /// Holds the messages that nobody holds any more (API.md §3). Nobody may read under this name.
    static let unowned = ConsumerName("unowned")
}

extension StreamName { init(_ text: String) { bytes = Array(text.utf8) } }
extension GroupName { init(_ text: String) { bytes = Array(text.utf8) } }
extension ConsumerName { init(_ text: String) { bytes = Array(text.utf8) } }
