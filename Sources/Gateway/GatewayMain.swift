// The gateway as a process: what starts in which order, and how it ends.

import Crypto
import Glibc
import Logging
import Net
import Redis
import Synchronization

public enum GatewayMain {
    public static let version = "0.1.0"

    /// Serves until SIGTERM or SIGINT; the process' exit code: 0 after a drain, 1 when serving failed, 2
    /// when it was refused before it began (address in use, data directory locked). Both signals must be
    /// blocked already.
    public static func run(_ config: Config) -> Int32 {
        config.bootstrapLogging()
        let log = Logger(label: "sluice")
        do throws(StartError) {
            return try serve(config, log)
        } catch {
            log.critical("\(error.reason)")
            return error.code
        }
    }

    /// Why it does not even begin.
    struct StartError: Error {
        var reason: String
        var code: Int32 = 2
    }

    private static func serve(_ config: Config, _ log: Logger) throws(StartError) -> Int32 {
        let listener = try listen(config)
        let tokens = try config.tokens.map { definition throws(StartError) in try token(definition) }
        var embedded: EmbeddedRedis?
        if config.redis == nil { embedded = try startRedis(config) }
        defer { _ = embedded?.stop() }
        let endpoint = try endpoint(config, embedded)
        let shared = SharedState(
            config: config, endpoint: endpoint, tokens: tokens, waiters: WaiterCount(config.limits),
            log: log)
        do throws(SystemError) {
            var servers: [GatewayServer] = []
            for index in 0..<config.loops {
                servers.append(GatewayServer(loop: try EventLoop(), index: index, shared: shared))
            }
            if let refusal = add(config.sinks, to: servers) {
                log.critical("\(refusal)")
                return 2
            }
            if let embedded { try supervise(embedded, on: servers[0].loop, log) }
            let signals = try Signals([SIGTERM, SIGINT], on: servers[0].loop, received: shutdown(servers, listener.descriptor, log))
            defer { withExtendedLifetime(signals) {} }
            start(servers, listener)
            log.notice("Listening on http://\(listener.address)", metadata: ["redis": "\(endpoint)", "loops": "\(config.loops)"])
            try runLoops(servers.map(\.loop))
            return 0
        } catch {
            throw StartError(reason: "\(error)", code: 1)
        }
    }

    /// Spread over the loops. What is wrong with the first that can't run: a secret's file, say.
    private static func add(_ sinks: [SinkDefinition], to servers: [GatewayServer]) -> SinkError? {
        for (index, definition) in sinks.enumerated() {
            let server = servers[index % servers.count]
            server.loop.adoptCurrentThread()
            let refusal = server.assumeIsolated { server -> SinkError? in
                do throws(SinkError) { try server.add(definition) } catch { return error }
                return nil
            }
            if let refusal { return refusal }
        }
        return nil
    }

    /// All loops begin to accept together, when each has tried to reach Redis: whoever is told by one that it is ready may
    /// come to another with the next connection.
    private static func start(_ servers: [GatewayServer], _ listener: borrowing ListeningSocket) {
        let trying = Countdown(servers.count) {
            for server in servers { server.loop.execute { server.assumeIsolated { $0.accept() } } }
        }
        for server in servers {
            server.loop.adoptCurrentThread()  // Nobody else runs yet; `runLoops` gives each its own thread.
            server.assumeIsolated { server in
                server.meet(servers)
                server.start(listener) { trying.leave() }
            }
        }
    }

    /// The first loop runs on this thread, each other on its own.
    private static func runLoops(_ loops: [EventLoop]) throws(SystemError) {
        var threads: [NativeThread] = []
        for loop in loops.dropFirst() { threads.append(try NativeThread { loop.run() }) }
        loops[0].run()
        for thread in threads { thread.join() }
    }

    /// The first signal drains, the second ends at once.
    private static func shutdown(_ servers: [GatewayServer], _ listener: Int32, _ log: Logger) -> (Int32) -> Void {
        var isDraining = false
        // Once nobody accepts, new clients are refused at once: in the backlog they would hang until the end.
        let accepting = Countdown(servers.count) { _ = Glibc.shutdown(listener, Int32(SHUT_RDWR)) }
        let countdown = Countdown(servers.count) { for server in servers { server.loop.stop() } }
        return { signal in
            guard !isDraining else { _exit(1) }
            isDraining = true
            log.notice("Shutting down", metadata: ["signal": "\(signal)"])
            for server in servers {
                server.loop.spawn {
                    await server.drain { accepting.leave() }
                    countdown.leave()
                }
            }
        }
    }

    /// Calls `last` when the last of several has left; from any thread.
    private final class Countdown: Sendable {
        private let left: Mutex<Int>
        private let last: @Sendable () -> Void

        init(_ count: Int, last: @escaping @Sendable () -> Void) {
            left = Mutex(count)
            self.last = last
        }

        func leave() {
            let isLast = left.withLock { left in
                left -= 1
                return left == 0
            }
            if isLast { last() }
        }
    }

    // MARK: Parts

    private static func listen(_ config: Config) throws(StartError) -> ListeningSocket {
        let host = config.host.hasPrefix("[") ? String(config.host.dropFirst().dropLast()) : config.host
        do {
            let addresses = try SocketAddress.resolve(host == "localhost" ? "127.0.0.1" : host, port: UInt16(config.port))
            return try ListeningSocket(binding: addresses[0])
        } catch let error as SystemError {
            throw StartError(reason: "Can't listen on \(config.host):\(config.port): \(error.reason).")
        } catch {
            throw StartError(reason: "Can't listen on \(config.host): the name has no address here.")
        }
    }

    private static func startRedis(_ config: Config) throws(StartError) -> EmbeddedRedis {
        do {
            return try EmbeddedRedis.start(
                EmbeddedRedisOptions(
                    dataDirectory: config.dataDirectory, fsync: config.fsync == .always ? .always : .everySecond,
                    // A bare name is looked for where this machine's servers are.
                    executable: config.redisServer.contains("/") ? config.redisServer : nil))
        } catch {
            throw StartError(reason: "\(error)")
        }
    }

    private static func supervise(_ embedded: EmbeddedRedis, on loop: EventLoop, _ log: Logger) throws(SystemError) {
        try embedded.supervise(on: loop) { event in
            switch event {
            case .ended(let pid, let status):
                log.warning("The embedded Redis ended; starting it again.", metadata: ["pid": "\(pid)", "status": "\(status ?? 0)"])
            case .restarted(let pid): log.notice("The embedded Redis is back.", metadata: ["pid": "\(pid)"])
            case .restartFailed(let error, let pause):
                log.error("The embedded Redis can't be started: \(error)", metadata: ["again_in_ms": "\(pause.milliseconds)"])
            }
        }
    }

    private static func endpoint(_ config: Config, _ embedded: EmbeddedRedis?) throws(StartError) -> RedisEndpoint {
        do {
            return try RedisEndpoint(url: config.redis ?? "unix://\(embedded!.socketPath)")
        } catch {
            throw StartError(reason: "redis: \(error)")
        }
    }

    private static func token(_ definition: TokenDefinition) throws(StartError) -> Gatekeeper.Token {
        let digest: [UInt8]
        do throws(SecretProblem) {
            switch definition.secret {
            case .sha256(let bytes): digest = bytes
            case .environment(let name): digest = Digest.sha256(Array(try SecretPlace.variable(name).utf8))
            case .file(let path):
                let line = try SecretPlace.firstLine(path)
                guard !line.isEmpty else { throw SecretProblem(reason: "the first line of \(path) is empty") }
                digest = Digest.sha256(line)
            }
        } catch {
            throw StartError(reason: "The token '\(definition.name)': \(error.reason).")
        }
        return Gatekeeper.Token(name: definition.name, digest: digest, scopes: definition.scopes, streams: definition.streams.map { Glob($0) })
    }
}
