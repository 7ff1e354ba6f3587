// `GET /`: what answers here, and where to go from it.

enum HomePage {
    /// - Parameter host: what the caller calls us, for a line that works where it is pasted.
    static func render(host: [UInt8]) -> HTML {
        let host = host.isEmpty ? Array("localhost:8080".utf8) : host
        let lines = [
            Problem.Hint(options: "-X PUT", path: "/v1/streams/orders/groups/workers?mkstream"),
            Problem.Hint(options: "-d '{\"fields\":{\"orderID\":\"1001\"}}'", path: "/v1/streams/orders/messages"),
            Problem.Hint(options: "-X POST", path: "/v1/streams/orders/groups/workers/consumers/worker-1/read?block_ms=5000"),
        ]
        return HTML.page("Sluice \(GatewayMain.version)") { html in
            html.prose("""
                An HTTP/JSON gateway to Redis Streams consumer groups: services that speak HTTP add messages, read them as
                consumers, wait for them, and acknowledge. It keeps no state of its own.
                """)
            html.add("<ul><li><a href=\"/docs\">The API</a>: every call, parameter, body and answer</li>\n")
            html.add("<li><a href=\"/docs/errors\">The errors</a>: what each code means, and what to do</li>\n")
            html.add("<li><a href=\"/openapi.yaml\">openapi.yaml</a>, for programs</li>\n")
            html.add("<li><a href=\"/metrics\">Metrics</a>, for Prometheus</li></ul>\n")
            html.prose("A group, a message, and a read that waits for one. Where tokens are configured, add `-H 'Authorization: Bearer …'`.")
            html.add("<pre>")
            html.text(lines.map { $0.line(host: host) }.joined(separator: "\n"))
            html.add("</pre>\n")
        }
    }
}
