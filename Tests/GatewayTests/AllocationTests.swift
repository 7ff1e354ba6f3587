// How much memory a call asks for between its bytes and its reply: bounds on what the hot paths may cost.
//
// Counted in a debug build, which allocates more than a release one. A number here that grows is a String,
// a closure or an array that came into a path where it has no business.

import CAllocations
import Logging
import Net
import Testing

@testable import Gateway
@testable import HTTP
@testable import Redis

struct AllocationTests {
    private static func perCall(_ head: String, body: String = "", answer: String) throws -> Double {
        let bench = AllocationBench(loop: try EventLoop(), head: head, body: body, answer: answer)
        let loop = bench.loop
        loop.spawn { await bench.run() }
        #expect(loop.run { bench.assumeIsolated { $0.isDone } })
        return bench.assumeIsolated { $0.perCall }
    }

    @Test(.enabled(if: sluice_allocations() >= 0)) func `a produce allocates little`() throws {
        let body = #"{"fields":{"orderID":"1001","amount":"99.99"}}"#
        let count = try AllocationTests.perCall(
            "POST /v1/streams/orders/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                + "Content-Length: \(body.utf8.count)\r\n\r\n",
            body: body, answer: "$15\r\n1709251200000-0\r\n")
        #expect(count <= 24, "\(count) a call")
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
        #expect(few <= 42, "\(few) a call")
        #expect(many <= few + 1, "\(many) a call")
    }
}

/// Answers calls like the one given, one after the other, with a Redis that says always the same.
private actor AllocationBench {
    nonisolated let loop: EventLoop
    nonisolated var unownedExecutor: UnownedSerialExecutor { loop.asUnownedSerialExecutor() }

    private let head: String
    private let body: String
    private let answer: String
    private(set) var isDone = false
    private(set) var perCall = Double.infinity

    init(loop: EventLoop, head: String, body: String, answer: String) {
        self.loop = loop
        self.head = head
        self.body = body
        self.answer = answer
    }

    func run() async {
        defer { isDone = true }
        let config = Config()
        let longPoll = LongPoll(
            loop: loop, index: 0, loopCount: 1, count: WaiterCount(limit: 1), settings: WaitHome.Settings(config))
        let api = API(
            loop: loop, store: ParrotStore(answer), config: config, longPoll: longPoll,
            metrics: Metrics(routeCount: Route.all.count))
        let responder = Responder(api: api, gatekeeper: Gatekeeper(config, tokens: []), log: Logger(label: "test"))
        let rounds = 50
        _ = await allocations(rounds, responder)  // Pools are filled, what is made once is made.
        perCall = Double(await allocations(rounds, responder)) / Double(rounds)
    }

    private func allocations(_ rounds: Int, _ responder: Responder) async -> Int {
        var sum = 0
        for _ in 0..<rounds {
            guard let request = try? Request(head: Array(head.utf8), body: Array(body.utf8)) else { return .max }  // Told as too many.
            let before = sluice_allocations()
            let response = await responder.respond(to: request)
            sum += sluice_allocations() - before
            guard response.status < 300, case .bytes(let bytes) = response.body else { return .max / 100 }
            loop.buffers.give(bytes)
        }
        return sum
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

    func send(_ commands: [RedisCommand], tracked: Bool) async throws(RedisError) -> [Result<RedisReply, RedisError>] {
        throw .unavailable(.timedOut)
    }

    func evaluate(
        _ script: RedisScript, _ call: RedisCommand, patience: Duration?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply {
        throw .unavailable(.timedOut)
    }
}
