// A Redis that says what a test wants it to say, for what a real one can't be made to do: malformed
// replies, silence, hanging up in the middle of a command.
//
// It lives on a loop of the test's own (the client's, mostly), answers the handshake by itself, and asks
// `answer` first for every command.

package import Net
package import Redis
import Glibc

package final class ScriptedRedis {
    package enum Answer {
        /// As it goes over the wire.
        case reply(String)
        case bytes([UInt8])
        case silence
        case hangUp
        /// What the handshake needs; an error for anything else.
        case usual
    }

    /// Asked for each command: its words, and which connection it came on, counted from 0.
    package var answer: ([String], Int) -> Answer = { _, _ in .usual }
    /// All commands so far.
    package private(set) var heard: [[String]] = []
    package private(set) var connectionCount = 0
    package let endpoint: RedisEndpoint

    private let loop: EventLoop
    private let socket: ListeningSocket
    private var acceptor: Acceptor?
    private var conversations: [Conversation] = []

    package init(on loop: EventLoop) throws {
        self.loop = loop
        guard let any = SocketAddress(literal: "127.0.0.1", port: 0) else { preconditionFailure("It is an address.") }
        socket = try ListeningSocket(binding: any)
        endpoint = RedisEndpoint(place: .tcp(host: "127.0.0.1", port: socket.address.port))
        acceptor = Acceptor(
            loop: loop, socket: socket, accepted: { [unowned self] in accept($0) }, failed: { _ in })
        acceptor?.start()
    }

    deinit {
        acceptor?.stop()
        hangUp()
    }

    /// Closes all connections; new ones are taken.
    package func hangUp() {
        for conversation in conversations { conversation.end() }
        conversations = []
    }

    /// Closes the `index`-th connection.
    package func hangUp(_ index: Int) {
        conversations.first { $0.index == index }?.end()
    }

    /// From now on takes nothing more off its connections: the kernel's buffers fill up.
    package func stopReading() {
        for conversation in conversations { conversation.isReading = false }
    }

    /// Says something unasked on the `index`-th connection.
    package func say(_ text: String, on index: Int) {
        conversations.first { $0.index == index }?.write(Array(text.utf8))
    }

    private func accept(_ descriptor: Int32) {
        let conversation = Conversation(descriptor, index: connectionCount, of: self, on: loop)
        connectionCount += 1
        conversations.append(conversation)
    }

    fileprivate func respond(_ words: [String], _ conversation: Conversation) {
        heard.append(words)
        switch answer(words, conversation.index) {
        case .reply(let text): conversation.write(Array(text.utf8))
        case .bytes(let bytes): conversation.write(bytes)
        case .silence: break
        case .hangUp: conversation.end()
        case .usual: conversation.write(Array(ScriptedRedis.usual(words).utf8))
        }
    }

    private static func usual(_ words: [String]) -> String {
        switch (words[0], words.dropFirst().first) {
        case ("CLIENT", "ID"): ":7\r\n"
        case ("AUTH", _), ("SELECT", _), ("CLIENT", _): "+OK\r\n"
        case ("INFO", _): "$0\r\n\r\n"
        case ("COMMAND", _): "*0\r\n"
        case ("PING", _): "+PONG\r\n"
        case ("SUBSCRIBE", let channel?): "*3\r\n$9\r\nsubscribe\r\n$\(channel.utf8.count)\r\n\(channel)\r\n:1\r\n"
        default: "-ERR not in the script\r\n"
        }
    }
}

/// One connection: cuts what comes into commands.
private final class Conversation: Pollable {
    let index: Int
    private unowned let server: ScriptedRedis
    private let loop: EventLoop
    private var socket: Socket?
    private var registration: Registration?
    private var input: [UInt8] = []
    var isReading = true

    init(_ descriptor: Int32, index: Int, of server: ScriptedRedis, on loop: EventLoop) {
        self.index = index
        self.server = server
        self.loop = loop
        socket = Socket(owning: descriptor)
        registration = try? loop.register(descriptor, [.readable], self)  // Without it the test fails by its time.
    }

    deinit { end() }

    func end() {
        if let registration { loop.deregister(registration) }
        registration = nil
        socket = nil
    }

    func write(_ bytes: [UInt8]) {
        // A test's reply fits into the socket's buffer; a client that has gone is part of the script.
        _ = bytes.withUnsafeBytes { bytes in try? socket?.write(bytes) }
    }

    func ready(_ events: Readiness) {
        guard isReading else { return }
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 64 << 10, alignment: 1)
        defer { room.deallocate() }
        // A broken socket is one that has ended.
        guard case .bytes(let count)? = try? socket?.read(into: room) else { return end() }
        input += room[..<count]
        while let words = takeCommand() { server.respond(words, self) }
    }

    /// `*n`, then `$length` and as many bytes, each line ended by CR LF.
    private func takeCommand() -> [String]? {
        var place = 0
        guard let count = number(&place) else { return nil }
        var words: [String] = []
        for _ in 0..<count {
            guard let length = number(&place), place + length + 2 <= input.count else { return nil }
            words.append(String(decoding: input[place..<place + length], as: UTF8.self))
            place += length + 2
        }
        input.removeFirst(place)
        return words
    }

    private func number(_ place: inout Int) -> Int? {
        guard let end = input[place...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        defer { place = end + 1 }
        return Int(String(decoding: input[(place + 1)..<(end - 1)], as: UTF8.self))
    }
}
