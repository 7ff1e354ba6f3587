// One loop's HTTP connections: what they share, and how they are taken, counted and drained.

public import Net

public final class HTTPServer {
    public let loop: EventLoop
    public let limits: HTTPLimits
    public internal(set) var counters = HTTPCounters()

    var date = HTTPDate()
    private var connections: [HTTPConnection] = []
    private var isDraining = false
    /// Connections that rested and want a task, in the order they asked.
    private var awakened = Fifo<HTTPConnection>()
    /// Who answers; set by the owner before the first connection. It must outlive them.
    public var responder: (any HTTPResponder)!
    /// Starts a task on the loop that calls `runErrands`; set by the owner, who alone can start tasks.
    public var startTask: () -> Void = { preconditionFailure("Nobody starts tasks for this server.") }
    private var refusing = 0
    /// Whose clients' kernels are to say that they have what must not be lost.
    private var unconfirmed: [HTTPConnection] = []

    /// How long what a reply carried is held for a client that asks for nothing more, beyond the round trip.
    static let confirmInterval = Duration.milliseconds(100)

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
    public func runErrands() async {
        guard let connection = awakened.popFirst() else { preconditionFailure("A task was started for each that asked.") }
        guard await connection.runErrands() else { return }
        if connection.isRefused { refusing -= 1 } else { leave(connection) }
    }

    func giveTask(_ connection: HTTPConnection) {
        awakened.append(connection)
        startTask()
    }

    func confirmSoon(_ connection: HTTPConnection) {
        if unconfirmed.isEmpty { scheduleConfirmation() }
        unconfirmed.append(connection)
    }

    /// One look a while at all of them: the kernel tells nobody that its peer has something.
    private func scheduleConfirmation() {
        loop.schedule(at: loop.now + HTTPServer.confirmInterval) { [unowned self] in
            unconfirmed.removeAll { !$0.confirm() }
            if !unconfirmed.isEmpty { scheduleConfirmation() }
        }
    }

    /// Idle connections close now; the others after the reply that they wait for, and so will new ones.
    public func drain() {
        isDraining = true
        for connection in connections { connection.drain() }
    }

    /// Gives up all that are left: whose reply they have not taken is told that it is lost. The end of a drain.
    public func breakOff() {
        for connection in connections { connection.breakOff() }
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
