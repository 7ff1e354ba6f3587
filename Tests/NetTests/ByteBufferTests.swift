// Buffers, their numbers, and addresses in words.

import Testing

@testable import Net

struct ByteBufferTests {
    @Test(arguments: [0, 7, 10, 99, 100, -1, -9_223_372_036_854_775_808, 9_223_372_036_854_775_807])
    func `numbers are written in decimal`(number: Int) {
        let buffer = ByteBuffer(capacity: 64)
        buffer.append(decimal: number)
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == "\(number)")
    }

    @Test func `the largest unsigned number is written whole`() {
        let buffer = ByteBuffer()
        buffer.append(decimal: UInt64.max)
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == "18446744073709551615")
    }

    @Test func `what is appended comes out, whatever was discarded in between`() {
        let buffer = ByteBuffer(capacity: 64)
        var expected: [UInt8] = []
        var next: UInt8 = 0
        for round in 0..<500 {
            for _ in 0..<(round * 7 % 50) {
                buffer.append(next)
                expected.append(next)
                next &+= 1
            }
            let count = min(expected.count, round * 5 % 40)
            #expect(Array(buffer.bytes.prefix(count)) == Array(expected.prefix(count)))
            buffer.discard(count)
            expected.removeFirst(count)
        }
        #expect(buffer.takeArray() == expected)
        #expect(buffer.isEmpty)
    }

    @Test func `a pool keeps no buffer that has grown large`() {
        let pool = BufferPool()
        let small = pool.take()
        small.append(1)
        pool.give(small)
        #expect(pool.take() === small && small.isEmpty)
        let large = ByteBuffer(capacity: BufferPool.keptCapacity + 1)
        pool.give(large)
        #expect(pool.take() !== large)
    }

    @Test func `addresses say what they are`() throws {
        let v4 = try #require(SocketAddress(literal: "127.9.8.7", port: 80))
        #expect(v4.description == "127.9.8.7:80" && v4.isLoopback)
        let v6 = try #require(SocketAddress(literal: "2001:db8::1", port: 443))
        #expect(v6.description == "[2001:db8::1]:443" && !v6.isLoopback)
        let path = try #require(SocketAddress(unixPath: "/tmp/a.sock"))
        #expect(path.description == "/tmp/a.sock" && path.isLoopback)
        #expect(SocketAddress(literal: "localhost", port: 1) == nil, "A name is no literal.")
        #expect(SocketAddress(unixPath: String(repeating: "a", count: 108)) == nil, "The kernel has room for 107 bytes.")
        #expect(SocketAddress(unixPath: String(repeating: "a", count: 107)) != nil)
    }
}
