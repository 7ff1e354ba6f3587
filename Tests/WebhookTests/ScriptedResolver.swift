// getaddrinfo, for the whole test process: names below `.test` do what their first label says, all others
// go to the C library. libcurl calls it on threads of its own.

import Glibc
import Synchronization

enum ScriptedResolver {
    private static let lookups = Mutex(0)
    private static let isHeld = Mutex(false)
    /// Holds a byte while `slow….test` may answer.
    private static let gate: (read: Int32, write: Int32) = {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0, "A pipe is to be had.")
        var byte: UInt8 = 1
        write(ends[1], &byte, 1)
        return (ends[0], ends[1])
    }()

    /// While true, look-ups of `slow….test` take two seconds.
    static func hold(_ hold: Bool) {
        isHeld.withLock { isHeld in
            guard isHeld != hold else { return }
            isHeld = hold
            var byte: UInt8 = 1
            _ = hold ? read(gate.read, &byte, 1) : write(gate.write, &byte, 1)
        }
    }
    /// Look-ups of `slow….test` under way.
    static var under: Int { lookups.withLock { $0 } }

    fileprivate static func answer(_ name: String) -> Result {
        switch name.prefix(while: { !$0.isNumber && $0 != "." }) {
        case "slow":
            lookups.withLock { $0 += 1 }
            // Two seconds at most: a loop that is stuck in a join must come out and fail.
            var query = pollfd(fd: gate.read, events: Int16(POLLIN), revents: 0)
            poll(&query, 1, 2000)
            lookups.withLock { $0 -= 1 }
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
