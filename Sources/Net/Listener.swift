// The one listening socket, and each loop's share in it.
//
// It is bound without SO_REUSEPORT, so that a second gateway on the port is an error, and shared by all
// loops with EPOLLEXCLUSIVE. With SO_REUSEPORT 8 connections landed 0/5/1/2 on 4 loops, and a closing
// listener reset its backlog.

import CLinux
import Glibc

public struct ListeningSocket: ~Copyable, Sendable {
    public let descriptor: Int32
    /// Where it listens; with port 0 asked for, the port that the kernel gave.
    public let address: SocketAddress

    /// `backlog`: connections the kernel keeps for us until a loop accepts them (bounded by `somaxconn`).
    public init(binding wanted: SocketAddress, backlog: Int32 = 4096) throws(SystemError) {
        let flags = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        descriptor = socket(wanted.family, flags, 0)
        guard descriptor >= 0 else { throw SystemError("socket") }
        let file = descriptor
        var on: Int32 = 1
        setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        do throws(SystemError) {
            guard wanted.withSockaddr({ bind(file, $0, $1) }) == 0 else { throw SystemError("bind") }
            guard listen(file, backlog) == 0 else { throw SystemError("listen") }
        } catch {
            close(file)
            throw error
        }
        address = SocketAddress(of: file, peer: false) ?? wanted
    }

    deinit { close(descriptor) }
}

/// A loop's share in a listening socket. Owned by the loop's server; ends with `stop()`.
public final class Acceptor: Pollable {
    /// Told of each new connection, on the loop. Takes ownership of the descriptor.
    private let accepted: (Int32) -> Void
    /// Told when accepting fails for want of descriptors or memory.
    private let failed: (SystemError) -> Void

    private let loop: EventLoop
    private let descriptor: Int32
    private var registration: Registration?
    private var isStopped = false

    /// Connections taken per wake-up; the rest wait for the next tick, or for another loop.
    private static let batch = 16
    /// How long accepting pauses when the process is out of descriptors: the socket stays readable, and would spin.
    private static let pause = Duration.milliseconds(100)

    public init(
        loop: EventLoop, socket: borrowing ListeningSocket,
        accepted: @escaping (Int32) -> Void, failed: @escaping (SystemError) -> Void
    ) {
        self.loop = loop
        self.descriptor = socket.descriptor
        self.accepted = accepted
        self.failed = failed
    }

    /// Takes connections from now on; until then the kernel keeps them.
    public func start() {
        do throws(SystemError) { try register() } catch { pauseAccepting(error) }
    }

    public func stop() {
        isStopped = true
        deregister()
    }

    private func deregister() {
        if let registration { loop.deregister(registration) }
        registration = nil
    }

    private func register() throws(SystemError) {
        registration = try loop.register(descriptor, [.readable, .exclusive], self)
    }

    public func ready(_ events: Readiness) {
        for _ in 0..<Acceptor.batch {
            let file = sluice_accept(descriptor)
            if file >= 0 {
                accepted(file)
                continue
            }
            switch errno {
            case EAGAIN: return
            case EINTR, ECONNABORTED: continue
            default: return pauseAccepting(SystemError("accept4"))
            }
        }
    }

    private func pauseAccepting(_ error: SystemError) {
        failed(error)
        deregister()
        loop.schedule(at: loop.now + Acceptor.pause) { [weak self] in
            // Registering can fail for the same want: then the next pause tries again.
            guard let self, registration == nil, !isStopped else { return }
            start()
        }
    }
}
