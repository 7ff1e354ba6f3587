// A JSON Schema on the page: what it is on one line, then its description, then its parts. A keyword that nothing
// here knows is shown as it stands, so that nothing of a schema is hidden.

extension OpenAPIPage {
    /// Keywords that have a place of their own below.
    private static let placed: Set<String> = [
        "type", "description", "properties", "required", "items", "additionalProperties", "oneOf", "anyOf", "allOf", "$ref",
    ]

    private static let choices: [(keyword: String, words: StaticString)] = [
        ("oneOf", "One of:"), ("anyOf", "Any of:"), ("allOf", "All of:"),
    ]

    func write(schema: ConfigNode, to html: inout HTML) {
        html.add("<div>")
        defer { html.add("</div>\n") }
        if let name = resolve(schema).name { return html.link("#schema-", name, name) }
        writeLine(of: schema, to: &html)
        html.prose(schema["description"]?.string ?? "")
        if !schema.pairs.contains(where: { $0.name == "properties" }), let names = schema["required"]?.strings, !names.isEmpty {
            html.prose("Required: " + names.map { "`\($0)`" }.joined(separator: ", "))
        }
        for (keyword, words) in OpenAPIPage.choices {
            guard let parts = schema[keyword]?.elements else { continue }
            html.add("<div>")
            html.add(words)
            html.add("</div><ul>")
            for part in parts {
                html.add("<li>")
                write(schema: part, to: &html)
                html.add("</li>")
            }
            html.add("</ul>\n")
        }
        write(properties: schema, to: &html)
        if let items = schema["items"] { write(part: "Each item:", items, to: &html) }
        if let others = schema["additionalProperties"], others.string == nil { write(part: "Every other member:", others, to: &html) }
    }

    /// Type, then whatever constrains it.
    private func writeLine(of schema: ConfigNode, to html: inout HTML) {
        if let types = schema["type"]?.strings { html.element("em", types.joined(separator: " or ")) }
        if schema["additionalProperties"]?.string == "false" { html.add(" with these members only") }
        for member in schema.pairs where !OpenAPIPage.placed.contains(member.name) {
            html.text(" \(member.name) ")
            html.element("code", member.value.jsonLine)
        }
        html.add("\n")
    }

    private func write(part words: StaticString, _ schema: ConfigNode, to html: inout HTML) {
        html.add("<dl><dt>")
        html.add(words)
        html.add("</dt><dd>")
        write(schema: schema, to: &html)
        html.add("</dd></dl>\n")
    }

    private func write(properties schema: ConfigNode, to html: inout HTML) {
        guard let properties = schema["properties"]?.pairs, !properties.isEmpty else { return }
        let required = Set(schema["required"]?.strings ?? [])
        html.add("<dl>")
        for property in properties {
            html.add("<dt>")
            html.element("code", property.name)
            if required.contains(property.name) { html.add(" always there") }
            html.add("</dt><dd>")
            write(schema: property.value, to: &html)
            html.add("</dd>\n")
        }
        html.add("</dl>\n")
    }
}

extension ConfigNode {
    /// The same map but for one member.
    func without(_ name: String) -> ConfigNode {
        ConfigNode(content: .map(pairs.filter { $0.name != name }), place: place, key: key)
    }
}
