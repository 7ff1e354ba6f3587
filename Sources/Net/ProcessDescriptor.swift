// One process, child of ours or not, held by a pidfd: it can be signalled, waited for and watched without
// the race of a bare number, which the kernel may have given to a stranger since.

import CLinux
import Glibc

public final class ProcessDescriptor: Pollable {
    public let pid: Int32
    private let descriptor: Int32
    private var watch: (loop: EventLoop, registration: Registration, ended: () -> Void)?

    /// Throws ESRCH when there is no such process.
    public init(pid: Int32) throws(SystemError) {
        self.pid = pid
        descriptor = sluice_pidfd_open(pid)
        guard descriptor >= 0 else { throw SystemError("pidfd_open") }
    }

    deinit {
        unwatch()
        close(descriptor)
    }

    /// Starts a server that may outlive us: in a session of its own, with default signals, no input, its
    /// output appended to the file `output`, and none of our descriptors but `lending`, which it has as 3.
    /// Of the environment it gets what a program needs to find its files and its language.
    public static func spawn(
        _ executable: String, _ arguments: [String], output: String, lending lent: Int32? = nil
    ) throws(SystemError) -> ProcessDescriptor {
        let names = ["PATH", "HOME", "TZ", "LANG", "LC_ALL", "TMPDIR"]
        let environment = names.compactMap { name in getenv(name).map { "\(name)=\(String(cString: $0))" } }
        var argv = ([executable] + arguments).map { strdup($0) } + [nil]
        var envp = environment.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: Int32 = 0
        let status = sluice_spawn(executable, &argv, &envp, output, lent ?? -1, &pid)
        guard status == 0 else { throw SystemError("posix_spawn", errno: status) }
        return try ProcessDescriptor(pid: pid)
    }

    /// A process that has ended is not told any more.
    public func send(_ signal: Int32) {
        _ = sluice_pidfd_signal(descriptor, signal)
    }

    /// Blocks for at most `limit`; true when the process has ended. For start and end of the program.
    public func waitForEnd(atMost limit: Duration) -> Bool {
        let clock = MonotonicClock()
        let deadline = clock.now + limit
        var file = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while true {
            let left = max(deadline - clock.now, .zero)
            let count = poll(&file, 1, Int32(clamping: left.milliseconds))
            if count > 0 { return true }
            if count == 0 && left.milliseconds == 0 { return false }
        }
    }

    /// Takes the exit status of a child that has ended, so that no zombie stays; nil for any other process.
    public func reap() -> Int32? {
        var status: Int32 = 0
        return waitpid(pid, &status, WNOHANG) == pid ? status : nil
    }

    /// Calls `ended` once, on `loop`, when the process has ended.
    public func watch(on loop: EventLoop, ended: @escaping () -> Void) throws(SystemError) {
        watch = (loop, try loop.register(descriptor, [.readable], self), ended)
    }

    public func unwatch() {
        if let watch { watch.loop.deregister(watch.registration) }
        watch = nil
    }

    public func ready(_ events: Readiness) {
        let ended = watch?.ended
        unwatch()
        ended?()
    }
}
