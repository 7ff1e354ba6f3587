// What a group's recovery policy says (API.md §6): as it comes in a body, as it is kept in Redis, as it is answered.

import HTTP
import Net
import Redis

struct RecoveryPolicy: Equatable, Sendable {
    /// From here on others may take a message: the group's lease.
    var maxIdle: Duration
    /// A message that was delivered so often is given to nobody any more.
    var maxDeliveries = 8
    var deadLetter: StreamName
    /// Consumers without pending messages go after so long; nil: they stay.
    var reapIdle: Duration?

    /// How often the pending list is walked.
    var interval: Duration { min(max(maxIdle / 4, .milliseconds(200)), .seconds(10)) }
}

// MARK: In a body

extension RecoveryPolicy {
    private static let members = ["max_idle_ms", "max_deliveries", "dead_letter", "reap_consumers_idle_ms"]
    private static let longest = 7 * 86_400_000

    /// The body of a PUT; what it leaves out has its default, whatever the policy before it said.
    init(_ bytes: UnsafeRawBufferPointer, stream: StreamName) throws(Problem) {
        var maxIdle: Int?
        var maxDeliveries = 8
        var deadLetter: [UInt8]?
        var reapIdle: Int?
        try JSONObject.read(bytes, RecoveryPolicy.members) { name, reader throws(JSONError) in
            switch name {
            case "dead_letter":
                deadLetter = try reader.string().bytes()
                return nil
            case "reap_consumers_idle_ms" where try reader.peek() == .null:  // As it is answered.
                try reader.null()
                return nil
            case "max_deliveries":
                maxDeliveries = try reader.integer()
                return RecoveryPolicy.refusal(name, maxDeliveries, 1...1_000_000)
            default:
                let time = try reader.integer()
                if name == "max_idle_ms" { maxIdle = time } else { reapIdle = time }
                return RecoveryPolicy.refusal(name, time, 1...RecoveryPolicy.longest)
            }
        }
        guard let maxIdle else {
            throw .body("a policy needs max_idle_ms, as in {\"max_idle_ms\":30000}", at: "/max_idle_ms")
        }
        self.maxIdle = .milliseconds(maxIdle)
        self.maxDeliveries = maxDeliveries
        self.deadLetter = try RecoveryPolicy.checked(deadLetter, stream)
        self.reapIdle = reapIdle.map { .milliseconds($0) }
    }

    private static func refusal(_ name: String, _ number: Int, _ range: ClosedRange<Int>) -> Problem? {
        guard !range.contains(number) else { return nil }
        return .body("\(name) is a whole number from \(range.lowerBound) to \(range.upperBound), not \(number)", at: "/\(name)")
    }

    /// The dead-letter stream, `{stream}:dlq` where none is named.
    private static func checked(_ name: [UInt8]?, _ stream: StreamName) throws(Problem) -> StreamName {
        let dead = StreamName(bytes: name ?? stream.bytes + Array(":dlq".utf8))
        do {
            _ = try Call.checkedName(dead.bytes, "dead_letter")
        } catch {
            throw .body(error.detail, at: "/dead_letter")
        }
        guard dead != stream else {
            throw .body("dead letters can't go to the stream that they come from", at: "/dead_letter")
        }
        guard !dead.isReserved else {
            throw Problem(.reservedName, "dead_letter: names that begin with 'sluice:' are the gateway's own.")
        }
        return dead
    }
}

// MARK: In Redis

extension RecoveryPolicy {
    /// HMGET of what `init(_:)` takes, and of the counters behind it.
    static func read(_ stream: StreamName, _ group: GroupName) -> RedisCommand {
        .hmget(GatewayKeys.recovery(stream, group), members + RecoveryCounts.members)
    }

    /// Of the answer to `read`; nil where there is no policy.
    init?(_ reply: RedisReply) {
        var values = reply.elements
        guard let maxIdle = values.takeNumber(), let deliveries = values.takeNumber(), let dead = values.takeBytes() else {
            return nil
        }
        self.maxIdle = .milliseconds(maxIdle)
        maxDeliveries = deliveries
        deadLetter = StreamName(bytes: Array(dead))
        reapIdle = values.takeNumber().map { .milliseconds($0) }
    }
}

/// What was done by the policy, on all replicas together.
struct RecoveryCounts {
    static let members = ["recovered", "dead_lettered", "reaped", "last_run_ms"]

    private var values: [Int?] = []

    /// Of the answer to `RecoveryPolicy.read`.
    init(_ reply: RedisReply) {
        var fields = reply.elements
        for _ in 0..<4 { fields.skip() }
        for _ in RecoveryCounts.members { values.append(fields.takeNumber()) }
    }

    /// `,"counters":{…}`
    func write(to body: ByteBuffer) {
        body.append(literal: ",\"counters\":{")
        for (index, name) in RecoveryCounts.members.enumerated() {
            if index > 0 { body.append(UInt8(ascii: ",")) }
            body.append("\"\(name)\":")
            if let value = values[index] ?? (name == "last_run_ms" ? nil : 0) {
                body.append(decimal: value)
            } else {
                body.append(literal: "null")
            }
        }
        body.append(UInt8(ascii: "}"))
    }
}

extension RedisCursor {
    /// Passes an element; the number that its text is.
    fileprivate mutating func takeNumber() -> Int? {
        takeBytes().flatMap { Int(String(decoding: $0, as: UTF8.self)) }
    }
}

// MARK: In an answer

extension RecoveryPolicy {
    /// The members of the object, braces not included.
    func write(to body: ByteBuffer) {
        body.append(literal: "\"max_idle_ms\":")
        body.append(decimal: maxIdle.milliseconds)
        body.append(literal: ",\"max_deliveries\":")
        body.append(decimal: maxDeliveries)
        deadLetter.bytes.withUnsafeBytes { body.appendName("dead_letter", $0) }
        body.append(literal: ",\"reap_consumers_idle_ms\":")
        body.append(reapIdle.map { Int64($0.milliseconds) })
    }
}
