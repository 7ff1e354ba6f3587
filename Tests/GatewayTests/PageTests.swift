// The pages as HTML: whole, with every anchor that something leads to, and deaf to hostile text.

import HTTP
import Testing

@testable import Gateway

struct PageTests {
    private let docs: String
    private let errors = String(decoding: ErrorsPage.shared.bytes, as: UTF8.self)

    init() throws { docs = String(decoding: try OpenAPIPage.shared.get().bytes, as: UTF8.self) }

    @Test func `every call of the route table has its section, with all its parameters`() throws {
        let page = try OpenAPIPage(yaml: String(decoding: Assets.openAPI, as: UTF8.self))
        #expect(page.operations.map(\.name) == Route.all.map { "\($0.name)" })
        for operation in page.operations {
            let parts = docs.split(separator: "<section id=\"\(operation.name)\">")
            try #require(parts.count == 2, "\(operation.name)")
            let section = try #require(parts[1].split(separator: "</section>").first)
            #expect(section.contains("<code>\(operation.method) \(operation.path)</code>"))
            for parameter in (operation.item["parameters"]?.elements ?? []) + (operation.node["parameters"]?.elements ?? []) {
                let name = try #require(page.resolve(parameter).node["name"]?.string)
                #expect(section.contains("<td><code>\(name)</code>"), "\(operation.name) \(name)")
            }
            for answer in try #require(operation.node["responses"]).pairs where answer.name != "default" {
                #expect(section.contains("<dt>\(answer.name)</dt>"), "\(operation.name) \(answer.name)")
            }
        }
    }

    @Test func `every code has its section, and every text says something of its own`() {
        for code in ProblemCode.allCases {
            #expect(errors.contains("<section id=\"\(code.rawValue)\">"), "\(code)")
            #expect(code.explanation.meaning.hasSuffix(".") && code.explanation.remedy.hasSuffix("."), "\(code)")
        }
        #expect(Set(ProblemCode.allCases.map(\.explanation.meaning)).count == ProblemCode.allCases.count)
    }

    @Test func `the pages are whole, link to what is there, and load nothing`() {
        let home = String(decoding: HomePage.render(host: Array("localhost:1".utf8)).bytes, as: UTF8.self)
        let anchors = Set(values(of: "id", in: errors))
        for page in [docs, errors, home] {
            #expect(unclosed(page) == [])
            let ids = values(of: "id", in: page)
            #expect(Set(ids).count == ids.count)
            for target in values(of: "href", in: page) {
                if target.hasPrefix("#") {
                    #expect(ids.contains(String(target.dropFirst())), "\(target)")
                } else if target.hasPrefix("/docs/errors#") {
                    #expect(anchors.contains(String(target.dropFirst(13))), "\(target)")
                } else {
                    #expect(["/", "/docs", "/docs/errors", "/openapi.yaml", "/metrics"].contains(target))
                }
            }
            for loader in ["<script", "<link", "<img", "<iframe", " src=", "@import", "url("] { #expect(!page.contains(loader), "\(loader)") }
        }
    }

    @Test func `what a document says is never markup`() throws {
        let evil = "</td></script><script>alert(1)</script><img src=x onerror='y'>"
        let quoted = "'" + evil.replacing("'", with: "''") + "'"
        let page = try OpenAPIPage(yaml: """
            info: {title: \(quoted), version: \(quoted), summary: \(quoted), description: \(quoted)}
            tags: [{name: \(quoted), description: \(quoted)}]
            paths:
              \(quoted):
                parameters: [{$ref: \(quoted)}]
                get:
                  operationId: '" onload="x'
                  tags: [\(quoted)]
                  summary: \(quoted)
                  security: [{\(quoted): [\(quoted)]}]
                  parameters: [{name: \(quoted), in: \(quoted), description: \(quoted), example: \(quoted), schema: {type: \(quoted), default: \(quoted), \(quoted): \(quoted)}}]
                  requestBody: {content: {\(quoted): {schema: {$ref: \(quoted)}, example: \(quoted), examples: {a: {summary: \(quoted), value: {\(quoted): \(quoted)}}}}}}
                  responses: {\(quoted): {description: \(quoted), headers: {\(quoted): {description: \(quoted)}}}}
            components: {schemas: {\(quoted): {properties: {\(quoted): {const: \(quoted)}}}}, responses: {\(quoted): {}}, headers: {\(quoted): {}}}
            """).render()
        let text = String(decoding: page.bytes, as: UTF8.self)
        #expect(!text.contains("<script") && !text.contains("<img") && !text.contains("</script") && !text.contains("\" onload"))
        #expect(text.contains("&lt;script&gt;alert(1)"))
        #expect(unclosed(text) == [])
        let home = String(decoding: HomePage.render(host: Array("a'<script>\"".utf8)).bytes, as: UTF8.self)
        #expect(!home.contains("<script") && unclosed(home) == [])
    }

    @Test(arguments: [
        ("a\nb\n\nc", "<p>a\nb</p>\n<p>c</p>\n"),
        ("a `b<c` d", "<p>a <code>b&lt;c</code> d</p>\n"),
        ("a `b", "<p>a `b</p>\n"),
        ("`a` `b", "<p><code>a</code> `b</p>\n"),
        ("**A.** b ** c", "<p><strong>A.</strong> b ** c</p>\n"),
        ("`**a**`", "<p><code>**a**</code></p>\n"),
        ("x:\n- a `b\n  c`\n- d", "<p>x:</p>\n<ul><li>a <code>b\n  c</code></li>\n<li>d</li>\n</ul>\n"),
        ("[a](javascript:b) <b>&amp;\"'", "<p>[a](javascript:b) &lt;b&gt;&amp;amp;&quot;&#39;</p>\n"),
        ("", ""), ("\n  \n", ""),
    ]) func `a description's Markdown is paragraphs, lists, code and stress`(text: String, wanted: String) {
        var html = HTML()
        html.prose(text)
        #expect(String(decoding: html.bytes, as: UTF8.self) == wanted)
    }

    @Test func `a value is shown as the JSON that it is`() throws {
        let node = try ConfigNode.parse(yaml: #"{a: 12.50, b: "1", c: 1-0, d: true, e: "true", f: null, g: [x, {}], h: 1e3, i: +1, j: .5, k: "\"\n"}"#, source: "")
        #expect(node.jsonLine == #"{"a": 12.50, "b": "1", "c": "1-0", "d": true, "e": "true", "f": null, "g": ["x", {}], "h": 1e3, "i": "+1", "j": ".5", "k": "\"\n"}"#)
        #expect(node.json().contains("\n  \"g\": [\"x\", {}],\n"))
    }

    // MARK: Reading HTML

    /// Elements that are not closed, or closed and not open; void ones aside.
    private func unclosed(_ page: String) -> [String] {
        var open: [String] = []
        for part in page.split(separator: "<", omittingEmptySubsequences: false).dropFirst() {
            let name = String(part.prefix { $0 != ">" && $0 != " " })
            if name.hasPrefix("!") || name == "meta" { continue }
            if !name.hasPrefix("/") { open.append(name) } else if open.last == String(name.dropFirst()) { open.removeLast() } else { return open + [name] }
        }
        return open
    }

    private func values(of attribute: String, in page: String) -> [String] {
        page.split(separator: " \(attribute)=\"").dropFirst().compactMap { $0.split(separator: "\"", omittingEmptySubsequences: false).first.map(String.init) }
    }
}
