// The IDs that calls take (API.md §1.5): `ms-seq`, `ms` where Redis takes that, and words for the symbols
// that a shell or a URL would garble. The symbols are taken as well.

import Net
import Redis

extension [UInt8] {
    /// These bytes as an entry's ID; a bare `ms` means sequence 0.
    func entryID(_ name: String) throws(Problem) -> StreamID {
        guard let id = withUnsafeBytes({ StreamID($0, missingSequence: 0) }) else {
            throw Problem(.invalidID, "\(name): \(quoted) is no ID; an ID looks like 1709251200000-0.")
        }
        return id
    }

    private func isOne(of words: StaticString...) -> Bool {
        withUnsafeBytes { bytes in words.contains { bytes.isSame(as: $0) } }
    }

    /// A bound of a range: an ID, `(` before an exclusive one, `earliest` or `latest`.
    func rangeBound(_ name: String) throws(Problem) -> StreamBound {
        if isOne(of: "earliest", "-") { return .earliest }
        if isOne(of: "latest", "+") { return .latest }
        let isExclusive = first == UInt8(ascii: "(")
        let text = isExclusive ? Array(dropFirst()) : self
        let id = try text.entryID(name)
        if text.contains(UInt8(ascii: "-")) {
            // Redis takes no bound that excludes all there can be.
            if isExclusive && id == (name == "start" ? .max : .zero) {
                throw Problem(.invalidID, "\(name): \(quoted) excludes every ID there can be.")
            }
            return isExclusive ? .excluding(id) : .including(id)
        }
        return isExclusive ? .excludingMillisecond(id.milliseconds) : .millisecond(id.milliseconds)
    }

    /// Where a group stands: what comes after it is new.
    func groupPosition(_ name: String) throws(Problem) -> StreamGroupPosition {
        if isOne(of: "earliest", "-", "0") { return .after(.zero) }
        if isOne(of: "latest", "$", "+") { return .latest }
        return .after(try entryID(name))
    }

    /// What a consumer reads: what nobody got yet, or its own pending entries after an ID.
    func readPosition(_ name: String) throws(Problem) -> StreamGroupStart {
        if isOne(of: "new", ">") { return .new }
        if isOne(of: "pending", "0", "earliest", "-") { return .pending(after: .zero) }
        return .pending(after: try entryID(name))
    }

    /// Where a reader without a group begins: after an ID, or with what is added from now on.
    func tailStart(_ name: String) throws(Problem) -> StreamTailStart {
        if isOne(of: "latest", "$") { return .latest }
        if isOne(of: "earliest", "-") { return .after(.zero) }
        return .after(try entryID(name))
    }

    /// The ID of an entry to add: `*`, `ms-seq`, `ms-*` or `ms`.
    func addID(_ name: String) throws(Problem) -> StreamAddID {
        if isOne(of: "*") { return .automatic }
        if suffix(2) == [UInt8(ascii: "-"), UInt8(ascii: "*")] {
            return .next(milliseconds: try Array(dropLast(2)).entryID(name).milliseconds)
        }
        let id = try entryID(name)
        guard id > .zero else { throw Problem(.invalidID, "\(name): an entry's ID is above 0-0.") }
        return .exact(id)
    }
}
