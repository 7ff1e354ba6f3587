// A `ScriptedRedis` on a loop and a thread of its own: for a gateway that is a process.

import Net
import Redis

package final class ScriptedServer {
    /// For `--redis`.
    package let url: String
    private let loop: EventLoop
    private let thread: LoopThread

    /// - Parameter answer: asked for each command, on the server's thread.
    package init(_ answer: @escaping @Sendable ([String]) -> ScriptedRedis.Answer) throws {
        let loop = try EventLoop()
        let server = try ScriptedRedis(on: loop)
        server.answer = { words, _ in answer(words) }
        guard case .tcp(host: let host, port: let port) = server.endpoint.place else { preconditionFailure("It listens on a port.") }
        url = "redis://\(host):\(port)"
        self.loop = loop
        // From here on that thread alone uses it.
        nonisolated(unsafe) let kept = server
        thread = try LoopThread { withExtendedLifetime(kept) { loop.run() } }
    }

    deinit {
        loop.stop()
        thread.join()
    }
}
