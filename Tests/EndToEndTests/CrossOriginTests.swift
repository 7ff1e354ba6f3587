// Web pages of other sites that are in `allowed_origins`: what they may call, they may read; all others neither.

import Foundation
import Support
import Testing

@Suite(.serialized, .gateway("--allowed-origins", "https://app.example.com,http://localhost:5173"))
struct CrossOriginTests {
    let rig = Rig.current
    private static let origin = "https://app.example.com"
    private static let page = ["Origin": origin, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"]

    /// Nothing wrong, or what is.
    private func isReadable(_ headers: [String: String], by origin: String? = CrossOriginTests.origin) -> Bool {
        headers["access-control-allow-origin"] == origin && headers["vary"] == (origin == nil ? nil : "Origin")
            && (headers["access-control-expose-headers"] != nil) == (origin != nil) && headers["access-control-allow-credentials"] == nil
    }

    @Test func `a listed page may read every answer, whatever it is and whenever it comes`() throws {
        let stream = try rig.newGroup("page")
        let path = "/v1/streams/\(stream)/messages"
        #expect(isReadable(try rig.client.post(path, json: #"{"fields":{"n":"1"}}"#, headers: Self.page).expect(201).headers))
        for (target, status) in [(path, 200), ("\(path)?cont=1", 400), ("/nothing", 404), ("/v1/info", 200), ("/docs", 200)] {
            let reply = try rig.client.get(target, headers: Self.page).expect(status)
            #expect(isReadable(reply.headers), "\(target)")
            #expect(isReadable(try rig.client.call("HEAD", target, headers: Self.page).headers), "HEAD \(target)")
        }
        #expect(isReadable(try rig.client.post("/docs", headers: Self.page).expect(405).headers))
        // A read that looks twice, and one that was parked, and one that meets the end of its group.
        #expect(isReadable(try rig.client.post(rig.readPath(stream, "c"), headers: Self.page).expect(200).headers))
        #expect(isReadable(try rig.client.post(rig.readPath(stream, "c", "block_ms=1"), headers: Self.page).expect(200).headers))
        let other = try rig.newGroup("page")
        let parked = [stream, other].map { rig.client.begin("POST", rig.readPath($0, "c", "block_ms=0"), headers: Self.page) }
        try rig.waitUntilParked(2)
        try rig.add(2, to: stream)
        let woken = try parked[0].wait()
        #expect(woken.ids.count == 1 && isReadable(woken.headers))
        _ = try rig.client.call("DELETE", "/v1/streams/\(other)/groups/g").expect(200)
        #expect(isReadable(try parked[1].wait().expect(404).headers))
        #expect(isReadable(try rig.client.get("/v1/info", headers: ["Origin": "http://localhost:5173"]).headers, by: "http://localhost:5173"))
    }

    @Test func `an EventSource of a listed page may read its events`() throws {
        let stream = try rig.newGroup("events")
        for path in [rig.tailPath(stream), rig.pushPath(stream, "c", end: "messages")] {
            let socket = try ClientSocket(port: rig.port)
            try socket.send("GET \(path) HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nOrigin: \(Self.origin)\r\nSec-Fetch-Site: cross-site\r\n\r\n")
            try socket.expect("\r\n\r\n")
            #expect(socket.text.hasPrefix("HTTP/1.1 200 ") && socket.text.contains("\r\nAccess-Control-Allow-Origin: \(Self.origin)\r\n"))
        }
    }

    @Test func `a browser is told beforehand what a listed page may send`() throws {
        func ask(_ origin: String, _ path: String, _ method: String, _ headers: String?) throws -> Reply {
            var asked = ["Origin": origin, "Sec-Fetch-Site": "cross-site", "Access-Control-Request-Method": method]
            asked["Access-Control-Request-Headers"] = headers
            return try rig.client.call("OPTIONS", path, headers: asked)
        }
        let path = "/v1/streams/s/messages"
        let wish = "authorization,ce-id, ce-my-own,ce-a:b,ce-,cookie"
        let reply = try ask(Self.origin, path, "POST", wish).expect(204)
        #expect(isReadable(reply.headers) && reply.headers["access-control-allow-methods"] == "GET, HEAD, POST, OPTIONS")
        #expect(reply.headers["access-control-max-age"] == "7200" && reply.headers["allow"] == "GET, HEAD, POST, OPTIONS")
        let taken = "Authorization, Content-Type, Last-Event-ID, Idempotency-Key, If-None-Match, X-Request-Id"
        #expect(reply.headers["access-control-allow-headers"] == "\(taken), ce-id, ce-my-own")
        #expect(try ask(Self.origin, "/v1/sinks/a", "PUT", nil).expect(204).headers["access-control-allow-methods"] == "GET, HEAD, PUT, DELETE, OPTIONS")
        #expect(isReadable(try ask(Self.origin, "/nothing", "GET", nil).expect(404).headers))
        // Any other is told nothing, and who only asks what there is not more than ever.
        for reply in [
            try ask("https://evil.example", path, "POST", wish), try rig.client.call("OPTIONS", path),
            try rig.client.call("OPTIONS", path, headers: ["Access-Control-Request-Method": "POST"]),
        ] {
            #expect(reply.status == 204 && isReadable(reply.headers, by: nil))
            #expect(reply.headers["access-control-allow-methods"] == nil && reply.headers["access-control-allow-headers"] == nil)
        }
        #expect(try rig.client.call("OPTIONS", path, headers: Self.page).headers["access-control-allow-methods"] == nil)
    }

    @Test func `a page may see every header that openapi.yaml knows, but for those to browsers and proxies`() throws {
        let yaml = try rig.client.get("/openapi.yaml").text
        let block = try #require(yaml.split(separator: "\n  headers:\n").last?.split(separator: "\n  schemas:\n").first)
        let names = block.split(separator: "\n").filter { $0.hasPrefix("    ") && !$0.hasPrefix("     ") }.map { $0.trimmingCharacters(in: [" ", ":"]) }
        let shown = try rig.client.get("/v1/info", headers: Self.page).headers["access-control-expose-headers"]?.split(separator: ", ").map(String.init)
        #expect(Set(names).subtracting(["X-Accel-Buffering", "Content-Security-Policy", "X-Content-Type-Options"]) == Set(shown ?? []))
    }

    @Test func `pages of other origins are told that they may not, and may not read that`() throws {
        for origin in ["https://evil.example", "https://app.example.com.evil.example", "http://app.example.com", "https://app.example.com:444", "null"] {
            let reply = try rig.client.get("/v1/info", headers: ["Origin": origin]).expect(403)
            #expect(reply.code == "FORBIDDEN_ORIGIN" && isReadable(reply.headers, by: nil), "\(origin)")
        }
        // One's own page needs no permission, and whoever is no page gets none.
        for headers in [["Origin": "http://127.0.0.1:\(rig.port)"], [:]] {
            #expect(isReadable(try rig.client.get("/v1/info", headers: headers).expect(200).headers, by: nil))
        }
    }

    /// Where Sec-Fetch-Site is not sent: over plain http to another address than loopback. Which page it is for, a browser then
    /// tells of a GET by nothing but its Referer.
    @Test func `the GET that changes a group is not for whatever page has a browser send it`() throws {
        let stream = try rig.newGroup("proof")
        let id = try rig.add(1, to: stream)
        let path = rig.pushPath(stream, "c", end: "messages")
        let browser = ["Accept": "text/event-stream", "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36", "Accept-Language": "en"]
        let own = "http://127.0.0.1:\(rig.port)"
        for referer in [nil, "", "https://evil.example/", "https://evil.example/\(own)/", "\(own).evil.example/", "https://app.example.com:1/", own + "0"] {
            let reply = try rig.client.get(path, headers: browser.merging(referer.map { ["Referer": $0] } ?? [:]) { $1 })
            #expect(reply.status == 403 && reply.code == "FORBIDDEN_ORIGIN", "\(referer ?? "none")")
        }
        // Nor what a page has it send for other purposes, wherever it says it is from.
        for accept in ["image/avif,image/webp,*/*;q=0.8", "text/html,application/xhtml+xml,*/*;q=0.8"] {
            #expect(try rig.client.get(path, headers: browser.merging(["Accept": accept, "Referer": "\(own)/page"]) { $1 }).status == 406)
        }
        for site in ["cross-site", "same-site"] {
            #expect(try rig.client.get(path, headers: browser.merging(["Sec-Fetch-Site": site, "Referer": "\(own)/page"]) { $1 }).status == 403)
        }
        #expect(try rig.pending(stream).isEmpty)
        // One of ours, a listed one, and who is no browser.
        var allowed = ["\(own)/page?a=b", own, "https://app.example.com/"].map { "User-Agent: Mozilla/5.0\r\nReferer: \($0)\r\n" }
        allowed += ["User-Agent: Mozilla/5.0\r\nSec-Fetch-Site: same-origin\r\n", "User-Agent: Mozilla/5.0\r\nOrigin: \(own)\r\n", "User-Agent: curl/8.5.0\r\n", ""]
        for headers in allowed {
            let socket = try ClientSocket(port: rig.port)
            try socket.send("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1:\(rig.port)\r\nAccept: text/event-stream\r\n\(headers)\r\n")
            try socket.expect("id: \(id)\n")
        }
    }
}
