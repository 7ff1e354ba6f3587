// The options of an add, from the query and from Idempotency-Key: the same for every message of a batch.

import HTTP
import Net
import Redis

/// A class: what reads a body, what sends it and what explains a failure all hold it.
final class AddOptions {
    let stream: StreamName
    var id: StreamAddID?
    var trim: StreamTrim?
    var onlyIfExists = false
    var references: StreamReferencePolicy?
    /// The call of a script that adds the message, in place of an XADD.
    var call: RedisCommand?
    /// The `Idempotency-Key`.
    var key: [UInt8]?
    /// The replicas that are waited for.
    var replication: Replication?

    init(stream: StreamName) { self.stream = stream }

    struct Replication {
        var replicas: Int
        var patience: Duration
    }

    /// Whether adding takes more than an XADD.
    var isGuarded: Bool { key != nil || replication != nil }

    /// The command, to which names and values are to be appended.
    func command(_ id: StreamAddID?, reserving: Int) -> RedisCommand {
        call ?? .xadd(
            stream.bytes, id: id ?? .automatic, trim: trim, onlyIfExists: onlyIfExists, references: references,
            reserving: stream.bytes.count + reserving)
    }
}

extension AddOptions {
    convenience init(_ call: Call, _ limits: Limits) throws(Problem) {
        self.init(stream: try call.stream())
        if call.request.header("idempotency-key") != nil { key = try AddOptions.key(call.request, limits) }
        guard call.request.hasQuery else { return }
        let query = try call.query([
            "id", "maxlen", "minid", "approx", "limit", "nomkstream", "ref", "min_replicas", "replica_timeout_ms",
        ])
        id = try query.bytes("id")?.addID("id")
        onlyIfExists = try query.flag("nomkstream") ?? false
        trim = try query.trim(approximateByDefault: true)
        references = try query.references()
        if references != nil && trim == nil { throw .parameter("ref", "goes with maxlen or minid: it says what trimming does to pending messages.") }
        replication = try query.replication(limits)
    }

    private static func key(_ request: Request, _ limits: Limits) throws(Problem) -> [UInt8] {
        guard request.headerCount("idempotency-key") == 1, let value = request.header("idempotency-key") else {
            throw .parameter("Idempotency-Key", "given more than once; a call has one.")
        }
        guard (1...limits.idempotencyKeyBytes).contains(value.count) else {
            throw .parameter("Idempotency-Key", "takes 1 to \(limits.idempotencyKeyBytes) bytes, not \(value.count).")
        }
        guard value.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .parameter("Idempotency-Key", "takes visible ASCII, without blanks.")
        }
        return Array(value)
    }
}

extension QueryParameters {
    /// `min_replicas` with `replica_timeout_ms`.
    fileprivate func replication(_ limits: Limits) throws(Problem) -> AddOptions.Replication? {
        let replicas = try integer("min_replicas", in: 1...limits.replicas)
        let milliseconds = try integer("replica_timeout_ms", in: 1...Int(limits.replicaTimeout.milliseconds))
        guard let replicas else {
            if milliseconds != nil { throw .parameter("replica_timeout_ms", "goes with min_replicas.") }
            return nil
        }
        return AddOptions.Replication(replicas: replicas, patience: .milliseconds(milliseconds ?? 1000))
    }

    /// `maxlen` or `minid`, with `approx` and `limit`.
    func trim(approximateByDefault: Bool) throws(Problem) -> StreamTrim? {
        let length = try integer("maxlen", in: 0...Int.max)
        let minimum = try bytes("minid")?.entryID("minid")
        let approximate = try flag("approx")
        let limit = try integer("limit", in: 0...Int.max)
        let bound: StreamTrim.Bound
        switch (length, minimum) {
        case (nil, nil):
            if let stray = approximate != nil ? "approx" : limit != nil ? "limit" : nil {
                throw .parameter(stray, "goes with maxlen or minid.")
            }
            return nil
        case (let length?, nil): bound = .maximumLength(length)
        case (nil, let minimum?): bound = .minimumID(minimum)
        case (_?, _?): throw .parameter("minid", "not together with maxlen; trim by one of them.")
        }
        let isApproximate = approximate ?? approximateByDefault
        if limit != nil && !isApproximate { throw .parameter("limit", "goes with approx=true only.") }
        return StreamTrim(bound, approximate: isApproximate, limit: limit)
    }
}
