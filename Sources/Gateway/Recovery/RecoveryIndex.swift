// What one loop knows of recovery policies: which groups have one, and until when none of their messages can have
// been idle for long enough. So a read of a group without a policy costs Redis nothing more, and of one with a policy
// only when there may be something to claim.
//
// A look that took all there was tells when the next message gets there; what is delivered later gets there later
// still. Others may set an idle time by hand: after a second we look again all the same.

import Net

struct RecoveryIndex {
    /// How long a group is quiet at most.
    static let longestQuiet = Duration.seconds(1)

    private struct Group {
        var policy: RecoveryPolicy
        var quietUntil = EventLoop.Instant.zero
        /// When a parked reader has to look.
        var due: EventLoop.Instant?
    }

    private var groups: [WaitKey: Group] = [:]

    var count: Int { groups.count }
    var keys: [WaitKey] { Array(groups.keys) }
    var deadLetterStreams: [StreamName] { groups.values.map(\.policy.deadLetter) }

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

    /// When the next message may be idle for long enough.
    func due(_ key: WaitKey) -> EventLoop.Instant? { groups.isEmpty ? nil : groups[key]?.due }

    /// A look took all there was. `left`: until the first other one is idle for long enough.
    mutating func looked(_ key: WaitKey, left: Duration?, now: EventLoop.Instant) {
        guard var group = groups.removeValue(forKey: key) else { return }
        let due = now + min(left ?? group.policy.maxIdle, group.policy.maxIdle)
        group.due = due
        group.quietUntil = min(due, now + RecoveryIndex.longestQuiet)
        groups[key] = group
    }
}
