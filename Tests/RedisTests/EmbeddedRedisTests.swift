// The embedded Redis against the real redis-server: locks, adoption, restarts, paths.

import Foundation
import Support
import Testing

@testable import Net
@testable import Redis

@Suite(.blocking) struct EmbeddedRedisTests {
    @Test func `it starts, answers, is for this user only, and is gone after stop`() throws {
        try withDirectory { path in
            let redis = try EmbeddedRedis.start(options(path))
            #expect(!redis.wasAdopted)
            #expect(redis.socketPath == path + "/redis.sock")
            #expect(send("PING", to: redis) == "+PONG\r\n")
            #expect(send("CONFIG GET appendfsync", to: redis).contains("everysec"))
            #expect(send("CONFIG GET maxmemory-policy", to: redis).contains("noeviction"))
            for file in ["", "/redis.sock", "/redis.log", "/redis.conf"] {
                #expect(try mode(of: path + file) & 0o077 == 0, "\(file) is open to others")
            }
            #expect(redis.stop())
            #expect(kill(redis.pid, 0) == -1 && errno == ESRCH)
        }
    }

    @Test func `a second gateway on a data directory is refused`() throws {
        try withDirectory { path in
            let redis = try EmbeddedRedis.start(options(path))
            defer { redis.stop() }
            #expect(throws: EmbeddedRedisError.inUse(path)) { try EmbeddedRedis.start(options(path)) }
            // Nor by another spelling.
            #expect(throws: EmbeddedRedisError.inUse(path)) { try EmbeddedRedis.start(options(path + "/../" + path.dropFirst(5))) }
            #expect(send("PING", to: redis) == "+PONG\r\n")
        }
    }

    @Test func `a server left behind is adopted with the new settings, and stopped`() throws {
        try withDirectory { path in
            let pid = try leaveBehind(path)
            var wishes = options(path)
            wishes.fsync = .always
            let redis = try EmbeddedRedis.start(wishes)
            #expect(redis.wasAdopted)
            #expect(redis.pid == pid)
            #expect(send("GET kept", to: redis) == "$3\r\nyes\r\n")
            #expect(send("CONFIG GET appendfsync", to: redis).contains("always"))
            #expect(redis.stop())
            #expect(kill(pid, 0) == -1 && errno == ESRCH)
        }
    }

    @Test func `data survives a stop, and a kill of server and gateway`() throws {
        try withDirectory { path in
            let first = try EmbeddedRedis.start(options(path))
            #expect(send("SET stopped 1", to: first) == "+OK\r\n")
            first.stop()
            let second = try EmbeddedRedis.start(options(path))
            #expect(send("GET stopped", to: second) == "$1\r\n1\r\n")
            #expect(send("SET killed 2", to: second) == "+OK\r\n")
            let process = try ProcessDescriptor(pid: second.pid)
            process.send(SIGKILL)
            #expect(process.waitForEnd(atMost: .seconds(60)))
            #expect(second.stop())
            let third = try EmbeddedRedis.start(options(path))
            defer { third.stop() }
            #expect(!third.wasAdopted)
            #expect(send("GET stopped", to: third) == "$1\r\n1\r\n")
            #expect(send("GET killed", to: third) == "$1\r\n2\r\n")
        }
    }

    @Test func `a server that is ending is waited for, never doubled`() throws {
        try withDirectory { path in
            let pid = try leaveBehind(path)
            kill(pid, SIGTERM)
            let redis = try EmbeddedRedis.start(options(path))
            defer { redis.stop() }
            // Either it was still there to be adopted, or it had gone: what it held is there, once.
            if redis.wasAdopted { return }
            #expect(redis.pid != pid)
            #expect(send("GET kept", to: redis) == "$3\r\nyes\r\n")
        }
    }

    @Test func `a server that dies is started again with its data`() throws {
        try withDirectory { path in
            let loop = try EventLoop()
            let redis = try EmbeddedRedis.start(options(path))
            defer { redis.stop() }
            var events: [EmbeddedRedisEvent] = []
            try redis.supervise(on: loop) { events.append($0) }
            #expect(send("SET kept yes", to: redis) == "+OK\r\n")
            let pid = redis.pid
            kill(pid, SIGKILL)
            #expect(loop.run(atMost: .seconds(60)) { events.count >= 2 })
            #expect(events == [.ended(pid: pid, status: SIGKILL), .restarted(pid: redis.pid)])
            #expect(redis.pid != pid)
            #expect(loop.run(atMost: .seconds(60)) { send("GET kept", to: redis) == "$3\r\nyes\r\n" })
        }
    }

    @Test func `after stop nothing is started again`() throws {
        try withDirectory { path in
            let loop = try EventLoop()
            let redis = try EmbeddedRedis.start(options(path))
            var events: [EmbeddedRedisEvent] = []
            try redis.supervise(on: loop) { events.append($0) }
            redis.stop()
            loop.runUntilIdle()
            #expect(events.isEmpty)
            #expect(ServerLaunch.identify(redis.socketPath) == nil)
        }
    }

    @Test func `a long data directory has its socket elsewhere, in a safe place`() throws {
        try withDirectory { path in
            let long = path + "/" + String(repeating: "long/", count: 30) + "end"
            let redis = try EmbeddedRedis.start(options(long))
            let folder = String(redis.socketPath.dropLast("/redis.sock".count))
            #expect(folder.hasPrefix("/tmp/sluice-"))
            #expect(try mode(of: folder) & 0o777 == 0o700)
            #expect(send("CONFIG GET dir", to: redis).contains(long))
            redis.stop()
            // A link, and a directory that others may enter, are refused.
            try FileManager.default.removeItem(atPath: folder)
            symlink(path, folder)
            #expect(throws: EmbeddedRedisError.unsafeDirectory(folder)) { try EmbeddedRedis.start(options(long)) }
            unlink(folder)
            mkdir(folder, 0o700)
            chmod(folder, 0o755)
            #expect(throws: EmbeddedRedisError.unsafeDirectory(folder)) { try EmbeddedRedis.start(options(long)) }
            rmdir(folder)
        }
    }

    @Test func `a path may hold spaces, quotes, backslashes and any letter`() throws {
        try withDirectory { path in
            let odd = path + "/a b \"c\" 'd' \\e é"
            let redis = try EmbeddedRedis.start(options(odd))
            defer { redis.stop() }
            #expect(send("PING", to: redis) == "+PONG\r\n")
            #expect(FileManager.default.fileExists(atPath: odd + "/redis.log"))
        }
    }

    @Test func `the child has its own session, no signal blocked or ignored, and none of our descriptors`() throws {
        try withDirectory { path in
            var ends: [Int32] = [0, 0]
            pipe(&ends)  // Not close-on-exec: somebody else's in our process.
            defer { for end in ends { close(end) } }
            // As main has them; of all signals Redis itself ignores HUP, PIPE and ALRM.
            signal(SIGUSR2, SIG_IGN)
            Signals.block([SIGTERM])
            let redis = try EmbeddedRedis.start(options(path))
            defer { redis.stop() }
            #expect(getsid(redis.pid) == redis.pid)
            #expect(try signals("SigBlk", of: "\(redis.pid)") == 0)
            #expect(try signals("SigBlk", of: "thread-self") & 1 << (SIGTERM - 1) != 0)
            #expect(try signals("SigIgn", of: "\(redis.pid)") & 1 << (SIGUSR2 - 1) == 0)
            #expect(try signals("SigIgn", of: "self") & 1 << (SIGUSR2 - 1) != 0)
            let pipes = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(ends[0])")
            for file in try FileManager.default.contentsOfDirectory(atPath: "/proc/\(redis.pid)/fd") {
                // What was closed since it was listed is no such pipe.
                #expect((try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(redis.pid)/fd/\(file)")) != pipes)
            }
        }
    }

    @Test func `what can't start says so in a sentence`() throws {
        try withDirectory { path in
            #expect(throws: EmbeddedRedisError.serverNotFound) { try ServerLaunch.find(nil, path: path) }
            #expect(EmbeddedRedisError.serverNotFound.description.contains("apt-get install redis-server"))
            var wishes = options(path + "/a")
            wishes.executable = "/bin/false"
            #expect(throws: EmbeddedRedisError.endedAtStart(log: path + "/a/redis.log")) { try EmbeddedRedis.start(wishes) }
            wishes.executable = path + "/none"
            #expect(throws: EmbeddedRedisError.spawn(path + "/none", SystemError("posix_spawn", errno: ENOENT))) {
                try EmbeddedRedis.start(wishes)
            }
            wishes.dataDirectory = "/proc/none"
            #expect(throws: EmbeddedRedisError.self) { try EmbeddedRedis.start(wishes) }
        }
    }

    @Test func `restarts are spaced out, until a server has lived for a while`() {
        var backOff = RestartBackOff()
        backOff.started(at: .seconds(100))
        #expect(backOff.ended(at: .seconds(101)) == .zero)
        #expect(backOff.ended(at: .seconds(102)) == .milliseconds(100))
        #expect(backOff.ended(at: .seconds(103)) == .milliseconds(200))
        for _ in 0..<10 { _ = backOff.ended(at: .seconds(104)) }
        #expect(backOff.ended(at: .seconds(105)) == .seconds(5))
        backOff.started(at: .seconds(200))
        #expect(backOff.ended(at: .seconds(231)) == .zero)
    }

    // MARK: With what

    /// A fresh directory, resolved, gone afterwards.
    private func withDirectory(_ body: (String) throws -> Void) throws {
        var template = Array("/tmp/sluice-test-XXXXXX".utf8CString)
        let path = String(cString: try #require(mkdtemp(&template)))
        defer {
            // Nothing is lost when a test left it half removed.
            try? FileManager.default.removeItem(atPath: path)
        }
        try body(path)
    }

    private func options(_ path: String) -> EmbeddedRedisOptions { EmbeddedRedisOptions(dataDirectory: path) }

    /// Starts a server and forgets it, as a gateway does that is killed: the kernel closes its locks, and
    /// does nothing else.
    private func leaveBehind(_ path: String) throws -> Int32 {
        let redis = try EmbeddedRedis.start(options(path))
        #expect(send("SET kept yes", to: redis) == "+OK\r\n")
        return redis.pid
    }

    private func send(_ line: String, to redis: EmbeddedRedis) -> String {
        let isList = line.hasPrefix("CONFIG")
        // Of a list, `exchange` takes its first line; the rest came in the same packet.
        let reply = ServerLaunch.exchange(line + "\r\n", on: redis.socketPath) ?? []
        #expect(!isList || reply.first == UInt8(ascii: "*"))
        return String(decoding: reply, as: UTF8.self)
    }

    /// A set of signals as /proc has it.
    private func signals(_ name: String, of process: String) throws -> UInt64 {
        let status = try String(contentsOfFile: "/proc/\(process)/status", encoding: .utf8)
        let line = try #require(status.split(separator: "\n").first { $0.hasPrefix(name + ":") })
        return try #require(UInt64(line.dropFirst(name.count + 2), radix: 16))
    }

    private func mode(of path: String) throws -> UInt32 {
        var status = stat()
        try #require(stat(path, &status) == 0)
        return status.st_mode
    }
}
