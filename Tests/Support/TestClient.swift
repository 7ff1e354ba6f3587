// A client of the gateway that is not ours: libcurl. (Foundation's URLSession is libcurl too, but crashes the process now and then
// when a session ends or a server refuses it; swift-corelibs-foundation#4791 and its kin.)
//
// Calls block, or are begun and waited for later; a test that waits for events does other things meanwhile.
// Every reply that is waited for is held against openapi.yaml.

import Curl
import Foundation
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
    /// While the call is under way: then it is another call's.
    private let handle: Mutex<CurlHandle?>
    private let method: String
    private let path: String
    private let isHeld = Mutex(false)

    fileprivate init(_ handle: CurlHandle, _ method: String, _ path: String) {
        self.handle = Mutex(handle)
        self.method = method
        self.path = path
    }

    fileprivate func settle(_ result: Result<Reply, any Error>) {
        self.result.withLock { $0 = result }
        done.signal()
    }

    package var isDone: Bool { result.withLock { $0 != nil } }

    /// The client goes away.
    package func cancel() { handle.withLock { $0?.cancel() } }

    fileprivate func leaveHandle() { handle.withLock { $0 = nil } }

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
    private let token: String?
    private let handles = Handles()

    /// - Parameter token: sent as a bearer token with every call.
    package init(port: UInt16, token: String? = nil) {
        self.port = port
        self.token = token
    }

    /// Calls under way fail.
    deinit { handles.cancelAll() }

    package func begin(
        _ method: String, _ path: String, body: [UInt8]? = nil, headers: [String: String] = [:]
    ) -> PendingReply {
        let url = "http://127.0.0.1:\(port)\(path)"
        let authorization = token.map { ["Authorization": "Bearer \($0)"] } ?? [:]
        let handle = handles.take()
        let pending = PendingReply(handle, method, path)
        Thread.detachNewThread { [handles] in
            let result = Result {
                let reply = try handle.exchange(method, url, authorization.merging(headers) { $1 }, body)
                return Reply(status: reply.status, headers: reply.headers, body: reply.body)
            }
            pending.leaveHandle()
            handles.give(handle)
            pending.settle(result)
        }
        return pending
    }

    /// Those that wait for their next exchange, and those that are busy.
    private final class Handles: Sendable {
        private let all = Mutex((idle: [CurlHandle](), busy: [CurlHandle]()))

        func take() -> CurlHandle {
            all.withLock { all in
                all.busy.append(all.idle.popLast() ?? CurlHandle())
                return all.busy[all.busy.count - 1]
            }
        }

        func give(_ handle: CurlHandle) {
            all.withLock { all in
                all.busy.removeAll { $0 === handle }
                if !handle.isCancelled { all.idle.append(handle) }
            }
        }

        func cancelAll() { all.withLock { all in all.busy.forEach { $0.cancel() } } }
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
