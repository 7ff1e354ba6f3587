// The pairs of a query or a form, read in place.

import Net

/// `a=1&b=2` pair by pair, in order. Empty pairs (`a=1&&b=2`) are skipped.
///
///     for pair in PairSequence(request.query, .query) where pair.hasName("count") { … }
public struct PairSequence: Sequence, IteratorProtocol {
    public enum Kind: Sendable {
        /// `+` is a plus.
        case query
        /// `application/x-www-form-urlencoded`: `+` is a space.
        case form
    }

    public struct Pair {
        /// Raw, still encoded.
        public let name: UnsafeRawBufferPointer
        /// Raw, still encoded; nil when there is no `=`.
        public let value: UnsafeRawBufferPointer?
        public let kind: Kind

        /// Compares the decoded name, allocating nothing. A malformed name equals none.
        public func hasName(_ name: StaticString) -> Bool {
            let text = UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount)
            return Percent.equals(self.name, text, plusIsSpace: kind == .form)
        }

        public func decodedName() throws(HTTPError) -> [UInt8] {
            try percentDecode(name, plusIsSpace: kind == .form)
        }

        /// Empty when there is no `=`.
        public func decodedValue() throws(HTTPError) -> [UInt8] {
            guard let value else { return [] }
            return try percentDecode(value, plusIsSpace: kind == .form)
        }
    }

    private let raw: UnsafeRawBufferPointer
    private let kind: Kind
    private var place = 0

    public init(_ raw: UnsafeRawBufferPointer, _ kind: Kind) {
        self.raw = raw
        self.kind = kind
    }

    public mutating func next() -> Pair? {
        while place < raw.count {
            let end = raw.firstPlace(of: UInt8(ascii: "&"), from: place) ?? raw.count
            let text = raw.part(place, end)
            place = end + 1
            guard !text.isEmpty else { continue }
            guard let equals = text.firstPlace(of: UInt8(ascii: "="), from: 0) else {
                return Pair(name: text, value: nil, kind: kind)
            }
            return Pair(name: text.part(0, equals), value: text.part(equals + 1, text.count), kind: kind)
        }
        return nil
    }
}
