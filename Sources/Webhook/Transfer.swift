// One easy handle and the exchange it is busy with. Kept and used again: making a handle costs more than
// a small exchange.
//
// Owned by a `WebhookClient`, which lets it go only after the multi has: libcurl holds unretained pointers
// to it. The options that never change are set once; the others with every request.

import CCurl
import Glibc
import Net

final class Transfer {
    enum Phase { case idle, running, waitingForName, probing }

    let easy: UnsafeMutableRawPointer
    unowned let client: WebhookClient
    var phase = Phase.idle
    /// In the client's list of busy ones.
    var place = -1
    var continuation: UnsafeContinuation<WebhookResult, Never>?
    var startedAt = Duration.zero
    /// Ends a wait for somebody else's look-up.
    var patience: TimerID?

    private(set) var request = WebhookRequest(url: "", body: [])
    private var headers: UnsafeMutablePointer<curl_slist>?
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private var body = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    // What the callbacks noted about this exchange.
    var reply = ReplyReader()
    var refusal: TargetGuard.Refusal?
    var opened = 0
    var openError: Int32 = 0
    /// The connection was ready and the guard content: from here on bytes may have reached the receiver.
    var hasSent = false
    /// The name this exchange is looking up.
    var lookup: String?
    /// libcurl was stopped before a look-up: not over, but to be started again.
    var mustWaitForName = false

    /// Nil when memory is out.
    init?(client: WebhookClient) {
        guard let easy = curl_easy_init() else { return nil }
        self.easy = easy
        self.client = client
        setConstants()
    }

    deinit {
        curl_easy_cleanup(easy)
        curl_slist_free_all(headers)
        body.deallocate()
        errorText.deallocate()
    }

    /// What libcurl has to say about a failure; empty when nothing.
    var errorMessage: String { String(cString: errorText) }

    // MARK: Options

    private func setConstants() {
        let limits = client.limits
        let me = Unmanaged.passUnretained(self).toOpaque()
        curl_set_pointer(easy, CURLOPT_PRIVATE, me)
        curl_set_pointer(easy, CURLOPT_ERRORBUFFER, errorText)
        curl_set_long(easy, CURLOPT_POST, 1)
        // A transfer that ends while its name is being resolved otherwise joins the resolver's thread:
        // measured, one call that froze the loop for 9.5 s.
        curl_set_long(easy, CURLOPT_QUICK_EXIT, 1)
        // A POST on a kept connection that dies before the first byte of the reply is silently sent again,
        // up to five times. Most receivers close idle connections after a minute or more.
        curl_set_long(easy, CURLOPT_MAXAGE_CONN, Int(limits.maxIdleAge.components.seconds))
        // Connections would otherwise live for ever, and with them the answer of an old look-up.
        curl_set_long(easy, CURLOPT_MAXLIFETIME_CONN, Int(limits.maxConnectionAge.components.seconds))
        // Empty, not unset: `http_proxy` in the environment would be obeyed, past the guard.
        curl_set_string(easy, CURLOPT_PROXY, "")
        curl_set_string(easy, CURLOPT_PROTOCOLS_STR, "http,https")
        curl_set_long(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1)
        // No SIGALRM, and no sigaction twice a call around SIGPIPE: `CurlMulti` has it ignored.
        curl_set_long(easy, CURLOPT_NOSIGNAL, 1)
        // A redirect could lead anywhere, and turns a POST into a GET.
        curl_set_long(easy, CURLOPT_FOLLOWLOCATION, 0)
        setCallbacks(me)
        // CURLOPT_ACCEPT_ENCODING stays unset: a body of 1 MiB must not be one of 1 GiB.
    }

    private func setCallbacks(_ me: UnsafeMutableRawPointer) {
        curl_set_pointer(easy, CURLOPT_HEADERDATA, me)
        curl_set_data_function(easy, CURLOPT_HEADERFUNCTION, Transfer.headerCallback)
        curl_set_pointer(easy, CURLOPT_WRITEDATA, me)
        curl_set_data_function(easy, CURLOPT_WRITEFUNCTION, Transfer.writeCallback)
        curl_set_pointer(easy, CURLOPT_OPENSOCKETDATA, me)
        curl_set_opensocket(easy, Transfer.openCallback)
        // OPENSOCKETFUNCTION is not called for a kept connection, which may have been made without a guard.
        curl_set_pointer(easy, CURLOPT_PREREQDATA, me)
        curl_set_prereq(easy, Transfer.prereqCallback)
        curl_set_pointer(easy, CURLOPT_RESOLVER_START_DATA, me)
        curl_set_resolver_start(easy, Transfer.resolverCallback)
        // A connection outlives the handle that made it: its end is told to the multi.
        curl_set_pointer(easy, CURLOPT_CLOSESOCKETDATA, Unmanaged.passUnretained(client.multi).toOpaque())
        curl_set_closesocket(easy, Transfer.closeCallback)
    }

    /// Takes a request on. The sentence says why it cannot be sent.
    func prepare(_ request: WebhookRequest) -> String? {
        if let problem = RequestRules.problem(of: request) { return problem }
        if self.request.tls != WebhookTLS() {
            // NULL for a file's name is not "the default" again: only a reset is.
            curl_easy_reset(easy)
            setConstants()
        }
        self.request = request
        reply = ReplyReader(limits: client.limits)
        refusal = nil
        opened = 0
        openError = 0
        hasSent = false
        lookup = nil
        mustWaitForName = false
        errorText[0] = 0
        curl_set_string(easy, CURLOPT_URL, request.url)
        curl_set_string(easy, CURLOPT_CUSTOMREQUEST, request.method == .post ? nil : request.method.rawValue)
        let version = request.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1
        curl_set_long(easy, CURLOPT_HTTP_VERSION, Int(version))
        setBody(request.body)
        setTLS(request.tls)
        return setHeaders(request.headers) ? nil : "Out of memory."
    }

    /// What is left of the timeouts at `now`. libcurl takes 0 for "none".
    func setTimeouts(at now: Duration) {
        func left(_ limit: Duration) -> Int { max((limit - (now - startedAt)).milliseconds, 1) }
        curl_set_long(easy, CURLOPT_TIMEOUT_MS, left(request.timeout))
        curl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, left(request.connectTimeout))
    }

    /// Gives back what only this exchange needed.
    func clear() {
        curl_set_headers(easy, nil)
        curl_slist_free_all(headers)
        headers = nil
        setBody([])
        request.body = []
        request.headers = []
        reply = ReplyReader()
        phase = .idle
    }

    /// POSTFIELDS are not copied, so they live here until the transfer has left the multi; an array's own
    /// storage has no promised address. NULL would make libcurl ask a read callback.
    private func setBody(_ bytes: [UInt8]) {
        body.deallocate()
        body = .allocate(byteCount: max(bytes.count, 1), alignment: 1)
        body.copyBytes(from: bytes)
        curl_set_body(easy, body.baseAddress, curl_off_t(bytes.count))
        request.body = []
    }

    private func setHeaders(_ list: [(String, String)]) -> Bool {
        var new: UnsafeMutablePointer<curl_slist>?
        func add(_ line: String) -> Bool {
            guard let longer = curl_slist_append(new, line) else { return false }  // Copies the line.
            new = longer
            return true
        }
        // `Name:` takes out what libcurl adds by itself. `Expect: 100-continue` costs a second on bodies
        // over 1 MiB, where the receiver does not answer it.
        var isComplete = add("Expect:")
        for name in ["Accept", "Content-Type"] where !list.contains(where: { RequestRules.same($0.0, name) }) {
            isComplete = isComplete && add("\(name):")
        }
        for (name, value) in list {
            // `Name;` is libcurl's way to send a header without a value.
            isComplete = isComplete && add(value.isEmpty ? "\(name);" : "\(name): \(value)")
        }
        curl_set_headers(easy, new)
        curl_slist_free_all(headers)
        headers = new
        return isComplete
    }

    private func setTLS(_ tls: WebhookTLS) {
        guard tls != WebhookTLS() else { return }
        if let file = tls.authorityFile { curl_set_string(easy, CURLOPT_CAINFO, file) }
        if let file = tls.certificateFile { curl_set_string(easy, CURLOPT_SSLCERT, file) }
        if let file = tls.keyFile { curl_set_string(easy, CURLOPT_SSLKEY, file) }
        curl_set_long(easy, CURLOPT_SSL_VERIFYPEER, tls.verifies ? 1 : 0)
        curl_set_long(easy, CURLOPT_SSL_VERIFYHOST, tls.verifies ? 2 : 0)
    }
}
