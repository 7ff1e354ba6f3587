// A `ScriptedRedis` on a loop and a thread of its own: for a gateway that is a process.

import Net
import Redis

package final class ScriptedServer {
    /// For `--redis`.
    package let url: String
    private let loop: EventLoop
    private let server: Confined
    private let thread: NativeThread

    /// The server's loop's thread alone uses what is in it.
    private struct Confined: @unchecked Sendable {
        let redis: ScriptedRedis
    }

    /// - Parameter answer: asked for each command, on the server's thread.
    package init(_ answer: @escaping @Sendable ([String]) -> ScriptedRedis.Answer) throws {
        let loop = try EventLoop()
        let server = try ScriptedRedis(on: loop)
        server.answer = { words, _ in answer(words) }
        guard case .tcp(host: let host, port: let port) = server.endpoint.place else { preconditionFailure("It listens on a port.") }
        url = "redis://\(host):\(port)"
        self.loop = loop
        let confined = Confined(redis: server)
        self.server = confined
        thread = try NativeThread { withExtendedLifetime(confined.redis) { loop.run() } }
    }

    /// Says something unasked on the `index`-th connection: of a gateway with one loop, 0 is the one for commands, 1 the
    /// subscription.
    package func say(_ text: String, on index: Int) {
        loop.execute { [server] in server.redis.say(text, on: index) }
    }

    /// Closes all connections; new ones are taken.
    package func hangUp() {
        loop.execute { [server] in server.redis.hangUp() }
    }

    deinit {
        loop.stop()
        thread.join()
    }
}
