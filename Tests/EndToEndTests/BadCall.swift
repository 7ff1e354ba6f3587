// Calls that must fail: the status, the code, and the members that a problem always has.

import Support
import Testing

/// A call that must fail. In `path`, also in its query, `S` is a stream with a message and the group `g`; `T` a key of another
/// type; `N` nothing.
struct BadCall: CustomTestStringConvertible, Sendable {
    let method: String
    let path: String
    var body: String?
    var headers: [String: String] = [:]
    let status: Int
    let code: String
    /// What the detail must speak of.
    var says = ""

    var testDescription: String { "\(method) \(path) \(body ?? "") \(headers)" }

    init(_ method: String, _ path: String, headers: [String: String] = [:], _ status: Int, _ code: String, says: String = "") {
        (self.method, self.path, self.status, self.code, self.says) = (method, path, status, code, says)
        self.headers = headers
    }

    init(
        _ method: String, _ path: String, _ body: String, type: String = "application/json",
        headers: [String: String] = [:], _ status: Int, _ code: String, says: String = ""
    ) {
        self.init(method, path, headers: headers.merging(["Content-Type": type]) { own, _ in own }, status, code, says: says)
        self.body = body
    }
}

extension Rig {
    /// Makes each call, and sees that it is refused as it says and changes nothing.
    func refuse(_ calls: [BadCall]) throws {
        let stream = try newGroup("errors")
        try add(1, to: stream)
        let other = newStream("other")
        try redis.run("SET", other, "x")
        let length = try client.get("/v1/streams/\(stream)/messages").ids.count
        for call in calls {
            var path = call.path
            for (letter, name) in ["S": stream, "T": other, "N": "none"] {
                let place = "/streams/\(letter)"
                for end in ["/", "?"] { path = path.replacing(place + end, with: "/streams/\(name)\(end)") }
                if path.hasSuffix(place) { path = String(path.dropLast(letter.count)) + name }
                path = path.replacing("stream=\(letter)&", with: "stream=\(name)&")
                if path.hasSuffix("stream=\(letter)") { path = String(path.dropLast(letter.count)) + name }
            }
            let reply = try client.begin(call.method, path, body: call.body.map { Array($0.utf8) }, headers: call.headers).wait()
            call.check(reply)
        }
        #expect(try client.get("/v1/streams/\(stream)/messages").ids.count == length, "nothing was written")
        #expect(try client.get("/v1/streams/\(stream)/groups/g/pending").json["pending"] == 0, "nothing was read")
    }
}

extension BadCall {
    fileprivate func check(_ reply: Reply) {
        #expect(reply.status == status && reply.code == code, "\(testDescription): \(reply.text)")
        reply.expectProblem()
        #expect(reply.json["detail"].string?.contains(says) ?? false, "\(testDescription): \(reply.text)")
        if status == 405 { #expect(reply.headers["allow"] == says) }
        if code == "ID_TOO_SMALL" { #expect(reply.json["last_id"].string?.contains("-") ?? false) }
    }
}

extension Reply {
    /// What every problem has (RFC 9457).
    func expectProblem() {
        #expect(headers["content-type"] == "application/problem+json", "\(text)")
        #expect(json["type"].string == "/docs/errors#\(code ?? "")")
        #expect(json["title"].string?.isEmpty == false)
        #expect(json["status"].integer == status)
        #expect(json["retryable"] == false)
        #expect(json["request_id"].string == headers["x-request-id"])
        #expect(headers["date"] != nil)
        #expect(text.hasSuffix("}\n"))
    }
}
