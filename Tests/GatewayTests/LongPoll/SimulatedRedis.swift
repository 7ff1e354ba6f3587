// What Redis does for waiting, without time or sockets: streams, groups with cursors, pending and unowned messages,
// and tracking that tells a client once that a key has changed. A message's id is its place in its stream.

@testable import Gateway

struct SimulatedRedis {
    struct Message: Hashable {
        var number: Int
        /// How often it was claimed: what tells its owners apart.
        var claim = 0
    }

    struct Group {
        var exists = true
        var cursor = 0
        /// Rises when the group is moved or made anew, and messages may come again.
        var era = 0
        var unowned: [(message: Message, due: Duration)] = []
        /// With somebody, who has not acknowledged it, since then.
        var pending: [(message: Message, since: Duration)] = []

        func hasMessage(below end: Int, now: Duration) -> Bool {
            exists && (cursor < end || unowned.contains { $0.due <= now })
        }

        func hasIdle(_ minIdle: Duration, now: Duration) -> Bool {
            exists && pending.contains { now - $0.since >= minIdle }
        }

        /// XREADGROUP, due unowned messages first, and then those that are idle.
        mutating func take(_ count: Int, below end: Int, minIdle: Duration?, now: Duration) -> [Message] {
            var taken = Array(unowned.filter { $0.due <= now }.map(\.message).prefix(count))
            unowned.removeAll { taken.contains($0.message) }
            if let minIdle {
                let idle = pending.filter { now - $0.since >= minIdle }.prefix(count - taken.count)
                pending.removeAll { row in idle.contains { $0.message == row.message } }
                taken += idle.map { Message(number: $0.message.number, claim: $0.message.claim + 1) }
            }
            let new = min(count - taken.count, end - cursor)
            taken += (cursor..<cursor + new).map { Message(number: $0) }
            cursor += new
            pending += taken.map { ($0, now) }
            return taken
        }

        mutating func acknowledge(_ message: Message) { pending.removeAll { $0.message.number == message.number } }

        /// Those that are still his who took them; returns whether there were any.
        mutating func handBack(_ messages: [Message], due: Duration) -> Bool {
            let owned = pending.map(\.message).filter(messages.contains)
            pending.removeAll { owned.contains($0.message) }
            unowned += owned.map { ($0, due) }
            return !owned.isEmpty
        }
    }

    struct Stream {
        var length = 0
        var groups: [Group]
        /// By connection: whether it is to be told of the next change.
        var isTrackedBy: [Bool]
    }

    struct Taken {
        var messages: [Message] = []
        var era = 0
        var look = WaitHome.Look(result: .nothing)
    }

    var streams: [Stream]

    init(streams: Int, groups: Int, connections: Int) {
        let stream = Stream(
            groups: Array(repeating: Group(), count: groups), isTrackedBy: Array(repeating: false, count: connections))
        self.streams = Array(repeating: stream, count: streams)
    }

    /// What a consumer's read brings. `minIdle`: it also claims what has been idle for so long.
    mutating func take(_ stream: Int, _ group: Int, count: Int, minIdle: Duration?, now: Duration) -> Taken {
        let length = streams[stream].length
        var taken = Taken()
        taken.era = streams[stream].groups[group].era
        guard streams[stream].groups[group].exists else {
            taken.look.result = .ended(.groupGone)
            return taken
        }
        taken.messages = streams[stream].groups[group].take(count, below: length, minIdle: minIdle, now: now)
        let isFull = taken.messages.count == count
        if !taken.messages.isEmpty { taken.look.result = .found(full: isFull) }
        taken.look.unownedDue = streams[stream].groups[group].unowned.map(\.due).min()
        if let minIdle {  // As `API.nextClaim` has it.
            let idle = streams[stream].groups[group].pending.map { $0.since + minIdle }.min() ?? .seconds(1_000_000)
            taken.look.claimDue = isFull ? now : min(max(idle, now + .milliseconds(200)), now + .milliseconds(800))
        }
        return taken
    }

    /// XADD; returns the connections that are told.
    mutating func add(_ stream: Int) -> [Int] {
        streams[stream].length += 1
        let told = streams[stream].isTrackedBy.indices.filter { streams[stream].isTrackedBy[$0] }
        for connection in told { streams[stream].isTrackedBy[connection] = false }
        return told
    }

    mutating func forget(connection: Int) {
        for stream in streams.indices { streams[stream].isTrackedBy[connection] = false }
    }
}
