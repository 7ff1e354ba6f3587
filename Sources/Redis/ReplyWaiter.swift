// Who waits for an answer of Redis: a task, one that needs no task, or what stands for many commands.

/// Waits for one command's answer without a task: it is called in the middle of the connection's reading, and may
/// send the next command there.
public protocol ReplyTaker: AnyObject {
    /// No error reply. Good for the call, and for as long as it is kept.
    func redisAnswered(_ reply: RedisReply)
    /// An error reply, or no answer at all.
    func redisFailed(_ error: RedisError)
}

/// Who gets an answer.
enum ReplyWaiter {
    case caller(UnsafeContinuation<Result<RedisReply, RedisError>, Never>)
    case taker(any ReplyTaker)
    case batch(CommandBatch, index: Int)
    /// All its commands in one place of the queue.
    case block(CommandBlock)
    case handshake(HandshakeStep)
    case ping
    /// Whoever it was has been told that no answer came in time. The answer is dropped in its place.
    case nobody
    /// The same, but it wants what comes too late: it may hold what has to be given back.
    case late((RedisReply) -> Void)
}
