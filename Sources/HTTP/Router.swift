// From method and path to an endpoint: a tree of path segments, compared byte by byte.

/// What a template's `{…}` segments matched, in order: raw, still percent-encoded, pointing into the request's path.
public struct PathParameters {
    /// Parameters that a template may have.
    public static let limit = 4
    public private(set) var count = 0
    private var storage: (UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer, UnsafeRawBufferPointer)

    public init() {
        let none = UnsafeRawBufferPointer(start: nil, count: 0)
        storage = (none, none, none, none)
    }

    public subscript(index: Int) -> UnsafeRawBufferPointer { preconditionFailure("skeleton") }
}

public struct Router<Endpoint> {
    public enum Match {
        /// HEAD finds GET's endpoint.
        case found(Endpoint, PathParameters)
        /// An OPTIONS request that has no endpoint of its own: answer 204 with `Allow`.
        case options(allow: String)
        case methodNotAllowed(allow: String)
        case notFound
    }

    public init() {}

    /// `template`: segments beginning with `/`; `{name}` matches any one segment, an empty one too. Literal
    /// segments win over parameters.
    public mutating func add(_ method: Method, _ template: String, _ endpoint: Endpoint) {
        preconditionFailure("skeleton")
    }

    /// `path` as sent.
    public func match(_ method: Method, _ path: UnsafeRawBufferPointer) -> Match {
        preconditionFailure("skeleton")
    }

    /// Whatever the path allows, for the reply to `OPTIONS *`.
    public var allMethods: String { preconditionFailure("skeleton") }
}
