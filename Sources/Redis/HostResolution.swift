// Names become addresses on a thread of their own: the resolver blocks, for seconds at worst.

import Net

/// A resolution under way. The thread hands its result to the loop; whoever asked may be gone by then.
final class HostResolution: @unchecked Sendable {
    // Unchecked: `completion` is touched on the loop only, the rest does not change.

    private let loop: EventLoop
    private let host: String
    private let port: UInt16
    private var completion: ((Result<[SocketAddress], ResolveError>) -> Void)?

    /// Calls `completion` on `loop`, once, unless `cancel` came before. Nothing else keeps the resolution.
    init(
        _ host: String, port: UInt16, on loop: EventLoop,
        completion: @escaping (Result<[SocketAddress], ResolveError>) -> Void
    ) {
        self.loop = loop
        self.host = host
        self.port = port
        self.completion = completion
    }

    /// False when the system has no thread for us.
    func start() -> Bool {
        do throws(SystemError) {
            try NativeThread { [self] in resolve() }.detach()
            return true
        } catch {
            return false
        }
    }

    func cancel() { completion = nil }

    private func resolve() {
        let result: Result<[SocketAddress], ResolveError>
        do throws(ResolveError) {
            result = .success(try SocketAddress.resolve(host, port: port))
        } catch {
            result = .failure(error)
        }
        loop.execute { [self] in
            completion?(result)
            completion = nil
        }
    }
}
