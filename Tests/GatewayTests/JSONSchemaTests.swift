// The tests' reader of JSON Schema: each keyword that openapi.yaml uses is looked at, and others are refused.

import Support
import Testing
import Yams

struct JSONSchemaTests {
    /// Each schema with a value that is as it says and one that is not.
    @Test(arguments: [
        ("{type: string}", "a", "1"), ("{type: integer}", "1", "1.5"), ("{type: number}", "1.5", "a"),
        ("{type: boolean}", "true", "'true'"), ("{type: object}", "{}", "[]"), ("{type: array}", "[]", "{}"),
        ("{type: 'null'}", "null", "0"), ("{type: [integer, 'null']}", "null", "a"),
        ("{enum: [a, 1]}", "1", "b"), ("{const: true}", "true", "false"),
        ("{pattern: '^[0-9]+-[0-9]+$'}", "1-1", "1-"), ("{minLength: 1}", "é", "''"), ("{maxLength: 1}", "é", "ab"),
        ("{minimum: 1}", "1", "0"), ("{maximum: 599}", "599", "600"),
        ("{required: [a]}", "{a: 1}", "{b: 1}"), ("{properties: {a: {type: string}}}", "{a: b}", "{a: 1}"),
        ("{additionalProperties: false, properties: {a: {}}}", "{a: 1}", "{b: 1}"),
        ("{additionalProperties: {type: integer}}", "{b: 1}", "{b: c}"),
        ("{minProperties: 1}", "{a: 1}", "{}"), ("{maxProperties: 1}", "{a: 1}", "{a: 1, b: 1}"),
        ("{items: {type: integer}}", "[1, 2]", "[1, a]"), ("{minItems: 2}", "[1, 2]", "[1]"), ("{maxItems: 1}", "[1]", "[1, 2]"),
        ("{prefixItems: [{type: string}], items: {type: integer}}", "[a, 1]", "[a, b]"),
        ("{allOf: [{minimum: 1}, {maximum: 2}]}", "2", "3"), ("{anyOf: [{type: string}, {minimum: 1}]}", "1", "0"),
        ("{oneOf: [{type: string}, {type: integer}]}", "1", "1.5"), ("{oneOf: [{minimum: 1}, {maximum: 2}]}", "3", "2"),
        ("{$ref: '#/components/schemas/ID'}", "1-1", "1"), ("{$ref: '#/components/schemas/ID', maxLength: 3}", "1-1", "1-10"),
        ("{$ref: '#/components/schemas/None'}", nil, "1"),
    ])
    func `a value is as its schema says, or is told from it`(schema: String, good: String?, bad: String) throws {
        let schema = try read(schema)
        if let good { #expect(try violations(good, schema) == []) }
        #expect(try violations(bad, schema).count == 1, "\(bad)")
    }

    @Test func `every place is told`() throws {
        let schema = try read("{properties: {a: {items: {required: [b], properties: {b: {type: string}}}}}}")
        #expect(try violations("{a: [{b: 1}, {}, {b: c}]}", schema) == [
            "/a/0/b: 1 is not of type string", "/a/1: 'b' is missing",
        ])
    }

    @Test func `what no schema names may not be there, wherever it is`() throws {
        for (schema, value, wrong) in [
            ("{properties: {a: {}}}", "{a: 1, b: 1}", "/b"),
            ("{properties: {a: {properties: {b: {}}}}}", "{a: {b: 1, c: 1}}", "/a/c"),
            ("{items: {properties: {b: {}}}}", "[{c: 1}]", "/0/c"),
            ("{allOf: [{properties: {a: {}}}, {properties: {b: {}}}]}", "{a: 1, b: 1, c: 1}", "/c"),
            ("{oneOf: [{required: [a], properties: {a: {}}}, {required: [b], properties: {b: {}}}]}", "{a: 1, c: 1}", "/c"),
        ] {
            #expect(try violations(value, read(schema)) == ["\(wrong): an undocumented member"], "\(schema)")
            #expect(try read(schema).violations(of: JSON(node(value)), [:], isClosed: false) == [])
        }
        // Members of any name, and objects of which nothing is said.
        #expect(try violations("{a: 1}", read("{additionalProperties: {type: integer}}")) == [])
        #expect(try violations("{a: 1}", read("{type: object}")) == [])
    }

    @Test(arguments: ["{unevaluatedProperties: false}", "{properties: {a: {pattren: a}}}", "{format: idd}", "{type: text}", "{oneOf: []}", "[]"])
    func `a schema that can't be looked at whole is refused`(schema: String) {
        #expect(throws: JSONSchema.Defect.self) { try read(schema) }
    }

    private func read(_ text: String) throws -> JSONSchema { try JSONSchema(node(text), at: "") }

    private func node(_ text: String) throws -> Node {
        let node = try Yams.compose(yaml: text)
        return try #require(node)
    }

    private func violations(_ value: String, _ schema: JSONSchema) throws -> [String] {
        let id = try read("{type: string, pattern: '^[0-9]+-[0-9]+$'}")
        return schema.violations(
            of: JSON(try node(value)), ["#/components/schemas/ID": id], isClosed: true)
    }
}
