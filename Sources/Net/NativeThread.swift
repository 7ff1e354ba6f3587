// A thread of the system's. The first loop of a process runs on the main thread, each other on one of these; and so does
// work that would hold a loop up.

import CLinux
import Glibc

public struct NativeThread {
    private let handle: pthread_t

    /// Starts `body` on a new thread; signals blocked in the calling one are blocked there too.
    public init(_ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let box = Unmanaged.passRetained(Body(body))
        var handle = pthread_t()
        let status = pthread_create(&handle, nil, { argument in
            Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
        guard status == 0 else {
            box.release()
            throw SystemError("pthread_create", errno: status)
        }
        self.handle = handle
    }

    /// Waits until the body has returned.
    public func join() { pthread_join(handle, nil) }

    /// Nobody will join it: it ends by itself when its body has returned.
    public func detach() { pthread_detach(handle) }

    /// Cores that this process may run on: a container may have fewer than the machine.
    public static var availableCores: Int { max(1, Int(sluice_available_cores())) }

    private final class Body {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
