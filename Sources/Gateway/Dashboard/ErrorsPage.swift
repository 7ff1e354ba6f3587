// `GET /docs/errors`: a section for each problem code, under the anchor that a problem's `type` names.

enum ErrorsPage {
    /// Made when first asked for, and once in a process.
    static let shared = HTML.page("Errors") { html in
        html.prose("""
            Every error is `application/problem+json` (RFC 9457), from every layer. `code` is stable, `detail` says what was
            wrong and what would be right, `retryable` whether the same request may succeed later without harm, and
            `request_id` is in the gateway's log. Where it applies there are `redis_error` (Redis' own line), `errors` (where in
            a body it went wrong) and `hint` (a curl line that works).
            """)
        html.add("<table><tr><th>Code</th><th>Status</th><th></th></tr>\n")
        for code in ProblemCode.allCases {
            html.add("<tr><td>")
            html.link("#", code.rawValue, code.rawValue)
            html.add("</td>")
            html.element("td", String(code.status))
            html.element("td", code.title)
            html.add("</tr>\n")
        }
        html.add("</table>\n")
        for code in ProblemCode.allCases { write(code, to: &html) }
    }

    private static func write(_ code: ProblemCode, to html: inout HTML) {
        let (meaning, remedy) = code.explanation
        html.begin("section", id: "", code.rawValue)
        html.add("<h2>")
        html.element("code", code.rawValue)
        html.add("</h2>\n<p><strong>")
        html.text("\(code.status) \(code.title)")
        html.add("</strong></p>\n")
        html.prose(meaning)
        html.prose("**What to do.** " + remedy)
        html.prose("**Retryable:** " + (code.isRetryable ? "yes, the same request may succeed later." : "no, not as it is, unless the problem says so."))
        html.add("</section>\n")
    }
}
