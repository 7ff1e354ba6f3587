// A client of a live tail on a bare connection: what it was sent so far, read as a browser reads it (WHATWG HTML §9.2.6).

import Foundation
import Support

final class EventReader {
    struct Event: Equatable {
        var name = "message"
        var data: JSON
        /// The position of the reader after it.
        var id: String
    }

    let socket: ClientSocket

    /// - Parameters:
    ///   - last: what it has seen already, for `Last-Event-ID`.
    ///   - version: of HTTP; 1.0 knows no chunks.
    init(
        port: UInt16, _ path: String, last: String? = nil, method: String = "GET", version: String = "1.1", receiveBuffer: Int32? = nil
    ) throws {
        socket = try ClientSocket(port: port, receiveBuffer: receiveBuffer)
        let place = last.map { "Last-Event-ID: \($0)\r\n" } ?? ""
        let length = method == "POST" ? "Content-Length: 0\r\n" : ""
        try socket.send("\(method) \(path) HTTP/\(version)\r\nHost: localhost\r\nAccept: text/event-stream\r\n\(place)\(length)\r\n")
    }

    /// Until the head and the first position have come.
    func waitForBeginning() throws { try socket.expect("\nid: ") }

    /// What has come by now.
    func stream() throws -> (events: [Event], lastID: String, comments: Int, retry: String?) {
        try socket.takeWhatIsThere()
        return EventReader.parse(socket.text)
    }

    /// Waits for so many messages, and gives their IDs.
    @discardableResult
    func messages(_ count: Int, atMost limit: Duration = .seconds(60)) throws -> [String] {
        var found: [Event] = []
        try waitUntil("\(count) messages, of which there are \(found.count)", atMost: limit) {
            found = try stream().events.filter { $0.name == "message" }
            return found.count >= count
        }
        return found.map(\.id)
    }

    func wait(for name: String) throws -> Event {
        var found: Event?
        try waitUntil("an event \(name)") {
            found = try stream().events.first { $0.name == name }
            return found != nil
        }
        return found ?? Event(data: .null, id: "")
    }

    /// A whole reply, or one as far as it has come.
    static func parse(_ text: String) -> (events: [Event], lastID: String, comments: Int, retry: String?) {
        guard let head = text.range(of: "\r\n\r\n") else { return ([], "", 0, nil) }
        let body = text[..<head.lowerBound].lowercased().contains("transfer-encoding: chunked")
            ? unchunked(Array(text[head.upperBound...].utf8)) : Array(text[head.upperBound...].utf8)
        return parse(body: String(decoding: body, as: UTF8.self))
    }

    static func parse(body: String) -> (events: [Event], lastID: String, comments: Int, retry: String?) {
        var (events, lastID, comments, retry) = ([Event](), "", 0, String?.none)
        var (name, data) = ("message", String?.none)
        let lines = body.split(separator: "\n", omittingEmptySubsequences: false).dropLast()  // The last has no end yet.
        for line in lines {
            if line.isEmpty {
                // What is no JSON is told by the comparison that fails.
                if let data { events.append(Event(name: name, data: (try? JSON(parsing: Array(data.utf8))) ?? .null, id: lastID)) }
                (name, data) = ("message", nil)
            } else if line.hasPrefix(":") {
                comments += 1
            } else if line.hasPrefix("id: ") {
                lastID = String(line.dropFirst(4))
            } else if line.hasPrefix("event: ") {
                name = String(line.dropFirst(7))
            } else if line.hasPrefix("retry: ") {
                retry = String(line.dropFirst(7))
            } else if line.hasPrefix("data: ") {
                data = (data.map { $0 + "\n" } ?? "") + line.dropFirst(6)
            } else {
                events.append(Event(name: "malformed", data: .string(String(line)), id: lastID))
            }
        }
        return (events, lastID, comments, retry)
    }

    private static func unchunked(_ bytes: [UInt8]) -> [UInt8] {
        var (rest, body) = (bytes[...], [UInt8]())
        while let line = rest.firstIndex(of: UInt8(ascii: "\n")),
            let size = Int(String(decoding: rest[..<line].dropLast(), as: UTF8.self), radix: 16), size > 0
        {
            let chunk = rest[(line + 1)...]
            body += chunk.prefix(size)
            rest = chunk.dropFirst(size + 2)
        }
        return body
    }
}

extension Rig {
    func tailPath(_ stream: String, _ query: String = "") -> String {
        "/v1/streams/\(stream)/messages" + (query.isEmpty ? "" : "?\(query)")
    }

    /// A live tail that has begun.
    func tail(_ stream: String, _ query: String = "", last: String? = nil) throws -> EventReader {
        let reader = try EventReader(port: port, tailPath(stream, query), last: last)
        try reader.waitForBeginning()
        return reader
    }
}
