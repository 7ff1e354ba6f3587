// What was sent and not answered, in the order of sending: Redis answers in that order, and nothing in
// an answer says what it answers. So a place in this queue is never given up before its answer came.

import Net

struct InFlight {
    var waiter: ReplyWaiter
    let effect: RedisCommand.Effect
    let deadline: Duration
    /// When whoever waits gives up, where that is before the deadline.
    let patience: Duration?
    let size: Int
    /// How many bytes the connection had been given when this command was whole. A command whose last
    /// byte never reached the kernel was not executed.
    let end: UInt64
    /// Kept where it may be repeated: of reads and idempotent writes.
    var command: RedisCommand?
    /// Takes an answer that comes after the deadline.
    var late: ((RedisReply) -> Void)?
    /// It was sent before, over a connection that broke.
    var mayHaveRun = false
}

extension RedisCommand.Effect {
    /// Whether the command may go out once more when its connection broke.
    var mayRepeat: Bool { self == .read || self == .idempotent }
}

extension Fifo where Element == InFlight {
    /// The block at the front, if a block is there.
    var firstBlock: CommandBlock? {
        guard let first, case .block(let block) = first.waiter else { return nil }
        return block
    }
}
