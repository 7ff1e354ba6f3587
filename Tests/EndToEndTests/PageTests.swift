// `/`, `/docs` and `/docs/errors` as a browser gets them, and who may lead it there.

import Support
import Testing

@Suite(.gateway())
struct PageTests {
    let rig = Rig.current
    static let pages = ["/", "/docs", "/docs/errors"]

    @Test(arguments: pages) func `a page comes to a browser, whole, unscripted and uncached`(path: String) throws {
        let reply = try rig.client.get(path, headers: [
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Sec-Fetch-Site": "none",
            "Sec-Fetch-Mode": "navigate", "Upgrade-Insecure-Requests": "1",
        ]).expect(200)
        #expect(reply.headers["content-type"] == "text/html; charset=utf-8")
        #expect(reply.headers["cache-control"] == "no-store")
        let policy = try #require(reply.headers["content-security-policy"])
        #expect(policy.hasPrefix("default-src 'none'; style-src 'unsafe-inline';") && !policy.contains("script-src"))
        #expect(reply.text.hasPrefix("<!doctype html>") && reply.text.hasSuffix("</html>\n") && !reply.text.contains("<script"))
        for accept in ["*/*", "text/html", "application/json"] {
            #expect(try rig.client.get(path, headers: ["Accept": accept]).expect(200).body == reply.body)
        }
        let head = try rig.client.call("HEAD", path).expect(200)
        #expect(head.body.isEmpty && head.headers["content-length"] == "\(reply.body.count)")
        #expect(head.headers["content-security-policy"] == policy)
        let refused = try rig.client.post(path).expect(405)
        #expect(refused.headers["allow"] == "GET, HEAD, OPTIONS")
        #expect(try rig.client.get("\(path)?a=1").expect(400).code == "INVALID_PARAMETER")
    }

    @Test func `every call and every code is there, and a problem's type leads to its code`() throws {
        let (docs, errors) = (try rig.client.get("/docs").text, try rig.client.get("/docs/errors").text)
        let calls = try calls()
        #expect(calls.count > 30)
        for call in calls { #expect(docs.contains("<section id=\"\(call.name)\">"), "\(call.name)") }
        let yaml = try rig.client.get("/openapi.yaml").text
        let list = try #require(yaml.split(separator: "    ProblemCode:\n").last?.split(separator: "      enum:\n").dropFirst().first)
        let codes = list.split(separator: "\n").prefix { $0.hasPrefix("        - ") }.map { String($0.dropFirst(10)) }
        #expect(codes.count > 30)
        for code in codes { #expect(errors.contains("<section id=\"\(code)\">"), "\(code)") }
        let type = try #require(try rig.client.get("/nothing").json["type"].string).split(separator: "#")
        #expect(try rig.client.get(String(type[0])).expect(200).text.contains("<section id=\"\(type[1])\">"))
    }

    @Test func `the first page says what to paste, under the name that it was called by`() throws {
        let page = try rig.client.get("/").text
        #expect(page.contains("http://127.0.0.1:\(rig.port)/v1/streams/orders/messages"))
        #expect(page.contains(try #require(try rig.client.get("/v1/info").json["version"].string)))
        for target in ["/docs", "/docs/errors", "/openapi.yaml", "/metrics"] {
            #expect(page.contains("href=\"\(target)\""))
            try rig.client.get(target).expect(200)
        }
    }

    @Test func `a link from another site leads to the pages, and to nothing else`() throws {
        let foreign = [["Sec-Fetch-Site": "cross-site"], ["Sec-Fetch-Site": "same-site"], ["Origin": "https://evil.example"]]
        for headers in foreign {
            for path in Self.pages {
                for method in ["GET", "HEAD"] {
                    let reply = try rig.client.call(method, path, headers: headers).expect(200)
                    #expect(reply.headers["access-control-allow-origin"] == nil)
                }
            }
            for call in try calls() where !Self.pages.contains(call.path) {
                #expect(try rig.client.call(call.method, call.path, headers: headers).expect(403).code == "FORBIDDEN_ORIGIN", "\(call.name)")
            }
        }
    }

    @Test(arguments: pages) func `a foreign Host is no host of a page either`(path: String) throws {
        let socket = try ClientSocket(port: rig.port)
        try socket.send("GET \(path) HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        let reply = try socket.reply()
        #expect(reply.status == 421 && reply.code == "MISDIRECTED")
    }

    @Test func `the pages need no token`() throws {
        let gateway = try GatewayProcess(
            ["--redis", "unix://\(rig.redis.directory)/redis.sock"],
            configuration: "tokens: [{name: a, sha256: \(String(repeating: "0", count: 64)), scopes: [admin]}]\n")
        let client = TestClient(port: gateway.port)
        for path in Self.pages { try client.get(path).expect(200) }
        #expect(try client.get("/metrics").status == 401)
    }

    /// Every call of the document that the gateway serves, its parameters filled in.
    private func calls() throws -> [(method: String, path: String, name: String)] {
        var calls: [(method: String, path: String, name: String)] = []
        var (path, method) = ("", "")
        for line in try rig.client.get("/openapi.yaml").text.split(separator: "\n") {
            if line == "components:" { break }
            let word = line.drop { $0 == " " }
            switch line.count - word.count {
            case 2 where word.hasPrefix("/"):
                let parts = word.dropLast().split(separator: "{")
                path = parts.map { part in part.contains("}") ? "x" + part.drop { $0 != "}" }.dropFirst() : String(part) }.joined()
            case 4: method = word.dropLast().uppercased()
            case 6 where word.hasPrefix("operationId: "): calls.append((method, path, String(word.dropFirst(13))))
            default: break
            }
        }
        return calls
    }
}
