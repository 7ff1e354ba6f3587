// What a gateway says of itself at `/metrics`, asked beside the measuring.

import Glibc
import Net

extension Server {
    /// The sum of a metric over its labels that contain `label`.
    func metric(_ name: String, _ label: String = "") throws -> Int {
        var sum = 0
        for line in try page("/metrics").split(whereSeparator: \.isNewline) where line.hasPrefix(name) && line.contains(label) {
            guard let next = line.dropFirst(name.count).first, next == " " || next == "{" else { continue }
            sum += line.split(separator: " ").last.flatMap { Int($0) } ?? 0
        }
        return sum
    }

    /// Commands that it has sent to Redis, a script as one.
    func redisCommands() throws -> Int { try metric("sluice_redis_commands_total") }

    private func page(_ path: String) throws -> String {
        let socket = try Socket.connect(to: address)
        let descriptor = socket.descriptor
        func wait(_ events: Int32) {
            var file = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            poll(&file, 1, 5000)
        }
        wait(POLLOUT)
        if let error = socket.connectError { throw error }
        let request = ByteBuffer()
        request.append("GET \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        _ = try socket.write(request.bytes)  // A new socket takes it whole.
        let input = ByteBuffer()
        while true {
            switch try socket.read(into: input.reserve(64 * 1024)) {
            case .bytes(let count): input.wrote(count)
            case .wouldBlock: wait(POLLIN)
            case .ended: return String(decoding: input.bytes, as: UTF8.self)
            }
        }
    }
}
