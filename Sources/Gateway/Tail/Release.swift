// The word to live tails that messages are their consumers' no longer: acknowledged, handed back or claimed by a call of
// this process, on whichever loop. A tail that may send no more need not ask Redis for that.
//
// Which loops have tails of a group all loops know, so that a call of a group without any, nearly every one, tells nobody.
// A word that is missed costs the tail a count.

import Net
import Redis
import Synchronization

struct Release: Sendable {
    /// Whose they are no longer.
    enum Holder: Sendable, Equatable {
        case anybody, only(ConsumerName), anybodyBut(ConsumerName)

        func includes(_ consumer: ConsumerName) -> Bool {
            switch self {
            case .anybody: true
            case .only(let name): name == consumer
            case .anybodyBut(let name): name != consumer
            }
        }
    }

    let ids: [StreamID]
    let holder: Holder
    /// Before Redis was asked to: what is delivered later is not meant.
    let time: EventLoop.Instant
}

/// The groups of whose consumers there are live tails, and on which loops. Shared by all loops.
final class FollowedGroups: Sendable {
    private let count = Atomic(0)
    private let loops = Mutex<[WaitKey: [Int]]>([:])

    /// None has any.
    var isEmpty: Bool { count.load(ordering: .relaxed) == 0 }

    func loops(of key: WaitKey) -> [Int] { loops.withLock { $0[key] ?? [] } }

    /// Its first tail has come, or its last has gone.
    func add(_ key: WaitKey, _ loop: Int) {
        count.wrappingAdd(1, ordering: .relaxed)
        loops.withLock { $0[key, default: []].append(loop) }
    }

    func remove(_ key: WaitKey, _ loop: Int) {
        count.wrappingSubtract(1, ordering: .relaxed)
        loops.withLock { loops in
            loops[key]?.removeAll { $0 == loop }
            if loops[key]?.isEmpty ?? false { loops[key] = nil }
        }
    }
}

extension API {
    /// When a call begins that may release something; nil: nobody would hear of it.
    var releaseTime: EventLoop.Instant? { followed.isEmpty ? nil : loop.clock.now }

    /// Redis has done it. `time` is that of its call's beginning.
    func release(_ ids: [StreamID], _ stream: StreamName, _ group: GroupName, by holder: Release.Holder, _ time: EventLoop.Instant?) {
        guard let time, !ids.isEmpty else { return }
        let key = WaitKey(stream: stream, group: group)
        for loop in followed.loops(of: key) { tails.send(.released(key, Release(ids: ids, holder: holder, time: time)), to: loop) }
    }
}
