// One non-blocking stream socket: owns its descriptor and closes it.

import CLinux
import Glibc

/// What a non-blocking read or write came to. "Not yet" is a value, never an error.
public enum IOResult: Equatable {
    case bytes(Int)
    case wouldBlock
    /// The peer has closed its side (reads only).
    case ended
}

public struct Socket: ~Copyable, Sendable {
    public let descriptor: Int32

    /// Takes ownership of `descriptor`, which must be non-blocking.
    public init(owning descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Gives the descriptor away: the caller closes it.
    public consuming func release() -> Int32 {
        let descriptor = descriptor
        discard self
        return descriptor
    }

    // MARK: Making one

    /// Connects to `address`, TCP or Unix, without waiting. Writable means that it is done: then ask `connectError`.
    public static func connect(to address: SocketAddress) throws(SystemError) -> Socket {
        let descriptor = Glibc.socket(
            Int32(address.family), Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw SystemError("socket") }
        let socket = Socket(owning: descriptor)
        let status = address.withSockaddr { Glibc.connect(descriptor, $0, $1) }
        // EAGAIN is what a Unix socket says when the listener's backlog is full: try again later.
        guard status == 0 || errno == EINPROGRESS else { throw SystemError("connect") }
        if address.family != AF_UNIX { socket.setNoDelay() }
        return socket
    }

    /// A connected pair of Unix sockets, for tests.
    public static func pair() throws(SystemError) -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0
        else { throw SystemError("socketpair") }
        return (ends[0], ends[1])
    }

    // MARK: Bytes

    public func read(into room: UnsafeMutableRawBufferPointer) throws(SystemError) -> IOResult {
        while true {
            let count = recv(descriptor, room.baseAddress, room.count, 0)
            if count > 0 { return .bytes(count) }
            if count == 0 { return .ended }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw SystemError("recv")
            }
        }
    }

    public func write(_ bytes: UnsafeRawBufferPointer) throws(SystemError) -> IOResult {
        while true {
            let count = send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))
            if count >= 0 { return .bytes(count) }
            switch errno {
            case EINTR: continue
            case EAGAIN: return .wouldBlock
            default: throw SystemError("send")
            }
        }
    }

    /// Tells the peer that nothing more comes, and keeps reading.
    public func shutdownWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    // MARK: State

    /// Nil once connected; the reason when connecting has failed.
    public var connectError: SystemError? {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size)
        return code == 0 ? nil : SystemError("connect", errno: code)
    }

    /// Bytes written that the peer's kernel has not acknowledged, our FIN among them. Good after a failure too (tcp(7), SIOCOUTQ).
    public var unacknowledgedCount: Int {
        var count: Int32 = 0
        return ioctl(descriptor, UInt(TIOCOUTQ), &count) == 0 ? Int(count) : 0
    }

    /// A TCP connection that was reset, or given up: nothing that is on its way can arrive any more.
    public var isReset: Bool {
        var state: UInt8 = 0  // The first member of `tcp_info`.
        var size = socklen_t(1)
        return getsockopt(descriptor, Int32(IPPROTO_TCP), TCP_INFO, &state, &size) == 0 && state == Socket.stateClosed
    }

    /// TCP_CLOSE.
    private static let stateClosed: UInt8 = 7

    public func setNoDelay() {
        var on: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    /// TCP keep-alive: finds a peer that vanished without a FIN. Where data waits to be acknowledged the kernel sends no
    /// probes, and repeats the data for a quarter of an hour: that ends after the same time (RFC 5482), also for a peer that takes
    /// nothing for so long.
    public func setKeepAlive(idle: Duration, interval: Duration, probes: Int) {
        func set(_ level: Int32, _ option: Int32, _ value: Int) {
            var value = Int32(clamping: value)
            setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, Int(idle.components.seconds))
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, Int(interval.components.seconds))
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, probes)
        set(Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, (idle + interval * probes).milliseconds)
    }
}
