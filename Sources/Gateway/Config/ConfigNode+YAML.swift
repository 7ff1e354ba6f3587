// The one place that knows Yams (and, through it, Foundation): YAML text in, our own tree out.

import Yams

extension ConfigNode {
    /// The document in `text`; an empty one is an empty map. `source` is its path, for errors.
    static func parse(yaml text: String, source: String) throws(ConfigError) -> ConfigNode {
        let start = ConfigPlace(source: source, line: 1)
        do {
            guard let root = try Yams.compose(yaml: text) else {
                return ConfigNode(content: .map([]), place: start, key: "")
            }
            let node = ConfigNode(root, source: source, key: "")
            return node.isNull ? ConfigNode(content: .map([]), place: start, key: "") : node
        } catch let error as YamlError {
            throw ConfigError(problems: [problem(error, source)])
        } catch {
            throw ConfigError(problems: [ConfigProblem(place: start, key: "", reason: "not YAML: \(error)")])
        }
    }

    private init(_ node: Node, source: String, key: String) {
        self.key = key
        place = ConfigPlace(source: source, line: node.mark?.line)
        switch node {
        case .scalar(let scalar):
            let isQuoted = scalar.style != .plain && scalar.style != .any
            let isNull = !isQuoted && ["", "~", "null"].contains(scalar.string)
            content = isNull ? .null : .scalar(scalar.string, isQuoted: isQuoted)
        case .sequence(let sequence):
            content = .list(sequence.enumerated().map { ConfigNode($1, source: source, key: "\(key)[\($0)]") })
        case .mapping(let mapping):
            content = .map(mapping.map { name, value in
                let name = (name: name.scalar?.string ?? "?", line: name.mark?.line)
                return Member(
                    name: name.name, place: ConfigPlace(source: source, line: name.line),
                    value: ConfigNode(value, source: source, key: key.isEmpty ? name.name : "\(key).\(name.name)"))
            })
        case .alias:
            content = .null  // Yams puts the anchor's value in an alias' place; it keeps none when composing.
        }
    }

    private static func problem(_ error: YamlError, _ source: String) -> ConfigProblem {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _), .composer(_, let problem, let mark, _):
            ConfigProblem(place: ConfigPlace(source: source, line: mark.line), key: "", reason: "not YAML: \(problem)")
        case .duplicatedKeysInMapping(let duplicates, let context):
            ConfigProblem(
                place: ConfigPlace(source: source, line: context.mark.line), key: "",
                reason: "given twice: \(duplicates.map(printable).joined(separator: ", "))")
        default:
            ConfigProblem(place: ConfigPlace(source: source), key: "", reason: "not YAML: \(printable("\(error)"))")
        }
    }
}
