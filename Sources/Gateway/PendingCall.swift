// What a handler comes to, and the calls that wait for Redis without a task.
//
// A handler that can answer within one command to Redis is one function up to that command, and its pending
// call is the other half: it takes Redis' reply and makes it the answer, right there where the reply was read.
// Only what must suspend goes on in a task: a body that has not come whole, a second look, an explanation.

import HTTP
import Net
import Redis

/// What a handler has made of its call.
enum Outcome {
    case response(Response)
    /// The call waits for Redis; it says itself what comes of that.
    case pending(PendingCall)
    /// The call is answered when its looks have come back, which may be when there are messages.
    case parked(any LaterAnswer)
    /// What is left to be done must suspend.
    case task(() async throws(Problem) -> Outcome)
}

/// Of a request, what its reply needs when it comes: which route it took, and since when.
struct Visit {
    var route: Int
    let start: EventLoop.Instant
}

/// A call that one command to Redis was sent for. Owned by its connection and by that command's place in the
/// pipeline; both let go of it with the answer.
class PendingCall: LaterResponse, ReplyTaker {
    final let api: API
    /// Set by the responder that let the call in, before anything else happens to it. Unsafe: it lives as long as its loop's
    /// server, which outlives every call, and a count would be taken for each.
    final unowned(unsafe) var responder: Responder!
    final var visit = Visit(route: 0, start: .zero)
    private final var client: HTTPConnection?
    /// The outcome, where it came before the connection was ready for it.
    private final var early: Result<Outcome, Problem>?

    init(_ api: API) { self.api = api }

    /// Sends the command that the call waits for.
    final func send(
        _ command: RedisCommand, patience: EventLoop.Instant? = nil, late: ((RedisReply) -> Void)? = nil
    ) throws(Problem) -> Outcome {
        do { try api.store.send(command, to: self, patience: patience, late: late) } catch { throw Problem(error) }
        return .pending(self)
    }

    // MARK: For those that it waits for

    func redisAnswered(_ reply: RedisReply) { preconditionFailure("Every call knows its reply.") }
    func redisFailed(_ error: RedisError) { preconditionFailure("Every call knows what its failure means.") }

    final func begin(_ client: HTTPConnection) {
        self.client = client
        if let early { finish(early) }
    }

    /// It is answered all the same; what can't be sent is told lost.
    final func clientGone() {}

    // MARK: For the halves

    /// The call's outcome; once.
    final func finish(_ outcome: consuming Result<Outcome, Problem>) {
        guard let client = self.client.take() else { return early = outcome }
        client.answer(responder.answer(client.request, visit, consume outcome))
    }
}
