// A bare TCP connection, for clients that behave as no HTTP library would: half-closed, reset, cut off in
// the middle, pipelining, or two thousand at once.

import Glibc

package final class ClientSocket {
    package enum Failure: Error {
        case system(String, Int32), closed, noReply, malformed(String)
    }

    private let descriptor: Int32
    private var received: [UInt8] = []
    private var isClosed = false
    /// The whole requests whose replies have not come; nil once a test has sent anything else.
    private var asked: [(method: String, path: String)]? = []

    /// `receiveBuffer`: bytes that the kernel takes for a client that does not receive. `host`: it comes from
    /// 127.0.0.`host`.
    package init(port: UInt16, receiveBuffer: Int32? = nil, host: UInt8 = 1) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        if var size = receiveBuffer { setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size)) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        if host != 1 {
            address.sin_addr.s_addr = (0x7F00_0000 + UInt32(host)).bigEndian
            try check("bind", withUnsafeBytes(of: &address) {
                bind(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t($0.count))
            })
        }
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        try connect(&address, MemoryLayout<sockaddr_in>.size)
    }

    /// To a Redis, for more than one command on a connection.
    package init(unixPath: String) throws {
        descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: unixPath.utf8) }
        try connect(&address, MemoryLayout<sockaddr_un>.size)
    }

    private func connect<Address>(_ address: inout Address, _ size: Int) throws {
        try check("connect", withUnsafeBytes(of: &address) {
            Glibc.connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t(size))
        })
    }

    private func check(_ call: String, _ status: Int32) throws {
        guard status == 0 else { throw Failure.system(call, errno) }
    }

    deinit { close() }

    // MARK: Sending

    package func send(_ text: String) throws { try send(Array(text.utf8)) }

    package func send(_ bytes: [UInt8]) throws {
        asked = nil
        try write(bytes)
    }

    private func write(_ bytes: [UInt8]) throws {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress! + sent, bytes.count - sent, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { throw Failure.system("send", errno) }
            sent += count
        }
    }

    /// A whole request.
    package func request(_ method: String, _ path: String, headers: String = "", body: String = "") throws {
        let length = body.isEmpty && method != "POST" ? "" : "Content-Length: \(body.utf8.count)\r\n"
        try write(Array("\(method) \(path) HTTP/1.1\r\nHost: localhost\r\n\(headers)\(length)\r\n\(body)".utf8))
        asked?.append((method, path))
    }

    /// Redis commands, as redis-cli writes them.
    package func send(commands: [[String]]) throws {
        try send(commands.map { words in
            "*\(words.count)\r\n" + words.map { "$\($0.utf8.count)\r\n\($0)\r\n" }.joined()
        }.joined())
    }

    // MARK: Ending

    /// FIN: nothing more will be sent; replies are still taken.
    package func finishSending() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// The kernel treats what comes from now on as after a close; what came before can still be told.
    package func finishBoth() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    package func close() {
        guard !isClosed else { return }
        isClosed = true
        Glibc.close(descriptor)
    }

    /// RST.
    package func reset() {
        var linger = linger(l_onoff: 1, l_linger: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<Glibc.linger>.size))
        close()
    }

    /// As when its machine loses power: from now on nothing reaches its kernel, nothing is acknowledged, and nothing refused.
    package func vanish() throws {
        // One instruction of a packet filter (socket(7), SO_ATTACH_FILTER): pass no byte of any segment.
        try withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 1) { instruction in
            instruction[0] = 0x06  // BPF_RET | BPF_K, 0
            var program = (length: UInt64(1), instructions: instruction.baseAddress)
            try check("setsockopt", setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, 16))
        }
    }

    // MARK: Receiving

    /// What has come and was not taken.
    package var text: String { String(decoding: received, as: UTF8.self) }

    /// Waits until `text` has come.
    package func expect(_ text: String, atMost limit: Duration = .seconds(60)) throws {
        let end = ContinuousClock.now + limit
        while received.firstRange(of: Array(text.utf8)) == nil {
            guard try receive(until: end) else { throw Failure.closed }
        }
    }

    /// Bytes that have come and were not taken.
    package var receivedCount: Int { received.count }

    /// Receives what has come by now. Does not wait.
    package func takeWhatIsThere() throws {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        while poll(&state, 1, 0) > 0, try receive(until: .now + .seconds(60)) {}
    }

    /// Whether `text` has come by now. Looks, and does not wait.
    package func replyIsThere(_ text: String) throws -> Bool {
        try takeWhatIsThere()
        return received.firstRange(of: Array(text.utf8)) != nil
    }

    /// The next reply, held against openapi.yaml. Interim ones (100 Continue) are replies too.
    package func reply(atMost limit: Duration = .seconds(60), isHead: Bool = false) throws -> Reply {
        let end = ContinuousClock.now + limit
        while true {
            if let reply = try takeReply(isHead: isHead) {
                hold(reply, isHead: isHead)
                return reply
            }
            guard try receive(until: end) else { throw Failure.closed }
        }
    }

    private func hold(_ reply: Reply, isHead: Bool) {
        guard reply.status >= 200 else { return }
        if let call = asked?.first {
            asked?.removeFirst()
            reply.hold(to: call.method, call.path)
        } else if reply.status >= 400, !isHead {
            reply.holdAsProblem()
        }
    }

    /// Whether the gateway closes the connection, and what came before it did.
    package func readToEnd(atMost limit: Duration = .seconds(60)) throws -> String {
        let end = ContinuousClock.now + limit
        while try receive(until: end) {}
        return String(decoding: received, as: UTF8.self)
    }

    /// False at the end.
    private func receive(until end: ContinuousClock.Instant) throws -> Bool {
        var state = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let left = max(0, (end - .now) / .milliseconds(1))
        guard poll(&state, 1, Int32(left)) > 0 else { throw Failure.noReply }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        if count < 0 && errno != ECONNRESET { throw Failure.system("recv", errno) }
        guard count > 0 else { return false }
        received += bytes[..<count]
        return true
    }

    /// A chunked body and where it ends; nil until it is whole. (Without trailers: we send none.)
    private static func unchunked(_ bytes: ArraySlice<UInt8>) throws -> (body: [UInt8], end: Int)? {
        var (rest, body) = (bytes, [UInt8]())
        while let line = rest.firstIndex(of: UInt8(ascii: "\n")) {
            guard let size = Int(String(decoding: rest[..<line].dropLast(), as: UTF8.self), radix: 16) else {
                throw Failure.malformed(String(decoding: rest[..<line], as: UTF8.self))
            }
            let chunk = rest[(line + 1)...]
            guard chunk.count >= size + 2 else { return nil }
            if size == 0 { return (body, chunk.startIndex + 2) }
            body += chunk.prefix(size)
            rest = chunk.dropFirst(size + 2)
        }
        return nil
    }

    private func takeReply(isHead: Bool) throws -> Reply? {
        guard let headEnd = received.firstRange(of: Array("\r\n\r\n".utf8)) else { return nil }
        let lines = String(decoding: received[..<headEnd.lowerBound], as: UTF8.self).split(separator: "\r\n")
        guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) }) else {
            throw Failure.malformed(String(decoding: received.prefix(200), as: UTF8.self))
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            if parts.count == 2 { headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " }) }
        }
        if !isHead, headers["transfer-encoding"] == "chunked" {
            guard let (body, end) = try ClientSocket.unchunked(received[headEnd.upperBound...]) else { return nil }
            received.removeFirst(end - received.startIndex)
            return Reply(status: status, headers: headers, body: body)
        }
        let length = isHead ? 0 : headers["content-length"].flatMap { Int($0) } ?? 0
        let end = headEnd.upperBound + length
        guard received.count >= end else { return nil }
        let body = Array(received[headEnd.upperBound..<end])
        received.removeFirst(end)
        return Reply(status: status, headers: headers, body: body)
    }
}
