// The IDs that calls take (API.md §1.5): `ms-seq`, `ms` where Redis takes that, and words for the symbols
// that a shell or a URL would garble. The symbols are taken as well.

import Redis

/// A bound of a range.
enum RangeBound: Equatable {
    case earliest, latest
    case id(StreamID, exclusive: Bool)

    /// `missingSequence`: what a bare `ms` means here: 0 for a start, the largest for an end.
    init(_ text: [UInt8], missingSequence: UInt64, _ name: String) throws(Problem) {
        switch String(decoding: text, as: UTF8.self) {
        case "earliest", "-": self = .earliest
        case "latest", "+": self = .latest
        default:
            let isExclusive = text.first == UInt8(ascii: "(")
            let id = isExclusive ? Array(text.dropFirst()) : text
            self = .id(try id.withEntryID(missingSequence: missingSequence, name), exclusive: isExclusive)
        }
    }

    /// As Redis writes it.
    var text: String {
        switch self {
        case .earliest: "-"
        case .latest: "+"
        case .id(let id, let exclusive): exclusive ? "(\(id)" : "\(id)"
        }
    }
}

/// Where a group stands: PUT and PATCH of a group.
enum GroupPosition: Equatable {
    case earliest, latest
    case id(StreamID)

    init(_ text: [UInt8], _ name: String = "id") throws(Problem) {
        switch String(decoding: text, as: UTF8.self) {
        case "earliest", "-", "0": self = .earliest
        case "latest", "$", "+": self = .latest
        default: self = .id(try text.withEntryID(missingSequence: 0, name))
        }
    }

    var text: String {
        switch self {
        case .earliest: "0-0"
        case .latest: "$"
        case .id(let id): "\(id)"
        }
    }
}

/// What a consumer reads: what nobody got yet, or its own history.
enum ReadPosition: Equatable {
    case new
    case pending(after: StreamID)

    init(_ text: [UInt8]) throws(Problem) {
        switch String(decoding: text, as: UTF8.self) {
        case "new", ">": self = .new
        case "pending", "0", "earliest", "-": self = .pending(after: .zero)
        default: self = .pending(after: try text.withEntryID(missingSequence: 0, "id"))
        }
    }
}
