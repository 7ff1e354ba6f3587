// The event loop: one thread, one epoll set, one timer heap, one queue of jobs.
//
// A tick has four phases, always in this order:
//   1. run one batch of ready jobs       (Swift tasks that were resumed; one batch, or I/O starves)
//   2. flush what the jobs wrote         (each Redis pipeline and each HTTP reply once a tick: this is
//                                         where pipelining comes from, so handlers only append)
//      1 and 2 once more, where flushing has made jobs ready: they need not wait for all that epoll has
//   3. sleep in epoll until a descriptor, a deadline or another thread needs us
//   4. resume whoever waited for those
//
// Everything but `enqueue`, `execute`, `spawn`, `stop` and `isCurrent` belongs to the loop's own thread.

import CLinux
import Glibc
import Synchronization

/// Has bytes to write at the end of the tick. See `EventLoop.flushLater`.
public protocol Flushable: AnyObject {
    func flush()
}

public final class EventLoop: @unchecked Sendable {
    // Unchecked: all but `owner`, `inbox` and `stopping` is touched by the loop's thread only, or does not change.

    /// Time since the clock's origin.
    public typealias Instant = Duration

    public let clock: any LoopClock
    /// The clock as it stood when this tick began: what everything on the loop calls now.
    public private(set) var now: Instant
    /// Buffers of idle connections, for the busy ones to borrow.
    public let buffers = BufferPool()

    private var epoll: Epoll
    private let wakeup: Int32
    private let inbox = Mutex(Inbox())

    /// The thread whose loop it is, as a `pthread_t`; 0, which is no thread of glibc's: nobody's yet.
    private let owner = Atomic<UInt>(0)
    private var jobs: [UnownedJob] = []
    private var batch: [UnownedJob] = []
    private var dirty: [any Flushable] = []
    private var dirtyFirst: [any Flushable] = []
    private var flushing: [any Flushable] = []
    private var timers = TimerHeap()
    private let stopping = Atomic(false)

    /// What came from other threads since the last tick.
    private struct Inbox {
        var jobs: [UnownedJob] = []
        var actions: [@Sendable () -> Void] = []
        var isSignalled = false
    }

    public init(clock: any LoopClock = MonotonicClock()) throws(SystemError) {
        self.clock = clock
        now = clock.now
        epoll = try Epoll()
        wakeup = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard wakeup >= 0 else { throw SystemError("eventfd") }
        _ = try epoll.add(wakeup, [.readable], wakeupDrain)
        wakeupDrain.file = wakeup
    }

    deinit {
        epoll.close()
        close(wakeup)
    }

    // MARK: Running

    /// Runs on the calling thread until `stop()`.
    public func run() {
        adoptCurrentThread()
        while !stopping.load(ordering: .relaxed) {
            tick(maySleep: true)
        }
        flush()
    }

    /// Ticks without sleeping until nothing is ready: how tests step the loop.
    public func runUntilIdle() {
        adoptCurrentThread()
        repeat { tick(maySleep: false) } while !jobs.isEmpty || hasOutput || hasMail
    }

    /// Ticks until `condition` holds or `limit` of real time has passed; true when it held.
    /// For tests that talk to real sockets.
    public func run(atMost limit: Duration = .seconds(10), until condition: () -> Bool) -> Bool {
        adoptCurrentThread()
        let real = MonotonicClock()
        let end = real.now + limit
        while !condition() {
            guard real.now < end else { return false }
            tick(maySleep: true, atMost: 10)
        }
        return true
    }

    /// Ends `run()` after the current tick. From any thread.
    public func stop() {
        stopping.store(true, ordering: .relaxed)
        eventfd_write(wakeup, 1)
    }

    /// The calling thread is the loop's until `run` is called, from whichever thread: for setting things up.
    public func adoptCurrentThread() { owner.store(pthread_self(), ordering: .relaxed) }

    /// Whether the calling thread is the loop's. From any thread; no other finds its own number there, whatever it races with.
    public var isCurrent: Bool { owner.load(ordering: .relaxed) == pthread_self() }

    // MARK: Descriptors

    /// `handler` hears of `file` until `deregister`, which must come before `file` is closed or `handler` goes.
    public func register(_ file: Int32, _ interest: Readiness, _ handler: any Pollable) throws(SystemError) -> Registration {
        try epoll.add(file, interest, handler)
    }

    public func modify(_ registration: Registration, _ interest: Readiness) throws(SystemError) {
        try epoll.modify(registration, interest)
    }

    public func deregister(_ registration: Registration) {
        epoll.remove(registration)
    }

    // MARK: Time

    /// Calls `action` on the loop once the clock reaches `deadline`. Cancel it, or it will fire.
    @discardableResult
    public func schedule(at deadline: Instant, _ action: @escaping () -> Void) -> TimerID {
        timers.insert(deadline, action)
    }

    /// A timer that has fired or was cancelled already is ignored.
    public func cancel(_ timer: TimerID) {
        timers.remove(timer)
    }

    /// Suspends the calling task for `duration` of the loop's own clock.
    public func sleep(for duration: Duration) async {
        await withUnsafeContinuation { continuation in
            schedule(at: now + duration) { continuation.resume() }
        }
    }

    // MARK: Work

    /// Calls `flush()` on `target` once at the end of this tick, however often it is asked: the target
    /// keeps a flag, and asks only when it clears.
    public func flushLater(_ target: any Flushable) {
        dirty.append(target)
    }

    /// The same, before all those. Redis' pipelines are flushed so: Redis works while the replies of HTTP are written.
    public func flushFirst(_ target: any Flushable) {
        dirtyFirst.append(target)
    }

    /// Runs `action` on the loop in its next tick. From any thread.
    public func execute(_ action: @escaping @Sendable () -> Void) {
        post { $0.actions.append(action) }
    }

    func appendJob(_ job: UnownedJob) { jobs.append(job) }
    func postJob(_ job: UnownedJob) { post { $0.jobs.append(job) } }

    private func post(_ change: (inout Inbox) -> Void) {
        let mustSignal = inbox.withLock { inbox in
            change(&inbox)
            defer { inbox.isSignalled = true }
            return !inbox.isSignalled
        }
        if mustSignal { eventfd_write(wakeup, 1) }
    }

    private var hasOutput: Bool { !dirty.isEmpty || !dirtyFirst.isEmpty }
    private var hasMail: Bool { inbox.withLock { $0.isSignalled } }

    // MARK: A tick

    private func tick(maySleep: Bool, atMost limit: Int32 = -1) {
        runJobs()
        flush()
        if !jobs.isEmpty {
            runJobs()
            flush()
        }
        let idle = maySleep && jobs.isEmpty && !hasOutput
        let count = epoll.wait(milliseconds: idle ? sleepTime(atMost: limit) : 0)
        now = clock.now
        for index in 0..<count {
            if let event = epoll.event(index) { event.handler.ready(event.readiness) }
        }
        drainInbox()
        while let action = timers.popDue(now) { action() }
    }

    private func runJobs() {
        swap(&jobs, &batch)
        for job in batch {
            // Both identities at once: the runtime then sees the task already where it wants to be,
            // so a resumed continuation runs here as one job, with no second hop.
            job.runSynchronously(
                isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        }
        batch.removeAll(keepingCapacity: true)
    }

    private func flush() {
        swap(&dirtyFirst, &flushing)
        flushSwapped()
        swap(&dirty, &flushing)
        flushSwapped()
    }

    private func flushSwapped() {
        for target in flushing { target.flush() }
        flushing.removeAll(keepingCapacity: true)
    }

    private func drainInbox() {
        guard hasMail else { return }
        let mail = inbox.withLock { inbox in
            defer { inbox = Inbox() }
            return inbox
        }
        jobs += mail.jobs
        for action in mail.actions { action() }
    }

    /// Milliseconds until the next deadline, rounded up: waking early would only spin.
    private func sleepTime(atMost limit: Int32) -> Int32 {
        guard let next = timers.next else { return limit }
        let left = next - clock.now
        guard left > .zero else { return 0 }
        let milliseconds = Int32(clamping: (left + .microseconds(999)).milliseconds)
        return limit < 0 ? milliseconds : min(milliseconds, limit)
    }

    /// Reads the eventfd's counter, so that it can signal again.
    private final class Drain: Pollable {
        var file: Int32 = -1
        func ready(_ events: Readiness) {
            var count: eventfd_t = 0
            eventfd_read(file, &count)
        }
    }
    private let wakeupDrain = Drain()
}
