// The folder that an embedded Redis lives in, and its two locks (flock: the kernel lets go of them when the
// last holder dies, however it dies):
//   gateway.lock  held by the gateway: two of them would each stop the other's Redis
//   redis.lock    inherited by redis-server: whoever can take it knows that no server writes here.
//                 A pid file can't tell that: its process may be starting, ending, or somebody else by now
//
// Owned by EmbeddedRedis for as long as the gateway lives.

import Glibc
import Net

final class DataDirectory {
    /// With all links resolved, so that two spellings are one directory.
    let path: String
    let socketPath: String
    private var gatewayLock: Int32

    var configuration: String { path + "/redis.conf" }
    var log: String { path + "/redis.log" }

    /// A path in `sockaddr_un` has 108 bytes, the last of which is 0.
    static let longestSocketPath = 107

    init(_ wanted: String) throws(EmbeddedRedisError) {
        try DataDirectory.make(wanted)
        guard let resolved = realpath(wanted, nil) else { throw .directory(wanted, SystemError("realpath")) }
        defer { free(resolved) }
        path = String(cString: resolved)
        let lock = try DataDirectory.waitForLock(path + "/gateway.lock", in: path)
        gatewayLock = lock
        do throws(EmbeddedRedisError) {
            socketPath = try DataDirectory.placeForSocket(of: path)
        } catch {
            close(lock)
            throw error
        }
    }

    deinit { release() }

    /// Lets another gateway have it.
    func release() {
        if gatewayLock >= 0 { close(gatewayLock) }
        gatewayLock = -1
    }

    /// The lock that a server holds while it lives; nil while one does. The caller closes it.
    func takeServerLock() throws(EmbeddedRedisError) -> Int32? {
        try DataDirectory.lock(path + "/redis.lock", in: path)
    }

    /// Writes what the server reads at its start. A file, since 6.2 can't take a path with a space as an argument.
    func writeConfiguration(_ text: String) throws(EmbeddedRedisError) {
        let draft = configuration + ".new"
        let file = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard file >= 0 else { throw .directory(path, SystemError("open")) }
        defer { close(file) }
        let bytes = Array(text.utf8)
        let count = write(file, bytes, bytes.count)
        // Less than all is written where the disk is full (write(2)), and then errno says nothing.
        guard count == bytes.count else { throw .directory(path, count < 0 ? SystemError("write") : SystemError("write", errno: ENOSPC)) }
        guard rename(draft, configuration) == 0 else { throw .directory(path, SystemError("rename")) }
    }

    // MARK: Making

    /// A gateway that ends this moment is waited for; and a process that another thread is just starting
    /// has copies of all our descriptors until its exec.
    private static func waitForLock(_ file: String, in path: String) throws(EmbeddedRedisError) -> Int32 {
        for _ in 0..<20 {
            if let lock = try lock(file, in: path) { return lock }
            poll(nil, 0, 10)
        }
        throw .inUse(path)
    }

    private static func lock(_ file: String, in path: String) throws(EmbeddedRedisError) -> Int32? {
        let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .directory(path, SystemError("open")) }
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return descriptor }
        let error = SystemError("flock")
        close(descriptor)
        guard error.errno == EWOULDBLOCK else { throw .directory(path, error) }
        return nil
    }

    /// `mkdir -p`, for this user only. A directory that is there stays as it is.
    private static func make(_ path: String) throws(EmbeddedRedisError) {
        var parent = path.hasPrefix("/") ? "" : "."
        for part in path.split(separator: "/") {
            parent += "/" + part
            guard mkdir(parent, 0o700) == 0 || errno == EEXIST else { throw .directory(path, SystemError("mkdir")) }
        }
        guard access(path, R_OK | W_OK | X_OK) == 0 else { throw .directory(path, SystemError("access")) }
    }

    /// In the data directory, or, where its path is too long for a socket, in a directory of ours in /tmp.
    /// Not in XDG_RUNTIME_DIR: it differs between a login and a cron job, and goes at logout, while a server
    /// that is to be adopted must be found again.
    private static func placeForSocket(of path: String) throws(EmbeddedRedisError) -> String {
        let near = path + "/redis.sock"
        if near.utf8.count <= longestSocketPath { return near }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a: a name, not a secret.
        for byte in path.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        let folder = "/tmp/sluice-\(getuid())-\(String(hash, radix: 36))"
        guard mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw .directory(folder, SystemError("mkdir")) }
        // Anybody can make that name in /tmp first: it must be a real directory, ours, and ours alone.
        var status = stat()
        guard lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR, status.st_uid == getuid(),
            status.st_mode & 0o077 == 0
        else { throw .unsafeDirectory(folder) }
        return folder + "/redis.sock"
    }
}
