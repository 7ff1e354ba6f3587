// Commands as they go over the wire, IDs, digests, URLs.
import Testing

@testable import Redis

extension RedisCommand {
    /// Whole, as it goes over the wire.
    var wire: String {
        withArguments { "*\(argumentCount)\r\n" + String(decoding: $0, as: UTF8.self) }
    }
    /// The arguments, spaces between.
    var words: String {
        wire.split(separator: "\r\n", omittingEmptySubsequences: false).dropFirst()
            .enumerated().filter { $0.offset % 2 == 1 }.map(\.element).joined(separator: " ")
    }
}

struct CommandTests {
    @Test func `a command is an array of bulk strings`() {
        var command = RedisCommand("XADD", effect: .write)
        command.appendKey(Array("k".utf8))
        command.append(literal: "*")
        command.append(decimal: -42)
        command.append("grüß")
        command.append([])
        #expect(command.wire == "*6\r\n$4\r\nXADD\r\n$1\r\nk\r\n$1\r\n*\r\n$3\r\n-42\r\n$6\r\ngrüß\r\n$0\r\n\r\n")
    }

    @Test func `numbers have as many digits as they need`() {
        for number in [0, 9, 10, 99, 100, Int64.max, .min, -1] {
            var command = RedisCommand("X", effect: .read)
            command.append(decimal: number)
            #expect(command.words == "X \(number)")
        }
        var command = RedisCommand("X", effect: .read)
        command.append(id: .max, exclusive: true)
        #expect(command.wire == "*2\r\n$1\r\nX\r\n$42\r\n(18446744073709551615-18446744073709551615\r\n")
    }

    @Test func `a copy does not change with its original`() {
        var one = RedisCommand("A", effect: .read)
        let two = one
        one.append(literal: "b")
        #expect(one.words == "A b" && two.words == "A")
    }

    @Test func `what stands behind the key is appended as it is, however the memory grows`() {
        var add = RedisCommand("XADD", effect: .write, reserving: 64)
        add.appendKey(Array("k".utf8))
        for number in 0..<50 { add.append("argument-\(number)") }
        var command = RedisCommand("EVALSHA", effect: .write, reserving: 64)
        command.append(argumentsBehindKeyOf: add)
        #expect(command.words == "EVALSHA " + (0..<50).map { "argument-\($0)" }.joined(separator: " ") && command.argumentCount == 51)
    }

    @Test func `builders say what Redis' manual says`() {
        let (k, g, c) = (Array("k".utf8), Array("g".utf8), Array("c".utf8))
        let id = StreamID(5, 1)
        let table: [(RedisCommand, String)] = [
            (.xadd(k, trim: .init(.maximumLength(10), approximate: true, limit: 5), onlyIfExists: true),
                "XADD k NOMKSTREAM MAXLEN ~ 10 LIMIT 5 *"),
            (.xadd(k, id: .next(milliseconds: 7), references: .keep), "XADD k KEEPREF 7-*"),
            (.xrange(k, from: .excluding(id), count: 2), "XRANGE k (5-1 + COUNT 2"),
            (.xrange(k, from: .millisecond(3), descending: true), "XREVRANGE k + 3"),
            (.xread([(k, .after(id)), (g, .latest)], count: 9), "XREAD COUNT 9 STREAMS k g 5-1 $"),
            (.xreadgroup(group: g, consumer: c, [(k, .new)], count: 1, noAck: true),
                "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS k >"),
            (.xack(k, group: g, [id]), "XACK k g 5-1"),
            (.xpending(k, group: g), "XPENDING k g"),
            (.xpending(k, group: g, count: 3, consumer: c, minimumIdle: .milliseconds(9)), "XPENDING k g IDLE 9 - + 3 c"),
            (.xgroupCreate(k, group: g, at: .latest, makeStream: true, entriesRead: 1),
                "XGROUP CREATE k g $ MKSTREAM ENTRIESREAD 1"),
            (.xinfoStreamFull(k, count: 0), "XINFO STREAM k FULL COUNT 0"),
            (.xtrim(k, .init(.minimumID(id), approximate: false)), "XTRIM k MINID = 5-1"),
            (.scanStreams(cursor: .max, pattern: Array("a*".utf8)), "SCAN 18446744073709551615 MATCH a* TYPE stream"),
        ]
        for (command, words) in table { #expect(command.words == words) }
    }
}

struct StreamIDTests {
    @Test func `IDs are two unsigned numbers`() {
        #expect(StreamID("0-0") == .zero)
        #expect(StreamID("18446744073709551615-18446744073709551615") == .max)
        #expect(StreamID("5", missingSequence: 7) == StreamID(5, 7))
        for bad in ["", "-", "5", "5-", "-5", "5-x", "18446744073709551616-0", "5-18446744073709551616", "5-1-1", "+5-1", " 5-1"] {
            #expect(StreamID(bad) == nil, "\(bad)")
        }
    }

    @Test func `neighbours carry over`() {
        #expect(StreamID(5, .max).next == StreamID(6, 0))
        #expect(StreamID(6, 0).previous == StreamID(5, .max))
        #expect(StreamID.max.next == nil && StreamID.zero.previous == nil)
        #expect(StreamID(5, .max) < StreamID(6, 0))
    }
}

struct ScriptDigestTests {
    /// FIPS 180-2, appendix A: Redis' name for a script is its SHA-1 in lower-case hexadecimal.
    @Test func `a script is called by its SHA-1`() {
        #expect(RedisScript("abc").digest == Array("a9993e364706816aba3e25717850c26c9cd0d89d".utf8))
    }
}

struct EndpointTests {
    static func tcp(_ host: String, _ port: UInt16, _ user: String? = nil, _ password: String? = nil, _ db: Int = 0)
        -> RedisEndpoint
    {
        RedisEndpoint(place: .tcp(host: host, port: port), username: user, password: password, database: db)
    }

    @Test func `URLs say where and who`() throws {
        let table: [(String, RedisEndpoint)] = [
            ("redis://localhost", EndpointTests.tcp("localhost", 6379)),
            ("redis://h:7000/3", EndpointTests.tcp("h", 7000, nil, nil, 3)),
            ("redis://h?db=2", EndpointTests.tcp("h", 6379, nil, nil, 2)),
            ("REDIS://h/", EndpointTests.tcp("h", 6379)),
            ("redis://:p%40ss%2F@h", EndpointTests.tcp("h", 6379, nil, "p@ss/")),
            ("redis://ann:a:b@[::1]:1", EndpointTests.tcp("::1", 1, "ann", "a:b")),
            ("unix:///run/r.sock?db=1", RedisEndpoint(place: .unix(path: "/run/r.sock"), database: 1)),
            ("unix://u:p@/run/a@b", RedisEndpoint(place: .unix(path: "/run/a@b"), username: "u", password: "p")),
        ]
        for (url, endpoint) in table { #expect(try RedisEndpoint(url: url) == endpoint, "\(url)") }
    }

    @Test(arguments: [
        "", "localhost", "http://h", "rediss://h", "redis://", "redis://:1", "redis://h:0", "redis://h:65536",
        "redis://h:x", "redis://h/x", "redis://h/1?db=2", "redis://h?x=1", "redis://user@h", "redis://:%zz@h",
        "redis://::1", "redis://[::1", "unix://", "unix://run/x", "redis://h#x", "redis://h:+5", "redis://h/-1",
        "redis://:%FF@h",
    ])
    func `what is wrong is told`(url: String) {
        #expect(throws: RedisEndpoint.InvalidURL.self) { try RedisEndpoint(url: url) }
    }

    @Test func `a password is never shown`() throws {
        let endpoint = try RedisEndpoint(url: "redis://ann:secret@h:7/1")
        #expect(endpoint.description == "redis://h:7/1")
        var dumped = ""
        dump(endpoint, to: &dumped)
        #expect(!"\(dumped) \(String(reflecting: endpoint))".contains("secret"))
        #expect(throws: RedisEndpoint.InvalidURL.self) { try RedisEndpoint(url: "redis://ann:secret@h:x") }
        do { _ = try RedisEndpoint(url: "redis://ann:secret@h:x") } catch { #expect(!"\(error)".contains("secret")) }
    }
}
