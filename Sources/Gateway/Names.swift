// The names that Redis knows things by: bytes, seldom anything but UTF-8, and never empty.

/// A stream's key in Redis.
struct StreamName: Hashable, Sendable {
    let bytes: [UInt8]
    func hash(into hasher: inout Hasher) { hasher.combine(name: bytes) }
}

/// A consumer group of some stream.
struct GroupName: Hashable, Sendable {
    let bytes: [UInt8]
    func hash(into hasher: inout Hasher) { hasher.combine(name: bytes) }
}

/// A consumer of some group.
struct ConsumerName: Hashable, Sendable {
    let bytes: [UInt8]

    /// Holds the messages that nobody holds any more (API.md §3). Nobody may read under this name.
    static let unowned = ConsumerName("unowned")
}

extension Hasher {
    /// In one piece: an array would give its elements one by one. The length keeps a pair of names apart
    /// from another with the same bytes.
    fileprivate mutating func combine(name: [UInt8]) {
        combine(name.count)
        name.withUnsafeBytes { combine(bytes: $0) }
    }
}

extension StreamName { init(_ text: String) { bytes = Array(text.utf8) } }
extension GroupName { init(_ text: String) { bytes = Array(text.utf8) } }
extension ConsumerName { init(_ text: String) { bytes = Array(text.utf8) } }
