// What was sent and not answered, in the order of sending: Redis answers in that order, and nothing in
// an answer says what it answers. So a place in this queue is never given up before its answer came.

/// Waits for one command's answer without a task: it is called in the middle of the connection's reading, and may
/// send the next command there.
public protocol ReplyTaker: AnyObject {
    /// No error reply. Good for the call, and for as long as it is kept.
    func redisAnswered(_ reply: RedisReply)
    /// An error reply, or no answer at all.
    func redisFailed(_ error: RedisError)
}

/// Who gets an answer.
enum Waiter {
    case caller(UnsafeContinuation<Result<RedisReply, RedisError>, Never>)
    case taker(any ReplyTaker)
    case batch(CommandBatch, index: Int)
    case handshake(HandshakeStep)
    case ping
    /// Whoever it was has been told that no answer came in time. The answer is dropped in its place.
    case nobody
    /// The same, but it wants what comes too late: it may hold what has to be given back.
    case late((RedisReply) -> Void)
}

struct InFlight {
    var waiter: Waiter
    let effect: RedisCommand.Effect
    let deadline: Duration
    /// When whoever waits gives up, where that is before the deadline.
    let patience: Duration?
    let size: Int
    /// How many bytes the connection had been given when this command was whole. A command whose last
    /// byte never reached the kernel was not executed.
    let end: UInt64
    /// Kept for reads that may be repeated.
    var command: RedisCommand?
    /// Takes an answer that comes after the deadline.
    var late: ((RedisReply) -> Void)?
}

/// Commands that were sent next to one another, and their common waiter.
final class CommandBatch {
    let commands: [RedisCommand]
    /// CLIENT CACHING YES goes first; its answer takes no place in the results.
    let isTracked: Bool
    let deadline: Duration
    private(set) var mayRepeat: Bool
    private var results: [Result<RedisReply, RedisError>?]
    private var missing: Int
    private var cachingFailure: Result<RedisReply, RedisError>?
    private var continuation: UnsafeContinuation<[Result<RedisReply, RedisError>], Never>?

    init(
        _ commands: [RedisCommand], isTracked: Bool, deadline: Duration,
        _ continuation: UnsafeContinuation<[Result<RedisReply, RedisError>], Never>
    ) {
        self.commands = commands
        self.isTracked = isTracked
        self.deadline = deadline
        self.continuation = continuation
        mayRepeat = commands.allSatisfy { $0.effect == .read }
        results = Array(repeating: nil, count: commands.count)
        missing = commands.count
    }

    /// An answer; the first one counts. Index −1 is CLIENT CACHING's: nothing waits for it, but where it is
    /// an error the first command's keys are not tracked, and that must not look like an answer.
    func settle(_ index: Int, _ result: Result<RedisReply, RedisError>) {
        guard index >= 0 else {
            if case .failure = result { cachingFailure = result }
            return
        }
        guard results[index] == nil else { return }
        results[index] = index == 0 ? cachingFailure ?? result : result
        missing -= 1
        if missing == 0 { finish() }
    }

    func settleAll(_ result: Result<RedisReply, RedisError>) {
        for index in results.indices { settle(index, result) }
    }

    /// Starts anew, once: what was answered is forgotten, since tracking ended with the connection.
    func beginRepeat() {
        mayRepeat = false
        cachingFailure = nil
        results = Array(repeating: nil, count: commands.count)
        missing = commands.count
    }

    private func finish() {
        continuation?.resume(returning: results.compactMap { $0 })
        continuation = nil
    }
}

/// A queue in a ring of memory that grows and is used again. A class, so that it is handed over whole.
final class Ring<Element> {
    private var slots = UnsafeMutablePointer<Element>.allocate(capacity: 64)
    private var capacity = 64
    private var head = 0
    private(set) var count = 0

    deinit {
        while popFirst() != nil {}
        slots.deallocate()
    }

    var isEmpty: Bool { count == 0 }

    var first: Element? { count > 0 ? slots[head] : nil }

    /// The i-th from the front.
    subscript(index: Int) -> Element {
        get {
            precondition(index < count, "There is no such element.")
            return slots[place(index)]
        }
        _modify {
            precondition(index < count, "There is no such element.")
            yield &slots[place(index)]
        }
    }

    func append(_ element: consuming Element) {
        if count == capacity { grow() }
        (slots + place(count)).initialize(to: element)
        count += 1
    }

    func popFirst() -> Element? {
        guard count > 0 else { return nil }
        let element = (slots + head).move()
        head = place(1)
        count -= 1
        return element
    }

    private func place(_ index: Int) -> Int { (head + index) & (capacity - 1) }

    private func grow() {
        let larger = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        for index in 0..<count { (larger + index).moveInitialize(from: slots + place(index), count: 1) }
        slots.deallocate()
        slots = larger
        capacity *= 2
        head = 0
    }
}
