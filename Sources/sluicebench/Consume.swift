// `consume`: read ten, acknowledge ten, over and over, beside webdis the way its users do it: a script that
// reads the group and answers JSON (webdis itself can't write nested replies), then XACK.

import ArgumentParser
import Glibc
import Net

struct Consume: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Reads of 10 messages, each followed by its ack.")

    @OptionGroup var options: CommonOptions
    @Option(help: "Connections, each a consumer of the one group.")
    var connections = 64
    @Option(help: "Threads of webdis.")
    var webdisThreads = 1
    @Option(help: "Messages in the stream; a round that has read them all ends early.")
    var messages = 1_000_000

    private static let script = """
        local r = redis.call('XREADGROUP','GROUP',ARGV[1],ARGV[2],'COUNT',ARGV[3],'STREAMS',KEYS[1],'>') \
        return cjson.encode(r and r[1][2] or {})
        """

    func run() throws {
        let bench = try Bench()
        let redis = try bench.redis()
        let link = try RedisLink(redis.address)
        try fill(link)
        let sha = try link.call("SCRIPT", "LOAD", Consume.script).text
        var contenders: [Contender] = []
        if !options.peersOnly {
            let sluice = try bench.sluice(options, redis: redis)
            contenders.append(Contender(name: "sluice") { try round(GatewayConsumer(), sluice, redis, link) })
        }
        if let webdis = try bench.webdis(redis: redis, threads: webdisThreads) {
            contenders.append(Contender(name: "webdis") { try round(WebdisConsumer(script: sha), webdis, redis, link) })
        } else {
            say("webdis is not installed (Debian: apt-get install webdis).")
        }
        let comparison = try Comparison(contenders, rounds: options.rounds)
        comparison.printMedians(comparing: contenders.first?.name ?? "")
        guard comparison.failed == 0 else { throw BenchError.failedRequests(comparison.failed) }
        bench.clean()
    }

    private func fill(_ link: RedisLink) throws {
        let script = "for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'orderID', '1001', 'amount', '99.99') end"
        for _ in 0..<max(messages / 50_000, 1) { try link.call("EVAL", script, "1", "bench", "50000") }
    }

    /// A request is a read or an ack: the rate counts both.
    private func round(_ consumer: some Consumer, _ server: Server, _ redis: Server, _ link: RedisLink) throws -> Round {
        // Where there was none, XGROUP DESTROY answers 0.
        try link.call("XGROUP", "DESTROY", "bench", "g")
        try link.call("XGROUP", "CREATE", "bench", "g", "0")
        let loop = try EventLoop()
        var mustAck = [Bool](repeating: false, count: connections)
        let ids = ByteBuffer()
        let client = try LoadClient(loop, server.address, connections: connections) { number, answer, output in
            guard let answer, mustAck[number] else {
                mustAck[number] = answer == nil || !mustAck[number]
                consumer.read(number, output)
                return true
            }
            mustAck[number] = false
            ids.clear()
            guard consumer.collectIDs(answer.body, ids) > 0 else { return false }  // All were read.
            consumer.ack(ids, output)
            return true
        }
        defer { client.close() }
        return client.run(for: options.length, server: server, redis: redis)
    }
}

/// How one of the two is asked.
private protocol Consumer {
    /// Stands between two ids of an ack, and before the first.
    var separator: StaticString { get }
    func read(_ number: Int, _ output: ByteBuffer)
    func ack(_ ids: ByteBuffer, _ output: ByteBuffer)
}

private struct GatewayConsumer: Consumer {
    var separator: StaticString { "\",\"" }

    func read(_ number: Int, _ output: ByteBuffer) {
        output.append(literal: "POST /v1/streams/bench/groups/g/consumers/c")
        output.append(decimal: number)
        output.append(literal: "/read?count=10 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
    }

    func ack(_ ids: ByteBuffer, _ output: ByteBuffer) {
        output.append(literal: "POST /v1/streams/bench/groups/g/ack HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ")
        // The leading separator's last byte opens the first string: {"ids":["1-0","2-0"]}
        output.append(decimal: ids.count - 2 + 8 + 3)
        output.append(literal: "\r\n\r\n{\"ids\":[")
        output.append(UnsafeRawBufferPointer(rebasing: ids.bytes[2...]))
        output.append(literal: "\"]}")
    }
}

private struct WebdisConsumer: Consumer {
    let script: String
    var separator: StaticString { "/" }

    func read(_ number: Int, _ output: ByteBuffer) {
        let digits = number > 999 ? 4 : number > 99 ? 3 : number > 9 ? 2 : 1
        output.append(literal: "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ")
        output.append(decimal: 8 + 40 + 12 + digits + 3)
        output.append(literal: "\r\n\r\nEVALSHA/")
        output.append(script)
        output.append(literal: "/1/bench/g/c")
        output.append(decimal: number)
        output.append(literal: "/10")
    }

    func ack(_ ids: ByteBuffer, _ output: ByteBuffer) {
        output.append(literal: "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ")
        output.append(decimal: 12 + ids.count)
        output.append(literal: "\r\n\r\nXACK/bench/g")
        output.append(ids.bytes)
    }
}

extension Consumer {
    /// Appends each id of an answer after a separator, and returns how many there are. An id is ten digits or
    /// more, a dash, and digits: nothing else in these messages looks like it.
    fileprivate func collectIDs(_ body: UnsafeRawBufferPointer, _ ids: ByteBuffer) -> Int {
        guard let base = body.baseAddress else { return 0 }
        func isDigit(_ at: Int) -> Bool { body[at] &- 48 < 10 }
        var count = 0
        var at = 0
        while let found = memchr(base + at, Int32(UInt8(ascii: "-")), body.count - at) {
            let dash = UnsafeRawPointer(found) - base
            var start = dash
            while start > at, isDigit(start - 1) { start -= 1 }
            at = dash + 1
            guard dash - start >= 10 else { continue }
            while at < body.count, isDigit(at) { at += 1 }
            ids.append(literal: separator)
            ids.append(UnsafeRawBufferPointer(rebasing: body[start..<at]))
            count += 1
        }
        return count
    }
}
