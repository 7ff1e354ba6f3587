// One epoll set. Handlers are found by slot and generation, so that an event that was already in the
// kernel's answer when its file descriptor was closed reaches nobody, even if the number is in use again.

import CLinux
import Glibc

/// Something that owns a file descriptor and is told when the kernel has news of it.
public protocol Pollable: AnyObject {
    func ready(_ events: Readiness)
}

/// What epoll said of a descriptor.
public struct Readiness: OptionSet, Sendable {
    public let rawValue: UInt32
    @inlinable public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let readable = Readiness(rawValue: EPOLLIN.rawValue)
    public static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
    /// The peer has sent FIN (RDHUP).
    public static let peerClosed = Readiness(rawValue: EPOLLRDHUP.rawValue)
    /// Both directions are gone, or the socket has an error.
    public static let hangup = Readiness(rawValue: EPOLLHUP.rawValue | EPOLLERR.rawValue)

    /// Edge-triggered: told once per change. Registered once, such a socket never costs another
    /// `epoll_ctl`; its owner reads until the kernel has no more.
    public static let edge = Readiness(rawValue: UInt32(EPOLLET.rawValue))
    /// Wakes one of the epoll sets that share the descriptor, not all.
    public static let exclusive = Readiness(rawValue: sluice_epollexclusive())
}

/// A descriptor's place in the set; worthless once deregistered.
public struct Registration: Equatable {
    let slot: UInt32
    let generation: UInt32
}

struct Epoll {
    private let descriptor: Int32
    private var slots: [Slot] = []
    private var free: [UInt32] = []
    private let events = UnsafeMutablePointer<epoll_event>.allocate(capacity: Epoll.batch)

    /// Events taken per tick. More would only delay the jobs they make ready.
    static let batch = 256

    private struct Slot {
        var generation: UInt32 = 0
        var file: Int32 = -1
        /// Unsafe: who is registered deregisters before it goes; a count would be taken for every event.
        unowned(unsafe) var handler: (any Pollable)?
    }

    init() throws(SystemError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        guard descriptor >= 0 else { throw SystemError("epoll_create1") }
    }

    func close() {
        _ = Glibc.close(descriptor)
        events.deallocate()
    }

    /// The handler must deregister before it goes away: it is not retained.
    mutating func add(_ file: Int32, _ interest: Readiness, _ handler: any Pollable) throws(SystemError) -> Registration {
        let slot = free.popLast() ?? UInt32(slots.count)
        if slot == slots.count { slots.append(Slot()) }
        slots[Int(slot)].file = file
        slots[Int(slot)].handler = handler
        let registration = Registration(slot: slot, generation: slots[Int(slot)].generation)
        do throws(SystemError) {
            try control(EPOLL_CTL_ADD, registration, interest)
        } catch {
            release(registration)
            throw error
        }
        return registration
    }

    func modify(_ registration: Registration, _ interest: Readiness) throws(SystemError) {
        guard isCurrent(registration) else { return }
        try control(EPOLL_CTL_MOD, registration, interest)
    }

    /// Call it before the descriptor is closed.
    mutating func remove(_ registration: Registration) {
        guard isCurrent(registration) else { return }
        // It fails for a descriptor that is closed already, which has left the set by itself (epoll(7)). An event of one that
        // lives on elsewhere would be of an old generation, and reach nobody.
        try? control(EPOLL_CTL_DEL, registration, [])
        release(registration)
    }

    /// Waits at most `milliseconds` (-1: for ever) and returns how many events came.
    func wait(milliseconds: Int32) -> Int {
        let count = epoll_wait(descriptor, events, Int32(Epoll.batch), milliseconds)
        return count < 0 ? 0 : Int(count)  // EINTR is an early wake-up, nothing more.
    }

    /// Whom the i-th event of the last `wait` is for, unless that one has left since, and what it says. (Not told here: that
    /// would be within an access to this table, which the optimizer then holds with two counts.)
    func event(_ index: Int) -> (handler: any Pollable, readiness: Readiness)? {
        let event = events[index]
        let registration = Registration(
            slot: UInt32(truncatingIfNeeded: event.data.u64),
            generation: UInt32(truncatingIfNeeded: event.data.u64 >> 32))
        guard isCurrent(registration), let handler = slots[Int(registration.slot)].handler else { return nil }
        return (handler, Readiness(rawValue: event.events))
    }

    private func isCurrent(_ registration: Registration) -> Bool {
        slots[Int(registration.slot)].generation == registration.generation
    }

    private mutating func release(_ registration: Registration) {
        let slot = Int(registration.slot)
        slots[slot].generation &+= 1
        slots[slot].file = -1
        slots[slot].handler = nil
        free.append(registration.slot)
    }

    private func control(_ operation: Int32, _ registration: Registration, _ interest: Readiness) throws(SystemError) {
        var event = epoll_event()
        event.events = interest.rawValue
        event.data.u64 = UInt64(registration.generation) << 32 | UInt64(registration.slot)
        guard epoll_ctl(descriptor, operation, slots[Int(registration.slot)].file, &event) == 0 else {
            throw SystemError("epoll_ctl")
        }
    }
}
