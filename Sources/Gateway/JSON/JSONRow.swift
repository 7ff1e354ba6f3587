// A small JSON document of the gateway's own, read back from Redis: values by name. What a newer version has added
// is passed over; what is missing is nil. Nothing of a client's is read this way.

struct JSONRow {
    private let node: ConfigNode

    /// Nil for what is no JSON.
    init?(_ bytes: UnsafeRawBufferPointer) {
        do throws(JSONError) { node = try .parse(json: bytes, source: "Redis") } catch { return nil }
    }

    private init(_ node: ConfigNode) { self.node = node }

    subscript(_ name: String) -> JSONRow? { node[name].map { JSONRow($0) } }

    /// Of a list.
    var elements: [JSONRow] { node.elements.map { JSONRow($0) } }

    /// Of an object, in its order.
    var members: [(name: String, value: JSONRow)] { node.pairs.map { ($0.name, JSONRow($0.value)) } }

    var text: String? {
        guard case .scalar(let text, isQuoted: true) = node.content else { return nil }
        return text
    }

    var integer: Int? {
        guard case .scalar(let text, isQuoted: false) = node.content else { return nil }
        return Int(text)
    }

    /// Written again.
    var json: String { node.compactJSON }
}
