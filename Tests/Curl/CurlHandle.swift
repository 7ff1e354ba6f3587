// One handle of libcurl's for `TestClient`, with the connection that it keeps: an exchange at a time, which blocks its thread and
// which another thread may end. In a module of its own: where libcurl's header is, Glibc lacks the sockets.

import CCurl
import Glibc
import Synchronization

/// One thread at a time uses it; `cancel` is for any.
package final class CurlHandle: @unchecked Sendable {
    /// In libcurl's words.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    private struct Connection {
        var socket = curl_no_socket()
        var isCancelled = false
    }

    private let easy: UnsafeMutableRawPointer
    private let connection = Mutex(Connection())
    private var lines: [String] = []
    private var body: [UInt8] = []

    private static let isReady = curl_start() == CURLE_OK

    package init() {
        guard CurlHandle.isReady, let easy = curl_easy_init() else { preconditionFailure("libcurl can't be started.") }
        self.easy = easy
    }

    deinit { curl_easy_cleanup(easy) }

    package var isCancelled: Bool { connection.withLock { $0.isCancelled } }

    /// For good: the exchange under way fails, and so will others.
    package func cancel() {
        connection.withLock { connection in
            connection.isCancelled = true
            if connection.socket != curl_no_socket() { shutdown(connection.socket, Int32(SHUT_RDWR)) }
        }
    }

    /// Blocks until the reply is whole, or there will be none.
    package func exchange(
        _ method: String, _ url: String, _ headers: [String: String], _ body: [UInt8]?
    ) throws -> (status: Int, headers: [String: String], body: [UInt8]) {
        curl_easy_reset(easy)  // Its connection stays.
        setCallbacks()
        (lines, self.body) = ([], [])
        curl_set_string(easy, CURLOPT_URL, url)
        curl_set_long(easy, CURLOPT_PATH_AS_IS, 1)
        curl_set_string(easy, CURLOPT_PROXY, "")
        curl_set_string(easy, CURLOPT_NOPROXY, "*")  // Else `no_proxy` is looked up, beside tests that change the environment.
        curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        if method == "HEAD" { curl_set_long(easy, CURLOPT_NOBODY, 1) }
        var fields = headers.map { $1.isEmpty ? "\($0);" : "\($0): \($1)" }
        // What has no body has no type, though libcurl would name one.
        if body == nil, headers["Content-Type"] == nil { fields.append("Content-Type:") }
        var list: UnsafeMutablePointer<curl_slist>?
        for field in fields { list = curl_slist_append(list, field) }
        defer { curl_slist_free_all(list) }
        curl_set_headers(easy, list)
        let sent = body ?? []
        let status = sent.withUnsafeBytes { bytes in
            if body != nil || method == "POST" || method == "PUT" {
                curl_set_long(easy, CURLOPT_POST, 1)
                curl_set_large(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(bytes.count))
                curl_set_pointer(easy, CURLOPT_POSTFIELDS, bytes.baseAddress ?? UnsafeRawPointer(easy))
            }
            curl_set_string(easy, CURLOPT_CUSTOMREQUEST, method)
            return curl_easy_perform(easy)
        }
        guard status == CURLE_OK else { throw Failure(description: String(cString: curl_easy_strerror(status))) }
        return (curl_get_long(easy, CURLINFO_RESPONSE_CODE), fieldsOfReply, self.body)
    }

    /// By lower-case name; what came more than once is one list.
    private var fieldsOfReply: [String: String] {
        let pairs = lines.compactMap { line -> (String, String)? in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            return (line[..<colon].lowercased(), line[line.index(after: colon)...].trimmingPrefix { $0 == " " }.description)
        }
        return Dictionary(pairs) { "\($0), \($1)" }
    }

    // MARK: What libcurl calls

    private func setCallbacks() {
        let me = Unmanaged.passUnretained(self).toOpaque()
        curl_set_pointer(easy, CURLOPT_HEADERDATA, me)
        curl_set_data_function(easy, CURLOPT_HEADERFUNCTION) { bytes, size, count, owner in
            let line = UnsafeRawBufferPointer(start: bytes, count: size * count)
            CurlHandle.me(owner).took(line: String(decoding: line, as: UTF8.self))
            return size * count
        }
        curl_set_pointer(easy, CURLOPT_WRITEDATA, me)
        curl_set_data_function(easy, CURLOPT_WRITEFUNCTION) { bytes, size, count, owner in
            CurlHandle.me(owner).body += UnsafeRawBufferPointer(start: bytes, count: size * count)
            return size * count
        }
        curl_set_pointer(easy, CURLOPT_OPENSOCKETDATA, me)
        curl_set_opensocket(easy) { owner, _, address in
            guard let address else { return curl_no_socket() }
            return CurlHandle.me(owner).open(address.pointee.family, address.pointee.socktype, address.pointee.protocol)
        }
        // A socket that was cancelled before it was connected is as good as new.
        curl_set_pointer(easy, CURLOPT_PREREQDATA, me)
        curl_set_prereq(easy) { owner, _, _, _, _ in CurlHandle.me(owner).isCancelled ? 1 : 0 }
        curl_set_pointer(easy, CURLOPT_CLOSESOCKETDATA, me)
        curl_set_closesocket(easy) { owner, socket in CurlHandle.me(owner).close(socket) }
    }

    private static func me(_ owner: UnsafeMutableRawPointer?) -> CurlHandle {
        guard let owner else { preconditionFailure("libcurl was given an owner.") }
        return Unmanaged<CurlHandle>.fromOpaque(owner).takeUnretainedValue()
    }

    private func took(line: String) {
        // Of interim replies (100 Continue) nothing stays.
        if line.hasPrefix("HTTP/") { lines = [] } else { lines.append(String(line.prefix { !$0.isNewline })) }
    }

    private func open(_ family: Int32, _ type: Int32, _ number: Int32) -> Int32 {
        connection.withLock { connection in
            guard !connection.isCancelled else { return curl_no_socket() }
            connection.socket = socket(family, type | Int32(SOCK_CLOEXEC.rawValue), number)
            return connection.socket
        }
    }

    private func close(_ socket: Int32) -> Int32 {
        connection.withLock { connection in
            if connection.socket == socket { connection.socket = curl_no_socket() }
            return Glibc.close(socket)
        }
    }
}
