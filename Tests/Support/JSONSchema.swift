// JSON Schema (draft 2020-12), the part that openapi.yaml uses. A keyword that is not known here is an error
// when the schema is read: what is not looked at must not look as if it held.

import Foundation
package import Yams

package struct JSONSchema: Sendable {
    package struct Defect: Error, CustomStringConvertible {
        package let description: String
    }

    private enum Rest: Sendable {
        case allowed
        case forbidden
        case schema([JSONSchema])
    }

    /// The target of `$ref`; what stands beside it holds too.
    private(set) var reference: String?
    private var types: [String]?
    /// Of `enum` and `const`.
    private var allowed: [JSON]?
    private var all: [JSONSchema] = []
    private var any: [JSONSchema] = []
    private var one: [JSONSchema] = []

    private var properties: [String: JSONSchema]?
    private var required: [String] = []
    private var additional: Rest?
    private var memberCount = 0...Int.max

    private var items: [JSONSchema] = []
    private var firstItems: [JSONSchema] = []
    private var itemCount = 0...Int.max

    private var pattern: NSRegularExpression?
    private var length = 0...Int.max
    private var minimum: Double?
    private var maximum: Double?

    // MARK: Reading

    /// What says something about a value and forbids none.
    private static let remarks: Set<String> = ["description", "title", "example", "examples", "default", "deprecated"]
    /// Formats are remarks (2020-12, §7.2.1); a misspelt one is not.
    private static let formats: Set<String> = ["uri-reference", "uri", "int64", "date-time", "byte", "binary"]

    /// - Parameter place: for what goes wrong.
    package init(_ node: Node, at place: String) throws {
        guard let members = node.mapping else { throw Defect(description: "\(place): a schema is a mapping") }
        for (key, value) in members {
            let name = key.string ?? "?"
            let here = "\(place)/\(name)"
            switch name {
            case "$ref": reference = value.string
            case "type": types = try JSONSchema.types(value, here)
            case "enum": allowed = value.sequence?.map { JSON($0) }
            case "const": allowed = [JSON(value)]
            case "allOf": all = try JSONSchema.list(value, here)
            case "anyOf": any = try JSONSchema.list(value, here)
            case "oneOf": one = try JSONSchema.list(value, here)
            case "properties":
                properties = [:]
                for (name, schema) in value.mapping ?? [:] {
                    let name = name.string ?? "?"
                    properties?[name] = try JSONSchema(schema, at: "\(here)/\(name)")
                }
            case "required": required = value.sequence?.compactMap(\.string) ?? []
            case "additionalProperties":
                if let flag = value.bool { additional = flag ? .allowed : .forbidden }
                else { additional = .schema([try JSONSchema(value, at: here)]) }
            case "minProperties": memberCount = try JSONSchema.number(value, here)...memberCount.upperBound
            case "maxProperties": memberCount = memberCount.lowerBound...(try JSONSchema.number(value, here))
            case "items": items = [try JSONSchema(value, at: here)]
            case "prefixItems": firstItems = try JSONSchema.list(value, here)
            case "minItems": itemCount = try JSONSchema.number(value, here)...itemCount.upperBound
            case "maxItems": itemCount = itemCount.lowerBound...(try JSONSchema.number(value, here))
            case "pattern": pattern = try NSRegularExpression(pattern: value.string ?? "")
            case "minLength": length = try JSONSchema.number(value, here)...length.upperBound
            case "maxLength": length = length.lowerBound...(try JSONSchema.number(value, here))
            case "minimum": minimum = try JSONSchema.bound(value, here)
            case "maximum": maximum = try JSONSchema.bound(value, here)
            case "format":
                guard JSONSchema.formats.contains(value.string ?? "") else {
                    throw Defect(description: "\(here): '\(value.string ?? "?")' is no format that is known")
                }
            default:
                guard JSONSchema.remarks.contains(name) else {
                    throw Defect(description: "\(here): a keyword that the tests do not know")
                }
            }
        }
    }

    private static func types(_ node: Node, _ place: String) throws -> [String] {
        let names = node.sequence?.compactMap(\.string) ?? node.string.map { [$0] } ?? []
        let known = ["null", "boolean", "integer", "number", "string", "array", "object"]
        guard !names.isEmpty, names.allSatisfy(known.contains) else { throw Defect(description: "\(place): no type") }
        return names
    }

    private static func list(_ node: Node, _ place: String) throws -> [JSONSchema] {
        guard let nodes = node.sequence, nodes.count > 0 else { throw Defect(description: "\(place): a list of schemas") }
        return try nodes.enumerated().map { try JSONSchema($1, at: "\(place)/\($0)") }
    }

    private static func number(_ node: Node, _ place: String) throws -> Int {
        guard let number = node.int else { throw Defect(description: "\(place): no whole number") }
        return number
    }

    private static func bound(_ node: Node, _ place: String) throws -> Double {
        guard let number = node.float else { throw Defect(description: "\(place): no number") }
        return number
    }

    // MARK: Judging

    /// The schemas that references name.
    package typealias Definitions = [String: JSONSchema]

    /// What is wrong with a value, each with its place; empty: nothing.
    /// - Parameter isClosed: a member that no schema names is wrong too, wherever a schema names any: what a
    ///   server sends is to be told.
    package func violations(of value: JSON, _ definitions: Definitions, isClosed: Bool, at place: String = "") -> [String] {
        var judge = Judge(definitions: definitions, isClosed: isClosed)
        judge.root(value, self, place)
        return judge.wrong
    }

    /// One look at a value, with all that it finds.
    private struct Judge {
        let definitions: Definitions
        let isClosed: Bool
        var wrong: [String] = []
        /// The members of the object at hand that a schema names; nil while none names any.
        var named: Set<String>?

        mutating func root(_ value: JSON, _ schema: JSONSchema, _ place: String) {
            let outer = named
            named = nil
            look(value, schema, place)
            if isClosed, let named {
                for name in value.members.subtracting(named).sorted() { wrong.append("\(place)/\(name): an undocumented member") }
            }
            named = outer
        }

        private mutating func look(_ value: JSON, _ schema: JSONSchema, _ place: String) {
            if let reference = schema.reference {
                guard let target = definitions[reference] else {
                    wrong.append("\(place): \(reference) leads nowhere")
                    return
                }
                look(value, target, place)
            }
            if let types = schema.types, !types.contains(where: value.isOf(type:)) {
                wrong.append("\(place): \(value.brief) is not of type \(types.joined(separator: " or "))")
                return
            }
            if let allowed = schema.allowed, !allowed.contains(value) {
                wrong.append("\(place): \(value.brief) is none of \(allowed.map(\.brief).joined(separator: ", "))")
            }
            for part in schema.all { look(value, part, place) }
            choose(value, schema.any, place, exactlyOne: false)
            choose(value, schema.one, place, exactlyOne: true)
            switch value {
            case .object(let members): look(members, schema, place)
            case .array(let elements): look(elements, schema, place)
            case .string(let text): look(text, schema, place)
            case .integer(let number): look(Double(number), schema, place)
            case .number(let number): look(number, schema, place)
            case .null, .boolean: break
            }
        }

        private mutating func choose(_ value: JSON, _ choices: [JSONSchema], _ place: String, exactlyOne: Bool) {
            guard !choices.isEmpty else { return }
            var matches: [Judge] = []
            var refusals: [String] = []
            for choice in choices {
                var judge = Judge(definitions: definitions, isClosed: isClosed)
                judge.look(value, choice, place)
                if judge.wrong.isEmpty { matches.append(judge) } else { refusals.append(judge.wrong.joined(separator: "; ")) }
            }
            if matches.isEmpty {
                wrong.append("\(place): \(value.brief) is none of what it may be: \(refusals.joined(separator: " | "))")
            } else if exactlyOne && matches.count > 1 {
                wrong.append("\(place): \(value.brief) is \(matches.count) of what it may be one of")
            }
            for case let names? in matches.map(\.named) { named = (named ?? []).union(names) }
        }

        private mutating func look(_ members: [String: JSON], _ schema: JSONSchema, _ place: String) {
            if !schema.memberCount.contains(members.count) { wrong.append("\(place): \(members.count) members") }
            for name in schema.required where members[name] == nil { wrong.append("\(place): '\(name)' is missing") }
            if let properties = schema.properties { named = (named ?? []).union(properties.keys) }
            for (name, value) in members.sorted(by: { $0.key < $1.key }) {
                let here = "\(place)/\(name)"
                if let property = schema.properties?[name] {
                    root(value, property, here)
                    continue
                }
                switch schema.additional {
                case nil: break
                case .allowed: named = (named ?? []).union([name])
                case .forbidden:
                    named = (named ?? []).union([name])
                    wrong.append("\(here): a member that may not be there")
                case .schema(let rest):
                    named = (named ?? []).union([name])
                    root(value, rest[0], here)
                }
            }
        }

        private mutating func look(_ elements: [JSON], _ schema: JSONSchema, _ place: String) {
            if !schema.itemCount.contains(elements.count) { wrong.append("\(place): \(elements.count) elements") }
            for (index, element) in elements.enumerated() {
                let part = index < schema.firstItems.count ? schema.firstItems[index] : schema.items.first
                if let part { root(element, part, "\(place)/\(index)") }
            }
        }

        private mutating func look(_ text: String, _ schema: JSONSchema, _ place: String) {
            if !schema.length.contains(text.unicodeScalars.count) { wrong.append("\(place): \(text.unicodeScalars.count) characters") }
            let whole = NSRange(text.startIndex..., in: text)
            if let pattern = schema.pattern, pattern.firstMatch(in: text, range: whole) == nil {
                wrong.append("\(place): '\(text)' is not as \(pattern.pattern)")
            }
        }

        private mutating func look(_ number: Double, _ schema: JSONSchema, _ place: String) {
            if let minimum = schema.minimum, number < minimum { wrong.append("\(place): \(number) is below \(minimum)") }
            if let maximum = schema.maximum, number > maximum { wrong.append("\(place): \(number) is above \(maximum)") }
        }
    }
}

extension JSON {
    /// What YAML (1.2's core schema, as JSON has it) says.
    package init(_ node: Node) {
        switch node {
        case .mapping(let members):
            self = .object(Dictionary(members.map { ($0.string ?? "?", JSON($1)) }) { first, _ in first })
        case .sequence(let elements): self = .array(elements.map { JSON($0) })
        case .scalar(let scalar):
            if scalar.style != .plain && scalar.style != .any { self = .string(scalar.string) }
            else if ["true", "false"].contains(scalar.string) { self = .boolean(scalar.string == "true") }
            else if ["", "~", "null"].contains(scalar.string) { self = .null }
            else if let integer = Int(scalar.string) { self = .integer(integer) }
            else if let number = Double(scalar.string) { self = .number(number) }
            else { self = .string(scalar.string) }
        case .alias: preconditionFailure("Yams puts the anchor's value in an alias' place.")
        }
    }

    fileprivate func isOf(type: String) -> Bool {
        switch self {
        case .null: type == "null"
        case .boolean: type == "boolean"
        case .integer: type == "integer" || type == "number"
        case .number(let number): type == "number" || type == "integer" && number == number.rounded()
        case .string: type == "string"
        case .array: type == "array"
        case .object: type == "object"
        }
    }

    /// For a sentence.
    var brief: String {
        switch self {
        case .null: "null"
        case .boolean(let boolean): "\(boolean)"
        case .integer(let number): "\(number)"
        case .number(let number): "\(number)"
        case .string(let text): "'\(text.prefix(80))'"
        case .array(let elements): "an array of \(elements.count)"
        case .object(let members): "an object of \(members.keys.sorted().joined(separator: ", "))"
        }
    }
}
