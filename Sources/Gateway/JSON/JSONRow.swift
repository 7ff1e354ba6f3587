// A small JSON document of the gateway's own, read back from Redis: values by name. What a newer version has added
// is passed over; what is missing is nil. Nothing of a client's is read this way.

struct JSONRow {
    private let node: ConfigNode

    /// Nil for what is no JSON.
    init?(_ bytes: UnsafeRawBufferPointer) {
        do throws(JSONError) { node = try .parse(json: bytes, source: "Redis") } catch { return nil }
    }

    private init(_ node: ConfigNode) { self.node = node }

    subscript(_ name: String) -> JSONRow? {
        guard case .map(let members) = node.content else { return nil }
        return members.first { $0.name == name }.map { JSONRow($0.value) }
    }

    /// Of a list.
    var elements: [JSONRow] {
        guard case .list(let nodes) = node.content else { return [] }
        return nodes.map { JSONRow($0) }
    }

    /// Of an object, in its order.
    var members: [(name: String, value: JSONRow)] {
        guard case .map(let members) = node.content else { return [] }
        return members.map { ($0.name, JSONRow($0.value)) }
    }

    var text: String? {
        guard case .scalar(let text, isQuoted: true) = node.content else { return nil }
        return text
    }

    var integer: Int? {
        guard case .scalar(let text, isQuoted: false) = node.content else { return nil }
        return Int(text)
    }

    /// Written again.
    var json: String {
        switch node.content {
        case .null: "null"
        case .scalar(let text, isQuoted: true): jsonText(text)
        case .scalar(let text, isQuoted: false): text
        case .list(let nodes): "[\(nodes.map { JSONRow($0).json }.joined(separator: ","))]"
        case .map(let members): "{\(members.map { "\(jsonText($0.name)):\(JSONRow($0.value).json)" }.joined(separator: ","))}"
        }
    }
}
