// From method and path to an endpoint: a tree of path segments, compared byte by byte.
//
// Matching allocates nothing: parameters are stretches of the request's own path. A literal segment goes
// before a parameter; where its branch leads nowhere, the parameter's is tried.

/// What a template's `{…}` segments matched, in order: raw, still percent-encoded, pointing into the request's path.
public struct PathParameters {
    /// Parameters that a template may have.
    public static let limit = 4

    public private(set) var count = 0
    private var first = PathParameters.none
    private var second = PathParameters.none
    private var third = PathParameters.none
    private var fourth = PathParameters.none

    private static var none: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }

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

    private struct Node {
        var literals: [(segment: [UInt8], node: Int)] = []
        var parameter: Int?
        /// By `Method.rawValue`; empty where no template ends.
        var endpoints: [Endpoint?] = []
        var allow = ""
    }

    private var nodes = [Node()]

    /// What any path allows: for `OPTIONS *`, and for a method that no path can allow.
    public private(set) var allMethods = ""

    public init() {}

    /// `template`: begins with `/`; a segment `{name}` matches any one segment, an empty one too.
    public mutating func add(_ method: Method, _ template: String, _ endpoint: Endpoint) {
        precondition(template.utf8.first == UInt8(ascii: "/"), "A route begins with a slash.")
        precondition(method != .other, "A route's method has a name.")
        var node = 0
        var parameters = 0
        for segment in template.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            if segment.first == UInt8(ascii: "{") {
                parameters += 1
                node = parameterChild(of: node)
            } else {
                node = literalChild(of: node, Array(segment))
            }
        }
        precondition(parameters <= PathParameters.limit, "A route has at most four parameters.")
        if nodes[node].endpoints.isEmpty { nodes[node].endpoints = Array(repeating: nil, count: Method.allCases.count) }
        precondition(nodes[node].endpoints[Int(method.rawValue)] == nil, "A route is added once.")
        nodes[node].endpoints[Int(method.rawValue)] = endpoint
        nodes[node].allow = Router.allowed { nodes[node].endpoints[Int($0.rawValue)] != nil }
        allMethods = Router.allowed { method in
            nodes.contains { !$0.endpoints.isEmpty && $0.endpoints[Int(method.rawValue)] != nil }
        }
    }

    /// `path` as sent. Percent-encoded bytes of literal segments are compared decoded.
    public func match(_ method: Method, _ path: UnsafeRawBufferPointer) -> Match {
        guard path.first == UInt8(ascii: "/") else { return .options(allow: allMethods) }  // `*`
        var parameters = PathParameters()
        guard let node = find(0, path, 1, &parameters) else { return .notFound }
        if let endpoint = nodes[node].endpoints[Int(method.rawValue)] { return .found(endpoint, parameters) }
        if method == .head, let endpoint = nodes[node].endpoints[Int(Method.get.rawValue)] {
            return .found(endpoint, parameters)
        }
        return method == .options ? .options(allow: nodes[node].allow) : .methodNotAllowed(allow: nodes[node].allow)
    }

    // MARK: The tree

    /// The node where the path from `start`, the first byte of a segment, ends; nil when no template does.
    private func find(
        _ node: Int, _ path: UnsafeRawBufferPointer, _ start: Int, _ parameters: inout PathParameters
    ) -> Int? {
        guard start <= path.count else { return nodes[node].endpoints.isEmpty ? nil : node }
        let end = path.firstPlace(of: UInt8(ascii: "/"), from: start) ?? path.count
        let segment = path.part(start, end)
        for literal in nodes[node].literals where Percent.equals(segment, literal.segment) {
            if let found = find(literal.node, path, end + 1, &parameters) { return found }
        }
        guard let child = nodes[node].parameter else { return nil }
        parameters.append(segment)
        if let found = find(child, path, end + 1, &parameters) { return found }
        parameters.removeLast()
        return nil
    }

    private mutating func parameterChild(of node: Int) -> Int {
        if let child = nodes[node].parameter { return child }
        nodes.append(Node())
        nodes[node].parameter = nodes.count - 1
        return nodes.count - 1
    }

    private mutating func literalChild(of node: Int, _ segment: [UInt8]) -> Int {
        if let child = nodes[node].literals.first(where: { $0.segment == segment }) { return child.node }
        nodes.append(Node())
        nodes[node].literals.append((segment, nodes.count - 1))
        return nodes.count - 1
    }

    private static func allowed(_ isThere: (Method) -> Bool) -> String {
        Method.allCases
            .filter { $0 != .other && ($0 == .options || isThere($0) || ($0 == .head && isThere(.get))) }
            .map { "\($0.name)" }
            .joined(separator: ", ")
    }
}
