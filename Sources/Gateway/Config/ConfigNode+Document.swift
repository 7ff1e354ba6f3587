// A document that is shown or read back rather than obeyed: its parts by name, and its values as JSON.

import Net

extension ConfigNode {
    subscript(name: String) -> ConfigNode? { pairs.first { $0.name == name }?.value }

    /// A map's members; of anything else none.
    var pairs: [Member] {
        if case .map(let members) = content { members } else { [] }
    }

    /// A list's elements; of anything else none.
    var elements: [ConfigNode] {
        if case .list(let nodes) = content { nodes } else { [] }
    }

    var string: String? {
        if case .scalar(let text, _) = content { text } else { nil }
    }

    /// The texts of a list, or a scalar's one.
    var strings: [String] { string.map { [$0] } ?? elements.compactMap(\.string) }

    /// As JSON; what does not fit on a line has a line for each member.
    func json(indent: Int = 0) -> String {
        let line = jsonLine
        guard line.utf8.count + indent > 96 else { return line }
        let (inner, outer) = (String(repeating: " ", count: indent + 2), String(repeating: " ", count: indent))
        switch content {
        case .null, .scalar: return line
        case .list(let nodes):
            return "[\n" + nodes.map { inner + $0.json(indent: indent + 2) }.joined(separator: ",\n") + "\n\(outer)]"
        case .map(let members):
            let lines = members.map { "\(inner)\(jsonText($0.name)): \($0.value.json(indent: indent + 2))" }
            return "{\n" + lines.joined(separator: ",\n") + "\n\(outer)}"
        }
    }

    /// As JSON on one line, for eyes.
    var jsonLine: String { jsonLine(space: " ") }

    /// As JSON on one line, for machines.
    var compactJSON: String { jsonLine(space: "") }

    private func jsonLine(space: String) -> String {
        switch content {
        case .null: return "null"
        case .scalar(let text, let isQuoted): return !isQuoted && ConfigNode.isLiteral(text) ? text : jsonText(text)
        case .list(let nodes): return "[" + nodes.map { $0.jsonLine(space: space) }.joined(separator: ",\(space)") + "]"
        case .map(let members):
            let written = members.map { "\(jsonText($0.name)):\(space)\($0.value.jsonLine(space: space))" }
            return "{" + written.joined(separator: ",\(space)") + "}"
        }
    }

    /// Whether an unquoted scalar is a number or a boolean of JSON.
    private static func isLiteral(_ text: String) -> Bool {
        if text == "true" || text == "false" { return true }
        var text = text
        return text.withUTF8 { bytes in
            var reader = JSONReader(UnsafeRawBufferPointer(bytes))
            do throws(JSONError) {
                _ = try reader.number()
                try reader.end()
                return true
            } catch {
                return false
            }
        }
    }
}
