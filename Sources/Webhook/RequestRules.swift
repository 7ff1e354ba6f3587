// What a request must be before libcurl sees it, and the name in its URL.

import CCurl
import Net

enum RequestRules {
    /// Set by libcurl or by us; a second one would contradict it.
    private static let reserved = ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Expect"]

    /// A sentence, or nil when all of it can be sent.
    static func problem(url: String, headers: [(String, String)]) -> String? {
        guard isWebURL(url) else { return "The URL must begin with http:// or https://." }
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            return "The URL holds a space or a control character."
        }
        for (name, value) in headers {
            var value = value
            if let problem = problem(name: name) ?? value.withUTF8({ problem(value: UnsafeRawBufferPointer($0), of: name) }) {
                return problem
            }
        }
        return nil
    }

    static func problem(name: String) -> String? {
        if name.isEmpty || !name.utf8.allSatisfy(ASCII.isToken) { return "A header's name is not a token (RFC 9110 §5.6.2)." }
        return reserved.contains { same($0, name) } ? "The header \(name) is not the caller's to set." : nil
    }

    /// RFC 9110 §5.5: CR, LF and NUL would end the field or the string.
    static func problem(value: UnsafeRawBufferPointer, of name: @autoclosure () -> String) -> String? {
        ASCII.hasControl(value) ? "The value of the header \(name()) holds a control character." : nil
    }

    /// The host and port of `url` as libcurl keys its cache; nil when the host is an address, in any disguise.
    static func nameToResolve(_ url: String) -> String? {
        guard let (host, port) = hostAndPort(url) else { return nil }
        let bare = host.hasPrefix("[") ? String(host.dropFirst().prefix { $0 != "]" && $0 != "%" }) : host
        return IPAddress(bare) == nil ? "\(bare):\(port)" : nil
    }

    static func hostAndPort(_ url: String) -> (host: String, port: String)? {
        guard let handle = curl_url() else { return nil }
        defer { curl_url_cleanup(handle) }
        guard curl_url_set(handle, CURLUPART_URL, url, 0) == CURLUE_OK else { return nil }
        func part(_ which: CURLUPart, _ flags: UInt32) -> String? {
            var text: UnsafeMutablePointer<CChar>?
            guard curl_url_get(handle, which, &text, flags) == CURLUE_OK, let text else { return nil }
            defer { curl_free(text) }
            return String(cString: text)
        }
        guard let host = part(CURLUPART_HOST, 0), let port = part(CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT))
        else { return nil }
        return (host, port)
    }

    /// Header names are compared without regard to case (RFC 9110 §5.1).
    static func same(_ a: String, _ b: String) -> Bool {
        let a = a.utf8, b = b.utf8
        return a.count == b.count && zip(a, b).allSatisfy { ASCII.lowercase($0) == ASCII.lowercase($1) }
    }

    private static func isWebURL(_ url: String) -> Bool {
        same(String(url.prefix(7)), "http://") || same(String(url.prefix(8)), "https://")
    }
}
