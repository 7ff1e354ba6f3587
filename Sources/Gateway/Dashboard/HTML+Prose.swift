// Descriptions as HTML. Of Markdown they use paragraphs, lists, `code` and **stress**, and that is what is known
// here; everything else is the text it is.

extension HTML {
    /// Blocks, with blank lines between them.
    mutating func prose(_ text: String) {
        var block: [Substring] = []
        let lines: [Substring] = text.split(separator: "\n", omittingEmptySubsequences: false) + [""]
        for line in lines {
            if line.contains(where: { $0 != " " }) {
                block.append(line)
            } else if !block.isEmpty {
                add(block)
                block = []
            }
        }
    }

    /// A paragraph, a list, or the one and then the other.
    private mutating func add(_ block: [Substring]) {
        let start = block.firstIndex { $0.hasPrefix("- ") } ?? block.count
        if start > 0 {
            add("<p>")
            inline(block[..<start].joined(separator: "\n"))
            add("</p>\n")
        }
        guard start < block.count else { return }
        var items: [String] = []
        for line in block[start...] {
            if line.hasPrefix("- ") { items.append(String(line.dropFirst(2))) } else { items[items.count - 1] += "\n" + line }
        }
        add("<ul>")
        for item in items {
            add("<li>")
            inline(item)
            add("</li>\n")
        }
        add("</ul>\n")
    }

    /// What stands in a line, without a block around it.
    mutating func inline(_ text: String) {
        marked(text, by: "`", as: "code") { html, text in
            html.marked(text, by: "**", as: "strong") { html, text in html.text(text) }
        }
    }

    /// What stands between two `mark`s becomes an element; the rest goes on to `other`. A mark without a second is text.
    private mutating func marked(
        _ text: some StringProtocol, by mark: String, as tag: StaticString, _ other: (inout HTML, String) -> Void
    ) {
        let parts = String(text).split(separator: mark, omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            let isInside = index % 2 == 1
            if isInside && index < parts.count - 1 {
                element(tag, part)
            } else {
                other(&self, isInside ? mark + part : String(part))
            }
        }
    }
}
