// A client of the gateway that is not ours: Foundation's URLSession.
//
// Calls block, or are begun and waited for later; a test that waits for events does other things meanwhile.
// Every reply that is waited for is held against openapi.yaml.

import Foundation
import FoundationNetworking
import Synchronization

/// What came back.
package struct Reply: Sendable {
    package let status: Int
    /// By lower-case name.
    package let headers: [String: String]
    package let body: [UInt8]

    package init(status: Int, headers: [String: String], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as JSON; null where it is none.
    package var json: JSON {
        // Bodies that are no JSON are told by the comparison that fails.
        (try? JSON(parsing: body)) ?? .null
    }

    /// The problem's code, where it is one.
    package var code: String? { json["code"].string }

    /// The messages' IDs, where there are messages.
    package var ids: [String] { json["messages"].array.compactMap { $0["id"].string } }

    /// The values of the field `n`, where there are messages.
    package var numbers: [String] { json["messages"].array.compactMap { $0["fields"]["n"].string } }
}

/// A call under way.
package final class PendingReply: Sendable {
    private let result = Mutex<Result<Reply, any Error>?>(nil)
    private let done = DispatchSemaphore(value: 0)
    private let task = Mutex<URLSessionDataTask?>(nil)
    private let method: String
    private let path: String
    private let isHeld = Mutex(false)

    fileprivate init(_ method: String, _ path: String) {
        self.method = method
        self.path = path
    }

    fileprivate func begin(_ task: URLSessionDataTask) {
        self.task.withLock { $0 = task }
        task.resume()
    }

    fileprivate func settle(_ result: Result<Reply, any Error>) {
        self.result.withLock { $0 = result }
        done.signal()
    }

    package var isDone: Bool { result.withLock { $0 != nil } }

    /// The client goes away.
    package func cancel() { task.withLock { $0?.cancel() } }

    /// Blocks until the reply is there.
    package func wait(atMost limit: Duration = .seconds(60)) throws -> Reply {
        guard done.wait(timeout: .now() + .milliseconds(Int(limit / .milliseconds(1)))) == .success else {
            throw Impatience(description: "no reply within \(limit)")
        }
        done.signal()
        guard let result = result.withLock({ $0 }) else { preconditionFailure("A settled reply has a result.") }
        let reply = try result.get()
        let isFirst = isHeld.withLock { isHeld in
            defer { isHeld = true }
            return !isHeld
        }
        if isFirst { reply.hold(to: method, path) }
        return reply
    }
}

package final class TestClient: Sendable {
    package let port: UInt16
    private let session: URLSession
    private let token: String?

    /// - Parameter token: sent as a bearer token with every call.
    package init(port: UInt16, token: String? = nil) {
        self.port = port
        self.token = token
        let configuration = URLSessionConfiguration.ephemeral
        configuration.httpMaximumConnectionsPerHost = 1000
        configuration.timeoutIntervalForRequest = 90
        session = URLSession(configuration: configuration)
    }

    deinit { session.invalidateAndCancel() }

    package func begin(
        _ method: String, _ path: String, body: [UInt8]? = nil, headers: [String: String] = [:]
    ) -> PendingReply {
        guard let url = URL(string: "http://127.0.0.1:\(port)\(path)") else { preconditionFailure("\(path) is no path.") }
        var request = URLRequest(url: url)
        request.httpMethod = method
        if let body { request.httpBody = Data(body) }
        if let token { request.setValue("Bearer \(token)", forHTTPHeaderField: "Authorization") }
        for (name, value) in headers { request.setValue(value, forHTTPHeaderField: name) }
        let pending = PendingReply(method, path)
        pending.begin(session.dataTask(with: request) { data, response, error in
            pending.settle(TestClient.result(data, response, error))
        })
        return pending
    }

    private static func result(_ data: Data?, _ response: URLResponse?, _ error: (any Error)?) -> Result<Reply, any Error> {
        guard let response = response as? HTTPURLResponse else { return .failure(error ?? URLError(.badServerResponse)) }
        if let error { return .failure(error) }
        var headers: [String: String] = [:]
        for (name, value) in response.allHeaderFields { headers["\(name)".lowercased()] = "\(value)" }
        return .success(Reply(status: response.statusCode, headers: headers, body: Array(data ?? Data())))
    }

    /// - Parameter json: the body, with its Content-Type.
    package func call(
        _ method: String, _ path: String, json: String? = nil, headers: [String: String] = [:]
    ) throws -> Reply {
        let type = json == nil ? [:] : ["Content-Type": "application/json"]
        return try begin(method, path, body: json.map { Array($0.utf8) }, headers: headers.merging(type) { own, _ in own }).wait()
    }

    package func get(_ path: String, headers: [String: String] = [:]) throws -> Reply {
        try call("GET", path, headers: headers)
    }

    package func post(_ path: String, json: String? = nil, headers: [String: String] = [:]) throws -> Reply {
        try call("POST", path, json: json, headers: headers)
    }

    package func put(_ path: String, headers: [String: String] = [:]) throws -> Reply {
        try call("PUT", path, headers: headers)
    }
}
