// From method and path to an endpoint: a tree of path segments, compared byte by byte.
//
// Matching allocates nothing: parameters are stretches of the request's own path. A literal segment goes
// before a parameter; where its branch leads nowhere, the parameter's is tried.

import Net

/// What a template's `{…}` segments matched, in order: raw, still percent-encoded, pointing into the request's path.
public struct PathParameters {
    /// Parameters that a template may have.
    public static let limit = 4

    public private(set) var count = 0
    private var first = UnsafeRawBufferPointer.empty
    private var second = UnsafeRawBufferPointer.empty
    private var third = UnsafeRawBufferPointer.empty
    private var fourth = UnsafeRawBufferPointer.empty

    public init() {}

    public subscript(index: Int) -> UnsafeRawBufferPointer {
        precondition(index < count, "The route's template has fewer parameters.")
        switch index {
        case 0: return first
        case 1: return second
        case 2: return third
        default: return fourth
        }
    }

    mutating func append(_ segment: UnsafeRawBufferPointer) {
        switch count {
        case 0: first = segment
        case 1: second = segment
        case 2: third = segment
        default: fourth = segment
        }
        count += 1
    }

    mutating func removeLast() { count -= 1 }
}

public struct Router<Endpoint> {
    public enum Match {
        /// HEAD finds GET's endpoint.
        case found(Endpoint, PathParameters)
        /// An OPTIONS request to a path without an endpoint for it, or to `*`: answer 204 with `Allow`.
        case options(allow: String)
        case methodNotAllowed(allow: String)
        case notFound
    }

    /// What a template leads to.
    private struct End {
        /// By `Method.rawValue`.
        var endpoints = [Endpoint?](repeating: nil, count: Method.allCases.count)
        var allow = ""
    }

    private var tree = PathTree()
    private var ends: [End] = []

    /// What any path allows: for `OPTIONS *`, and for a method that no path can allow.
    public private(set) var allMethods = ""

    public init() {}

    /// `template`: begins with `/`; a segment `{name}` matches any one segment, an empty one too.
    public mutating func add(_ method: Method, _ template: String, _ endpoint: Endpoint) {
        precondition(method != .other, "A route's method has a name.")
        let end = tree.add(template)
        if end == ends.count { ends.append(End()) }
        precondition(ends[end].endpoints[Int(method.rawValue)] == nil, "A route is added once.")
        ends[end].endpoints[Int(method.rawValue)] = endpoint
        ends[end].allow = Router.allowed { ends[end].endpoints[Int($0.rawValue)] != nil }
        allMethods = Router.allowed { method in ends.contains { $0.endpoints[Int(method.rawValue)] != nil } }
    }

    /// `path` as sent. Percent-encoded bytes of literal segments are compared decoded.
    public func match(_ method: Method, _ path: UnsafeRawBufferPointer) -> Match {
        guard path.first == UInt8(ascii: "/") else { return .options(allow: allMethods) }  // `*`
        var parameters = PathParameters()
        guard let end = tree.find(path, &parameters) else { return .notFound }
        if let endpoint = ends[end].endpoints[Int(method.rawValue)] { return .found(endpoint, parameters) }
        if method == .head, let endpoint = ends[end].endpoints[Int(Method.get.rawValue)] {
            return .found(endpoint, parameters)
        }
        return method == .options ? .options(allow: ends[end].allow) : .methodNotAllowed(allow: ends[end].allow)
    }

    private static func allowed(_ isThere: (Method) -> Bool) -> String {
        Method.allCases
            .filter { $0 != .other && ($0 == .options || isThere($0) || ($0 == .head && isThere(.get))) }
            .map { "\($0.name)" }
            .joined(separator: ", ")
    }
}
