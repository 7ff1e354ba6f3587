// The headers of one request that its endpoint does not have, as the lines that libcurl is given.

/// Header fields, in order. Each is checked as it is added; the first that cannot be sent is remembered.
public struct WebhookFields: Sendable, Equatable {
    /// Lines with a NUL behind each.
    ///
    /// Our own fields that follow each other are one line, with CR LF between them: libcurl sends a line as it is given
    /// ("verbatim … without any filter", CURLOPT_HTTPHEADER), and looks through all lines for names that it knows, of
    /// which ours are none. Measured with libcurl alone, five lines as one: 5 % of its instructions a request.
    private(set) var lines: [UInt8] = []
    private(set) var lineCount = 0
    private var endsWithOwn = false
    /// A sentence, or nil when all can be sent.
    private(set) var problem: String?

    public init() {}

    /// What they take on the wire, about.
    public var byteCount: Int { lines.count }

    /// Bytes to come, so that they need one allocation.
    public mutating func reserve(_ bytes: Int) { lines.reserveCapacity(bytes) }

    public mutating func append(_ name: String, _ value: String) {
        var value = value
        value.withUTF8 { append(name, UnsafeRawBufferPointer($0)) }
    }

    public mutating func append(_ name: String, _ value: UnsafeRawBufferPointer) {
        if problem == nil { problem = RequestRules.problem(name: name) ?? RequestRules.problem(value: value, of: name) }
        var name = name
        name.withUTF8 { append(UnsafeRawBufferPointer($0), value) }
    }

    /// A name of our own, known to be good. Named apart from `append(_: String, …)`, which would win for literals.
    public mutating func append(own name: StaticString, _ value: UnsafeRawBufferPointer) {
        precondition(!value.isEmpty, "What libcurl calls a header without a value ends its line.")
        if problem == nil, let found = RequestRules.problem(value: value, of: "\(name)") { problem = found }
        if endsWithOwn {
            lines[lines.count - 1] = UInt8(ascii: "\r")
            lines.append(UInt8(ascii: "\n"))
            lineCount -= 1
        }
        append(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value)
        endsWithOwn = true
    }

    private mutating func append(_ name: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        lines += name
        if value.isEmpty {
            lines.append(UInt8(ascii: ";"))  // libcurl's way to send a header without a value.
        } else {
            lines.append(UInt8(ascii: ":"))
            lines.append(UInt8(ascii: " "))
            lines += value
        }
        lines.append(0)
        lineCount += 1
        endsWithOwn = false
    }

    /// All of `other` behind these.
    public mutating func append(_ other: WebhookFields) {
        guard other.lineCount > 0 else { return }
        lines += other.lines
        lineCount += other.lineCount
        endsWithOwn = other.endsWithOwn
        problem = problem ?? other.problem
    }

    /// Names and values.
    public var all: [(String, String)] {
        lines.split { $0 == 0 || $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }.map { line in
            let end = line.firstIndex { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ";") } ?? line.endIndex
            return (String(decoding: line[..<end], as: UTF8.self), String(decoding: line[end...].dropFirst(2), as: UTF8.self))
        }
    }
}
