// Why a name did not resolve. libcurl 7.88 says "could not resolve host" for a name that does not exist
// and for a resolver that is down; the one is the sink's fault and the other ours. So a failed look-up is
// asked again, on a thread of its own, for getaddrinfo's own code.

import CCurl  // SOCK_STREAM: not in the Glibc module.
import Glibc
import Net

enum ResolverProbe {
    /// Calls `done` on the loop, at once when no thread can be had.
    static func start(_ host: String, on loop: EventLoop, done: @escaping (WebhookFailure) -> Void) {
        let errand = Errand(host: host, loop: loop, done: done)
        do throws(SystemError) { try NativeThread { errand.run() }.detach() } catch { done(.noDescriptors) }
    }

    /// `code` is getaddrinfo's answer, `error` errno where that says EAI_SYSTEM.
    static func failure(code: Int32, errno error: Int32) -> WebhookFailure {
        switch code {
        // EAI_NODATA (-5, a GNU extension): the name exists, and has no address.
        case EAI_NONAME, -5: .hostNotFound
        case EAI_MEMORY: .outOfMemory
        case EAI_SYSTEM where error == EMFILE || error == ENFILE: .noDescriptors
        // 0 too: it failed a moment ago.
        default: .resolverDown
        }
    }

    /// Goes to the thread and comes back.
    private final class Errand: @unchecked Sendable {
        // Unchecked: `done` is touched on the loop alone, the rest does not change.

        private let host: String
        private let loop: EventLoop
        private let done: (WebhookFailure) -> Void

        init(host: String, loop: EventLoop, done: @escaping (WebhookFailure) -> Void) {
            self.host = host
            self.loop = loop
            self.done = done
        }

        func run() {
            var hints = addrinfo()
            hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
            var list: UnsafeMutablePointer<addrinfo>?
            let code = getaddrinfo(host, nil, &hints, &list)
            let failure = ResolverProbe.failure(code: code, errno: errno)
            if code == 0 { freeaddrinfo(list) }
            loop.execute { self.done(failure) }
        }
    }
}
