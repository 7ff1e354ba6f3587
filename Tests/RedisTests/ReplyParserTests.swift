// Replies, from bytes: the answers of the RESP2 specification, every split of them, and noise.
import Glibc
import Testing

@testable import Redis

/// A reply as a tree, for comparing.
indirect enum Tree: Equatable {
    case simple(String), bulk(String), integer(Int64), array([Tree]), null, nullArray, error(String)

    init(_ reply: RedisReply) {
        switch reply.kind {
        case .simple: self = .simple(reply.text)
        case .bulk: self = .bulk(reply.text)
        case .error: self = .error(reply.text)
        case .integer: self = .integer(reply.integer ?? 0)
        case .null: self = .null
        case .nullArray: self = .nullArray
        case .array:
            var elements = reply.elements
            var trees: [Tree] = []
            while let element = elements.current {
                trees.append(Tree(element))
                elements.skip()
            }
            #expect(trees.count == reply.count && elements.remaining == 0)
            self = .array(trees)
        }
    }
}

/// What `pieces`, fed one by one, come to; nil for a protocol error.
func parse(_ pieces: [ArraySlice<UInt8>], replyLimit: Int = 1 << 20) -> [Tree]? {
    let parser = ReplyParser(replyLimit: replyLimit)
    var kept: [RedisReply] = []
    for piece in pieces {
        guard feed(parser, Array(piece), { kept.append($0) }) else { return nil }
    }
    return kept.map(Tree.init)
}

/// False for a protocol error. (Caught inside: 6.3.1 crashes on a typed error through `withUnsafeBytes`.)
func feed(_ parser: ReplyParser, _ bytes: [UInt8], _ receive: (RedisReply) -> Void) -> Bool {
    bytes.withUnsafeBytes { bytes in
        do throws(ProtocolError) {
            try parser.feed(bytes) { reply in
                receive(reply)
                return true
            }
            return true
        } catch {
            return false
        }
    }
}

/// `SEED`, or a fresh one, printed.
func seededGenerator() -> SplitMix {
    let seed = getenv("SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0...UInt64.max)
    print("SEED=\(seed)")
    return SplitMix(state: seed)
}

struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}

struct ReplyParserTests {
    /// The examples of the RESP2 specification (redis.io/docs/reference/protocol-spec), and the edges.
    static let known: [(String, Tree)] = [
        ("+OK\r\n", .simple("OK")),
        ("-ERR unknown command 'asdf'\r\n", .error("ERR unknown command 'asdf'")),
        (":0\r\n", .integer(0)),
        (":-9223372036854775808\r\n", .integer(.min)),
        ("$5\r\nhello\r\n", .bulk("hello")),
        ("$0\r\n\r\n", .bulk("")),
        ("$2\r\n\r\n\r\n", .bulk("\r\n")),
        ("$-1\r\n", .null),
        ("*-1\r\n", .nullArray),
        ("*0\r\n", .array([])),
        ("*2\r\n$5\r\nhello\r\n$5\r\nworld\r\n", .array([.bulk("hello"), .bulk("world")])),
        ("*3\r\n$5\r\nhello\r\n$-1\r\n*-1\r\n", .array([.bulk("hello"), .null, .nullArray])),
        ("*2\r\n*3\r\n:1\r\n:2\r\n:3\r\n*2\r\n+Hello\r\n-World\r\n",
            .array([.array([.integer(1), .integer(2), .integer(3)]), .array([.simple("Hello"), .error("World")])])),
    ]

    @Test func `known answers parse, whole and at every split`() {
        for (text, tree) in ReplyParserTests.known {
            let bytes = Array(text.utf8)
            for split in 0...bytes.count {
                #expect(parse([bytes[..<split], bytes[split...]]) == [tree], "\(text.debugDescription) at \(split)")
            }
            #expect(parse(bytes.indices.map { bytes[$0...$0] }) == [tree])
        }
    }

    @Test func `many replies of one read share their storage, and the unfinished one moves to the next`() {
        let text = ReplyParserTests.known.map(\.0).joined()
        let trees = ReplyParserTests.known.map(\.1)
        let bytes = Array(text.utf8)
        for split in 0...bytes.count {
            #expect(parse([bytes[..<split], bytes[split...]]) == trees)
        }
        var storages = Set<ObjectIdentifier>()
        var kept: [RedisReply] = []
        let parser = ReplyParser(replyLimit: 1000)
        #expect(feed(parser, bytes) { kept.append($0) })
        for reply in kept { storages.insert(ObjectIdentifier(reply.storage)) }
        #expect(kept.count == trees.count && storages.count == 1)
    }

    @Test func `a reply larger than hiredis is fed at a time arrives whole`() {
        let long = String(repeating: "x", count: 300_000)
        let bytes = Array("*2\r\n$300000\r\n\(long)\r\n:5\r\n+OK\r\n".utf8)
        #expect(parse([bytes[...]]) == [.array([.bulk(long), .integer(5)]), .simple("OK")])
    }

    @Test func `eight arrays deep is read, which is deeper than XINFO STREAM FULL in an EXEC`() {
        let bytes = Array((String(repeating: "*1\r\n", count: 8) + ":1\r\n").utf8)
        var tree = Tree.integer(1)
        for _ in 0..<8 { tree = .array([tree]) }
        #expect(parse([bytes[...]]) == [tree])
    }

    @Test(arguments: [
        "x\r\n", "$5\r\nhelloXX", "$-2\r\n", "$99999999999999999999\r\n", "*-2\r\n", "*x\r\n", ":12a\r\n", ":\r\n",
        "%1\r\n+a\r\n+b\r\n", "#t\r\n", ",1.5\r\n", "_\r\n", "=6\r\ntxt:ab\r\n", "~1\r\n+a\r\n", ">1\r\n+a\r\n",
    ])
    func `what is not RESP2 is an error`(text: String) {
        #expect(parse([Array(text.utf8)[...]]) == nil)
    }

    @Test func `a reply beyond its limit is an error before it is whole`() {
        let bytes = [UInt8]("$100000\r\n".utf8) + [UInt8](repeating: 0, count: 40_000)
        #expect(parse([bytes[...]], replyLimit: 30_000) == nil)
        #expect(parse([bytes[...]], replyLimit: 50_000) == [])
    }

    @Test func `noise ends in replies or an error, never in a trap`() {
        var generator = seededGenerator()
        let alphabet = Array("+-:$*0123456789\r\n\r\nOKx%".utf8)
        for _ in 0..<20_000 {
            let noise = (0..<Int.random(in: 1...60, using: &generator)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
            }
            _ = parse([noise[...]])
        }
    }

    @Test func `a changed byte in a good reply ends in replies or an error`() {
        var generator = seededGenerator()
        let good = Array(ReplyParserTests.known.map(\.0).joined().utf8)
        for _ in 0..<20_000 {
            var bytes = good
            bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            let split = Int.random(in: 0...bytes.count, using: &generator)
            _ = parse([bytes[..<split], bytes[split...]])
        }
    }

    @Test func `a cursor passes elements of other kinds than asked for`() throws {
        let bytes = Array("*5\r\n*2\r\n+a\r\n*1\r\n:1\r\n:7\r\n$-1\r\n*2\r\n+b\r\n+c\r\n$1\r\nz\r\n".utf8)
        var reply: RedisReply?
        let parser = ReplyParser(replyLimit: 1000)
        #expect(feed(parser, bytes) { reply = $0 })
        var cursor = try #require(reply).elements
        #expect(cursor.takeInteger() == nil)  // The nested array.
        #expect(cursor.takeBytes() == nil)  // 7.
        #expect(cursor.enterArray() == nil)  // Null.
        #expect(cursor.enterArray() == 2 && cursor.remaining == 1)
        #expect(cursor.takeText() == "b")
        cursor.skip()
        #expect(cursor.remaining == 1 && cursor.takeText() == "z")
        #expect(cursor.isAtEnd && cursor.kind == nil && cursor.takeBytes() == nil && cursor.takeInteger() == nil)
    }
}
