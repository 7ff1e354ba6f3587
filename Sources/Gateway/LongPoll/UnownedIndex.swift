// Which groups are known to have no unowned message due, so that the usual read is a plain XREADGROUP.
//
// Unknown means: look. A nudge makes a group unknown again, and a broken subscription all of them (a nudge
// may have been missed). A look that found none counts only if no nudge came since it was sent. Messages with a due
// time are in an index of their own in Redis: a nudge about one, and the time itself, need no look at all the others.

import Net

struct UnownedIndex {
    /// Groups remembered; past it everything is forgotten, which costs each group one look.
    static let limit = 100_000

    /// False where Redis refuses to tell of nudges: then nothing is ever known.
    var isTold = true

    private var quietUntil: [WaitKey: EventLoop.Instant?] = [:]
    private var generations = [UInt32](repeating: 0, count: 1024)

    /// Which unowned messages a read has to look for first.
    enum Search: String {
        case nothing
        /// Those whose due time has come: what has none was looked for already.
        case due
        case everything
    }

    func search(_ key: WaitKey, now: EventLoop.Instant) -> Search {
        guard isTold, let until = quietUntil[key] else { return .everything }
        return until.map { $0 <= now } ?? false ? .due : .nothing
    }

    /// Whether a read has to look for unowned messages first.
    func mayHave(_ key: WaitKey, now: EventLoop.Instant) -> Bool { search(key, now: now) != .nothing }

    /// When the next one falls due, as far as is known.
    func due(_ key: WaitKey) -> EventLoop.Instant? { quietUntil[key] ?? nil }

    /// Taken before a look is sent, handed in with its result.
    func generation(_ key: WaitKey) -> UInt32 { generations[place(key)] }

    /// A look found none that is due; the next falls due at `due`, nil: there are none at all.
    mutating func foundNone(_ key: WaitKey, due: EventLoop.Instant?, generation: UInt32) {
        guard generations[place(key)] == generation else { return }
        if quietUntil.count >= UnownedIndex.limit { quietUntil = [:] }
        quietUntil[key] = .some(due)
    }

    mutating func nudged(_ key: WaitKey) {
        generations[place(key)] &+= 1
        quietUntil[key] = nil
    }

    /// There is a new due time: whoever looks next learns the nearest.
    mutating func delayed(_ key: WaitKey) {
        generations[place(key)] &+= 1
        if quietUntil[key] != nil { quietUntil[key] = .some(.zero) }
    }

    mutating func forgetAll() {
        for place in generations.indices { generations[place] &+= 1 }
        quietUntil = [:]
    }

    private func place(_ key: WaitKey) -> Int {
        Int(UInt(bitPattern: key.hashValue) % UInt(generations.count))
    }
}
