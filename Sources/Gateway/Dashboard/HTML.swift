// The pages' HTML as it is written: markup is a literal of the program, everything else is text and comes out
// escaped. There is no third way in, so no text, whoever wrote it, can become markup.

struct HTML: Sendable {
    private(set) var bytes: [UInt8] = []

    /// What the pages may load: nothing, from nowhere; their style stands in them. Nor may they be framed.
    static let policy = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    /// Markup, as it stands.
    mutating func add(_ markup: StaticString) {
        markup.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    /// Text, between tags or inside a quoted attribute.
    mutating func text(_ text: some StringProtocol) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "&"): add("&amp;")
            case UInt8(ascii: "<"): add("&lt;")
            case UInt8(ascii: ">"): add("&gt;")
            case UInt8(ascii: "\""): add("&quot;")
            case UInt8(ascii: "'"): add("&#39;")
            default: bytes.append(byte)
            }
        }
    }

    /// `<tag>text</tag>`
    mutating func element(_ tag: StaticString, _ text: some StringProtocol) {
        add("<")
        add(tag)
        add(">")
        self.text(text)
        add("</")
        add(tag)
        add(">")
    }

    /// A start tag with an id. The prefix keeps apart what is named alike.
    mutating func begin(_ tag: StaticString, id prefix: StaticString, _ name: String) {
        add("<")
        add(tag)
        add(" id=\"")
        add(prefix)
        text(name)
        add("\">")
    }

    /// A link; its beginning is a literal, so that no text chooses where it leads but within a page.
    mutating func link(_ prefix: StaticString, _ target: some StringProtocol, _ text: some StringProtocol) {
        add("<a href=\"")
        add(prefix)
        self.text(target)
        add("\">")
        self.text(text)
        add("</a>")
    }

    /// A whole page around what `write` writes.
    static func page(_ title: String, _ write: (inout HTML) -> Void) -> HTML {
        var html = HTML()
        html.add("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
        html.add("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
        html.element("title", title)
        html.add("<style>")
        html.add(style)
        html.add("</style></head><body><nav><a href=\"/\">Sluice</a> <a href=\"/docs\">API</a> ")
        html.add("<a href=\"/docs/errors\">Errors</a> <a href=\"/openapi.yaml\">openapi.yaml</a></nav>\n<main>")
        html.element("h1", title)
        write(&html)
        html.add("</main></body></html>\n")
        return html
    }

    private static let style: StaticString = """
        :root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:64rem;padding:1rem}\
        nav a{margin-right:1rem}section{border-top:1px solid #8886;margin-top:2rem}code,pre{font:.9em/1.45 ui-monospace,monospace}\
        code{overflow-wrap:anywhere}pre{background:#8882;overflow:auto;padding:.6rem}table{border-collapse:collapse;width:100%}\
        th,td{border-bottom:1px solid #8884;padding:.25rem .6rem .25rem 0;text-align:left;vertical-align:top}\
        td p,dd p,li p{margin:.2rem 0}dt{font-weight:600;margin-top:.5rem}dd{margin-left:1.5rem}h3 code{font-size:1em}
        """
}
