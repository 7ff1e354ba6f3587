// What each problem code means and what a caller does about it: the text of `/docs/errors`. A code without a text
// does not compile.

extension ProblemCode {
    /// As `HTML.prose` reads it.
    var explanation: (meaning: String, remedy: String) {
        switch self {
        case .invalidRequest: (
            "The request is malformed: its HTTP (a bare line feed, a missing or double `Host`, a length that is ambiguous), or its body as a whole. Malformed HTTP ends the connection. With 501 it is a transfer coding that nobody knows.",
            "Correct the request; `detail` says what is wrong with it.")
        case .invalidParameter: (
            "A query parameter or a name in the path is unknown, repeated, ill-typed, out of range, or contradicts another.",
            "Correct the one that `detail` names; where one is close, it names the one that was probably meant.")
        case .invalidID: (
            "An entry's ID is none. IDs look like `1709251200000-0`.",
            "Send an ID as it came from here, or one of the words `earliest`, `latest`, `new`, `pending` where the call takes them.")
        case .invalidJSON: (
            "The body is no JSON (RFC 8259, strictly), or not of the form that the call takes: an unknown or repeated member counts as that.",
            "Correct the body; `errors` has the place as a JSON pointer where there is one.")
        case .unauthenticated: (
            "Tokens are configured, and none of them came.",
            "Send `Authorization: Bearer …` with one of the configured tokens.")
        case .forbidden: (
            "The token is known, and lacks the scope of this call or is not for this stream.",
            "Use another token, or give this one more in the configuration.")
        case .forbiddenOrigin: (
            "A browser sent this for a page of another site. Web pages are not callers, unless they are named.",
            "Add the page's origin to `allowed_origins` if it is yours; otherwise nothing: this is the protection at work.")
        case .reservedName: (
            "Streams that begin with `sluice:` and the consumer `unowned` are the gateway's own.",
            "Use another name. Messages of `unowned` go to whoever reads next, and can be listed and claimed.")
        case .notFound: (
            "There is no such path.",
            "Compare the path with those in `/docs`. A slash inside a name is `%2F`.")
        case .streamNotFound: (
            "There is no stream of this name.",
            "Add a message, or create a group with `?mkstream`: either makes it.")
        case .groupNotFound: (
            "The stream has no group of this name, or there is no such stream. A read that was waiting gets this when its group is destroyed.",
            "Create the group with `PUT`; `hint` has the line.")
        case .consumerNotFound: (
            "The group has no consumer of this name.",
            "Consumers come with their first read, or with `PUT`; look at the group's list.")
        case .messageNotFound: (
            "The stream has no message with this ID: it was deleted or trimmed, or never was.",
            "Nothing: there is no such message any more.")
        case .sinkNotFound: (
            "There is no sink of this name, neither in the configuration nor made over HTTP.",
            "Look at the list, `GET /v1/sinks`, or make it with `PUT`.")
        case .policyNotFound: (
            "The group has no recovery policy.",
            "Set one with `PUT`; where there is none, nothing is taken over or made a dead letter by itself.")
        case .methodNotAllowed: (
            "The path is known, and does not take this method.",
            "Use one of those in the header `Allow`.")
        case .notAcceptable: (
            "The header `Accept` leaves no room for what this call answers.",
            "Leave `Accept` out, or name `application/json`.")
        case .unsupportedMediaType: (
            "The body's `Content-Type` or `Content-Encoding` is not taken here.",
            "Send one of those that `detail` names, not compressed.")
        case .requestTimeout: (
            "The request itself came too slowly, and the connection was closed.",
            "Send it again, in one go.")
        case .notAStream: (
            "The key holds another type than a stream. The gateway touches nothing else.",
            "Use another name, or remove the key from Redis if it should not be there.")
        case .idTooSmall: (
            "An explicit ID is not above the stream's last one, which `last_id` tells.",
            "Leave the ID out, and Redis makes one; or send one above `last_id`.")
        case .leaseLost: (
            "Every message of the settle belongs to another consumer by now, because its lease ended before. Nothing was done.",
            "Drop the work on these messages: others have them. If it happens often, extend in time or ask for a longer lease.")
        case .consumerHasPending: (
            "The consumer to delete holds messages, and `pending=refuse` was asked for.",
            "Acknowledge them, or delete with `pending=transfer`, which hands them on, or `pending=drop`, which loses them.")
        case .sinkInConfig: (
            "The sink is one of the gateway's own configuration file, and is changed and removed there alone.",
            "Change the file and start the gateway again, or give the new sink another name. `pause`, `resume` and `test` work for it too.")
        case .groupExists: (
            "There is a group of this name already, and `If-None-Match: *` asked that there be none.",
            "Leave the header out where an existing group will do.")
        case .tooLarge: (
            "Something is over its limit: the body, a batch, a message or a list of IDs (413), the URL (414), or the headers (431).",
            "Send less at once. `/v1/info` shows the limits in force.")
        case .misdirected: (
            "`Host` is a well-formed name, and none of this gateway's. On loopback that is refused, because a foreign page's name may resolve to it.",
            "Call it localhost, 127.0.0.1 or [::1], or add the name to `allowed_hosts`.")
        case .idempotencyMismatch: (
            "The `Idempotency-Key` was used on this stream already, for another message. Nothing was added.",
            "Use a new key for a new message; repeat a call with exactly the message that it had.")
        case .tooManyWaiters: (
            "As many requests wait already as may, in all (`max_waiters`), for the stream (`max_stream_waiters`), or from the client's address (`max_client_waiters`).",
            "Wait for as long as `Retry-After` says, and ask again; or ask without `block_ms`.")
        case .internalError: (
            "The gateway met something that it did not expect. That is a defect of it.",
            "Report it with `request_id` and the gateway's log line of that ID. Look before a write is repeated.")
        case .notSupportedByRedis: (
            "The Redis behind lacks the option, and it can't be had by other means.",
            "Leave the option out, or use a later Redis; the call's description says since when.")
        case .unsupportedHTTPVersion: (
            "The gateway speaks HTTP/1.1 and HTTP/1.0.",
            "Use one of them.")
        case .redisUnavailable: (
            "Redis can't be reached, is loading, or refuses commands for now. Nothing was executed.",
            "Wait for as long as `Retry-After` says, and send the same again.")
        case .overloaded: (
            "Too much is in flight already, or the gateway is shutting down. Nothing was executed.",
            "Wait for as long as `Retry-After` says, and send the same again.")
        case .outcomeUnknown: (
            "The command was sent, and Redis did not answer in time or the connection broke: it may have been executed. `retryable` is true where the call can be repeated without harm, as an ack can.",
            "After an add, look before adding again. After a read, `id=pending` gives what may have been delivered.")
        case .replicationTimeout: (
            "The message was added, and fewer replicas than `min_replicas` had it in time; `replicas` says how many, `id` which message it is.",
            "Do not add it again. It is in the stream, and is lost only if the primary fails before a replica has it.")
        case .redisOutOfMemory: (
            "Redis has reached its memory limit. Nothing was written.",
            "Trim or delete streams, or give Redis more memory; then send the same again.")
        }
    }
}
