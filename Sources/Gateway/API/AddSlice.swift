// Some messages of a call, sent as one piece, and what became of each. All adds but the plain single one go
// through here.
//
// Filled, begun, finished, and then filled again. Answers are kept as bytes in one buffer: from a line of NDJSON to
// its result nothing is allocated.

import HTTP
import Net
import Redis

final class AddSlice {
    /// Messages of a slice: the rest waits, so that a large batch can't fill the connection.
    static let messageLimit = 512
    /// Bytes of commands after which a slice takes no more messages.
    static let byteLimit = 256 * 1024

    private let options: AddOptions
    private let life: Duration
    private var block: CommandBlock!
    /// One a command, in order.
    private var fates: [Fate] = []
    /// The IDs that Redis answered.
    private let ids = ByteBuffer(capacity: 256)
    private var errors: [Int: RedisError] = [:]
    /// Malformed messages, by their place among all.
    private var refused: [(place: Int, problem: Problem)] = []
    private(set) var count = 0
    /// Why nothing was sent; set before `settle` in place of `begin`.
    var refusal: RedisError?
    /// An explanation may cost a look at Redis: one is enough for errors that are the same.
    private var explained: (error: RedisError, problem: Problem)?
    /// What was written last, where `block` did not write it.
    private var lateWrite: ReplicatedWrite?

    struct Fate {
        enum Kind: UInt8 { case added, replayed, mismatched, missing, failed }

        var kind: Kind
        var length: UInt8 = 0
        var start: Int32 = 0
    }

    init(_ options: AddOptions, _ api: API) {
        self.options = options
        life = api.config.idempotencyLife
        block = newBlock()
    }

    private func newBlock() -> CommandBlock {
        CommandBlock(
            key: options.stream.bytes, effect: options.key == nil ? .write : .idempotent,
            lane: options.replication == nil ? .shared : .replicated
        ) { [unowned self] reply in fates.append(take(reply)) }
    }

    var isEmpty: Bool { count == 0 }
    var isFull: Bool { count >= AddSlice.messageLimit || block.byteCount >= AddSlice.byteLimit }

    // MARK: Filling

    /// - Parameter key: of this message; nil without an `Idempotency-Key`.
    func append(_ command: RedisCommand, key: [UInt8]?) {
        if let key {
            block.append(
                IdempotentAddScript.call(
                    command, options.stream, key: key, life: life, isReplicated: options.replication != nil))
        } else {
            block.append(command)
        }
        count += 1
    }

    func append(_ problem: Problem) {
        refused.append((count, problem))
        count += 1
    }

    func clear() {
        if refusal == nil && block.answeredCount == block.count { block.clear() } else { block = newBlock() }
        fates.removeAll(keepingCapacity: true)
        ids.clear()
        errors = [:]
        refused.removeAll(keepingCapacity: true)
        count = 0
        refusal = nil
        explained = nil
        lateWrite = nil
    }

    // MARK: Under way

    func begin(_ store: any StreamStore) async {
        guard block.count > 0 else { return }
        do throws(RedisError) {
            if options.replication != nil { try await store.openReplicated() }
            try store.begin(block)
        } catch {
            refusal = error
        }
    }

    /// Waits until each command has its fate.
    func settle(_ store: any StreamStore) async {
        await block.settled()
        for index in fates.count..<block.count {
            errors[index] = refusal ?? block.error(at: index)
            fates.append(Fate(kind: .failed))
        }
        if options.key != nil { await sendUnscripted(store) }
    }

    private func take(_ reply: RedisReply) -> Fate {
        switch reply.kind {
        case .bulk: return keep(reply.bytes, .added)
        case .array:
            var elements = reply.elements
            return keep(elements.takeBytes() ?? .empty, .replayed)
        case .integer: return Fate(kind: .mismatched)
        case .error:
            errors[fates.count] = reply.error
            return Fate(kind: .failed)
        case .null, .nullArray, .simple: return Fate(kind: .missing)  // NOMKSTREAM, and it isn't there.
        }
    }

    private func keep(_ id: UnsafeRawBufferPointer, _ kind: Fate.Kind) -> Fate {
        defer { ids.append(id) }
        return Fate(kind: kind, length: UInt8(truncatingIfNeeded: id.count), start: Int32(truncatingIfNeeded: ids.count))
    }

    /// A Redis that was started anew does not have the script: what it refused for that goes out once more.
    private func sendUnscripted(_ store: any StreamStore) async {
        let places = fates.indices.filter { errors[$0]?.code == .noScript }
        guard !places.isEmpty else { return }
        var answers: [(Fate, RedisError?)] = []
        let again = CommandBlock(key: block.key, effect: block.effect, lane: block.lane) { [unowned self] reply in
            let error = reply.error
            answers.append((error == nil ? take(reply) : Fate(kind: .failed), error))
        }
        var failure: RedisError?
        do throws(RedisError) {
            _ = try await store.send(IdempotentAddScript.script.load)
            if options.replication != nil { try await store.openReplicated() }
            for place in places { again.append(place, of: block) }
            try store.begin(again)
        } catch {
            failure = error
        }
        await again.settled()
        for (index, place) in places.enumerated() {
            let answer = index < answers.count ? answers[index] : (Fate(kind: .failed), failure ?? again.error(at: index))
            fates[place] = answer.0
            errors[place] = answer.1
        }
        if again.answeredCount > 0 { lateWrite = again.write }
    }

    /// Redis was not there for some of them. After `settle`.
    var absence: RedisError.Reason? { errors.values.lazy.compactMap(\.absence).first }

    /// What to wait for replicas of; nil when nothing was added.
    var lastWrite: ReplicatedWrite? {
        fates.contains { $0.kind == .added || $0.kind == .replayed } ? lateWrite ?? block.write : nil
    }

    // MARK: Telling

    /// Appends every message's result, in order. After `settle`.
    func tell(_ api: API, _ results: inout BatchResults) async {
        var nextRefused = refused.makeIterator()
        var malformed = nextRefused.next()
        var index = 0
        for place in 0..<count {
            if let found = malformed, found.place == place {
                results.append(found.problem)
                malformed = nextRefused.next()
            } else {
                let fate = fates[index]
                switch fate.kind {
                case .added:
                    api.metrics.messagesAdded += 1
                    results.append(id: id(fate), isReplayed: false)
                case .replayed: results.append(id: id(fate), isReplayed: true)
                default: results.append(await problem(index, api))
                }
                index += 1
            }
        }
    }

    /// The fate of a slice's only message. After `settle`.
    func single(_ api: API) async throws(Problem) -> (id: [UInt8], isReplayed: Bool) {
        let fate = fates[0]
        switch fate.kind {
        case .added:
            api.metrics.messagesAdded += 1
            return (Array(id(fate)), false)
        case .replayed: return (Array(id(fate)), true)
        default: throw await problem(0, api)
        }
    }

    /// Good until the slice is cleared.
    private func id(_ fate: Fate) -> UnsafeRawBufferPointer {
        let start = Int(fate.start)
        return UnsafeRawBufferPointer(rebasing: ids.bytes[start..<start + Int(fate.length)])
    }

    private func problem(_ index: Int, _ api: API) async -> Problem {
        guard fates[index].kind == .failed, let error = errors[index] else {
            return fates[index].kind == .mismatched ? .idempotencyMismatch : .streamNotFound(options.stream)
        }
        if let explained, explained.error == error { return explained.problem }
        let problem = await api.explainAdd(error, options)
        explained = (error, problem)
        return problem
    }
}

extension Problem {
    static var idempotencyMismatch: Problem {
        Problem(
            .idempotencyMismatch,
            "The Idempotency-Key was used on this stream for another message; repeat that one, or use a new key.")
    }
}
