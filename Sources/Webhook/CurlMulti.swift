// One libcurl multi handle on one event loop: its sockets, its timer, and the news of ended transfers.
//
// Owned by a `WebhookClient`. libcurl's callbacks come only from inside our own calls to it, and none of
// them calls libcurl back: they note what is wanted, and `flush` does it once a tick.

import CCurl
import Glibc
import Net

final class CurlMulti: Flushable {
    private let handle: UnsafeMutableRawPointer
    private let loop: EventLoop
    /// Called for each transfer that has ended; it is still inside the multi.
    var ended: (_ easy: UnsafeMutableRawPointer, _ code: CURLcode) -> Void = { _, _ in }
    /// Called first in each flush: the time to begin what callbacks could not.
    var begin: () -> Void = {}

    private(set) var pollChanges = 0
    /// By descriptor: small numbers, and looked up several times a transfer.
    private var sockets: [CurlSocket?] = []
    private(set) var openSockets = 0
    private var changed: [CurlSocket] = []
    private var isDirty = false
    private var isClosed = false

    /// When libcurl wants to be called, and how often it has said so.
    private var deadline: Duration?
    private var deadlinesSet = 0
    /// The loop's timer; it may be set for an earlier time than `deadline`, and then finds nothing to do.
    private var alarm: (timer: TimerID, at: Duration)?

    /// Rounds of work in one flush; what is left then waits for the next tick, so that others get their turn.
    private static let roundsPerFlush = 8

    init?(loop: EventLoop, maxConnections: Int) {
        guard CurlMulti.libraryIsReady, let handle = curl_multi_init() else { return nil }
        self.handle = handle
        self.loop = loop
        let me = Unmanaged.passUnretained(self).toOpaque()
        curl_multi_set_pointer(handle, CURLMOPT_SOCKETDATA, me)
        curl_multi_set_socket_function(handle) { _, file, what, me, _ in
            CurlMulti.from(me).want(file, what)
            return 0
        }
        curl_multi_set_pointer(handle, CURLMOPT_TIMERDATA, me)
        curl_multi_set_timer_function(handle) { _, milliseconds, me in
            CurlMulti.from(me).setDeadline(milliseconds)
            return 0
        }
        // Pinned: by default libcurl keeps four connections per transfer under way, so that the end of a
        // burst closes what the next one needs. No CURLMOPT_MAX_HOST_CONNECTIONS: waiting for a turn
        // inside libcurl runs against the transfer's own timeout.
        curl_multi_set_long(handle, CURLMOPT_MAXCONNECTS, maxConnections)
    }

    /// Every transfer must have been removed. Closes all kept connections.
    func close() {
        guard !isClosed else { return }
        isClosed = true
        curl_multi_cleanup(handle)  // Calls the socket callbacks once more: `self` and `sockets` are still here.
        for socket in sockets { socket?.leave(loop) }
        sockets = []
        openSockets = 0
        changed = []
        if let alarm { loop.cancel(alarm.timer) }
        alarm = nil
    }

    // MARK: Transfers

    /// False when memory is out.
    func add(_ easy: UnsafeMutableRawPointer) -> Bool {
        curl_multi_add_handle(handle, easy) == CURLM_OK
    }

    func remove(_ easy: UnsafeMutableRawPointer) {
        curl_multi_remove_handle(handle, easy)
        touch()
    }

    /// Asks for a flush at the end of this tick.
    func touch() {
        guard !isDirty, !isClosed else { return }
        isDirty = true
        loop.flushLater(self)
    }

    /// New transfers start here, all of a tick's in one call.
    func flush() {
        guard !isClosed else { return }
        for _ in 0..<CurlMulti.roundsPerFlush {
            isDirty = false
            begin()
            if let deadline, deadline <= loop.clock.now { passTime() }
            reportEnded()
            if !isDirtyOrDue { break }
        }
        isDirty = false
        applyChanges()
        setAlarm()
        if isDirtyOrDue { touch() }
    }

    private var isDirtyOrDue: Bool { isDirty || deadline.map { $0 <= loop.clock.now } == true }

    private func reportEnded() {
        var code = CURLE_OK
        while !isClosed, let easy = curl_multi_next_done(handle, &code) { ended(easy, code) }
    }

    // MARK: Time

    private func setDeadline(_ milliseconds: Int) {
        deadlinesSet += 1
        switch milliseconds {
        case ..<0: deadline = nil
        case 0: deadline = loop.now  // As it stood at the tick's beginning: due, and no look at the clock.
        default: deadline = loop.clock.now + .milliseconds(milliseconds)
        }
        touch()
    }

    /// libcurl calls the timer callback only when its own idea of the next deadline has changed. Called a
    /// little early it does nothing and says nothing; who has cleared his timer by then waits for ever. So
    /// the deadline stays, and after a silent call libcurl is asked.
    private func passTime() {
        let before = deadlinesSet
        curl_multi_time_passed(handle)
        guard deadlinesSet == before else { return }
        var milliseconds = -1
        curl_multi_timeout(handle, &milliseconds)
        deadline = milliseconds < 0 ? nil : loop.clock.now + .milliseconds(max(milliseconds, 1))
    }

    /// An alarm that is too early is left to ring for nothing: cheaper than moving it with every transfer.
    private func setAlarm() {
        guard let deadline else { return }
        if let alarm {
            guard deadline < alarm.at else { return }
            loop.cancel(alarm.timer)
        }
        let timer = loop.schedule(at: deadline) { [weak self] in
            self?.alarm = nil
            self?.touch()
        }
        alarm = (timer, deadline)
    }

    // MARK: Sockets

    /// A descriptor that `openSocket` made; `closeSocket` will hear of its end.
    func openSocket(family: Int32, kind: Int32, protocol number: Int32) -> Int32 {
        let file = Glibc.socket(family, kind | Int32(SOCK_CLOEXEC.rawValue), number)
        if file >= 0 { _ = keep(CurlSocket(file, isOurs: true, multi: self)) }
        return file
    }

    /// libcurl leaves closing to us, so that the number is out of the epoll set before anyone can get it again.
    func closeSocket(_ file: Int32) {
        take(file)?.leave(loop)
        Glibc.close(file)
    }

    private func socket(of file: Int32) -> CurlSocket? {
        file >= 0 && file < sockets.count ? sockets[Int(file)] : nil
    }

    private func keep(_ socket: CurlSocket) -> CurlSocket {
        let missing = Int(socket.file) + 1 - sockets.count
        if missing > 0 { sockets += [CurlSocket?](repeating: nil, count: missing) }
        if sockets[Int(socket.file)] == nil { openSockets += 1 }
        sockets[Int(socket.file)] = socket
        return socket
    }

    private func take(_ file: Int32) -> CurlSocket? {
        guard let socket = socket(of: file) else { return nil }
        sockets[Int(file)] = nil
        openSockets -= 1
        return socket
    }

    /// Can come after the transfer's end, and from inside `curl_multi_cleanup`.
    private func want(_ file: Int32, _ what: Int32) {
        guard what != CURL_POLL_REMOVE else { return forget(file) }
        let socket = socket(of: file) ?? keep(CurlSocket(file, isOurs: false, multi: self))
        socket.wanted = what == CURL_POLL_IN ? .readable : what == CURL_POLL_OUT ? .writable : [.readable, .writable]
        change(socket)
    }

    /// A kept connection stays registered: on the next request it would only be added again. News that comes
    /// meanwhile takes it out (`ready`). A descriptor that libcurl made itself (the resolver's wake-up pair) is
    /// closed next without a word, and its number soon means something else: it leaves now.
    private func forget(_ file: Int32) {
        guard let socket = socket(of: file) else { return }
        socket.wanted = nil
        guard !socket.isOurs else { return }
        _ = take(file)
        if socket.isRegistered { pollChanges += 1 }
        socket.leave(loop)
    }

    private func change(_ socket: CurlSocket) {
        guard socket.wanted != socket.registered, !socket.isChanged else { return }
        socket.isChanged = true
        changed.append(socket)
        touch()
    }

    /// Once a tick: most changes have been taken back by then.
    private func applyChanges() {
        for socket in changed {
            socket.isChanged = false
            if socket.apply(loop) { pollChanges += 1 }
        }
        changed.removeAll(keepingCapacity: true)
    }

    fileprivate func ready(_ socket: CurlSocket, _ events: Readiness) {
        guard !isClosed else { return }
        guard socket.wanted != nil else {
            // The peer of an idle connection has left: libcurl looks when it next wants to use it.
            pollChanges += 1
            return socket.leave(loop)
        }
        let isOver = !events.isDisjoint(with: .hangup)
        let isReadable = isOver || !events.isDisjoint(with: [.readable, .peerClosed])
        curl_multi_socket_ready(handle, socket.file, isReadable, isOver || events.contains(.writable))
        reportEnded()
        touch()
    }

    // MARK: The library

    private static func from(_ pointer: UnsafeMutableRawPointer?) -> CurlMulti {
        guard let pointer else { preconditionFailure("libcurl lost the pointer it was given.") }
        return Unmanaged<CurlMulti>.fromOpaque(pointer).takeUnretainedValue()
    }

    /// Once a process. CURLOPT_NOSIGNAL leaves SIGPIPE to us, and OpenSSL writes without MSG_NOSIGNAL.
    private static let libraryIsReady: Bool = {
        signal(SIGPIPE, SIG_IGN)
        return curl_start() == CURLE_OK
    }()
}

/// A descriptor in libcurl's hands, and its place in the loop's epoll set (level-triggered: libcurl does not
/// promise to read until there is no more).
final class CurlSocket: Pollable {
    let file: Int32
    /// Made by `openSocket`, so `closeSocket` tells of its end.
    let isOurs: Bool
    /// What libcurl waits for; nil: nothing.
    var wanted: Readiness?
    private(set) var registered: Readiness?
    var isChanged = false
    private var hasLeft = false
    private var registration: Registration?
    private unowned let multi: CurlMulti

    init(_ file: Int32, isOurs: Bool, multi: CurlMulti) {
        self.file = file
        self.isOurs = isOurs
        self.multi = multi
    }

    var isRegistered: Bool { registration != nil }

    /// True when the kernel had to be told. A refusal (no memory) is left to the transfer's timeout.
    func apply(_ loop: EventLoop) -> Bool {
        guard !hasLeft, let wanted, wanted != registered else { return false }
        do throws(SystemError) {
            if let registration {
                try loop.modify(registration, wanted)
            } else {
                registration = try loop.register(file, wanted, self)
            }
            registered = wanted
        } catch {
            registered = nil
        }
        return true
    }

    /// Out of the set; one of ours may come back.
    func leave(_ loop: EventLoop) {
        hasLeft = !isOurs
        if let registration { loop.deregister(registration) }
        registration = nil
        registered = nil
    }

    func ready(_ events: Readiness) { multi.ready(self, events) }
}
