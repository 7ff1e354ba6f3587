// What Redis does for waiting, without time or sockets: streams, groups with cursors, unowned messages, and
// tracking that tells a client once that a key has changed. A message's id is its place in its stream.

@testable import Gateway

struct SimulatedRedis {
    struct Group {
        var exists = true
        var cursor = 0
        /// Rises when the group is moved or made anew, and messages may come again.
        var era = 0
        var unowned: [(message: Int, due: Duration)] = []

        func hasMessage(below end: Int, now: Duration) -> Bool {
            exists && (cursor < end || unowned.contains { $0.due <= now })
        }
    }

    struct Stream {
        var length = 0
        var groups: [Group]
        /// By connection: whether it is to be told of the next change.
        var isTrackedBy: [Bool]
    }

    struct Taken {
        var messages: [Int] = []
        var era = 0
        var look = WaitHome.Look(result: .nothing)
    }

    var streams: [Stream]

    init(streams: Int, groups: Int, connections: Int) {
        let stream = Stream(
            groups: Array(repeating: Group(), count: groups), isTrackedBy: Array(repeating: false, count: connections))
        self.streams = Array(repeating: stream, count: streams)
    }

    /// XREADGROUP, due unowned messages first.
    mutating func take(_ stream: Int, _ group: Int, count: Int, now: Duration) -> Taken {
        var taken = Taken()
        let length = streams[stream].length
        taken.era = streams[stream].groups[group].era
        guard streams[stream].groups[group].exists else {
            taken.look.result = .ended(.groupGone)
            return taken
        }
        let unowned = streams[stream].groups[group].unowned
        let due = unowned.filter { $0.due <= now }.prefix(count).map(\.message)
        streams[stream].groups[group].unowned.removeAll { due.contains($0.message) }
        taken.messages = due
        let cursor = streams[stream].groups[group].cursor
        let new = min(count - due.count, length - cursor)
        taken.messages += cursor..<cursor + new
        streams[stream].groups[group].cursor += new
        taken.look.unownedDue = streams[stream].groups[group].unowned.map(\.due).min()
        if !taken.messages.isEmpty { taken.look.result = .found(full: taken.messages.count == count) }
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
