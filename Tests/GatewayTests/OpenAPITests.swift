// openapi.yaml is the route table and the problem codes, spelled out: here they are held against each other.

import Foundation
import HTTP
import Testing
import Yams

@testable import Gateway

struct OpenAPITests {
    /// The file on disk, and what it says.
    private let file: Data
    private let document: Node

    init() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        file = try Data(contentsOf: root.appending(path: "openapi.yaml"))
        document = try #require(try Yams.compose(yaml: String(decoding: file, as: UTF8.self)))
    }

    @Test func `the calls are those of the route table, in its order`() throws {
        let routes = Route.all.map { "\($0.method.name.description.lowercased()) \($0.path) \($0.name)" }
        let calls = try operations.map { "\($0.method) \($0.path) \($0.node["operationId"]?.string ?? "?")" }
        #expect(calls == routes)
    }

    @Test func `each call asks for the token that the route table asks for`() throws {
        for (route, operation) in zip(Route.all, try operations) {
            let security = try #require(operation.node["security"]?.sequence, "\(route.name)")
            let scopes = security.first?["bearerAuth"]?.sequence?.compactMap(\.string)
            switch route.access {
            case .open, .page: #expect(security.isEmpty, "\(route.name)")
            case .anyToken: #expect(scopes == [], "\(route.name)")
            case .scope(let scope): #expect(scopes == [scope.rawValue], "\(route.name)")
            }
        }
    }

    @Test func `each call names its path's parameters`() throws {
        for operation in try operations {
            let inPath = operation.path.split(separator: "/").filter { $0.hasPrefix("{") }.map { $0.dropFirst().dropLast() }
            let parameters = try (operation.item["parameters"]?.sequence).map { try $0.map(resolve) } ?? []
            #expect(parameters.map { $0["name"]?.string } == inPath.map(String.init), "\(operation.path)")
            #expect(parameters.allSatisfy { $0["in"] == "path" && $0["required"]?.bool == true }, "\(operation.path)")
        }
    }

    @Test func `the problem codes are those that the gateway has, and each is some call's answer`() throws {
        let codes = ProblemCode.allCases.map(\.rawValue)
        #expect(document["components"]?["schemas"]?["ProblemCode"]?["enum"]?.sequence?.compactMap(\.string) == codes)
        var answered: Set<String> = []
        for operation in try operations {
            for (status, response) in try #require(operation.node["responses"]?.mapping) {
                let told = try self.codes(of: response)
                answered.formUnion(told)
                guard let status = status.string.flatMap(Int.init), status >= 400 else { continue }
                #expect(!told.isEmpty, "\(operation.path) \(status)")
                for code in told {
                    // A transfer coding that is not known is 501, and a malformed request all the same.
                    let isOther = status == 501 && code == ProblemCode.invalidRequest.rawValue
                    #expect(isOther || ProblemCode(rawValue: code)?.status == status, "\(operation.path) \(status) \(code)")
                }
            }
        }
        #expect(answered == Set(codes))
    }

    @Test func `every reference leads somewhere`() throws {
        let references = references(in: document)
        #expect(references.count > 100)
        for reference in Set(references) { _ = try #require(try target(of: reference), "\(reference)") }
    }

    @Test func `the version is the gateway's`() {
        #expect(document["info"]?["version"]?.string == GatewayMain.version)
    }

    @Test func `the copy in the binary is the file`() {
        #expect(Data(Assets.openAPI) == file, "stale: touch Sources/CAssets/assets.S, as deploy/setup does")
    }

    // MARK: Reading the document

    private typealias Operation = (method: String, path: String, item: Node, node: Node)

    private var operations: [Operation] {
        get throws {
            let methods: Set<String> = ["get", "put", "post", "delete", "options", "head", "patch", "trace"]
            var operations: [Operation] = []
            for (path, item) in try #require(document["paths"]?.mapping) {
                for (method, node) in try #require(item.mapping) {
                    guard let path = path.string, let method = method.string, methods.contains(method) else { continue }
                    operations.append((method, path, item, node))
                }
            }
            return operations
        }
    }

    /// The problem codes that a response's schema leaves possible.
    private func codes(of response: Node) throws -> [String] {
        let schema = try resolve(response)["content"]?["application/problem+json"]?["schema"]
        for part in schema?["allOf"]?.sequence ?? [] {
            guard let code = part["properties"]?["code"] else { continue }
            return code["enum"]?.sequence?.compactMap(\.string) ?? code["const"]?.string.map { [$0] } ?? []
        }
        return []
    }

    private func resolve(_ node: Node) throws -> Node {
        guard let reference = node["$ref"]?.string else { return node }
        return try #require(try target(of: reference), "\(reference)")
    }

    /// `#/components/…`; no name here holds a slash or a tilde.
    private func target(of reference: String) throws -> Node? {
        try #require(reference.hasPrefix("#/"))
        return reference.dropFirst(2).split(separator: "/").reduce(document as Node?) { $0?[String($1)] }
    }

    private func references(in node: Node) -> [String] {
        switch node {
        case .mapping(let mapping):
            mapping.flatMap { name, value in name == "$ref" ? [value.string ?? "?"] : references(in: value) }
        case .sequence(let sequence): sequence.flatMap { references(in: $0) }
        default: []
        }
    }
}
