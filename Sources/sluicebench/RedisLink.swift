// A blocking link to Redis for what happens beside the measuring: filling, asking, clearing.

import Glibc
import Net

final class RedisLink {
    indirect enum Reply {
        case text(String)
        case number(Int)
        case list([Reply])
        case none

        var text: String { if case .text(let text) = self { text } else { "" } }
        var number: Int { if case .number(let number) = self { number } else { 0 } }
        var list: [Reply] { if case .list(let list) = self { list } else { [] } }

        /// The value after `name` in a flat list of names and values.
        subscript(name: String) -> Reply {
            let all = list
            for at in stride(from: 0, to: all.count - 1, by: 2) where all[at].text == name { return all[at + 1] }
            return .none
        }
    }

    private let socket: Socket
    private let input = ByteBuffer(capacity: 64 * 1024)

    init(_ address: SocketAddress) throws {
        socket = try Socket.connect(to: address)
        wait(POLLOUT)
        if let error = socket.connectError { throw error }
    }

    @discardableResult
    func call(_ words: String...) throws -> Reply {
        let output = ByteBuffer()
        output.appendCommand(words)
        while !output.isEmpty {
            if case .bytes(let count) = try socket.write(output.bytes) { output.discard(count) } else { wait(POLLOUT) }
        }
        return try read()
    }

    /// A figure of `INFO section`.
    func info(_ section: String, _ name: String) throws -> Int {
        for line in try call("INFO", section).text.split(whereSeparator: \.isNewline) where line.hasPrefix(name + ":") {
            return Int(line.dropFirst(name.count + 1)) ?? 0
        }
        return 0
    }

    // MARK: Reading

    private func wait(_ events: Int32) {
        var file = pollfd(fd: socket.descriptor, events: Int16(events), revents: 0)
        poll(&file, 1, 60_000)
    }

    private func read() throws -> Reply {
        let line = try readLine()
        let rest = String(line.dropFirst())
        switch line.first {
        case "+": return .text(rest)
        case "-": throw BenchError.redis(rest)
        case ":": return .number(Int(rest) ?? 0)
        case "$":
            guard let count = Int(rest), count >= 0 else { return .none }
            try fill(count + 2)
            defer { input.discard(count + 2) }
            return .text(String(decoding: input.bytes[..<count], as: UTF8.self))
        default:
            guard let count = Int(rest), count >= 0 else { return .none }
            return .list(try (0..<count).map { _ in try read() })
        }
    }

    private func readLine() throws -> String {
        while true {
            if let end = input.bytes.firstIndex(of: UInt8(ascii: "\n")) {
                defer { input.discard(end + 1) }
                return String(decoding: input.bytes[..<(end - 1)], as: UTF8.self)
            }
            try fill(input.count + 1)
        }
    }

    private func fill(_ count: Int) throws {
        while input.count < count {
            let room = input.reserve(64 * 1024)
            switch try socket.read(into: room) {
            case .bytes(let count): input.wrote(count)
            case .wouldBlock: wait(POLLIN)
            case .ended: throw BenchError.redis("nothing: it has gone")
            }
        }
    }
}

extension ByteBuffer {
    func appendCommand(_ words: [String]) {
        append(UInt8(ascii: "*"))
        append(decimal: words.count)
        append(literal: "\r\n")
        for word in words {
            append(UInt8(ascii: "$"))
            append(decimal: word.utf8.count)
            append(literal: "\r\n")
            append(word)
            append(literal: "\r\n")
        }
    }
}
