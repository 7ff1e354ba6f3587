// A source file as the rules see it: every line split into what is code and what is comment, with the
// insides of string literals and of `raw identifiers` blanked, so that a rule's own name, or a bad
// sample in a test, breaks no rule.

struct SourceFile {
    /// Relative to the repository's root.
    let path: String
    let lines: [Line]

    struct Line {
        let raw: String
        var code = ""
        var comment = ""
    }

    /// The first two folders: `Sources/Net` for anything below it.
    var target: String { path.split(separator: "/").prefix(2).joined(separator: "/") }
    var name: String { path.split(separator: "/").last.map(String.init) ?? path }
    var isSwift: Bool { path.hasSuffix(".swift") }
    var isSource: Bool { isSwift || path.hasSuffix(".c") || path.hasSuffix(".h") }

    init(path: String, text: String) {
        self.path = path
        let raw = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var reader = LineReader()
        let isSource = path.hasSuffix(".swift") || path.hasSuffix(".c") || path.hasSuffix(".h")
        lines = raw.map { isSource ? reader.read($0) : Line(raw: $0, comment: $0) }
    }
}

/// Knows, from one line to the next, whether it stands in a block comment or a multi-line string.
private struct LineReader {
    private enum State: Equatable {
        case code
        case blockComment
        /// `hashes` of `#"`; three quotes when `isMultiline`.
        case string(hashes: Int, isMultiline: Bool)
        case rawIdentifier
    }

    private var state = State.code

    mutating func read(_ raw: String) -> SourceFile.Line {
        var line = SourceFile.Line(raw: raw)
        var code: [UInt8] = []
        let bytes = Array(raw.utf8)
        var at = 0
        func sees(_ text: StaticString, _ place: Int) -> Bool {
            place + text.utf8CodeUnitCount <= bytes.count
                && (0..<text.utf8CodeUnitCount).allSatisfy { bytes[place + $0] == text.utf8Start[$0] }
        }
        while at < bytes.count {
            switch state {
            case .blockComment:
                if sees("*/", at) {
                    state = .code
                    at += 1
                }
            case .rawIdentifier:
                if sees("`", at) { state = .code }
            case .string(let hashes, let isMultiline):
                if bytes[at] == UInt8(ascii: "\\"), hashes == 0 {
                    at += 1
                } else if sees(isMultiline ? "\"\"\"" : "\"", at) {
                    let quotes = isMultiline ? 3 : 1
                    let tail = bytes[(at + quotes)...].prefix(hashes)
                    if tail.count == hashes, tail.allSatisfy({ $0 == UInt8(ascii: "#") }) {
                        state = .code
                        at += quotes + hashes - 1
                    }
                }
            case .code:
                if sees("//", at) {
                    line.comment = String(decoding: bytes[at...], as: UTF8.self)
                    at = bytes.count
                } else if sees("/*", at) {
                    line.comment = String(decoding: bytes[at...], as: UTF8.self)
                    state = .blockComment
                    at += 1
                } else if sees("`", at) {
                    state = .rawIdentifier
                } else if sees("\"", at) {
                    let hashes = code.reversed().prefix { $0 == UInt8(ascii: "#") }.count
                    let isMultiline = sees("\"\"\"", at)
                    state = .string(hashes: hashes, isMultiline: isMultiline)
                    if isMultiline { at += 2 }
                } else {
                    code.append(bytes[at])
                }
            }
            at += 1
        }
        if case .string(_, isMultiline: false) = state { state = .code }
        if state == .rawIdentifier { state = .code }
        line.code = String(decoding: code, as: UTF8.self)
        return line
    }
}
