// A loop's HTTP side and API on the test's thread, over one end of a socketpair, with the Redis that a test scripts.

import Logging
import Net

@testable import Gateway
@testable import HTTP
@testable import Redis

final class SocketBench {
    let loop: EventLoop
    /// The test's end.
    let client: Socket
    /// Tasks that the server asked for.
    private(set) var tasks = 0
    private let server: HTTPServer
    private let responder: Responder

    /// - Parameter runsTasks: else they are only counted.
    init(_ store: any StreamStore, runsTasks: Bool) throws {
        loop = try EventLoop()
        loop.adoptCurrentThread()
        let config = Config()
        let longPoll = LongPoll(
            loop: loop, index: 0, loopCount: 1, count: WaiterCount(limit: 1), settings: WaitHome.Settings(config))
        let api = API(
            loop: loop, store: store, config: config, longPoll: longPoll, metrics: Metrics(routeCount: Route.all.count))
        responder = Responder(api: api, gatekeeper: Gatekeeper(config, tokens: []), log: Logger(label: "test"))
        server = HTTPServer(loop: loop)
        server.responder = responder
        let ends = try Socket.pair()
        client = Socket(owning: ends.0)
        // All of it lives on the test's thread.
        nonisolated(unsafe) let server = server
        let loop = loop
        server.startTask = { [unowned self] in
            tasks += 1
            if runsTasks { loop.spawn { await server.runErrands() } }
        }
        server.accept(ends.1)
        loop.runUntilIdle()
    }

    /// False when it did not fit.
    func send(_ request: [UInt8]) -> Bool {
        // What can't be sent is not answered either.
        (try? request.withUnsafeBytes { try client.write($0) }) == .bytes(request.count)
    }
}
