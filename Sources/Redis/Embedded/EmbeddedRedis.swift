// A redis-server of the gateway's own, for whoever has named none: on a Unix socket, in a data directory,
// started and ended with the gateway, and started again when it dies.
//
// It survives a gateway that is killed, and the next gateway on the data directory adopts it: no message
// waits for an append-only file to be read again. Which of the two it is, only the locks of
// `DataDirectory` decide.
//
// Owned by main; `supervise` ties it to one loop, and from then on everything is that loop's.

import Glibc
public import Net

public final class EmbeddedRedis {
    private let options: EmbeddedRedisOptions
    private let executable: String
    private let directory: DataDirectory
    private var server: ProcessDescriptor
    private var supervisor: Supervisor?

    /// True when it was running before, left by a gateway that was killed.
    public let wasAdopted: Bool

    public var socketPath: String { directory.socketPath }
    public var pid: Int32 { server.pid }

    /// Returns once the server answers. A server that loads much data is not waited for to the end: it
    /// answers LOADING by then. Blocks for at most `startLimit`.
    public static func start(_ options: EmbeddedRedisOptions) throws(EmbeddedRedisError) -> EmbeddedRedis {
        let redis = try startProcess(options)
        waitForData(redis.socketPath)
        return redis
    }

    /// How long a start waits for data to be loaded: the first requests should not be refused for a small file.
    private static let loadLimit = Duration.seconds(1)

    private static func waitForData(_ socketPath: String) {
        let clock = MonotonicClock()
        let deadline = clock.now + loadLimit
        while clock.now < deadline {
            let answer = ServerLaunch.exchange("*1\r\n$4\r\nPING\r\n", on: socketPath) ?? []
            guard answer.isEmpty || answer.starts(with: "-LOADING".utf8) else { return }
            poll(nil, 0, 2)
        }
    }

    private static func startProcess(_ options: EmbeddedRedisOptions) throws(EmbeddedRedisError) -> EmbeddedRedis {
        let executable = try ServerLaunch.find(options.executable, path: ServerLaunch.searchPath)
        let directory = try DataDirectory(options.dataDirectory)
        let clock = MonotonicClock()
        let deadline = clock.now + options.startLimit
        while clock.now < deadline {
            if let lock = try directory.takeServerLock() {
                let server = try launch(executable, directory, options, lock: lock)
                try waitForAnswer(of: server, directory, until: deadline)
                return EmbeddedRedis(options, executable, directory, server, wasAdopted: false)
            }
            if let server = try adopt(directory, options) {
                return EmbeddedRedis(options, executable, directory, server, wasAdopted: true)
            }
            poll(nil, 0, 5)  // It is starting or ending: one or the other will show soon.
        }
        throw .unresponsive(socket: directory.socketPath)
    }

    private init(
        _ options: EmbeddedRedisOptions, _ executable: String, _ directory: DataDirectory, _ server: ProcessDescriptor,
        wasAdopted: Bool
    ) {
        self.options = options
        self.executable = executable
        self.directory = directory
        self.server = server
        self.wasAdopted = wasAdopted
    }

    /// Ends the server, also an adopted one, lets go of the data directory, and waits for at most `stopLimit`; false when it is then
    /// still writing: it is left to end by itself.
    @discardableResult
    public func stop() -> Bool {
        supervisor = nil
        server.unwatch()
        server.send(SIGTERM)
        defer {
            _ = server.reap()
            directory.release()
        }
        return server.waitForEnd(atMost: options.stopLimit)
    }

    // MARK: Starting

    private static func launch(
        _ executable: String, _ directory: DataDirectory, _ options: EmbeddedRedisOptions, lock: Int32
    ) throws(EmbeddedRedisError) -> ProcessDescriptor {
        defer { close(lock) }  // The child has its own by then.
        try directory.writeConfiguration(ServerLaunch.configuration(directory, options.fsync))
        return try ServerLaunch.spawn(executable, directory, lock: lock)
    }

    private static func waitForAnswer(
        of server: ProcessDescriptor, _ directory: DataDirectory, until deadline: Duration
    ) throws(EmbeddedRedisError) {
        let clock = MonotonicClock()
        while ServerLaunch.identify(directory.socketPath)?.pid != server.pid {
            if server.waitForEnd(atMost: .milliseconds(2)) {
                _ = server.reap()
                throw .endedAtStart(log: directory.log)
            }
            guard clock.now < deadline else { throw .unresponsive(socket: directory.socketPath) }
        }
    }

    /// Nil while nobody answers.
    private static func adopt(
        _ directory: DataDirectory, _ options: EmbeddedRedisOptions
    ) throws(EmbeddedRedisError) -> ProcessDescriptor? {
        guard let found = ServerLaunch.identify(directory.socketPath) else { return nil }
        guard found.configuration == directory.configuration else { throw .foreign(socket: directory.socketPath) }
        let wish = options.fsync.rawValue
        _ = ServerLaunch.exchange(
            "*4\r\n$6\r\nCONFIG\r\n$3\r\nSET\r\n$11\r\nappendfsync\r\n$\(wish.utf8.count)\r\n\(wish)\r\n",
            on: directory.socketPath)
        // One that ended this moment has no pid any more: the next round of `start` finds its lock free.
        return try? ProcessDescriptor(pid: found.pid)
    }

    // MARK: Supervising

    /// When the server dies from now on it is started again; `report` hears of it, on `loop`.
    public func supervise(on loop: EventLoop, report: @escaping (EmbeddedRedisEvent) -> Void) throws(SystemError) {
        let supervisor = Supervisor(loop: loop, report: report)
        self.supervisor = supervisor
        try watch(supervisor)
    }

    private final class Supervisor {
        let loop: EventLoop
        let report: (EmbeddedRedisEvent) -> Void
        var backOff = RestartBackOff()
        init(loop: EventLoop, report: @escaping (EmbeddedRedisEvent) -> Void) {
            self.loop = loop
            self.report = report
        }
    }

    private func watch(_ supervisor: Supervisor) throws(SystemError) {
        supervisor.backOff.started(at: supervisor.loop.now)
        try server.watch(on: supervisor.loop) { [weak self] in self?.serverEnded() }
    }

    private func serverEnded() {
        guard let supervisor else { return }
        supervisor.report(.ended(pid: server.pid, status: server.reap()))
        restart(after: supervisor.backOff.ended(at: supervisor.loop.now))
    }

    private func restart(after pause: Duration) {
        guard let supervisor else { return }
        supervisor.loop.schedule(at: supervisor.loop.now + pause) { [weak self] in self?.restart() }
    }

    /// Does not wait for the socket: the connections to it try again by themselves.
    private func restart() {
        guard let supervisor else { return }
        do throws(EmbeddedRedisError) {
            guard let lock = try directory.takeServerLock() else {
                throw .unresponsive(socket: directory.socketPath)  // A child of it still writes.
            }
            server = try EmbeddedRedis.launch(executable, directory, options, lock: lock)
            do throws(SystemError) { try watch(supervisor) } catch { throw .spawn(executable, error) }
            supervisor.report(.restarted(pid: server.pid))
        } catch {
            let pause = supervisor.backOff.ended(at: supervisor.loop.now)
            supervisor.report(.restartFailed(error, pause: pause))
            restart(after: pause)
        }
    }
}

/// How long to wait before the next start: at once after a good life, else twice as long each time.
struct RestartBackOff {
    /// A server that lived this long did not fail at its start.
    static let goodLife = Duration.seconds(30)
    static let first = Duration.milliseconds(100)
    static let longest = Duration.seconds(5)

    private var startedAt = Duration.zero
    private var next = Duration.zero

    mutating func started(at now: Duration) { startedAt = now }

    mutating func ended(at now: Duration) -> Duration {
        if now - startedAt >= RestartBackOff.goodLife { next = .zero }
        defer { next = next == .zero ? RestartBackOff.first : min(next * 2, RestartBackOff.longest) }
        return next
    }
}
