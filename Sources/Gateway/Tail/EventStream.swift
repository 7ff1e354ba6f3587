// A client that is sent events for as long as it stays: what goes to it, in order, and what it has not taken yet.
//
//   opening → open → ending → over
//
// It counts as a waiter of the process. What the kernel takes at once is written straight from the shared batches; what
// it does not take stays a reference to them, so a slow client costs no copies. Whether there is too much of it is the
// subclasses' business. Whoever has an end to tell ends it with last words; a client that has gone is told nothing.

import HTTP
import Net
import Redis

class EventStream: OpenReply {
    private enum State { case opening, open, ending, over }

    final let api: API
    private final var state = State.opening
    private final var client: HTTPConnection?
    /// What the client has not wholly taken.
    private final var queue: [EventBatch] = []
    /// Bytes of the first that it has taken.
    private final var taken = 0
    /// Bytes that it has not taken.
    final private(set) var backlog = 0
    private final var place: WaiterCount.Place?

    /// `place`: what was taken for it among the waiters.
    init(_ api: API, _ place: WaiterCount.Place?) {
        self.api = api
        self.place = place
    }

    final var response: Response {
        var response = Response(contentType: "text/event-stream", body: .open(self))
        response.addHeader("X-Accel-Buffering", "no")
        return response
    }

    final var isOpen: Bool { state == .open }
    final var isOver: Bool { state == .over }
    final var isQueueing: Bool { queue.count > 1 }

    /// Asks the kernel.
    final func isClientGone() -> Bool { client?.isClientGone() ?? true }

    // MARK: For the subclasses

    /// Where a reader is who has got all that was sent.
    var position: StreamID { preconditionFailure("Every stream of events knows its position.") }
    /// The first thing sent. The position: who is cut off before the first message goes on from here.
    var greeting: String { "id: \(position)\n\n" }
    /// The client is there.
    func opened() { preconditionFailure("Every stream of events knows its beginning.") }
    /// The client has taken all that was sent.
    func caughtUp() {}
    /// Nothing more can be sent. Once.
    func closed() {}

    /// Sends it, behind whatever the client has not taken yet.
    final func send(_ batch: EventBatch) {
        guard state == .open else { return }
        api.tails.counters.events += batch.events.count
        queue.append(batch)
        backlog += length(batch)
        if queue.count == 1 { write() }
    }

    /// A word that keeps the connection alive; whoever has something to take needs none.
    final func sendComment() {
        if state == .open, queue.isEmpty { send(EventBatch.text(":\n\n", at: position)) }
    }

    /// Ends with last words, which say where to go on. `drops`: what the client has not begun to take is not for it any more.
    final func end(dropping drops: Bool, _ words: (_ position: StreamID) -> String) {
        guard state == .open else { return }
        if drops, queue.count > 1 {
            for batch in queue[1...] { backlog -= length(batch) }
            queue.removeSubrange(1...)
        }
        let last = drops ? queue.last?.last ?? position : position
        send(EventBatch.text(words(last), at: last))
        guard state == .open else { return }
        state = .ending
        leave()
        if queue.isEmpty { finish() }
    }

    // MARK: For the connection

    final func begin(_ client: HTTPConnection) {
        self.client = client
        state = .open
        api.tails.entered(self)
        send(EventBatch.text(greeting, at: position))
        guard state == .open else { return }
        if api.isDraining { endForShutdown() } else { opened() }
    }

    final func clientTakes() { write() }

    final func clientGone() {
        switch state {
        case .over: return
        case .opening: hasLeft()
        case .open:
            api.longPoll.counters.departed += 1
            finish()
        case .ending: finish()
        }
    }

    /// The gateway goes: whoever has read so far goes on at another, not all at the same moment.
    final func endForShutdown() {
        let pause = Int.random(in: 500...1500)
        end(dropping: true) { _ in ": the gateway is shutting down\nretry: \(pause)\n\n" }
    }

    // MARK: Inside

    private final func length(_ batch: EventBatch) -> Int {
        client?.isChunked == true ? batch.bytes.count : batch.payload.count
    }

    private final func write() {
        guard let client else { return }
        let isChunked = client.isChunked
        while let batch = queue.first {
            let range = isChunked ? 0..<batch.bytes.count : batch.payload
            let left = range.count - taken
            let count = batch.bytes.withUnsafeBytes {
                client.write(UnsafeRawBufferPointer(rebasing: $0[(range.lowerBound + taken)..<range.upperBound]))
            }
            guard state == .open || state == .ending else { return }  // It has broken meanwhile.
            backlog -= count
            guard count == left else { return taken += count }
            taken = 0
            queue.removeFirst()
        }
        if state == .ending { finish() } else { caughtUp() }
    }

    private final func finish() {
        queue = []
        backlog = 0
        leave()
        let client = client
        hasLeft()
        client?.end()
    }

    private final var isIn = true

    /// No events are for it any more.
    private final func leave() {
        guard isIn else { return }
        isIn = false
        closed()
    }

    private final func hasLeft() {
        leave()
        state = .over
        client = nil
        api.tails.left(self)
        if let place { api.longPoll.givePlace(place) }
        place = nil
    }
}
