// One easy handle and the exchange it is busy with. Kept and used again: making a handle costs more than
// a small exchange.
//
// Owned by a `WebhookClient`, which lets it go only after the multi has: libcurl holds unretained pointers
// to it. The options that never change are set once; those of an endpoint when it is another than the last
// request's; what is left for each request is the body, its headers and, after a wait, its timeouts.

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
    var done: ((WebhookResult) -> Void)?
    var sender: Sender?
    var startedAt = Duration.zero
    /// Ends a wait for somebody else's look-up.
    var patience: TimerID?

    /// What the handle is set up for.
    private(set) var endpoint: WebhookEndpoint?
    private var timeouts = (whole: 0, connect: 0)
    /// Names that were looked up are forgotten after a minute, by libcurl's default. It then goes through all of them at the end
    /// of every exchange: with a thousand receivers a quarter of what a delivery costs. So few of them do (`WebhookClient`);
    /// the others believe what is remembered.
    private(set) var forgetsNames = true
    private let errorText = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))
    private let body = SteadyBytes()
    /// The request's own header lines, and the list that leads through them to the endpoint's.
    private let lines = SteadyBytes()
    private var list = UnsafeMutableBufferPointer<curl_slist>(start: nil, count: 0)
    /// Where in it libcurl begins.
    private var listHead: UnsafeMutablePointer<curl_slist>?
    /// The address that the endpoint's guard was last content with, as libcurl writes it.
    var acceptedPeer: [CChar] = []

    // What the callbacks noted about this exchange.
    var reply: ReplyReader
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
        reply = ReplyReader(limits: client.limits)
        setConstants()
    }

    deinit {
        curl_easy_cleanup(easy)
        list.deallocate()
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
        // `no_proxy` would be looked up there for every request.
        curl_set_string(easy, CURLOPT_NOPROXY, "*")
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
        if let problem = request.endpoint.problem ?? request.fields.problem { return problem }
        reply.reset(keeping: request.endpoint.keptBodyBytes)
        refusal = nil
        opened = 0
        openError = 0
        hasSent = false
        lookup = nil
        mustWaitForName = false
        errorText[0] = 0
        if endpoint !== request.endpoint { setUp(for: request.endpoint) }
        // NULL would make libcurl ask a read callback.
        body.set(request.body)
        if !body.isTold { curl_set_pointer(easy, CURLOPT_POSTFIELDS, body.address) }
        body.isTold = true
        curl_set_large(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.count))
        setFields(of: request)
        return nil
    }

    private func setUp(for new: WebhookEndpoint) {
        if let endpoint, endpoint.tls != WebhookTLS(), endpoint.tls != new.tls {
            // NULL for a file's name is not "the default" again: only a reset is.
            curl_easy_reset(easy)
            setConstants()
            forgetsNames = true
            body.isTold = false
            listHead = nil
        }
        endpoint = new
        timeouts = (0, 0)
        acceptedPeer = []
        // Both: the text is what libcurl reports, the parts are what it uses.
        curl_set_string(easy, CURLOPT_URL, new.url)
        curl_set_url(easy, new.parsedURL)
        curl_set_string(easy, CURLOPT_CUSTOMREQUEST, new.method == .post ? nil : new.method.rawValue)
        let version = new.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1
        curl_set_long(easy, CURLOPT_HTTP_VERSION, Int(version))
        setTLS(new.tls)
    }

    func setForgetting(_ forgets: Bool) {
        guard forgets != forgetsNames else { return }
        curl_set_long(easy, CURLOPT_DNS_CACHE_TIMEOUT, forgets ? 60 : -1)
        forgetsNames = forgets
    }

    /// What is left of the timeouts at `now`. libcurl takes 0 for "none".
    func setTimeouts(at now: Duration) {
        guard let endpoint else { return }
        let spent = now - startedAt
        func left(_ limit: Duration) -> Int { max((spent == .zero ? limit : limit - spent).milliseconds, 1) }
        let new = (whole: left(endpoint.timeout), connect: left(endpoint.connectTimeout))
        if new.whole != timeouts.whole { curl_set_long(easy, CURLOPT_TIMEOUT_MS, new.whole) }
        if new.connect != timeouts.connect { curl_set_long(easy, CURLOPT_CONNECTTIMEOUT_MS, new.connect) }
        timeouts = new
    }

    /// Gives back what only this exchange needed.
    func clear() {
        body.shrink()
        lines.shrink()
        phase = .idle
    }

    /// The list is made anew in the same memory: it is libcurl's only while the transfer is in the multi. It is kept
    /// short, since libcurl goes through all of it for each of a dozen names that it may have something to say to.
    private func setFields(of request: WebhookRequest) {
        let fields = request.fields
        if fields.lineCount + 1 > list.count {
            list.deallocate()
            list = .allocate(capacity: fields.lineCount + 8)
        }
        lines.set(fields.lines)
        var line = lines.address
        list[0] = curl_slist(data: Transfer.noExpect, next: request.endpoint.list)
        for place in 1..<fields.lineCount + 1 {
            list[place] = curl_slist(data: line, next: request.endpoint.list)
            list[place - 1].next = list.baseAddress?.advanced(by: place)
            line += strlen(line) + 1
        }
        let head = request.body.count < Transfer.expectableSize ? list[0].next : list.baseAddress
        if head != listHead { curl_set_headers(easy, head) }
        listHead = head
    }

    /// libcurl adds `Expect: 100-continue` to bodies of 1 MiB and more, which costs a second where the receiver does
    /// not answer it. Half of that is safe from its changing its mind.
    private static let expectableSize = 512 * 1024
    /// Takes it out. Unsafe: made once, only read by libcurl, on whichever loop, and never freed.
    nonisolated(unsafe) private static let noExpect: UnsafeMutablePointer<CChar> = strdup("Expect:")

    private func setTLS(_ tls: WebhookTLS) {
        guard tls != WebhookTLS() else { return }
        if let file = tls.authorityFile { curl_set_string(easy, CURLOPT_CAINFO, file) }
        if let file = tls.certificateFile { curl_set_string(easy, CURLOPT_SSLCERT, file) }
        if let file = tls.keyFile { curl_set_string(easy, CURLOPT_SSLKEY, file) }
        curl_set_long(easy, CURLOPT_SSL_VERIFYPEER, tls.verifies ? 1 : 0)
        curl_set_long(easy, CURLOPT_SSL_VERIFYHOST, tls.verifies ? 2 : 0)
    }
}

/// Bytes that libcurl reads in place: an array's own storage has no promised address.
private final class SteadyBytes {
    private(set) var address = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
    private var capacity = 1
    /// libcurl knows the address.
    var isTold = false

    /// What a spare handle keeps.
    private static let keptCapacity = 16 * 1024

    deinit { address.deallocate() }

    func set(_ bytes: [UInt8]) {
        if bytes.count > capacity { allocate(max(bytes.count, 2 * capacity)) }
        bytes.withUnsafeBytes { if let source = $0.baseAddress { memcpy(address, source, $0.count) } }
    }

    /// Only where libcurl reads no more: `set` comes before it does again.
    func shrink() {
        if capacity > SteadyBytes.keptCapacity { allocate(1) }
    }

    private func allocate(_ count: Int) {
        address.deallocate()
        address = .allocate(capacity: count)
        capacity = count
        isTold = false
    }
}
