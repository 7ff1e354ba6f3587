// Which groups are known to have no unowned message due, so that the usual read is a plain XREADGROUP.
//
// Unknown means: look. A nudge makes a group unknown again, and a flush or a broken subscription all of them (a nudge
// may have been missed). A look that found none counts only if no nudge came since it was sent. Messages with a due
// time are in an index of their own in Redis: a nudge about one, and the time itself, need no look at all the others.
// Of messages that are pending in a stream which is renamed, copied or restored nobody tells: nothing is known for ever.

import Net

struct UnownedIndex {
    /// Groups remembered; past it everything is forgotten, which costs each group one look.
    static let limit = 100_000

    /// False where Redis refuses to tell of nudges: then nothing is ever known.
    var isTold = true

    /// How long it is believed that there are none.
    static let longestQuiet = Duration.seconds(600)

    private struct Quiet {
        var due: EventLoop.Instant?
        var end: EventLoop.Instant
    }

    private var quiet: [WaitKey: Quiet] = [:]
    private var generations = [UInt32](repeating: 0, count: 1024)

    /// Which unowned messages a read has to look for first.
    enum Search: String {
        case nothing
        /// Those whose due time has come: what has none was looked for already.
        case due
        case everything
    }

    func search(_ key: WaitKey, now: EventLoop.Instant) -> Search {
        guard isTold, let quiet = quiet[key] else { return .everything }
        if quiet.end <= now { return .everything }
        return quiet.due.map { $0 <= now } ?? false ? .due : .nothing
    }

    /// Whether a read has to look for unowned messages first.
    func mayHave(_ key: WaitKey, now: EventLoop.Instant) -> Bool { search(key, now: now) != .nothing }

    /// When the next one falls due, as far as is known.
    func due(_ key: WaitKey) -> EventLoop.Instant? { quiet[key]?.due }

    /// Taken before a look is sent, handed in with its result.
    func generation(_ key: WaitKey) -> UInt32 { generations[place(key)] }

    /// A look found none that is due; the next falls due at `due`, nil: there are none at all.
    mutating func foundNone(_ key: WaitKey, due: EventLoop.Instant?, generation: UInt32, now: EventLoop.Instant) {
        guard generations[place(key)] == generation else { return }
        if quiet.count >= UnownedIndex.limit { quiet = [:] }
        quiet[key] = Quiet(due: due, end: now + UnownedIndex.longestQuiet)
    }

    mutating func nudged(_ key: WaitKey) {
        generations[place(key)] &+= 1
        quiet[key] = nil
    }

    /// There is a new due time: whoever looks next learns the nearest.
    mutating func delayed(_ key: WaitKey) {
        generations[place(key)] &+= 1
        quiet[key]?.due = .zero
    }

    mutating func forgetAll() {
        for place in generations.indices { generations[place] &+= 1 }
        quiet = [:]
    }

    private func place(_ key: WaitKey) -> Int {
        Int(UInt(bitPattern: key.hashValue) % UInt(generations.count))
    }
}
