// What a reply of ten thousand messages holds in memory, from Redis' bytes to the client's socket.

import Net
import Testing

@testable import Gateway
@testable import HTTP
@testable import Redis

struct SlicedReplyTests {
    @Test(arguments: [
        "POST /v1/streams/s/groups/g/consumers/c/read?count=10000&unowned=false",
        "POST /v1/streams/s/groups/g/consumers/c/read?count=10000&unowned=false&noack",
        "GET /v1/streams/s/messages?after=earliest&count=10000",
        "GET /v1/streams/s/messages?count=10000",
    ]) func `no more than a slice and a piece of a long reply is kept at a time`(line: String) throws {
        let bench = try SliceBench(isRange: !line.contains("read?") && !line.contains("after"))
        bench.send("\(line) HTTP/1.1\r\nHost: localhost\r\n\r\n")
        // As much as the client has room for, and what comes next.
        let stalled = bench.store.given
        #expect(stalled < 40, "a client that takes nothing was read \(stalled) slices for")
        let received = bench.receiveAll()
        #expect(bench.store.given >= 60 && received > 15 << 20, "\(bench.store.given) slices, \(received) bytes")
        #expect(bench.store.mostAlive <= 2, "\(bench.store.mostAlive) of Redis' replies at once")
        // JSON that was made and has not gone: a piece, and what the socket holds.
        #expect(bench.mostUntaken < 1 << 20, "\(bench.mostUntaken) bytes at once")
        #expect(bench.endsWell)
    }
}

/// A gateway with a Redis that has endless messages of 2.6 KB.
private final class SliceBench {
    let store: SliceStore
    private(set) var mostUntaken = 0
    private(set) var endsWell = false
    private let bench: SocketBench
    private var received = 0

    init(isRange: Bool) throws {
        store = SliceStore(isRange: isRange)
        bench = try SocketBench(store, runsTasks: true)
    }

    func send(_ request: String) {
        #expect(bench.send(Array(request.utf8)))
        turn()
    }

    /// Until nothing moves any more.
    private func turn() {
        repeat { bench.loop.runUntilIdle() } while store.answerPending()
        mostUntaken = max(mostUntaken, store.bytes - received)
    }

    /// Takes a little at a time; how many bytes came.
    func receiveAll() -> Int {
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 1)
        defer { room.deallocate() }
        // A reset ends what can be received, as the end does.
        while case .bytes(let count)? = try? bench.client.read(into: room) {
            received += count
            endsWell = room[..<count].suffix(7).elementsEqual("}\n\r\n0\r\n\r\n".utf8.suffix(7))
            turn()
        }
        return received
    }
}

/// Gives a hundred messages whenever it is asked, and knows which of its replies somebody still holds.
private final class SliceStore: StreamStore {
    private struct Held { weak var storage: ReplyStorage? }

    private(set) var given = 0
    private(set) var mostAlive = 0
    /// Of values that were given.
    private(set) var bytes = 0
    private let isRange: Bool
    private var held: [Held] = []
    private var taker: (any ReplyTaker)?
    var features: ServerFeatures? { ServerFeatures() }

    init(isRange: Bool) { self.isRange = isRange }

    private func reply() throws(RedisError) -> RedisReply {
        given += 1
        let value = String(repeating: "v", count: 2600)
        // A range asks for one more.
        let entries = (0..<(isRange ? 101 : 100)).map { "*2\r\n$10\r\n\(1000 + given)-\(10000 + $0)\r\n*2\r\n$1\r\nn\r\n$2600\r\n\(value)\r\n" }.joined()
        let list = "*\(isRange ? 101 : 100)\r\n\(entries)"
        bytes += 260_000
        let buffer = ByteBuffer()
        buffer.append(isRange ? list : "*1\r\n*2\r\n$1\r\ns\r\n\(list)")
        var kept: RedisReply?
        do {
            try ReplyParser(replyLimit: 1 << 24).feed(buffer.bytes) { reply in
                kept = reply
                return true
            }
        } catch {
            throw .unavailable(.protocolError(error.reason))
        }
        guard let kept else { throw .unavailable(.timedOut) }
        held = held.filter { $0.storage != nil } + [Held(storage: kept.storage)]
        mostAlive = max(mostAlive, held.count)
        return kept
    }

    func send(
        _ command: RedisCommand, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply { try reply() }

    func send(
        _ command: RedisCommand, to taker: any ReplyTaker, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) throws(RedisError) { self.taker = taker }

    func answerPending() -> Bool {
        guard let taker, let reply = try? reply() else { return false }  // Without a reply the test fails by its bytes.
        self.taker = nil
        taker.redisAnswered(reply)
        return true
    }

    func send(_ commands: [RedisCommand], tracked: Bool) async throws(RedisError) -> [Result<RedisReply, RedisError>] {
        throw .unavailable(.timedOut)
    }

    func evaluate(
        _ script: RedisScript, _ call: RedisCommand, patience: EventLoop.Instant?, late: ((RedisReply) -> Void)?
    ) async throws(RedisError) -> RedisReply { throw .unavailable(.timedOut) }

    func begin(_ block: CommandBlock) throws(RedisError) { throw .unavailable(.timedOut) }
    func openReplicated() async throws(RedisError) { throw .unavailable(.timedOut) }
    func confirm(_ write: ReplicatedWrite, replicas: Int, within patience: Duration) async -> Int { 0 }
}
