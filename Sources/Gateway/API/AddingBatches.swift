// Adding many messages in one call, and single ones that take more than an XADD: under an Idempotency-Key, or
// until replicas have them.

import HTTP
import Net
import Redis

/// One call's messages on their way: one slice is filled while the one before is under way, so that parsing and
/// Redis work at the same time, and no more than two are held.
final class AddingBatch {
    private let api: API
    private let options: AddOptions
    private(set) var results: BatchResults
    private var filling: AddSlice
    private var spare: AddSlice?
    private var underWay: AddSlice?
    private var lastWrite: ReplicatedWrite?
    /// Whether nothing is sent any more once Redis was not there: each further slice would wait as long for a Redis that
    /// hangs, and where it is back, they would come before those that failed when the call is repeated. Not so a body that
    /// may go on for hours.
    private let endsWithRedis: Bool
    private var absence: RedisError.Reason?
    /// Messages so far, malformed ones among them.
    private(set) var count = 0

    init(_ api: API, _ options: AddOptions, endsWithRedis: Bool) {
        self.api = api
        self.options = options
        self.endsWithRedis = endsWithRedis
        results = BatchResults(body: api.newBody())
        filling = AddSlice(options, api)
    }

    /// Whether `flush` is due before the next message.
    var isFull: Bool { filling.isFull }

    func append(_ command: RedisCommand) {
        filling.append(command, key: options.key.map { $0 + Array("#\(count)".utf8) })
        count += 1
    }

    func append(_ problem: Problem) {
        filling.append(problem)
        count += 1
    }

    /// Sends what was appended. Under a key, and for replicas, one slice at a time: what has to be sent once more
    /// must not be overtaken.
    func flush() async {
        guard !filling.isEmpty else { return }
        let slice = filling
        if let absence { slice.refusal = .unavailable(absence) } else { await slice.begin(api.store) }
        filling = spare ?? AddSlice(options, api)
        spare = nil
        await finishUnderWay()
        underWay = slice
        if options.isGuarded { await finishUnderWay() }
    }

    private func finishUnderWay() async {
        guard let slice = underWay else { return }
        underWay = nil
        await slice.settle(api.store)
        if endsWithRedis { absence = absence ?? slice.absence }
        lastWrite = slice.lastWrite ?? lastWrite
        await slice.tell(api, &results)
        slice.clear()
        spare = slice
    }

    /// Waits for what is under way.
    func finish() async {
        await flush()
        await finishUnderWay()
    }

    /// The answer, once all were sent.
    func response() async throws(Problem) -> Response {
        await finish()
        if let replication = options.replication, let lastWrite {
            let replicas = await api.store.confirm(lastWrite, replicas: replication.replicas, within: replication.patience)
            if replicas < replication.replicas {
                var problem = Problem.replicationTimeout(replicas, of: replication, hasKey: options.key != nil)
                problem.members.append(("results", results.list))
                throw problem
            }
        }
        return try results.response(api)
    }
}

extension API {
    /// One message, guarded; see `AddOptions.isGuarded`.
    func addGuarded(_ command: RedisCommand, _ options: AddOptions) async throws(Problem) -> Response {
        let slice = AddSlice(options, self)
        slice.append(command, key: options.key)
        await slice.begin(store)
        await slice.settle(store)
        let (id, isReplayed) = try await slice.single(self)
        if let replication = options.replication, let write = slice.lastWrite {
            let replicas = await store.confirm(write, replicas: replication.replicas, within: replication.patience)
            if replicas < replication.replicas {
                var problem = Problem.replicationTimeout(replicas, of: replication, hasKey: options.key != nil)
                problem.members.insert(("id", "\"\(String(decoding: id, as: UTF8.self))\""), at: 0)
                throw problem
            }
        }
        let body = newBody()
        body.append(literal: "{\"id\":\"")
        body.append(id)
        body.append(literal: "\"}")
        var response = json(body, status: isReplayed ? 200 : 201)
        if isReplayed { response.addHeader("Idempotent-Replayed", "true") }
        return response
    }

    /// A batch that was checked wholly.
    func add(_ commands: [RedisCommand], _ options: AddOptions) -> Outcome {
        .task { () async throws(Problem) in .response(try await self.addChecked(commands, options)) }
    }

    private func addChecked(_ commands: [RedisCommand], _ options: AddOptions) async throws(Problem) -> Response {
        let batch = AddingBatch(self, options, endsWithRedis: true)
        for command in commands {
            if batch.isFull { await batch.flush() }
            batch.append(command)
        }
        return try await batch.response()
    }

    func explainAdd(_ error: RedisError, _ options: AddOptions) async -> Problem {
        if case .reply(.err, let line) = error, line.contains("Invalid stream ID") {
            // All that is sent is well-formed: this can only be `ms-*`.
            var problem = Problem(.notSupportedByRedis, "id: this Redis does not take ms-*, which came with 7.0; leave the ID out, or give its sequence number.")
            problem.redisError = line
            return problem
        }
        // "Elements are too large" is what 7.0 says of `ms-*` where that millisecond's last sequence number is taken; a
        // message that is too large to be stored (1 GiB) does not get here.
        let signs = ["equal or smaller", "exhausted", "Elements are too large"]
        guard case .reply(.err, let line) = error, signs.contains(where: line.contains) else {
            return await explain(error, options.stream)
        }
        var problem = Problem(
            .idTooSmall,
            line.contains("exhausted")
                ? "The stream's last ID is the highest there can be: no message can be added to it any more."
                : "The ID is not above the stream's last one; leave it out, and Redis makes one.")
        problem.redisError = line
        // Without the last ID the problem still says enough.
        if let info = try? await store.send(.xinfoStream(options.stream.bytes)), let last = info.lastGeneratedID {
            problem.members = [("last_id", "\"\(last)\"")]
        }
        return problem
    }
}

extension Problem {
    fileprivate static func replicationTimeout(_ replicas: Int, of wanted: AddOptions.Replication, hasKey: Bool) -> Problem {
        let repeated = hasKey ? "repeating the call adds nothing twice, and waits for them again" : "adding again would add it twice"
        var problem = Problem(
            .replicationTimeout,
            "It was added, and \(replicas) of \(wanted.replicas) replicas have confirmed it within \(wanted.patience.milliseconds) ms; \(repeated).")
        problem.members = [("replicas", "\(replicas)")]
        return problem
    }
}

/// The results of a batch, as they come, and the reply they make.
struct BatchResults {
    let body: ByteBuffer
    private(set) var added = 0
    private(set) var replayed = 0
    private(set) var firstProblem: Problem?
    private(set) var count = 0

    init(body: ByteBuffer) {
        self.body = body
        body.append(literal: "{\"results\":[")
    }

    mutating func append(id: UnsafeRawBufferPointer, isReplayed: Bool) {
        separate()
        if isReplayed { replayed += 1 } else { added += 1 }
        body.append(literal: "{\"id\":\"")
        body.append(id)
        body.append(literal: isReplayed ? "\",\"replayed\":true}" : "\"}")
    }

    mutating func append(_ problem: Problem) {
        separate()
        if firstProblem == nil { firstProblem = problem }
        body.append(literal: "{\"error\":")
        problem.write(to: body, requestID: nil)
        body.append(UInt8(ascii: "}"))
    }

    private mutating func separate() {
        if count > 0 { body.append(UInt8(ascii: ",")) }
        count += 1
    }

    /// The list alone, as JSON.
    var list: String {
        String(decoding: body.bytes.dropFirst("{\"results\":".utf8.count), as: UTF8.self) + "]"
    }

    /// 201 when all were added, 200 when all were replayed, 207 when some of them were; when none was, the first
    /// problem, with all results.
    func response(_ api: API) throws(Problem) -> Response {
        if let problem = firstProblem, added + replayed == 0 {
            var problem = problem
            problem.members.append(("results", list))
            throw problem
        }
        body.append(literal: "]}")
        let areReplayed = replayed == count
        var response = api.json(body, status: firstProblem != nil ? 207 : areReplayed ? 200 : 201)
        if areReplayed { response.addHeader("Idempotent-Replayed", "true") }
        return response
    }
}
