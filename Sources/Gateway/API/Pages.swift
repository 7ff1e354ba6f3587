// The pages that people read (API.md §7). They ask Redis nothing.

import HTTP
import Net

extension API {
    /// `GET /docs`
    func showDocs(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        switch await docs.get() {
        case .success(let html): return page(html)
        case .failure: throw Problem(.internalError, "The document in this binary can't be read; /openapi.yaml has it as it is.")
        }
    }

    /// `GET /docs/errors`
    func showErrors(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        return page(ErrorsPage.shared)
    }

    /// `GET /`
    func showHome(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        return page(HomePage.render(host: Array(call.request.host)))
    }

    private func page(_ html: HTML) -> Response {
        let body = newBody()
        body.append(html.bytes)
        var response = Response(status: 200, contentType: "text/html; charset=utf-8", body: .bytes(body))
        response.addHeader("Content-Security-Policy", HTML.policy)
        response.addHeader("X-Content-Type-Options", "nosniff")
        return response
    }
}
