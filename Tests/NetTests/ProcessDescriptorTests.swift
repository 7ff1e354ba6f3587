// Processes by pidfd: real ones, which end at once.

import Glibc
import Testing

@testable import Net

struct ProcessDescriptorTests {
    @Test func `a child's end is seen by the loop, once, with its status`() throws {
        let loop = try EventLoop()
        let child = try ProcessDescriptor.spawn("/bin/sh", ["-c", "exit 3"], output: "/dev/null")
        var ends = 0
        try child.watch(on: loop) { ends += 1 }
        #expect(loop.run(atMost: .seconds(60)) { ends > 0 })
        loop.runUntilIdle()
        #expect(ends == 1)
        #expect(child.reap() == 3 << 8)  // wait(2): the exit status is in the second byte.
        #expect(child.reap() == nil)
    }

    @Test func `a signal reaches the process, and waiting has a bound`() throws {
        // It stops itself: it would never end of its own.
        let child = try ProcessDescriptor.spawn("/bin/sh", ["-c", "kill -STOP $$"], output: "/dev/null")
        #expect(!child.waitForEnd(atMost: .milliseconds(20)))
        child.send(SIGKILL)
        #expect(child.waitForEnd(atMost: .seconds(60)))
        #expect(child.reap() == SIGKILL)
        child.send(SIGKILL)  // It has gone: nobody else is hit.
    }

    @Test func `what can't be started or found is an error`() {
        #expect(throws: SystemError("posix_spawn", errno: ENOENT)) {
            try ProcessDescriptor.spawn("/nonexistent/program", [], output: "/dev/null")
        }
        #expect(throws: SystemError("pidfd_open", errno: ESRCH)) { try ProcessDescriptor(pid: Int32.max) }
    }
}
