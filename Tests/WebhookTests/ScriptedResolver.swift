// getaddrinfo, for the whole test process: names below `.test` do what their first label says, all others
// go to the C library. libcurl calls it on threads of its own.

import Glibc
import Synchronization

enum ScriptedResolver {
    private static let state = Mutex((isHeld: false, under: 0))

    /// While true, look-ups of `slow….test` do not end.
    static func hold(_ isHeld: Bool) { state.withLock { $0.isHeld = isHeld } }
    static var under: Int { state.withLock { $0.under } }

    /// Ends a hold after two seconds, whatever the loop's thread is stuck in.
    static func releaseLater() {
        var thread = pthread_t()
        pthread_create(&thread, nil, { _ in
            for _ in 0..<200 where state.withLock({ $0.isHeld }) { usleep(10_000) }
            hold(false)
            return nil
        }, nil)
        pthread_detach(thread)
    }

    fileprivate static func answer(_ name: String) -> Result {
        switch name.prefix(while: { !$0.isNumber && $0 != "." }) {
        case "slow":
            state.withLock { $0.under += 1 }
            while state.withLock({ $0.isHeld }) { usleep(1000) }
            state.withLock { $0.under -= 1 }
            return .address("127.0.0.1")
        case "here", "inner": return .address("127.0.0.1")
        case "down": return .failure(EAI_AGAIN)
        default: return .failure(EAI_NONAME)
        }
    }

    fileprivate enum Result { case address(String), failure(Int32) }

    typealias Call = @convention(c) (
        UnsafePointer<CChar>?, UnsafePointer<CChar>?, UnsafePointer<addrinfo>?,
        UnsafeMutablePointer<UnsafeMutablePointer<addrinfo>?>?
    ) -> Int32

    /// The C library's own: RTLD_NEXT is -1.
    fileprivate static let library: Call = {
        guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: -1), "getaddrinfo") else {
            preconditionFailure("The C library has no getaddrinfo.")
        }
        return unsafeBitCast(symbol, to: Call.self)
    }()
}

@_cdecl("getaddrinfo") public func scriptedGetaddrinfo(
    _ node: UnsafePointer<CChar>?, _ service: UnsafePointer<CChar>?, _ hints: UnsafePointer<addrinfo>?,
    _ result: UnsafeMutablePointer<UnsafeMutablePointer<addrinfo>?>?
) -> Int32 {
    guard let node, String(cString: node).hasSuffix(".test") else {
        return ScriptedResolver.library(node, service, hints, result)
    }
    switch ScriptedResolver.answer(String(cString: node)) {
    case .address(let text): return ScriptedResolver.library(text, service, hints, result)
    case .failure(let code): return code
    }
}
