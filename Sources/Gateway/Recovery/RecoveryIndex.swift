// What one loop knows of recovery policies: which groups have one, and until when none of their messages can have
// been idle for long enough. So a read of a group without a policy costs Redis nothing more, and of one with a policy
// only when there may be something to claim.
//
// A group's pending list is seen through by as many looks as it takes (each sees at most 1,000 messages); then it
// is quiet until the first of them gets there. What is delivered later gets there later still. Others may set
// an idle time by hand: after a second we look again all the same.

import Net

struct RecoveryIndex {
    /// How long a group is quiet at most.
    static let longestQuiet = Duration.seconds(1)
    /// How soon a parked reader goes on with a list that was not seen through.
    static let nextPart = Duration.milliseconds(200)

    private struct Group {
        var policy: RecoveryPolicy
        /// Where the next look begins: "-", or behind an ID.
        var cursor = "-"
        /// When the first message of the parts seen so far is idle for long enough.
        var soonest: EventLoop.Instant?
        var quietUntil = EventLoop.Instant.zero
        /// When a parked reader has to look.
        var due: EventLoop.Instant?
    }

    private var groups: [WaitKey: Group] = [:]

    var count: Int { groups.count }
    var keys: [WaitKey] { Array(groups.keys) }

    func policy(_ key: WaitKey) -> RecoveryPolicy? { groups.isEmpty ? nil : groups[key]?.policy }

    /// True when that is news.
    mutating func set(_ key: WaitKey, _ policy: RecoveryPolicy?) -> Bool {
        guard groups[key]?.policy != policy else { return false }
        groups[key] = policy.map { Group(policy: $0) }
        return true
    }

    /// Whether a read has to look for messages that are idle for long enough.
    func mayHaveIdle(_ key: WaitKey, now: EventLoop.Instant) -> Bool {
        groups[key].map { $0.quietUntil <= now } ?? false
    }

    /// Where such a look begins.
    func cursor(_ key: WaitKey) -> String { groups[key]?.cursor ?? "-" }

    /// When the next message may be idle for long enough.
    func due(_ key: WaitKey) -> EventLoop.Instant? { groups.isEmpty ? nil : groups[key]?.due }

    /// A look took all there was in its part of the list. `left`: until the first other one there gets there; `rest`: where
    /// the part ended, empty at the list's end.
    mutating func looked(_ key: WaitKey, left: Duration?, rest: String, now: EventLoop.Instant) {
        guard var group = groups.removeValue(forKey: key) else { return }
        let due = now + min(left ?? group.policy.maxIdle, group.policy.maxIdle)
        let soonest = min(group.soonest ?? due, due)
        if rest.isEmpty {
            group.due = soonest
            group.quietUntil = min(soonest, now + RecoveryIndex.longestQuiet)
            group.soonest = nil
            group.cursor = "-"
        } else {
            group.due = now + RecoveryIndex.nextPart
            group.soonest = soonest
            group.cursor = rest
        }
        groups[key] = group
    }
}
