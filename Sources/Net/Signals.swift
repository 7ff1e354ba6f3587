// Signals as events of a loop (signalfd): no handler ever interrupts anything.

import CLinux
import Glibc

public final class Signals: Pollable {
    private let loop: EventLoop
    private let descriptor: Int32
    private var registration: Registration?
    private let received: (Int32) -> Void

    /// Blocks `signals` in the calling thread, and so in every thread it starts afterwards: call it
    /// first in `main`. Also ignores SIGPIPE: a peer that left is an error of the write, not our end.
    public static func block(_ signals: [Int32]) {
        var set = makeSet(signals)
        pthread_sigmask(SIG_BLOCK, &set, nil)
        signal(SIGPIPE, SIG_IGN)
    }

    /// `received` is called on `loop` for each of `signals`, which must be blocked.
    public init(_ signals: [Int32], on loop: EventLoop, received: @escaping (Int32) -> Void) throws(SystemError) {
        self.loop = loop
        self.received = received
        var set = Signals.makeSet(signals)
        descriptor = signalfd(-1, &set, Int32(SFD_NONBLOCK | SFD_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("signalfd") }
        registration = try loop.register(descriptor, [.readable], self)
    }

    deinit {
        if let registration { loop.deregister(registration) }
        close(descriptor)
    }

    public func ready(_ events: Readiness) {
        var info = signalfd_siginfo()
        while Glibc.read(descriptor, &info, MemoryLayout<signalfd_siginfo>.size) == MemoryLayout<signalfd_siginfo>.size {
            received(Int32(info.ssi_signo))
        }
    }

    private static func makeSet(_ signals: [Int32]) -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        return set
    }
}
