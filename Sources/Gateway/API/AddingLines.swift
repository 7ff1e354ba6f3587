// NDJSON: one message a line, added as it arrives. A malformed line is that line's error, and no other's.

import HTTP
import Net
import Redis

extension API {
    func addLines(_ call: Call, _ options: AddOptions) async throws(Problem) -> Response {
        if options.id != nil { throw .parameter("id", "can't be one for all lines; give each its own.") }
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        let messages = MessageReader(options: options, fieldLimit: limits.fields, scratch: scratch)
        var results = BatchResults(body: newBody())
        var lines = LineSplitter(limit: limits.bodyBytes)
        var isAtEnd = false
        while !isAtEnd {
            let chunk: UnsafeRawBufferPointer?
            do { chunk = try await call.request.body.next() } catch { throw Problem(error) }
            var items: [Result<RedisCommand, Problem>] = []
            if let chunk {
                try lines.feed(chunk) { line in items.append(command(line, messages, number: results.count + items.count)) }
            } else {
                isAtEnd = true
                lines.finish { line in items.append(command(line, messages, number: results.count + items.count)) }
            }
            guard results.count + items.count <= limits.ndjsonLines else {
                throw Problem(.tooLarge, "At most \(limits.ndjsonLines) lines a call; \(results.added) were added.")
            }
            for start in stride(from: 0, to: items.count, by: API.batchSlice) {
                await addSlice(Array(items[start..<min(start + API.batchSlice, items.count)]), options, &results)
            }
        }
        guard results.count > 0 else { throw Problem(.invalidJSON, "No line was sent; each is {\"fields\":{\"name\":\"value\"}}.") }
        return try results.response(self)
    }

    private func command(
        _ line: UnsafeRawBufferPointer, _ messages: MessageReader, number: Int
    ) -> Result<RedisCommand, Problem> {
        do throws(Problem) {
            return .success(try parse(line, messages, at: "/\(number)"))
        } catch {
            return .failure(error)
        }
    }

    private func parse(_ line: UnsafeRawBufferPointer, _ messages: MessageReader, at pointer: String) throws(Problem) -> RedisCommand {
        var reader = JSONReader(line, depthLimit: limits.jsonDepth)
        let members = try messages.members(&reader, mayBeBatch: false, at: pointer)
        do { try reader.end() } catch { throw Problem(error) }
        return try messages.command(members, at: pointer)
    }
}

/// Cuts a body that comes in pieces into its lines; blank ones are passed over.
private struct LineSplitter {
    /// The beginning of a line whose end has not come.
    private var rest: [UInt8] = []
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    mutating func feed(_ chunk: UnsafeRawBufferPointer, _ line: (UnsafeRawBufferPointer) -> Void) throws(Problem) {
        var start = 0
        while let end = chunk[start...].firstIndex(of: UInt8(ascii: "\n")) {
            let piece = UnsafeRawBufferPointer(rebasing: chunk[start..<end])
            if rest.isEmpty {
                LineSplitter.give(piece, line)
            } else {
                rest.append(contentsOf: piece)
                finish(line)
            }
            start = end + 1
        }
        rest.append(contentsOf: chunk[start...])
        guard rest.count <= limit else {
            throw Problem(.tooLarge, "A line has at most \(limit) bytes (max_body_bytes).")
        }
    }

    /// The last line needs no line feed.
    mutating func finish(_ line: (UnsafeRawBufferPointer) -> Void) {
        rest.withUnsafeBytes { LineSplitter.give($0, line) }
        rest.removeAll(keepingCapacity: true)
    }

    private static func give(_ piece: UnsafeRawBufferPointer, _ line: (UnsafeRawBufferPointer) -> Void) {
        var piece = piece.trimmed
        if piece.last == UInt8(ascii: "\r") { piece = UnsafeRawBufferPointer(rebasing: piece.dropLast()) }
        if !piece.isEmpty { line(piece) }
    }
}
