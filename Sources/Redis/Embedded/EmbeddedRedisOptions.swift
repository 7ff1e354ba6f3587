// What an embedded Redis is asked to be, what becomes of it, and why it may not start.

public import Net

public struct EmbeddedRedisOptions: Sendable {
    /// When a written message is on the disk, not only in the kernel's memory.
    public enum Fsync: String, Sendable {
        /// Once a second: a power cut, or a crash of Redis while its disk is slow, loses up to two.
        case everySecond = "everysec"
        /// Before each reply.
        case always
    }

    /// Where its append-only file, log and locks are; made, for this user only, if it is not there.
    public var dataDirectory: String
    public var fsync: Fsync
    /// A server's path; nil looks for `redis-server`, then `valkey-server`, in the PATH.
    public var executable: String?
    /// How long it may take from its start to its first answer.
    public var startLimit: Duration
    /// How long it may take to end. It is never killed: it may be writing.
    public var stopLimit: Duration

    public init(
        dataDirectory: String, fsync: Fsync = .everySecond, executable: String? = nil,
        startLimit: Duration = .seconds(10), stopLimit: Duration = .seconds(10)
    ) {
        self.dataDirectory = dataDirectory
        self.fsync = fsync
        self.executable = executable
        self.startLimit = startLimit
        self.stopLimit = stopLimit
    }
}

/// What the supervisor has seen.
public enum EmbeddedRedisEvent: Sendable, Equatable {
    /// It ended by itself; `status` as of `waitpid`, nil for one that was adopted. It is started again.
    case ended(pid: Int32, status: Int32?)
    case restarted(pid: Int32)
    /// Tried again after `pause`.
    case restartFailed(EmbeddedRedisError, pause: Duration)
}

/// Each description is a sentence for the operator.
public enum EmbeddedRedisError: Error, Sendable, Equatable, CustomStringConvertible {
    case serverNotFound
    case directory(String, SystemError)
    /// A directory for the socket belongs to somebody else, or is open to others.
    case unsafeDirectory(String)
    /// Another gateway holds the data directory.
    case inUse(String)
    case spawn(String, SystemError)
    case endedAtStart(log: String)
    /// A server lives on this data directory, but it does not answer on the socket.
    case unresponsive(socket: String)
    /// Who answers on our socket is not the server of this data directory.
    case foreign(socket: String)

    public var description: String {
        switch self {
        case .serverNotFound:
            "There is no redis-server in the PATH: install it (Debian: apt-get install redis-server), or name a Redis that runs already."
        case .directory(let path, let error): "The data directory \(path) can't be used: \(error.reason)."
        case .unsafeDirectory(let path): "\(path) belongs to another user or is open to others: remove it, or choose a shorter data directory."
        case .inUse(let path): "Another gateway uses the data directory \(path): stop it, or choose another directory."
        case .spawn(let path, let error): "\(path) can't be started: \(error.reason)."
        case .endedAtStart(let log): "redis-server ended at once; \(log) says why."
        case .unresponsive(let socket): "A redis-server of this data directory is running, but does not answer on \(socket)."
        case .foreign(let socket): "The server on \(socket) is not the one of this data directory."
        }
    }
}
