// Every bound of the gateway's own, in one place: what it is for, which metric shows it, which problem it
// answers. What has no bound is a bug. The HTTP, Redis and Webhook modules have limits of their own, which are
// filled from these at start.

import Glibc

/// Bounds in force, the same for every loop. Counts are for the whole process unless they say otherwise.
struct Limits: Sendable, Equatable {
    // MARK: A request (API.md §9)

    /// Bytes of a request's line and headers together: what a connection may make us hold before we know who
    /// calls. `sluice_http_rejected_total{status="431"}`; 431 `TOO_LARGE`.
    var headBytes = 16 * 1024
    /// Bytes of a request's target. Room for 100 streams by name. `…{status="414"}`; 414 `TOO_LARGE`.
    var urlBytes = 8 * 1024
    /// Headers of a request: each costs a comparison with each name we look for. `…{status="431"}`; 431 `TOO_LARGE`.
    var headers = 100
    /// Bytes of a body that is read whole (NDJSON streams past it). `…{status="413"}`; 413 `TOO_LARGE`.
    var bodyBytes = 16 * 1024 * 1024
    /// JSON containers within containers: the reader recurses. `sluice_problems_total{code="INVALID_JSON"}`; 400
    /// `INVALID_JSON`.
    var jsonDepth = 64
    /// Bytes of a stream's, group's or consumer's name: they go into every command, and logs, nudges and URLs stay readable.
    /// `sluice_problems_total{code="INVALID_PARAMETER"}`; 400 `INVALID_PARAMETER`.
    static let nameBytes = 512
    /// Fields of a message: XADD is one command, and Redis runs nothing else meanwhile.
    /// `sluice_problems_total{code="TOO_LARGE"}`; 413 `TOO_LARGE`.
    var fields = 1000
    /// Ids of an ack, settle, delete or claim: a script over them blocks Redis for about a millisecond. Same metric;
    /// 413 `TOO_LARGE` in a body, 400 `INVALID_PARAMETER` in a query.
    var ids = 1000
    /// Messages of a JSON batch: it is checked wholly before any of it is written. Same metric; 413 `TOO_LARGE`.
    var batch = 10_000
    /// Lines of an NDJSON batch, which is added as it arrives; bounds the results we keep. Same metric; 413 `TOO_LARGE`.
    var ndjsonLines = 1_000_000
    /// Bytes of the results of an NDJSON batch, which are kept until its end: a malformed line costs more of them
    /// than a good one. Same metric; 413 `TOO_LARGE`.
    var resultBytes = 64 * 1024 * 1024
    /// Fields of a message that is added under an `Idempotency-Key`: Lua hands a command at most 8,000 arguments.
    /// Same metric; 413 `TOO_LARGE`.
    var keyedFields = 3500
    /// Longest `replica_timeout_ms`. `sluice_problems_total{code="INVALID_PARAMETER"}`; 400 `INVALID_PARAMETER`.
    var replicaTimeout: Duration = .seconds(60)
    /// Largest `min_replicas`. Same metric; 400 `INVALID_PARAMETER`.
    var replicas = 1000
    /// Streams of one read: each is waited for at its own home. Same metric; 400 `INVALID_PARAMETER`.
    var streams = 100
    /// Bytes of an `Idempotency-Key`: it is part of a Redis key. 400 `INVALID_PARAMETER`.
    var idempotencyKeyBytes = 255

    // MARK: A reply (API.md §4)

    /// Largest `count`. `sluice_problems_total{code="INVALID_PARAMETER"}`; 400 `INVALID_PARAMETER`.
    var count = 10_000
    /// Bytes of messages in one reply: a read answers fewer messages than asked rather than more bytes.
    /// `sluice_reads_cut_total`; no problem.
    var replyBytes = 16 * 1024 * 1024
    /// Bytes of messages that are answered in one piece, with their length; what is more goes out as it is read, and is
    /// never in memory as a whole. `sluice_replies_streamed_total`; no problem.
    var wholeReply = 256 * 1024
    /// Messages in the first slice of a read, when nobody knows yet what they weigh: one large reply stalls everybody behind it on the connection.
    var readSlice = 100
    /// The same where many streams are read into one answer: no fewer than most reads ask for.
    func readSlice(sharedBy streams: Int) -> Int { streams == 1 ? readSlice : max(readSlice / streams, min(10, readSlice)) }
    /// Rows of each kind in XINFO STREAM FULL, which comes in one piece. 400 `INVALID_PARAMETER`.
    var infoRows = 1000
    /// Longest wait of a read; zero is for ever. Below the 60 s at which common proxies cut.
    /// `sluice_block_cut_total`; the header `Sluice-Block-Ms`.
    var block: Duration = .milliseconds(50_000)
    /// Longest delay of a nack: what waits longer is a schedule. `sluice_problems_total{code="INVALID_JSON"}`; 400
    /// `INVALID_JSON`.
    var nackDelay: Duration = .seconds(12 * 3600)

    // MARK: Many requests (API.md §9)

    /// Open client connections, at most the file descriptors we may have less 1,000 for Redis, webhooks and
    /// files. `sluice_http_connections`; 503 `OVERLOADED`, then closed.
    var connections = Limits.descriptorBound(20_000)
    /// Parked reads and live tails. As many as connections: each holds one. `sluice_waiters`; 429 `TOO_MANY_WAITERS`.
    var waiters = Limits.descriptorBound(20_000)
    /// Of these, for one stream, so that the crowd at one leaves room at the others; a waiter of many streams counts at
    /// each. Zero is no bound of its own: ten thousand at one stream are what the gateway is for.
    /// `sluice_waiters_of_stream_max`; 429 `TOO_MANY_WAITERS`.
    var streamWaiters = 0
    /// Of these, from one client address (IPv6: from one /64). Zero is no bound of its own: behind a proxy all clients
    /// have one address, its own. `sluice_waiters_of_client_max`; 429 `TOO_MANY_WAITERS`.
    var clientWaiters = 0
    /// Bytes that a live tail has not taken when the next come, past which it is ended: what it holds is shared, but kept for it.
    /// `sluice_tails_behind_total`; an `error` event, `OVERLOADED`.
    var tailBacklog = 1024 * 1024
    /// Largest `max_pending` of a group's tail: what it holds is handed back by one script.
    /// `sluice_problems_total{code="INVALID_PARAMETER"}`; 400 `INVALID_PARAMETER`.
    static let tailPending = 1000
    /// A request's head must be whole within this. `sluice_http_timeouts_total{phase="head"}`; 408 `REQUEST_TIMEOUT`.
    var headTimeout: Duration = .seconds(10)
    /// A body must go on arriving within this. `…{phase="body"}`; 408 `REQUEST_TIMEOUT`.
    var bodyTimeout: Duration = .seconds(30)
    /// An idle connection is closed after this. `…{phase="keep_alive"}`; no problem.
    var keepAliveTimeout: Duration = .seconds(75)

    // MARK: Redis (API.md §9)

    /// Commands sent and unanswered, per node. `sluice_redis_in_flight`; 503 `OVERLOADED`.
    var commandsInFlight = 100_000
    /// Bytes of commands unsent or unanswered, per node. `sluice_redis_in_flight_bytes`; 503 `OVERLOADED`.
    var bytesInFlight = 64 * 1024 * 1024
    /// A command's answer must come within this. `sluice_redis_timeouts_total`; 504 `OUTCOME_UNKNOWN` for a
    /// write, else 503 `REDIS_UNAVAILABLE`.
    var redisTimeout: Duration = .milliseconds(5000)

    /// Messages that a script moves at a time: Redis serves nobody else meanwhile, a few milliseconds. No problem.
    static let scriptSlice = 1000
    /// Calls that hand back what clients were given that have gone, at a time and a loop. No problem: the others wait.
    static let handBackCalls = 16
    /// Messages that wait for that, of a loop: those of 20,000 tails with a `max_pending` of 100. `sluice_hand_backs_waiting`,
    /// `sluice_hand_backs_dropped_total`; no problem: the newest stay with their consumer until they are claimed.
    static let handBacks = 2_000_000
    /// Slices of the deletion of a consumer: one that gets messages as fast as they are handed on would never end.
    /// `sluice_problems_total{code="OUTCOME_UNKNOWN"}`; 504 `OUTCOME_UNKNOWN`, after which the call may be repeated.
    static let deletionSlices = 10_000

    // MARK: Sinks (SINKS.md §1)

    /// Sinks of the configuration and of the API together: each has a worker per stream. `sluice_sinks`;
    /// 413 `TOO_LARGE`.
    var sinks = 1000
    /// Names and globs of a sink's `streams`: a definition is for people. 400 `INVALID_JSON`, or refused with the configuration.
    static let sinkStreams = 100
    /// Streams that a sink reads, those that its globs match among them: each has a reader of its own.
    /// `sluice_sink_streams_left_out`; `too_many_streams` among the sink's `reasons`.
    static let sinkStreamsFound = 1000
    /// Bytes of a definition as it is kept: every replica reads all of them. 413 `TOO_LARGE`.
    var sinkDefinitionBytes = 64 * 1024
    /// Attempts of each kind (failed, and a sample of the others) that are kept of a sink in Redis. No problem: older
    /// ones go.
    static let sinkAttempts = 100
    /// Of these, successes told at a time: they are a sample. No problem.
    static let sinkSample = 10
    /// How long a test of a sink may take, whatever its own `timeout_ms`. No problem: it is told as a timeout.
    var sinkTestTime: Duration = .seconds(30)
    /// Bytes of the answer's body that a test of a sink tells. No problem: it says that there is more.
    var sinkTestBody = 4096

    // MARK: Recovery (API.md §6)

    /// Recovery policies, in all: every loop of every gateway knows each, and one walks its group's pending list.
    /// `sluice_recovery_policies`; 413 `TOO_LARGE`.
    var policies = 10_000

    /// File descriptors for Redis, webhooks and files.
    static let ownDescriptors = 1000

    /// `wanted`, or what the process' file descriptors leave room for.
    static func descriptorBound(_ wanted: Int) -> Int {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return wanted }
        return max(min(wanted, Int(clamping: limit.rlim_cur) - ownDescriptors), 1)
    }
}
