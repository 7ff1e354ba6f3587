// The loop: whose thread code runs on, in which order, and what wakes it.

import Glibc
import Synchronization
import Testing

@testable import Net

struct EventLoopTests {
    /// Something on a loop: what an actor of the gateway is.
    private actor Resident {
        nonisolated let loop: EventLoop
        nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }
        private(set) var crossings = 0

        init(loop: EventLoop) { self.loop = loop }

        /// Suspends again and again; counts how often it wakes up on another thread.
        func suspend(_ times: Int) async {
            var thread = pthread_self()
            for _ in 0..<times {
                await loop.sleep(for: .zero)
                if pthread_equal(thread, pthread_self()) == 0 { crossings += 1 }
                thread = pthread_self()
            }
        }
    }

    @Test func `a task that suspends a thousand times stays on its loop's thread`() throws {
        let loop = try EventLoop()
        let resident = Resident(loop: loop)
        let thread = try NativeThread { loop.run() }
        loop.spawn {
            await resident.suspend(1000)
            loop.stop()
        }
        thread.join()
        loop.adoptCurrentThread()
        #expect(resident.assumeIsolated { $0.crossings } == 0)
    }

    @Test func `timers fire in the order of their deadlines, when the clock gets there`() throws {
        let clock = ManualClock()
        let loop = try EventLoop(clock: clock)
        var fired: [Int] = []
        for (number, after) in [(1, 30), (2, 10), (3, 10)] {
            loop.schedule(at: .milliseconds(after)) { fired.append(number) }
        }
        let cancelled = loop.schedule(at: .milliseconds(20)) { fired.append(4) }
        loop.cancel(cancelled)
        loop.runUntilIdle()
        #expect(fired.isEmpty)
        clock.advance(by: .milliseconds(10))
        loop.runUntilIdle()
        #expect(fired == [2, 3])
        clock.advance(by: .milliseconds(20))
        loop.runUntilIdle()
        #expect(fired == [2, 3, 1])
    }

    @Test func `what other threads hand over runs on the loop, in order`() throws {
        let loop = try EventLoop()
        let seen = Mutex<[Int]>([])
        let giver = try NativeThread {
            for number in 0..<1000 {
                loop.execute {
                    loop.checkIsolated()
                    seen.withLock { $0.append(number) }
                }
            }
        }
        #expect(loop.run { seen.withLock { $0.count } == 1000 })
        giver.join()
        #expect(seen.withLock { $0 } == Array(0..<1000))
    }

    /// Hears of a socket.
    private final class Ear: Pollable {
        var heard: [Readiness] = []
        var action: () -> Void = {}
        func ready(_ events: Readiness) {
            heard.append(events)
            action()
        }
    }

    @Test func `an event for a descriptor that was deregistered in the same tick reaches nobody`() throws {
        let loop = try EventLoop(clock: ManualClock())
        let (a, b) = try Socket.pair()
        let (c, d) = try Socket.pair()
        defer { for file in [a, b, c, d] { close(file) } }
        let ears = [Ear(), Ear()]
        let registrations = [try loop.register(a, [.readable], ears[0]), try loop.register(c, [.readable], ears[1])]
        // Whoever is told first sends the other away.
        ears[0].action = { loop.deregister(registrations[1]) }
        ears[1].action = { loop.deregister(registrations[0]) }
        var byte: UInt8 = 1
        write(b, &byte, 1)
        write(d, &byte, 1)
        loop.runUntilIdle()
        #expect(ears[0].heard.count + ears[1].heard.count == 1)
    }

    @Test func `a peer that vanished is given up after the same time, whether data waits for it or not`() throws {
        let wanted = try #require(SocketAddress(literal: "127.0.0.1", port: 0))
        let listener = try ListeningSocket(binding: wanted)
        let client = try Socket.connect(to: listener.address)
        client.setKeepAlive(idle: .seconds(30), interval: .seconds(10), probes: 3)
        func value(_ option: Int32) -> Int32 {
            var (value, size) = (Int32(0), socklen_t(MemoryLayout<Int32>.size))
            getsockopt(client.descriptor, Int32(IPPROTO_TCP), option, &value, &size)
            return value
        }
        #expect(value(TCP_KEEPIDLE) + value(TCP_KEEPINTVL) * value(TCP_KEEPCNT) == 60)
        #expect(value(TCP_USER_TIMEOUT) == 60_000)
    }

    @Test func `flushing happens once a tick, after the jobs, however often it was asked for`() throws {
        final class Pipe: Flushable {
            var isAsked = false
            var flushes = 0
            func flush() {
                isAsked = false
                flushes += 1
            }
        }
        let loop = try EventLoop(clock: ManualClock())
        let pipe = Pipe()
        func write() {
            guard !pipe.isAsked else { return }
            pipe.isAsked = true
            loop.flushLater(pipe)
        }
        for _ in 0..<5 { write() }
        loop.runUntilIdle()
        #expect(pipe.flushes == 1)
        write()
        loop.runUntilIdle()
        #expect(pipe.flushes == 2)
    }

    /// Unchecked: all of it stays on the test's thread, which is the loop's.
    private final class Step: Flushable, Pollable, @unchecked Sendable {
        let action: () -> Void
        init(_ action: @escaping () -> Void) { self.action = action }
        func flush() { action() }
        func ready(_ events: Readiness) { action() }
    }

    @Test func `what flushing makes ready runs, and is flushed, before the loop looks at its descriptors`() throws {
        let loop = try EventLoop(clock: ManualClock())
        let (a, b) = try Socket.pair()
        defer { for file in [a, b] { close(file) } }
        var order: [String] = []
        var byte: UInt8 = 1
        let ear = Step {
            order.append("descriptor")
            read(a, &byte, 1)
        }
        let registration = try loop.register(a, [.readable], ear)
        write(b, &byte, 1)
        let last = Step { order.append("what the job wrote") }
        let job = Step {
            order.append("job")
            loop.flushLater(last)
        }
        loop.adoptCurrentThread()
        let first = Step {
            order.append("flush")
            loop.spawn { job.action() }
        }
        loop.flushLater(first)
        loop.runUntilIdle()
        loop.deregister(registration)
        #expect(order == ["flush", "job", "what the job wrote", "descriptor"])
    }

    @Test func `a connection is taken from the listening socket, and a second listener on the port is refused`() throws {
        let loop = try EventLoop()
        let wanted = try #require(SocketAddress(literal: "127.0.0.1", port: 0))
        let listener = try ListeningSocket(binding: wanted)
        #expect(listener.address.port != 0)
        var taken: [Int32] = []
        let acceptor = Acceptor(loop: loop, socket: listener, accepted: { taken.append($0) }, failed: { _ in })
        let client = try Socket.connect(to: listener.address)
        // The kernel keeps it until then.
        loop.runUntilIdle()
        #expect(taken.isEmpty)
        acceptor.start()
        #expect(loop.run { taken.count == 1 })
        #expect(client.connectError == nil)
        acceptor.stop()
        for file in taken { close(file) }
        let address = listener.address
        #expect(throws: SystemError("bind", errno: EADDRINUSE)) { _ = try ListeningSocket(binding: address) }
    }
}
