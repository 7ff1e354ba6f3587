// Time, as the loop sees it. Nothing else in the program reads a clock.

import Glibc
import Synchronization

public protocol LoopClock: Sendable {
    /// Time since an arbitrary origin; never goes back.
    var now: Duration { get }
    /// Time since 1970-01-01T00:00:00Z; may jump when the machine's clock is set.
    var wallTime: Duration { get }
}

public struct MonotonicClock: LoopClock {
    public init() {}

    public var now: Duration { read(CLOCK_MONOTONIC) }
    public var wallTime: Duration { read(CLOCK_REALTIME) }

    private func read(_ clock: clockid_t) -> Duration {
        var time = timespec()
        clock_gettime(clock, &time)
        return Duration(secondsComponent: Int64(time.tv_sec), attosecondsComponent: Int64(time.tv_nsec) * 1_000_000_000)
    }
}

/// Time that moves only when a test says so.
public final class ManualClock: LoopClock {
    private let elapsed = Mutex<Duration>(.zero)
    private let epoch: Duration

    /// `epoch`: the wall time at the clock's origin.
    public init(epoch: Duration = .seconds(1_709_251_200)) { self.epoch = epoch }

    public var now: Duration { elapsed.withLock { $0 } }
    public var wallTime: Duration { epoch + now }

    public func advance(by duration: Duration) {
        elapsed.withLock { $0 += duration }
    }
}

extension Duration {
    /// Whole milliseconds, rounded towards zero.
    @inlinable public var milliseconds: Int {
        Int(attoseconds / 1_000_000_000_000_000)
    }

    /// Seconds as a floating-point number, for metrics and logs.
    public var inSeconds: Double {
        let (seconds, attoseconds) = components
        return Double(seconds) + Double(attoseconds) * 1e-18
    }
}
