// Percent-encoding (RFC 3986 §2.1) of paths, queries and forms, decoded once.

public import Net

/// Appends the decoded bytes to `output`. `+` is a plus unless `plusIsSpace` (forms only). `%` without two
/// hex digits is `malformedPercentEncoding`.
public func percentDecode(
    _ raw: UnsafeRawBufferPointer, into output: ByteBuffer, plusIsSpace: Bool = false
) throws(HTTPError) {
    preconditionFailure("skeleton")
}

/// The same as a fresh array.
public func percentDecode(_ raw: UnsafeRawBufferPointer, plusIsSpace: Bool = false) throws(HTTPError) -> [UInt8] {
    preconditionFailure("skeleton")
}

/// The pairs of a query or of a form, in order. Empty pairs (`a=1&&b=2`) are skipped.
///
///     for pair in PairSequence(request.query, .query) { if pair.hasName("count") … }
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
        public func hasName(_ name: StaticString) -> Bool { preconditionFailure("skeleton") }
        public func decodedName() throws(HTTPError) -> [UInt8] { try percentDecode(name, plusIsSpace: kind == .form) }
        /// Empty when there is no `=`.
        public func decodedValue() throws(HTTPError) -> [UInt8] {
            guard let value else { return [] }
            return try percentDecode(value, plusIsSpace: kind == .form)
        }
    }

    public init(_ raw: UnsafeRawBufferPointer, _ kind: Kind) { preconditionFailure("skeleton") }

    public mutating func next() -> Pair? { preconditionFailure("skeleton") }
}
