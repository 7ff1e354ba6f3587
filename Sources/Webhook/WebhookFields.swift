// The headers of one request that its endpoint does not have, as the lines that libcurl is given.

/// Header fields, in order. Each is checked as it is added; the first that cannot be sent is remembered.
public struct WebhookFields: Sendable, Equatable {
    /// Lines with a NUL behind each.
    private(set) var lines: [UInt8] = []
    private(set) var count = 0
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
        if problem == nil, let found = RequestRules.problem(value: value, of: "\(name)") { problem = found }
        append(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), value)
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
        count += 1
    }

    /// All of `other` behind these.
    public mutating func append(_ other: WebhookFields) {
        guard other.count > 0 else { return }
        lines += other.lines
        count += other.count
        problem = problem ?? other.problem
    }

    /// Names and values.
    public var all: [(String, String)] {
        lines.split(separator: 0).map { line in
            let end = line.firstIndex { $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ";") } ?? line.endIndex
            return (String(decoding: line[..<end], as: UTF8.self), String(decoding: line[end...].dropFirst(2), as: UTF8.self))
        }
    }
}
