// What a rule is, and the words that rules are written with.

/// One house rule. `check` returns what is wrong; an empty list is a clean house.
struct Rule: Sendable {
    let name: String
    let check: @Sendable ([SourceFile]) -> [Finding]

    /// A rule that looks at one file at a time.
    static func perFile(_ name: String, _ check: @escaping @Sendable (SourceFile) -> [Finding]) -> Rule {
        Rule(name: name) { $0.flatMap(check) }
    }

    /// A rule that looks at one line at a time, in files that `applies` to; `check` says what is wrong, or nil.
    static func perLine(
        _ name: String, where applies: @escaping @Sendable (SourceFile) -> Bool = { $0.isSwift },
        _ check: @escaping @Sendable (SourceFile.Line) -> String?
    ) -> Rule {
        perFile(name) { file in
            guard applies(file) else { return [] }
            return file.lines.enumerated().compactMap { number, line in
                check(line).map { Finding(path: file.path, line: number + 1, text: $0) }
            }
        }
    }
}

struct Finding: CustomStringConvertible {
    let path: String
    let line: Int
    let text: String
    var description: String { "\(path):\(line): \(text)" }
}

extension String {
    /// True when `text` occurs where no identifier is running: `Task(` in `= Task(`, not in `CurlTask(`.
    func hasWord(_ text: String) -> Bool {
        var rest = self[...]
        while let found = rest.firstRange(of: text) {
            let before = found.lowerBound == startIndex ? nil : self[index(before: found.lowerBound)]
            if before.map({ !$0.isLetter && !$0.isNumber && $0 != "_" }) ?? true { return true }
            rest = rest[found.upperBound...]
        }
        return false
    }

    var trimmed: Substring {
        var text = self[...]
        while text.first == " " { text = text.dropFirst() }
        return text
    }
}

extension Substring {
    func firstRange(of text: String) -> Range<Index>? {
        firstRange(of: text[...])
    }

    private func firstRange(of text: Substring) -> Range<Index>? {
        ranges(of: text).first
    }
}
