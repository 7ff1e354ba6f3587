// getaddrinfo, for the whole test process: names below `.test` do what their first label says, all others
// go to the C library. libcurl calls it on threads of its own.

import Glibc
import Synchronization

enum ScriptedResolver {
    private static let state = Mutex((isHeld: false, under: 0))

    /// While true, look-ups of `slow….test` take two seconds.
    static func hold(_ isHeld: Bool) { state.withLock { $0.isHeld = isHeld } }
    static var under: Int { state.withLock { $0.under } }

    fileprivate static func answer(_ name: String) -> Result {
        switch name.prefix(while: { !$0.isNumber && $0 != "." }) {
        case "slow":
            state.withLock { $0.under += 1 }
            // Two seconds at most: a loop that is stuck in a join must come out and fail.
            var rounds = 2000
            while rounds > 0 && state.withLock({ $0.isHeld }) {
                usleep(1000)
                rounds -= 1
            }
            state.withLock { $0.under -= 1 }
            return .address("127.0.0.1")
        case "here", "inner": return .address("127.0.0.1")
        case "down": return .failure(EAI_AGAIN)
        default: return .failure(EAI_NONAME)
        }
    }

    fileprivate enum Result { case address(String), failure(Int32) }

    typealias Call = @convention(c) (
        UnsafeRawPointer?, UnsafeRawPointer?, UnsafeRawPointer?, UnsafeMutableRawPointer?
    ) -> Int32

    /// The C library's own: RTLD_NEXT is -1.
    fileprivate static let library: Call = {
        guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: -1), "getaddrinfo") else {
            preconditionFailure("The C library has no getaddrinfo.")
        }
        return unsafeBitCast(symbol, to: Call.self)
    }()
}

/// Public, so that the dynamic linker sees it; untyped, so that Glibc need not be imported publicly.
@_cdecl("getaddrinfo") public func scriptedGetaddrinfo(
    _ node: UnsafeRawPointer?, _ service: UnsafeRawPointer?, _ hints: UnsafeRawPointer?, _ result: UnsafeMutableRawPointer?
) -> Int32 {
    guard let name = node.map({ String(cString: $0.assumingMemoryBound(to: UInt8.self)) }), name.hasSuffix(".test") else {
        return ScriptedResolver.library(node, service, hints, result)
    }
    switch ScriptedResolver.answer(name) {
    case .address(let text): return ScriptedResolver.library(text, service, hints, result)
    case .failure(let code): return code
    }
}
