// Where webhooks go, and all that is the same for each of them: checked once, and told to libcurl once a handle.
//
// Nothing of it changes. libcurl reads `url` and `list` in place, so whoever is set up for an endpoint keeps it.

import CCurl

public final class WebhookEndpoint: Sendable {
    /// http or https, without userinfo.
    public let url: String
    public let method: WebhookRequest.Method
    /// Sent with every request. Host, Content-Length, Transfer-Encoding and Expect are the client's own.
    public let headers: [(String, String)]
    /// The whole exchange, name resolution and reply body included.
    public let timeout: Duration
    /// Name resolution, TCP and TLS.
    public let connectTimeout: Duration
    /// Which addresses may be connected to; nil: any.
    public let target: TargetGuard?
    /// Offer HTTP/2 by ALPN (https only). 0.5 to 3 % of the requests to a server that answers before it has
    /// read the body then fail: HTTP/1.1 is the default.
    public let http2: Bool
    public let tls: WebhookTLS
    /// Of a reply's body, what is kept; nil: as the client's limits have it.
    public let keptBodyBytes: Int?
    /// A sentence: why nothing can be sent there; nil: it can.
    let problem: String?
    private let parts: Parts

    /// libcurl's own forms of the URL and of the headers.
    ///
    /// Unchecked: made here, read by libcurl on whichever loop, never changed.
    private final class Parts: @unchecked Sendable {
        let url = curl_url()
        var headers: UnsafeMutablePointer<curl_slist>?

        deinit {
            curl_url_cleanup(url)
            curl_slist_free_all(headers)
        }
    }

    public init(
        url: String, method: WebhookRequest.Method = .post, headers: [(String, String)] = [],
        timeout: Duration = .seconds(15), connectTimeout: Duration = .seconds(5),
        guard target: TargetGuard? = nil, http2: Bool = false, tls: WebhookTLS = WebhookTLS(),
        keptBodyBytes: Int? = nil
    ) {
        self.url = url
        self.method = method
        self.headers = headers
        self.timeout = timeout
        self.connectTimeout = connectTimeout
        self.target = target
        self.http2 = http2
        self.tls = tls
        self.keptBodyBytes = keptBodyBytes
        let parts = Parts()
        problem = RequestRules.problem(url: url, headers: headers) ?? WebhookEndpoint.fill(parts, url, headers)
        self.parts = parts
    }

    /// Any URL: for the tests of what libcurl itself is told to refuse.
    init(unchecked url: String) {
        self.url = url
        method = .post
        headers = []
        timeout = .seconds(15)
        connectTimeout = .seconds(5)
        target = nil
        http2 = false
        tls = WebhookTLS()
        keptBodyBytes = nil
        parts = Parts()
        problem = WebhookEndpoint.fill(parts, url, [])
    }

    /// The URL in its parts: libcurl would take it apart for every request.
    var parsedURL: OpaquePointer? { parts.url }
    /// Of the headers, and of what libcurl would add by itself and shall not.
    var list: UnsafeMutablePointer<curl_slist>? { parts.headers }

    private static func fill(_ parts: Parts, _ url: String, _ headers: [(String, String)]) -> String? {
        let code = curl_url_set(parts.url, CURLUPART_URL, url, UInt32(CURLU_DISALLOW_USER))
        guard code == CURLUE_OK else { return "The URL: \(String(cString: curl_url_strerror(code)))." }
        // `Name:` takes out what libcurl adds by itself.
        var lines: [String] = []
        for name in ["Accept", "Content-Type"] where !headers.contains(where: { RequestRules.same($0.0, name) }) {
            lines.append("\(name):")
        }
        // `Name;` is libcurl's way to send a header without a value.
        lines += headers.map { name, value in value.isEmpty ? "\(name);" : "\(name): \(value)" }
        for line in lines {
            guard let longer = curl_slist_append(parts.headers, line) else { return "Out of memory." }  // Copies the line.
            parts.headers = longer
        }
        return nil
    }
}
