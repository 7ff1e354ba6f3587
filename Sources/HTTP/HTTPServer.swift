// One loop's HTTP connections: what they share, and how they are taken, counted and drained.

public import Net

public final class HTTPServer {
    public let loop: EventLoop
    public let limits: HTTPLimits
    public let counters = HTTPCounters()

    var date = HTTPDate()
    private var connections: [HTTPConnection] = []
    private var isDraining = false
    /// Connections that rested and want a task, in the order they asked.
    private var awakened: [HTTPConnection] = []
    private var nextAwakened = 0
    /// Who answers; set by the owner before the first connection. It must outlive them.
    public var responder: (any HTTPResponder)!
    /// Starts a task on the loop that calls `carryOn`; set by the owner, who alone can start tasks.
    public var startTask: () -> Void = { preconditionFailure("Nobody starts tasks for this server.") }
    private var refusing = 0

    /// Clients being told 503 at one time; past it they are just closed.
    private static let refusingLimit = 256

    public init(loop: EventLoop, limits: HTTPLimits = HTTPLimits()) {
        self.loop = loop
        self.limits = limits
    }

    /// Takes the (non-blocking) descriptor. The connection rests until the client says something. Past
    /// `HTTPLimits.connections` the client is told `tooManyConnections`.
    public func accept(_ descriptor: Int32) {
        let connection = HTTPConnection(descriptor: descriptor, server: self)
        if connections.count < limits.connections {
            counters.accepted += 1
            guard connection.open() else { return }
            enter(connection)
            if isDraining { connection.drain() }
        } else {
            counters.refused += 1
            guard refusing < HTTPServer.refusingLimit, connection.open(refusing: true) else { return }
            refusing += 1
        }
    }

    /// Goes on with one connection that rested: for each call of `startTask`, a call of this.
    public func carryOn() async {
        let connection = awakened[nextAwakened]
        nextAwakened += 1
        if nextAwakened == awakened.count {
            awakened.removeAll(keepingCapacity: true)
            nextAwakened = 0
        }
        guard await connection.carryOn() else { return }
        if connection.isRefused { refusing -= 1 } else { leave(connection) }
    }

    func giveTask(_ connection: HTTPConnection) {
        awakened.append(connection)
        startTask()
    }

    /// Idle connections close now; the others after the reply that they wait for, and so will new ones.
    public func drain() {
        isDraining = true
        for connection in connections { connection.drain() }
    }

    private func enter(_ connection: HTTPConnection) {
        connection.place = connections.count
        connections.append(connection)
        counters.open = connections.count
    }

    /// The last takes the place of the one that leaves.
    private func leave(_ connection: HTTPConnection) {
        let last = connections.removeLast()
        if last !== connection {
            connections[connection.place] = last
            last.place = connection.place
        }
        connection.place = -1
        counters.open = connections.count
    }
}
