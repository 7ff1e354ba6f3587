// Redis' own globs, as MATCH takes them (`stringmatchlen`): `*` any run of bytes, `?` one byte, `[ab]`, `[a-c]` and
// `[^a]` one byte of a set, `\` before a literal one. For tokens' streams and for sinks' streams.

struct Glob: Hashable, Sendable {
    private enum Part: Hashable {
        case literal(UInt8)
        case one
        case run
        case set(Set<UInt8>, isNegated: Bool)

        func takes(_ byte: UInt8) -> Bool {
            switch self {
            case .literal(let own): own == byte
            case .one, .run: true
            case .set(let bytes, let isNegated): bytes.contains(byte) != isNegated
            }
        }
    }

    /// As it was written.
    let text: String
    private let parts: [Part]

    /// A set that is not closed ends with the text, as Redis has it.
    init(_ text: String) {
        self.text = text
        var parts: [Part] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            switch byte {
            case UInt8(ascii: "*"): if parts.last != .run { parts.append(.run) }
            case UInt8(ascii: "?"): parts.append(.one)
            case UInt8(ascii: "["):
                let set = Glob.takeSet(&rest)
                parts.append(.set(set.bytes, isNegated: set.isNegated))
            case UInt8(ascii: "\\"): parts.append(.literal(rest.popFirst() ?? byte))
            default: parts.append(.literal(byte))
            }
        }
        self.parts = parts
    }

    /// Matches `name` alone.
    init(literal name: String) { self.init(Glob.escaped(name)) }

    /// `text` as a part of a glob that stands for itself.
    static func escaped(_ text: some StringProtocol) -> String {
        var escaped = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            if "*?[\\".unicodeScalars.contains(scalar) { escaped.append("\\") }
            escaped.append(scalar)
        }
        return String(escaped)
    }

    /// Whether it says more than a name does.
    static func isGlob(_ text: String) -> Bool { text.utf8.contains { "*?[".utf8.contains($0) } }

    /// What Redis would take for something else than was meant; nil: nothing.
    static func problem(_ text: String) -> String? {
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\\"), rest.popFirst() == nil { return "\\ at its end makes nothing literal" }
            guard byte == UInt8(ascii: "[") else { continue }
            let set = takeSet(&rest)
            if !set.isClosed { return "the set that [ begins has no ]" }
            if set.bytes.isEmpty { return "the set [] is empty" }
            if set.hasWideRange { return "a range in a set goes from one ASCII character to another" }  // Else Redis' machine decides.
        }
        return nil
    }

    /// What follows a `[`.
    private static func takeSet(_ rest: inout ArraySlice<UInt8>) -> (bytes: Set<UInt8>, isNegated: Bool, isClosed: Bool, hasWideRange: Bool) {
        let isNegated = rest.first == UInt8(ascii: "^")
        if isNegated { rest.removeFirst() }
        var bytes: Set<UInt8> = []
        var hasWideRange = false
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "]") { return (bytes, isNegated, true, hasWideRange) }
            if byte == UInt8(ascii: "\\"), let escaped = rest.popFirst() {
                bytes.insert(escaped)
            } else if rest.first == UInt8(ascii: "-"), rest.count > 1 {
                let end = rest[rest.startIndex + 1]
                rest.removeFirst(2)
                bytes.formUnion(min(byte, end)...max(byte, end))
                hasWideRange = hasWideRange || max(byte, end) >= 0x80
            } else {
                bytes.insert(byte)
            }
        }
        return (bytes, isNegated, false, hasWideRange)
    }

    // MARK: Matching

    func matches<Name: RandomAccessCollection<UInt8>>(_ name: Name) -> Bool where Name.Index == Int {
        var (part, place) = (0, name.startIndex)
        // The latest run, and the first byte that it has not taken.
        var run: (part: Int, place: Int)?
        while place < name.endIndex {
            if part < parts.count, parts[part] == .run {
                run = (part, place)
                part += 1
            } else if part < parts.count, parts[part].takes(name[place]) {
                part += 1
                place += 1
            } else if let last = run {
                run = (last.part, last.place + 1)
                (part, place) = (last.part + 1, last.place + 1)
            } else {
                return false
            }
        }
        return parts[part...].allSatisfy { $0 == .run }
    }

    /// The bytes with which every name begins that it matches.
    var prefix: [UInt8] {
        var bytes: [UInt8] = []
        for part in parts {
            guard case .literal(let byte) = part else { break }
            bytes.append(byte)
        }
        return bytes
    }

    /// It matches one name, its prefix.
    var isName: Bool { prefix.count == parts.count }

    /// Whether it matches whatever `other` does, as far as that is plain to see: they are the same, or this one is a prefix
    /// and `*`.
    func covers(_ other: Glob) -> Bool {
        parts == other.parts || parts.last == .run && parts.count == prefix.count + 1 && other.prefix.starts(with: prefix)
    }
}
