// The far end of a sink: takes webhooks on loopback, writes down each with its time, and answers as its script says,
// well or badly. It has a thread for the listening socket and one a connection, so that an answer that is held back
// holds nothing else back. Requests are taken as libcurl sends them: with a Content-Length.

import Crypto
import Foundation
import Glibc
import Synchronization

package final class Receiver: Sendable {
    package enum Failure: Error {
        case socket(Int32)
    }

    /// What is done with a request.
    package enum Answer: Sendable {
        /// A whole answer; `headers` are lines with their `\r\n`.
        case status(Int, headers: String = "", body: String = "")
        /// 200, its head after a while.
        case slow(Duration)
        /// 200, after `release`.
        case hold
        /// A connection reset, no byte sent.
        case reset
        /// Closed, no byte sent.
        case close
        /// `HTTP/1.1 200 OK` and the beginning of a header, then closed.
        case cutHead
        /// 200 with a body that never ends.
        case endless
        /// 200 with some of the body that it promises, and then nothing more.
        case stuckBody
    }

    /// One request, as it came.
    package struct Delivery: Sendable {
        /// `webhook-id`.
        package let id: String
        /// `Sluice-Delivery-Count`.
        package let attempt: Int
        package let time: ContinuousClock.Instant
        /// By lower-case name.
        package let headers: [String: String]
        package let body: [UInt8]
        /// Counted by webhook-id, from 1: how often the receiver has seen it.
        package let number: Int
        /// Whether its sender had given it up before this process was given the time to read it. It came before what it is
        /// written down behind.
        package let isAbandoned: Bool

        package var json: JSON {
            // What is no JSON fails the comparison.
            (try? JSON(parsing: body)) ?? .null
        }

        /// The stream's entry.
        package var message: String { json["id"].string ?? "" }

        /// Whether one of the signatures is that of `secret` (`whsec_…`); Standard Webhooks 1.0.
        package func isSigned(with secret: String) -> Bool {
            guard let key = Base64.decode(String(secret.dropFirst(6))), let timestamp = headers["webhook-timestamp"] else { return false }
            let mac = Digest.hmacSHA256(key: key, Array("\(id).\(timestamp).".utf8) + body)
            return headers["webhook-signature"]?.split(separator: " ").contains("v1,\(Base64.encode(mac))") == true
        }
    }

    private struct State {
        var listener: Int32 = -1
        var connections: Set<Int32> = []
        var deliveries: [Delivery] = []
        var seen: [String: Int] = [:]
        /// Entries whose 2xx was written whole.
        var confirmed: Set<String> = []
        var isHolding = true
    }

    package let port: UInt16
    private let script: @Sendable (Delivery) -> Answer
    private let state = Mutex(State())

    package init(_ script: @escaping @Sendable (Delivery) -> Answer = { _ in .status(200) }) throws {
        self.script = script
        let (listener, port) = try Receiver.listen(0)
        self.port = port
        serve(listener)
    }

    deinit { stop() }

    // MARK: What a test does to it

    package var url: String { "http://127.0.0.1:\(port)/hook" }

    /// Answers all that `hold` has held back, and holds nothing back from now on.
    package func release() { state.withLock { $0.isHolding = false } }

    /// As if nothing had come yet.
    package func forget() { state.withLock { ($0.deliveries, $0.seen, $0.confirmed) = ([], [:], []) } }

    package func holdAgain() { state.withLock { $0.isHolding = true } }

    /// Nobody listens any more: connections are refused.
    package func stop() {
        state.withLock { state in
            if state.listener >= 0 { shutdown(state.listener, Int32(SHUT_RDWR)) }
            state.listener = -1
            state.isHolding = false
            for connection in state.connections { shutdown(connection, Int32(SHUT_RDWR)) }
        }
    }

    /// Listens again, on the same port.
    package func start() throws { serve(try Receiver.listen(port).descriptor) }

    // MARK: What a test sees of it

    package var deliveries: [Delivery] { state.withLock { $0.deliveries } }

    package func deliveries(of message: String) -> [Delivery] { deliveries.filter { $0.message == message } }

    /// Entries for which a 2xx was written.
    package var confirmed: Set<String> { state.withLock { $0.confirmed } }

    // MARK: Inside

    private static func listen(_ port: UInt16) throws -> (descriptor: Int32, port: UInt16) {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        var one: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutableBytes(of: &address) { bytes -> Int32 in
            let address = bytes.assumingMemoryBound(to: sockaddr.self).baseAddress!
            guard bind(descriptor, address, size) == 0, Glibc.listen(descriptor, 512) == 0 else { return -1 }
            return getsockname(descriptor, address, &size)
        }
        guard status == 0 else {
            let failure = Failure.socket(errno)
            Glibc.close(descriptor)
            throw failure
        }
        return (descriptor, UInt16(bigEndian: address.sin_port))
    }

    private func serve(_ listener: Int32) {
        state.withLock { $0.listener = listener }
        Thread.detachNewThread { [weak self] in
            // The thread holds no reference while it waits, or the receiver would live for ever.
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let receiver = self, receiver.admit(connection, of: listener) else {
                    if connection >= 0 { Glibc.close(connection) }
                    break
                }
                // A connection that a process of the test inherits would not close with us.
                _ = fcntl(connection, F_SETFD, FD_CLOEXEC)
                Thread.detachNewThread { [weak self] in ReceiverConnection(connection).run { self } }
            }
            Glibc.close(listener)
        }
    }

    private func admit(_ connection: Int32, of listener: Int32) -> Bool {
        state.withLock { state in
            guard state.listener == listener else { return false }
            state.connections.insert(connection)
            return true
        }
    }

    fileprivate func leave(_ connection: Int32) { state.withLock { _ = $0.connections.remove(connection) } }

    fileprivate func answer(_ headers: [String: String], _ body: [UInt8], isAbandoned: Bool) -> (Delivery, Answer) {
        let id = headers["webhook-id"] ?? ""
        let delivery = state.withLock { state in
            state.seen[id, default: 0] += 1
            let delivery = Delivery(
                id: id, attempt: headers["sluice-delivery-count"].flatMap { Int($0) } ?? 0, time: .now, headers: headers,
                body: body, number: state.seen[id] ?? 0, isAbandoned: isAbandoned)
            state.deliveries.append(delivery)
            return delivery
        }
        return (delivery, script(delivery))
    }

    fileprivate var isHolding: Bool { state.withLock { $0.isHolding } }

    fileprivate func confirm(_ delivery: Delivery) { state.withLock { _ = $0.confirmed.insert(delivery.message) } }
}

/// One connection, on a thread of its own.
private struct ReceiverConnection {
    let descriptor: Int32

    init(_ descriptor: Int32) { self.descriptor = descriptor }

    func run(_ receiver: () -> Receiver?) {
        var input: [UInt8] = []
        while let (headers, body) = request(&input), let receiver = receiver() {
            let (delivery, answer) = receiver.answer(headers, body, isAbandoned: isAbandoned)
            guard give(answer, delivery, receiver) else { break }
        }
        receiver()?.leave(descriptor)
        close(descriptor)
    }

    private var isAbandoned: Bool {
        var state = pollfd(fd: descriptor, events: 0x2000, revents: 0)  // POLLRDHUP, which `Glibc` does not export.
        return poll(&state, 1, 0) > 0
    }

    /// False: the connection ends.
    private func give(_ answer: Receiver.Answer, _ delivery: Receiver.Delivery, _ receiver: Receiver) -> Bool {
        switch answer {
        case .status(let status, let headers, let body):
            let isSent = send("HTTP/1.1 \(status) Scripted\r\n\(headers)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
            if isSent && (200..<300).contains(status) { receiver.confirm(delivery) }
            return isSent
        case .slow(let time):
            poll(nil, 0, Int32(time / .milliseconds(1)))
            return give(.status(200), delivery, receiver)
        case .hold:
            while receiver.isHolding { poll(nil, 0, 2) }
            return give(.status(200), delivery, receiver)
        case .reset:
            var lingering = linger(l_onoff: 1, l_linger: 0)
            setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &lingering, socklen_t(MemoryLayout<linger>.size))
            return false
        case .close: return end()
        case .cutHead:
            _ = send("HTTP/1.1 200 OK\r\nContent-Le")
            return end()
        case .endless:
            guard send("HTTP/1.1 200 OK\r\n\r\n") else { return false }
            receiver.confirm(delivery)
            while send(String(repeating: "x", count: 64 << 10)) {}
            return false
        case .stuckBody:
            guard send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf") else { return false }
            var byte: UInt8 = 0
            _ = recv(descriptor, &byte, 1, 0)  // Until the sink has had enough.
            return false
        }
    }

    /// At once, even while a child of another test, on its way to exec, has a copy of the descriptor.
    private func end() -> Bool {
        shutdown(descriptor, Int32(SHUT_RDWR))
        return false
    }

    private func send(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }

    /// The next request; nil at the end.
    private func request(_ input: inout [UInt8]) -> (headers: [String: String], body: [UInt8])? {
        var room = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            if let end = input.firstRange(of: Array("\r\n\r\n".utf8)) {
                var headers: [String: String] = [:]
                for line in String(decoding: input[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n").dropFirst() {
                    let parts = line.split(separator: ":", maxSplits: 1)
                    if parts.count == 2 { headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " }) }
                }
                let length = headers["content-length"].flatMap { Int($0) } ?? 0
                if input.count >= end.upperBound + length {
                    let body = Array(input[end.upperBound..<(end.upperBound + length)])
                    input.removeFirst(end.upperBound + length)
                    return (headers, body)
                }
            }
            let count = recv(descriptor, &room, room.count, 0)
            guard count > 0 else { return nil }
            input += room[..<count]
        }
    }
}
