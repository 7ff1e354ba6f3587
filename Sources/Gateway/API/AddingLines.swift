// NDJSON: one message a line, added as it arrives. A malformed line is that line's error, and no other's.

import Glibc
import HTTP
import Net
import Redis

extension API {
    func addLines(_ call: Call, _ options: AddOptions) async throws(Problem) -> Response {
        try refuseID(options)
        let scratch = loop.buffers.take()
        defer { loop.buffers.give(scratch) }
        let spare = SpareCommand()
        let messages = MessageReader(options: options, fieldLimit: fieldLimit(options), scratch: scratch, spare: spare)
        let batch = AddingBatch(self, options, endsWithRedis: false)
        do throws(Problem) {
            try await add(call.request.body, to: batch, messages)
        } catch {
            await batch.finish()  // Whole lines that have come are added, whatever is wrong with the rest.
            var problem = error
            if batch.results.added > 0 { problem.members.append(("added", "\(batch.results.added)")) }
            throw problem
        }
        guard batch.count > 0 else { throw Problem(.invalidJSON, "No line was sent; each is {\"fields\":{\"name\":\"value\"}}.") }
        return try await batch.response()
    }

    /// What has come is sent before more is waited for.
    private func add(_ body: RequestBody, to batch: AddingBatch, _ messages: MessageReader) async throws(Problem) {
        var lines = LineSplitter(limit: limits.bodyBytes)
        while true {
            let chunk: UnsafeRawBufferPointer?
            do { chunk = try await body.next() } catch { throw Problem(error) }
            guard let chunk else { break }
            var rest = chunk
            while try lines.next(&rest) {
                if batch.isFull { await batch.flush() }
                try add(lines.line, to: batch, messages)
            }
            await batch.flush()
        }
        if lines.last() { try add(lines.line, to: batch, messages) }
    }

    private func add(_ line: UnsafeRawBufferPointer, to batch: AddingBatch, _ messages: MessageReader) throws(Problem) {
        guard batch.count < limits.ndjsonLines else {
            throw Problem(.tooLarge, "A call has at most \(limits.ndjsonLines) lines (max_ndjson_lines); those before were taken.")
        }
        guard batch.results.body.count < limits.resultBytes else {
            throw Problem(.tooLarge, "The results have grown past \(limits.resultBytes) bytes, as malformed lines make them; the \(batch.count) lines before were taken.")
        }
        do throws(Problem) {
            let command = try parse(line, messages, at: .element(batch.count))
            batch.append(command)
            messages.spare?.give(command)
        } catch {
            batch.append(error)
        }
    }

    private func parse(_ line: UnsafeRawBufferPointer, _ messages: MessageReader, at place: MessagePlace) throws(Problem) -> RedisCommand {
        var reader = JSONReader(line, depthLimit: limits.jsonDepth)
        let members = try messages.members(&reader, mayBeBatch: false, at: place)
        do { try reader.end() } catch { throw Problem(error) }
        return try messages.command(members, at: place)
    }
}

/// Cuts a body that comes in pieces into its lines; blank ones are passed over.
private struct LineSplitter {
    /// The beginning of a line whose end has not come; or a line that came in pieces, until the next is asked for.
    private let rest = ByteBuffer(capacity: 256)
    private let limit: Int
    private var isWhole = false
    /// What `next` or `last` has found, without its end. Good until the next of these calls.
    private(set) var line = UnsafeRawBufferPointer.empty

    init(limit: Int) { self.limit = limit }

    /// Takes the next line off `chunk`; false when it holds no whole one any more, and what is left is kept.
    mutating func next(_ chunk: inout UnsafeRawBufferPointer) throws(Problem) -> Bool {
        repeat {
            if isWhole { rest.clear() }
            isWhole = false
            guard let base = chunk.baseAddress, let found = memchr(base, 0x0A, chunk.count) else {
                rest.append(chunk)
                chunk = .empty
                guard rest.count <= limit else { throw Problem(.tooLarge, "A line has at most \(limit) bytes (max_body_bytes).") }
                return false
            }
            let end = UnsafeRawPointer(found) - base
            line = UnsafeRawBufferPointer(rebasing: chunk[..<end])
            chunk = UnsafeRawBufferPointer(rebasing: chunk[(end + 1)...])
            if !rest.isEmpty {
                rest.append(line)
                line = rest.bytes
                isWhole = true
            }
            guard line.count <= limit else { throw Problem(.tooLarge, "A line has at most \(limit) bytes (max_body_bytes).") }
            trim()
        } while line.isEmpty
        return true
    }

    /// The last line needs no line feed. False when there is none.
    mutating func last() -> Bool {
        line = rest.bytes
        trim()
        return !isWhole && !line.isEmpty
    }

    private mutating func trim() {
        line = line.trimmed
        if line.last == UInt8(ascii: "\r") { line = UnsafeRawBufferPointer(rebasing: line.dropLast()).trimmed }
    }
}
