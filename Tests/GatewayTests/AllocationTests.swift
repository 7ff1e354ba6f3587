// How much memory a call asks for between its bytes and its reply: bounds on what the hot paths may cost, and
// that they take no task.
//
// Counted in a debug build, which allocates more than a release one. A number here that grows is a String,
// a closure or an array that came into a path where it has no business.

import CAllocations
import Net
import Testing

@testable import Gateway
@testable import HTTP
@testable import Redis

struct AllocationTests {
    private static func perCall(_ head: String, body: String = "", answer: String) throws -> Double {
        let bench = try AllocationBench(answer: answer)
        let request = Array((head + body).utf8)
        let rounds = 50
        _ = bench.allocations(rounds, request)  // Pools are filled, what is made once is made.
        return Double(bench.allocations(rounds, request)) / Double(rounds)
    }

    @Test(.enabled(if: sluice_allocations() >= 0)) func `a produce allocates little`() throws {
        let body = #"{"fields":{"orderID":"1001","amount":"99.99"}}"#
        let count = try AllocationTests.perCall(
            "POST /v1/streams/orders/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n",
            body: body, answer: "$15\r\n1709251200000-0\r\n")
        #expect(count <= 44, "\(count) a call")
    }

    @Test(.enabled(if: sluice_allocations() >= 0)) func `a read's messages cost no allocation each`() throws {
        func read(_ messages: Int) throws -> Double {
            let entry = "*2\r\n$15\r\n1709251200000-0\r\n*4\r\n$7\r\norderID\r\n$4\r\n1001\r\n$6\r\namount\r\n$5\r\n99.99\r\n"
            let answer = "*1\r\n*2\r\n$6\r\norders\r\n*\(messages)\r\n" + String(repeating: entry, count: messages)
            return try AllocationTests.perCall(
                "POST /v1/streams/orders/groups/g/consumers/c/read?unowned=false HTTP/1.1\r\nHost: localhost\r\n\r\n",
                answer: answer)
        }
        let (few, many) = (try read(1), try read(9))
        #expect(few <= 66, "\(few) a call")
        #expect(many <= few + 1, "\(many) a call")
    }
}

/// A connection whose calls are answered with a Redis that says always the same.
private final class AllocationBench {
    private let store: ParrotStore
    private let bench: SocketBench

    init(answer: String) throws {
        store = ParrotStore(answer)
        bench = try SocketBench(store, runsTasks: false)
    }

    func allocations(_ rounds: Int, _ request: [UInt8]) -> Int {
        let before = sluice_allocations()
        for _ in 0..<rounds { guard exchange(request) else { return .max / 100 } }  // Told as too many.
        return sluice_allocations() - before
    }

    private func exchange(_ request: [UInt8]) -> Bool {
        guard bench.send(request) else { return false }
        bench.loop.runUntilIdle()
        store.answer()
        bench.loop.runUntilIdle()
        return withUnsafeTemporaryAllocation(byteCount: 16 * 1024, alignment: 1) { room in
            guard case .bytes(let count)? = try? bench.client.read(into: room), count > 12 else { return false }  // Nothing came.
            return room[9] == UInt8(ascii: "2") && bench.tasks == 0
        }
    }
}

private final class ParrotStore: StreamStore {
    private let reply: RedisReply?
    var features: ServerFeatures? { ServerFeatures() }

    init(_ answer: String) {
        var kept: RedisReply?
        let bytes = ByteBuffer()
        bytes.append(answer)
        // What does not parse is no reply, and fails every call.
        try? ReplyParser(replyLimit: 1 << 20).feed(bytes.bytes) { reply in
            kept = reply
            return true
        }
        reply = kept
    }

    func send(
        _ command: RedisCommand, patience: Duration?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply {
        guard let reply else { throw .unavailable(.timedOut) }
        return reply
    }

    private var taker: (any ReplyTaker)?

    func send(
        _ command: RedisCommand, to taker: any ReplyTaker, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) throws(RedisError) {
        self.taker = taker
    }

    func answer() {
        guard let reply, let taker else { return }
        self.taker = nil
        taker.redisAnswered(reply)
    }

    func send(_ commands: [RedisCommand], tracked: Bool) async throws(RedisError) -> [Result<RedisReply, RedisError>] {
        throw .unavailable(.timedOut)
    }

    func evaluate(
        _ script: RedisScript, _ call: RedisCommand, patience: Duration?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply {
        throw .unavailable(.timedOut)
    }

    func begin(_ block: CommandBlock) throws(RedisError) { throw .unavailable(.timedOut) }
    func openReplicated() async throws(RedisError) { throw .unavailable(.timedOut) }
    func confirm(_ write: ReplicatedWrite, replicas: Int, within patience: Duration) async -> Int { 0 }
}
