// openapi.yaml as a page: what `GET /docs` shows. Everything on it is drawn from the document, so that the two
// cannot differ: each call in the document's order, then what calls share.
//
// Anchors: `#operationId`, `#tag-…`, `#response-…`, `#header-…`, `#schema-…`.

struct OpenAPIPage {
    struct Operation {
        var method: String
        var path: String
        /// The path's own member, for the parameters that its operations share.
        var item: ConfigNode
        var node: ConfigNode

        var name: String { node["operationId"]?.string ?? "\(method) \(path)" }
        var summary: String { node["summary"]?.string ?? "" }
    }

    /// The binary's own document. Made when first asked for, and once in a process: until then it costs no memory.
    static let shared = Result<HTML, ConfigError> { () throws(ConfigError) in
        try OpenAPIPage(yaml: String(decoding: Assets.openAPI, as: UTF8.self)).render()
    }

    let document: ConfigNode
    let operations: [Operation]

    init(yaml: String) throws(ConfigError) {
        let document = try ConfigNode.parse(yaml: yaml, source: "openapi.yaml")
        let methods: Set<String> = ["get", "put", "post", "delete", "patch"]
        self.document = document
        operations = (document["paths"]?.pairs ?? []).flatMap { path in
            path.value.pairs.filter { methods.contains($0.name) }.map {
                Operation(method: $0.name.uppercased(), path: path.name, item: path.value, node: $0.value)
            }
        }
    }

    func render() -> HTML {
        let info = document["info"]
        return HTML.page("\(info?["title"]?.string ?? "API") \(info?["version"]?.string ?? "")") { html in
            html.prose(info?["summary"]?.string ?? "")
            writeContents(to: &html)
            html.add("<section><h2>Rules that hold everywhere</h2>\n")
            html.prose(info?["description"]?.string ?? "")
            for scheme in document["components"]?["securitySchemes"]?.pairs ?? [] {
                html.begin("h3", id: "security-", scheme.name)
                html.add("Tokens</h3>\n")
                html.prose(scheme.value["description"]?.string ?? "")
            }
            html.add("</section>\n")
            for operation in operations { write(operation, to: &html) }
            writeShared(to: &html)
        }
    }

    /// A list of all calls, by tag.
    private func writeContents(to html: inout HTML) {
        for tag in document["tags"]?.elements ?? [] {
            let name = tag["name"]?.string ?? ""
            html.begin("h2", id: "tag-", name)
            html.text(name)
            html.add("</h2>\n")
            html.prose(tag["description"]?.string ?? "")
            html.add("<ul>")
            for operation in operations where operation.node["tags"]?.strings.first == name {
                html.add("<li>")
                html.link("#", operation.name, "\(operation.method) \(operation.path)")
                html.text(" \(operation.summary)")
                html.add("</li>\n")
            }
            html.add("</ul>\n")
        }
    }

    /// What several calls refer to.
    private func writeShared(to html: inout HTML) {
        write("Answers that calls share", of: "responses", id: "response-", to: &html) { write(answer: $0, to: &$1) }
        write("Headers", of: "headers", id: "header-", to: &html) { write(header: $0, to: &$1) }
        write("Schemas", of: "schemas", id: "schema-", to: &html) { write(schema: $0, to: &$1) }
    }

    private func write(
        _ title: StaticString, of kind: String, id prefix: StaticString, to html: inout HTML,
        _ write: (ConfigNode, inout HTML) -> Void
    ) {
        html.add("<section><h2>")
        html.add(title)
        html.add("</h2>\n")
        for component in document["components"]?[kind]?.pairs ?? [] {
            html.begin("h3", id: prefix, component.name)
            html.text(component.name)
            html.add("</h3>\n")
            write(component.value, &html)
        }
        html.add("</section>\n")
    }

    /// What a `$ref` leads to, and its name; anything else is itself. One that leads nowhere is shown as it stands.
    func resolve(_ node: ConfigNode) -> (node: ConfigNode, name: String?) {
        guard let reference = node["$ref"]?.string else { return (node, nil) }
        let steps = reference.dropFirst(2).split(separator: "/").map(String.init)
        let target = steps.reduce(document as ConfigNode?) { $0?[$1] }
        return (target ?? node, target == nil ? nil : steps.last)
    }
}
