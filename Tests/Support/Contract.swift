// openapi.yaml as tests hold replies against it: the status is one that the call may answer, the type and the
// body are as its schema says and have no member that it does not name, headers that must be there are, and
// nothing undocumented is.

import Foundation
import Yams

package struct Contract: Sendable {
    struct Header: Sendable {
        var isRequired: Bool
        var schema: JSONSchema
    }

    struct Answer: Sendable {
        /// By media type; empty: no body.
        var content: [String: JSONSchema]
        /// By lower-case name.
        var headers: [String: Header]
    }

    struct Operation: Sendable {
        var name: String
        /// Segments; one that begins with `{` is any.
        var template: [String]
        var queryNames: Set<String>
        /// By status, or `default`.
        var answers: [String: Answer]
    }

    /// The repository's own.
    package static let shared = Result { try Contract(yaml: String(contentsOf: place, encoding: .utf8)) }

    private static var place: URL {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
            .appending(path: "openapi.yaml")
    }

    package let definitions: JSONSchema.Definitions
    /// By method, in capitals.
    let operations: [String: [Operation]]
    private let yaml: String

    package init(yaml: String) throws {
        self.yaml = yaml
        let reader = try DocumentReader(yaml)
        definitions = try reader.definitions()
        operations = try reader.operations()
    }

    /// What the document gives as examples, each with the schema that stands beside it. Those of bodies that are no
    /// JSON are left out.
    package func examples() throws -> [(place: String, value: JSON, schema: JSONSchema)] {
        try DocumentReader(yaml).examples()
    }

    // MARK: Judging

    /// What is wrong with a reply to a call; empty: nothing.
    package func violations(of reply: Reply, to method: String, _ target: String) -> [String] {
        let path = target.prefix { $0 != "?" }
        let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        let method = method.uppercased()
        let operation = operation(method == "HEAD" ? "GET" : method, segments)
        guard let operation else { return violationsWithoutOperation(reply, method, segments) }
        guard let answer = operation.answers["\(reply.status)"] ?? operation.answers["default"] else {
            return ["\(operation.name) may not answer \(reply.status)"]
        }
        var wrong = violations(of: reply, answer, hasBody: method != "HEAD")
        if operation.answers["\(reply.status)"] == nil && reply.status < 400 {
            wrong = ["\(operation.name) may not answer \(reply.status)"]
        }
        if method == "GET" || method == "HEAD", reply.headers["cache-control"] != "no-store" {
            wrong.append("an answer to \(method) comes with Cache-Control: no-store")
        }
        if reply.status < 300 {
            for name in Contract.queryNames(target) where !operation.queryNames.contains(name) {
                wrong.append("the parameter '\(name)' was taken, and is not documented")
            }
        }
        return wrong.map { "\(operation.name): \($0)" }
    }

    /// What is wrong with a problem whose request was no well-formed call.
    package func violationsOfProblem(_ reply: Reply) -> [String] {
        let schema = definitions["#/components/schemas/Problem"]
        guard let schema else { return ["there is no schema Problem"] }
        return bodyViolations(reply, "application/problem+json", schema) + problemViolations(reply)
    }

    private func violationsWithoutOperation(_ reply: Reply, _ method: String, _ segments: [String]) -> [String] {
        let isKnown = operations.values.joined().contains { Contract.matches($0.template, segments) }
        switch (method, isKnown, reply.status) {
        case ("OPTIONS", true, 204):
            return reply.headers["allow"] == nil ? ["OPTIONS answers with Allow"] : []
        case (_, true, 405):
            return (reply.headers["allow"] == nil ? ["405 comes with Allow"] : []) + violationsOfProblem(reply)
        case (_, _, 400...): return method == "HEAD" ? [] : violationsOfProblem(reply)
        default: return ["\(method) /\(segments.joined(separator: "/")) is in no document, and answers \(reply.status)"]
        }
    }

    /// Every call's `operationId`.
    package var operationNames: Set<String> { Set(operations.values.joined().map(\.name)) }

    /// The call that a request is.
    package func operationName(_ method: String, _ target: String) -> String? {
        let path = target.prefix { $0 != "?" }
        return operation(method, path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init))?.name
    }

    private func operation(_ method: String, _ segments: [String]) -> Operation? {
        let found = operations[method, default: []].filter { Contract.matches($0.template, segments) }
        // Literal segments go before parameters, from the left.
        return found.max { a, b in
            for (a, b) in zip(a.template, b.template) where a.hasPrefix("{") != b.hasPrefix("{") { return a.hasPrefix("{") }
            return false
        }
    }

    private static func matches(_ template: [String], _ segments: [String]) -> Bool {
        template.count == segments.count && zip(template, segments).allSatisfy { $0 == $1 || $0.hasPrefix("{") && !$1.isEmpty }
    }

    private static func queryNames(_ target: String) -> [String] {
        guard let mark = target.firstIndex(of: "?") else { return [] }
        return target[target.index(after: mark)...].split(separator: "&").map { String($0.prefix { $0 != "=" }) }
    }

    private func violations(of reply: Reply, _ answer: Answer, hasBody: Bool) -> [String] {
        var wrong = headerViolations(reply, answer)
        guard hasBody else { return wrong }
        let type = reply.headers["content-type"] ?? ""
        if answer.content.isEmpty {
            if !reply.body.isEmpty { wrong.append("\(reply.status) has no body, and has one of \(reply.body.count) bytes") }
        } else if let schema = answer.content[type] {
            wrong += bodyViolations(reply, type, schema)
            if type == "application/problem+json" { wrong += problemViolations(reply) }
        } else {
            wrong.append("\(reply.status) is \(answer.content.keys.sorted().joined(separator: " or ")), not '\(type)'")
        }
        return wrong
    }

    private func bodyViolations(_ reply: Reply, _ type: String, _ schema: JSONSchema) -> [String] {
        guard reply.headers["content-type"] == type else { return ["the reply is not \(type)"] }
        var value = JSON.string(reply.text)
        if type.hasSuffix("json") {
            guard reply.body.last == UInt8(ascii: "\n") else { return ["the body does not end in a line feed"] }
            // What is no JSON is told as such.
            guard let read = try? JSON(parsing: reply.body) else { return ["the body is no JSON: \(reply.text.prefix(200))"] }
            value = read
        }
        return schema.violations(of: value, definitions, isClosed: true).map { "\(reply.status) \($0)" }
    }

    /// What ties a problem's members to its reply.
    private func problemViolations(_ reply: Reply) -> [String] {
        let problem = reply.json
        var wrong: [String] = []
        if problem["status"].integer != reply.status { wrong.append("the problem says another status than \(reply.status)") }
        if problem["type"].string != "/docs/errors#\(reply.code ?? "")" { wrong.append("the problem's type is not its code's") }
        if problem["request_id"].string != reply.headers["x-request-id"] { wrong.append("request_id is not X-Request-Id") }
        if [429, 503].contains(reply.status) && reply.headers["retry-after"] == nil { wrong.append("\(reply.status) comes with Retry-After") }
        return wrong
    }

    /// What HTTP itself says, and the document's preamble of every call.
    private static let commonHeaders: Set<String> = [
        "date", "content-type", "content-length", "transfer-encoding", "connection", "keep-alive", "cache-control",
        "x-request-id", "server", "vary", "access-control-allow-origin", "access-control-expose-headers",
    ]

    private func headerViolations(_ reply: Reply, _ answer: Answer) -> [String] {
        var wrong: [String] = []
        for (name, header) in answer.headers.sorted(by: { $0.key < $1.key }) {
            guard let text = reply.headers[name] else {
                if header.isRequired { wrong.append("\(reply.status) comes with \(name)") }
                continue
            }
            let value = Int(text).map { JSON.integer($0) } ?? .string(text)
            let isRight = [value, .string(text)].contains { header.schema.violations(of: $0, definitions, isClosed: true).isEmpty }
            if !isRight { wrong.append("\(name): '\(text)' is not as documented") }
        }
        for name in reply.headers.keys.sorted() where !Contract.commonHeaders.contains(name) && answer.headers[name] == nil {
            wrong.append("\(reply.status) comes with an undocumented header \(name)")
        }
        return wrong
    }
}

/// Reads the document; `$ref`s of parameters, headers and responses are followed, those of schemas kept.
private struct DocumentReader {
    private let document: Node

    init(_ yaml: String) throws {
        guard let document = try Yams.compose(yaml: yaml) else { throw JSONSchema.Defect(description: "openapi.yaml is empty") }
        self.document = document
    }

    func examples() throws -> [(place: String, value: JSON, schema: JSONSchema)] { try examples(in: document, "#") }

    private func examples(in node: Node, _ place: String) throws -> [(place: String, value: JSON, schema: JSONSchema)] {
        if case .sequence(let elements) = node { return try elements.enumerated().flatMap { try examples(in: $1, "\(place)/\($0)") } }
        guard case .mapping(let members) = node else { return [] }
        let isBody = place.contains("/content/")
        if let schema = node["schema"], !isBody || place.hasSuffix("json") || place.hasSuffix("urlencoded") {
            let schema = try JSONSchema(schema, at: place)
            let values = [node["example"]] + (node["examples"]?.mapping ?? [:]).map { $1["value"] }
            return values.compactMap { $0 }.map { (place, JSON($0), schema) }
        }
        return try members.flatMap { try examples(in: $1, "\(place)/\($0.string ?? "?")") }
    }

    func definitions() throws -> JSONSchema.Definitions {
        var definitions: JSONSchema.Definitions = [:]
        for (name, node) in document["components"]?["schemas"]?.mapping ?? [:] {
            let place = "#/components/schemas/\(name.string ?? "?")"
            definitions[place] = try JSONSchema(node, at: place)
        }
        return definitions
    }

    func operations() throws -> [String: [Contract.Operation]] {
        let methods = ["get", "put", "post", "delete", "patch"]
        var operations: [String: [Contract.Operation]] = [:]
        for (path, item) in document["paths"]?.mapping ?? [:] {
            for (method, node) in item.mapping ?? [:] where methods.contains(method.string ?? "") {
                let operation = try operation(path.string ?? "?", item, node)
                operations[method.string?.uppercased() ?? "", default: []].append(operation)
            }
        }
        return operations
    }

    private func operation(_ path: String, _ item: Node, _ node: Node) throws -> Contract.Operation {
        let name = node["operationId"]?.string ?? path
        var queryNames: Set<String> = []
        for parameter in Array(item["parameters"]?.sequence ?? []) + Array(node["parameters"]?.sequence ?? []) {
            let parameter = try resolve(parameter)
            if let schema = parameter["schema"] { _ = try JSONSchema(schema, at: "\(name)/\(parameter["name"]?.string ?? "?")") }
            if parameter["in"]?.string == "query", let name = parameter["name"]?.string { queryNames.insert(name) }
        }
        for (type, content) in node["requestBody"]?["content"]?.mapping ?? [:] {
            if let schema = content["schema"] { _ = try JSONSchema(schema, at: "\(name)/\(type.string ?? "?")") }
        }
        var answers: [String: Contract.Answer] = [:]
        for (status, answer) in node["responses"]?.mapping ?? [:] {
            let status = status.string ?? "?"
            answers[status] = try self.answer(try resolve(answer), "\(name)/\(status)")
        }
        let template = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map(String.init)
        return Contract.Operation(name: name, template: template, queryNames: queryNames, answers: answers)
    }

    private func answer(_ node: Node, _ place: String) throws -> Contract.Answer {
        var answer = Contract.Answer(content: [:], headers: [:])
        for (type, content) in node["content"]?.mapping ?? [:] {
            guard let type = type.string, let schema = content["schema"] else { continue }
            answer.content[type] = try JSONSchema(schema, at: "\(place)/\(type)")
        }
        for (name, header) in node["headers"]?.mapping ?? [:] {
            let header = try resolve(header)
            guard let name = name.string, let schema = header["schema"] else { continue }
            answer.headers[name.lowercased()] = Contract.Header(
                isRequired: header["required"]?.bool ?? false, schema: try JSONSchema(schema, at: "\(place)/\(name)"))
        }
        return answer
    }

    private func resolve(_ node: Node) throws -> Node {
        guard let reference = node["$ref"]?.string else { return node }
        let target = reference.dropFirst(2).split(separator: "/").reduce(document as Node?) { $0?[String($1)] }
        guard let target else { throw JSONSchema.Defect(description: "\(reference) leads nowhere") }
        return target
    }
}
