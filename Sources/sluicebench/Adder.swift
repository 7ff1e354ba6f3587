// Adds messages over a connection of its own, at a steady rate (0: none) and in bursts, whatever the answers: they are
// counted where they arrive.

import Net

final class Adder: Pollable {
    /// Writes the command or request that adds a message: its number, and the time in microseconds that it is to carry.
    typealias Add = (_ number: Int, _ now: Int64, _ output: ByteBuffer) -> Void

    private(set) var sent = 0
    private let loop: EventLoop
    private let socket: Socket
    private let pause: Duration
    private let add: Add
    private let output = ByteBuffer()
    private let input = ByteBuffer()  // Replies are only taken off the socket.
    private var registration: Registration?
    private var isStopped = false
    private var due: Duration

    init(_ loop: EventLoop, _ address: SocketAddress, rate: Int, add: @escaping Add) throws {
        self.loop = loop
        self.add = add
        pause = .seconds(1) / max(rate, 1)
        due = loop.clock.now
        socket = try Socket.connect(to: address)
        registration = try loop.register(socket.descriptor, [.readable, .writable, .edge], self)
        if rate > 0 { addWhatIsDue() }
    }

    deinit { stop() }

    func stop() {
        isStopped = true
        // The last replies have come or nobody needs them.
        if let registration { loop.deregister(registration) }
        registration = nil
    }

    private func addWhatIsDue() {
        guard !isStopped else { return }
        while due <= loop.clock.now {
            addOne()
            due += pause
        }
        write()
        loop.schedule(at: due) { [weak self] in self?.addWhatIsDue() }
    }

    /// All at once.
    func burst(_ count: Int) {
        for _ in 0..<count { addOne() }
        write()
    }

    private func addOne() {
        add(sent, Int64(loop.clock.now.inSeconds * 1e6), output)
        sent += 1
    }

    private func write() {
        // A link that broke shows as messages that never came.
        if !output.isEmpty, case .bytes(let count)? = try? socket.write(output.bytes) { output.discard(count) }
    }

    func ready(_ events: Readiness) {
        write()
        // As above.
        while case .bytes(let count)? = try? socket.read(into: input.reserve(16 * 1024)) {
            input.wrote(count)
            input.clear()
        }
    }
}
