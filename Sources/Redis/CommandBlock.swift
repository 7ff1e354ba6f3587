// Many commands as one piece: encoded one behind the other, sent by one append, and one place in the queue
// of what is in flight. A batch of a thousand messages is a few of these instead of a thousand waiters.
//
// Filled by whoever adds to it, then lent to a connection, which brings it the answers in order. Everything is
// on the loop. After a failure the answers that still come are counted and dropped here, so that a block that
// failed is never filled again.

import Net

/// Writes of a block of the replicated lane: to be given to `RedisClient.confirm`.
public struct ReplicatedWrite: Sendable {
    /// Whose slot it is.
    public let key: [UInt8]
    let generation: Int
}

public final class CommandBlock {
    /// Which connection carries it.
    public enum Lane: Sendable {
        /// The one of all ordinary commands.
        case shared
        /// The one whose writes can be waited for; see `RedisClient.confirm`.
        case replicated
    }

    /// Of all its commands, which are of one kind.
    public let effect: RedisCommand.Effect
    public let lane: Lane
    /// All keys of all its commands live in the slot of this one.
    public let key: [UInt8]
    /// Commands so far.
    public var count: Int { ends.count }
    /// Their bytes on the wire.
    public var byteCount: Int { ends.last ?? 0 }

    private let bytes = ByteBuffer(capacity: 1024)
    /// Where each command ends in `bytes`.
    private var ends: [Int] = []
    private let take: (RedisReply) -> Void

    private var isSettled = true
    private var answered = 0
    /// Commands before this one were sent in an earlier attempt and may have been executed.
    private var tried = 0
    /// The command with which the attempt under way begins.
    private var first = 0
    private var failure: Failure?
    private var continuation: UnsafeContinuation<Void, Never>?
    private(set) var deadline = Duration.zero
    /// Which of the connections that were opened for replicated writes has carried it.
    var generation = 0
    /// What to wait for replicas of, once it was answered.
    public var write: ReplicatedWrite { ReplicatedWrite(key: key, generation: generation) }

    private struct Failure {
        let reason: RedisError.Reason
        /// Commands from here on were never sent.
        let firstUnsent: Int
    }

    /// - Parameter take: gets each answer as it comes, in order, errors among them; the reply is good for the call.
    ///   Not called any more once the block has failed.
    public init(key: [UInt8], effect: RedisCommand.Effect, lane: Lane = .shared, take: @escaping (RedisReply) -> Void) {
        self.key = key
        self.effect = effect
        self.lane = lane
        self.take = take
    }

    // MARK: Filling

    public func append(_ command: RedisCommand) {
        bytes.append(UInt8(ascii: "*"))
        bytes.append(decimal: command.argumentCount)
        bytes.append(literal: "\r\n")
        command.withArguments { bytes.append($0) }
        ends.append(bytes.count)
    }

    /// Once more a command of another block, as it stands there.
    public func append(_ index: Int, of other: CommandBlock) {
        let start = index > 0 ? other.ends[index - 1] : 0
        bytes.append(UnsafeRawBufferPointer(rebasing: other.bytes.bytes[start..<other.ends[index]]))
        ends.append(bytes.count)
    }

    /// Empty again, its memory kept. Only of a block whose commands have all been answered, or that was never sent.
    public func clear() {
        precondition(isSettled && failure == nil, "A block that failed may still be in flight.")
        bytes.clear()
        ends.removeAll(keepingCapacity: true)
        answered = 0
        tried = 0
        first = 0
    }

    // MARK: What became of it

    /// Returns when every command was answered or has failed.
    public func settled() async {
        await withUnsafeContinuation { (caller: UnsafeContinuation<Void, Never>) in
            // Asked here: before the closure is run the loop may have had its turn.
            if isSettled { caller.resume() } else { continuation = caller }
        }
    }

    /// Commands that were answered, the first ones.
    public var answeredCount: Int { failure == nil ? answered : takenCount }
    /// `answered` when it failed: later answers are dropped.
    private var takenCount = 0

    /// Why the command at `index`, which was not answered, was not.
    public func error(at index: Int) -> RedisError {
        guard let failure else { preconditionFailure("Every command of this block was answered.") }
        let hasRun = index < failure.firstUnsent && effect != .read
        return hasRun ? .outcomeUnknown(effect, failure.reason) : .unavailable(failure.reason)
    }

    // MARK: For the connection

    /// All are answered, or answers are no longer wanted and none is missing.
    var isAnswered: Bool { answered == ends.count }
    var hasFailed: Bool { failure != nil }
    /// Commands still to send or to be answered.
    var unansweredCount: Int { ends.count - answered }

    func begin(deadline: Duration) {
        precondition(isSettled && !ends.isEmpty && answered == 0, "A block is sent once.")
        isSettled = false
        self.deadline = deadline
    }

    /// Appends what has no answer yet; how many bytes that were.
    func encode(to output: ByteBuffer) -> Int {
        first = answered
        let start = first > 0 ? ends[first - 1] : 0
        output.append(UnsafeRawBufferPointer(rebasing: bytes.bytes[start...]))
        return bytes.count - start
    }

    func receive(_ reply: RedisReply) {
        answered += 1
        guard failure == nil else { return }
        take(reply)
        if isAnswered { settle() }
    }

    /// No answer came in time. All of it may have been executed, or may yet be.
    func expire() {
        fail(.timedOut, firstUnsent: ends.count)
    }

    /// The connection broke, when the kernel had `sent` bytes of this attempt.
    func lose(sent: Int, _ reason: RedisError.Reason) {
        noteTried(sent: sent)
        fail(reason, firstUnsent: max(tried, answered))
    }

    /// The same, but it will be sent once more.
    func noteTried(sent: Int) {
        let start = first > 0 ? ends[first - 1] : 0
        var index = max(first, tried)
        while index < ends.count, ends[index] - start <= sent { index += 1 }
        tried = index
    }

    /// It was to be sent once more, and there was no connection.
    func fail(_ reason: RedisError.Reason) { fail(reason, firstUnsent: max(tried, answered)) }

    private func fail(_ reason: RedisError.Reason, firstUnsent: Int) {
        guard !isSettled else { return }
        failure = Failure(reason: reason, firstUnsent: firstUnsent)
        takenCount = answered
        settle()
    }

    private func settle() {
        isSettled = true
        continuation?.resume()
        continuation = nil
    }
}
