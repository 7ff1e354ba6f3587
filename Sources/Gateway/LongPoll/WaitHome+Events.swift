// What a home is told, what it wants done, and by which rules it goes. Part of `WaitHome`.

import Net

extension WaitHome {
    enum Event: Sendable {
        /// `claims`: the waiter also wants what others have left idle for so long (`claim_min_idle_ms`);
        /// `takesUnowned`: and what nobody holds.
        case join(WaiterID, WaitKey, claims: Duration?, takesUnowned: Bool = true)
        /// Answered, out of time, or gone; also in the middle of a look.
        case leave(WaiterID)
        case looked(WaiterID, Look)
        /// The answer to `.track`: Redis tracks the stream's key, or could not be told to.
        case tracked(StreamName, TrackID, Bool)
        /// The key was changed by somebody; nil: any key may have been.
        case invalidated(StreamName?)
        /// Something happened to the group that Redis' tracking does not tell.
        case nudged(WaitKey)
        /// Another gateway asks for a turn, which has had nothing for so long.
        case asked(WaitKey, hunger: Duration)
        case timer(WaitKey)
        /// Ten times a second: catches what others did unheard.
        case slowTick
    }

    /// What a look came to.
    struct Look: Sendable, Equatable {
        enum Result: Sendable, Equatable {
            /// Messages were found, and the waiter has left with them. `full`: as many as it asked for, so
            /// there may be more.
            /// `stays`: it has not left, but waits for more: the feed of live tails, which reads to the end.
            case found(full: Bool, stays: Bool = false)
            case nothing
            /// Redis could not be asked.
            case failed
            case ended(WaitEnd)
        }
        var result: Result
        /// When the group's next unowned message falls due, if there is one.
        var unownedDue: Instant?
        /// When to look again for idle messages; nil unless the waiter claims.
        var claimDue: Instant?
    }

    /// Tells the answers to `.track` apart: one for a queue that has gone since must not count for its successor.
    typealias TrackID = Int

    enum Action: Equatable {
        case track(StreamName, TrackID)
        /// `toldAt`: since when it is known that there is something to look for; nil where nobody said so. A run that goes
        /// on keeps its word unless a newer one has come.
        case look(WaiterID, toldAt: Instant?)
        case end(WaiterID, WaitEnd)
        /// The other gateways are to hear `.asked`.
        case ask(WaitKey, hunger: Duration)
        /// Send `.timer` at this time, at most `longestSleep` away. A later one for the same key replaces nothing:
        /// each is answered, also when the queue has gone meanwhile.
        case wake(WaitKey, at: Instant)
    }

    struct Settings: Sendable {
        /// False where Redis refuses tracking: then every group is polled.
        var isTracking = true
        var pollInterval = Duration.milliseconds(100)
        /// Looks a second of the slow walk, on this loop.
        var slowLooksPerSecond = 500
        /// How soon a failed look or track is tried again.
        var retryDelay = Duration.milliseconds(100)
        /// How often the readers of a group look for idle messages, all together.
        var claimInterval = Duration.milliseconds(200)
        /// Empty batches of looks in a row after which a group is throttled, and to what.
        var emptyLooksAllowed = 3
        var emptyLookInterval = Duration.milliseconds(5)
        /// Words in a row for which another gateway may be there first, and how long it then waits for us: twice as long
        /// as we are throttled, after as many empty looks.
        var lossesAllowed = 16
        var turn = Duration.milliseconds(10)
        /// Timers are not taken back: a message that is due in hours must not leave one behind with every waiter.
        var longestSleep = Duration.seconds(10)
    }
}
