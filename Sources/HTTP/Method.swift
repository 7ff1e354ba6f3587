// The request methods that the gateway knows; every other token is `other`, and its endpoint is a 405.

/// A request method (RFC 9110 §9). Case-sensitive, as the standard has it.
public enum Method: UInt8, Sendable, CaseIterable {
    case get, head, post, put, patch, delete, options, other

    /// The token as it is sent; `other` has none.
    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .patch: "PATCH"
        case .delete: "DELETE"
        case .options: "OPTIONS"
        case .other: ""
        }
    }
}
