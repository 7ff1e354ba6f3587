// clock_gettime, for the whole test process: on a thread that has moved its time, it is later by so much. libcurl
// measures the age of its connections with it, and nothing else would make 45 seconds pass at once.

import Glibc
import Synchronization

enum ScriptedClock {
    private static let offsets = Mutex<(thread: pthread_t, seconds: Int)?>(nil)
    /// Checked first: all threads read clocks all the time.
    fileprivate static let isMoved = Atomic(false)

    /// Runs `body` with a clock that it moves. One test at a time: the suites that use it are serialized.
    static func withMovableTime(_ body: ((_ seconds: Int) -> Void) throws -> Void) rethrows {
        defer {
            isMoved.store(false, ordering: .sequentiallyConsistent)
            offsets.withLock { $0 = nil }
        }
        try body { seconds in
            offsets.withLock { $0 = (pthread_self(), ($0?.seconds ?? 0) + seconds) }
            isMoved.store(true, ordering: .sequentiallyConsistent)
        }
    }

    fileprivate static var seconds: Int {
        offsets.withLock { offset in
            guard let offset, pthread_equal(offset.thread, pthread_self()) != 0 else { return 0 }
            return offset.seconds
        }
    }

    typealias Call = @convention(c) (Int32, UnsafeMutableRawPointer?) -> Int32

    /// The C library's own: RTLD_NEXT is -1.
    fileprivate static let library: Call = {
        guard let symbol = dlsym(UnsafeMutableRawPointer(bitPattern: -1), "clock_gettime") else {
            preconditionFailure("The C library has no clock_gettime.")
        }
        return unsafeBitCast(symbol, to: Call.self)
    }()
}

/// Public, so that the dynamic linker sees it; untyped, so that Glibc need not be imported publicly.
@_cdecl("clock_gettime") public func scriptedClockGettime(_ clock: Int32, _ time: UnsafeMutableRawPointer?) -> Int32 {
    let status = ScriptedClock.library(clock, time)
    if ScriptedClock.isMoved.load(ordering: .relaxed), clock == CLOCK_MONOTONIC || clock == 4 || clock == 6 {  // _RAW, _COARSE
        time?.assumingMemoryBound(to: timespec.self).pointee.tv_sec += ScriptedClock.seconds
    }
    return status
}
