// A call on the page: its parameters, its bodies, and what it may answer.

extension OpenAPIPage {
    func write(_ operation: Operation, to html: inout HTML) {
        html.begin("section", id: "", operation.name)
        html.add("<h3>")
        html.element("code", "\(operation.method) \(operation.path)")
        html.add("</h3>\n<p><strong>")
        html.inline(operation.summary)
        html.add("</strong> ")
        html.element("code", operation.name)
        html.text("; \(access(operation)).")
        html.add("</p>\n")
        html.prose(operation.node["description"]?.string ?? "")
        let parameters = (operation.item["parameters"]?.elements ?? []) + (operation.node["parameters"]?.elements ?? [])
        if !parameters.isEmpty { write(parameters: parameters, to: &html) }
        if let body = operation.node["requestBody"] {
            let body = resolve(body).node
            html.add("<h4>Body</h4>\n")
            html.prose((body["required"]?.string == "true" ? "" : "Optional. ") + (body["description"]?.string ?? ""))
            write(content: body["content"], to: &html)
        }
        html.add("<h4>Answers</h4>\n<dl>")
        for answer in operation.node["responses"]?.pairs ?? [] {
            html.element("dt", answer.name == "default" ? "Any call" : answer.name)
            html.add("<dd>")
            write(answer: answer.value, to: &html)
            html.add("</dd>\n")
        }
        html.add("</dl></section>\n")
    }

    /// Whose token it takes.
    private func access(_ operation: Operation) -> String {
        guard let scheme = operation.node["security"]?.elements.first?.pairs.first else { return "needs no token" }
        let scopes = scheme.value.strings.joined(separator: ", ")
        return scopes.isEmpty ? "any token" : "a token with the scope \(scopes)"
    }

    // MARK: Parameters

    private func write(parameters: [ConfigNode], to html: inout HTML) {
        html.add("<table><tr><th>Parameter</th><th>In</th><th>Type</th><th>Default</th><th></th></tr>\n")
        for parameter in parameters {
            let parameter = resolve(parameter).node
            html.add("<tr><td>")
            html.element("code", parameter["name"]?.string ?? "")
            if parameter["required"]?.string == "true" { html.add(" required") }
            html.add("</td>")
            html.element("td", parameter["in"]?.string ?? "")
            html.add("<td>")
            let schema = parameter["schema"]
            if let schema { write(schema: schema.without("default"), to: &html) }
            if parameter["allowEmptyValue"]?.string == "true" { html.text("The bare name is true.") }
            html.add("</td><td>")
            if let value = schema?["default"] { html.element("code", value.string ?? value.jsonLine) }
            html.add("</td><td>")
            html.prose(parameter["description"]?.string ?? "")
            if let example = parameter["example"] {
                html.add("Example: ")
                html.element("code", example.string ?? example.jsonLine)
            }
            html.add("</td></tr>\n")
        }
        html.add("</table>\n")
    }

    // MARK: Answers

    /// One that is shared is told in short, and linked to.
    func write(answer: ConfigNode, to html: inout HTML) {
        let (answer, name) = resolve(answer)
        html.prose(answer["description"]?.string ?? "")
        let codes = codes(of: answer)
        if !codes.isEmpty {
            html.add("<p>")
            for code in codes {
                html.link("/docs/errors#", code, code)
                html.add(" ")
            }
            html.add("</p>\n")
        }
        if let name {
            html.add("<p>")
            html.link("#response-", name, "Headers, schema, examples")
            html.add("</p>\n")
            return
        }
        for header in answer["headers"]?.pairs ?? [] {
            html.add("<div>Header ")
            if let name = resolve(header.value).name {
                html.link("#header-", name, header.name)
                html.add("</div>\n")
            } else {
                html.element("code", header.name)
                html.add("</div>\n")
                write(header: header.value, to: &html)
            }
        }
        write(content: answer["content"], to: &html)
    }

    func write(header: ConfigNode, to html: inout HTML) {
        html.prose((header["required"]?.string == "true" ? "Always there. " : "") + (header["description"]?.string ?? ""))
        if let schema = header["schema"] { write(schema: schema, to: &html) }
        guard let example = header["example"] else { return }
        html.add("<p>Example: ")
        html.element("code", example.string ?? example.jsonLine)
        html.add("</p>\n")
    }

    /// The problem codes that an answer may carry.
    private func codes(of answer: ConfigNode) -> [String] {
        let parts = answer["content"]?["application/problem+json"]?["schema"]?["allOf"]?.elements ?? []
        return parts.compactMap { $0["properties"]?["code"] }.flatMap { $0["enum"]?.strings ?? $0["const"]?.strings ?? [] }
    }

    // MARK: Bodies

    private func write(content: ConfigNode?, to html: inout HTML) {
        for media in content?.pairs ?? [] {
            html.add("<p>")
            html.element("code", media.name)
            html.add("</p>\n")
            if let schema = media.value["schema"] { write(schema: schema, to: &html) }
            if let example = media.value["example"] { write(example: example, of: media.name, to: &html) }
            for example in media.value["examples"]?.pairs ?? [] {
                html.add("<p>")
                html.inline(example.value["summary"]?.string ?? example.name)
                html.add(":</p>\n")
                if let value = resolve(example.value).node["value"] { write(example: value, of: media.name, to: &html) }
            }
        }
    }

    private func write(example: ConfigNode, of mediaType: String, to html: inout HTML) {
        html.add("<pre>")
        if mediaType == "application/x-www-form-urlencoded" && !example.pairs.isEmpty {
            let pairs = example.pairs.map { [$0.name, $0.value.string ?? $0.value.jsonLine].map { Array($0.utf8).percentEncoded } }
            html.text(pairs.map { $0.joined(separator: "=") }.joined(separator: "&").replacing("%20", with: "+"))
        } else if let text = example.string, !mediaType.hasSuffix("json") || mediaType.hasSuffix("ndjson") {
            html.text(text)
        } else {
            html.text(example.json())
        }
        html.add("</pre>\n")
    }
}
