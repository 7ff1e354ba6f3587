// The house rules, as a test: the repository's files are read as text and held to each rule.

import Foundation
import Testing

struct TidyTests {
    static let rules = ImportRules.all + StyleRules.all

    @Test(arguments: rules.indices) func `the house keeps its rules`(index: Int) throws {
        let rule = Self.rules[index]
        let findings = rule.check(try Self.files.get())
        #expect(findings.isEmpty, "\(rule.name):\n\(findings.map(\.description).joined(separator: "\n"))")
    }

    @Test func `files near the limit of lines are mentioned`() throws {
        let long = try Self.files.get().filter { $0.isSource && $0.lines.count > StyleRules.lineAim + 1 }
        for file in long.sorted(by: { $0.lines.count > $1.lines.count }) {
            print("\(file.path): \(file.lines.count - 1) lines, aim at \(StyleRules.lineAim)")
        }
        #expect(long.count < 60)
    }

    @Test func `the rules see the whole house`() throws {
        let files = try Self.files.get()
        for target in ImportRules.allowed.keys {
            #expect(files.contains { $0.target == target }, "\(target) has no files")
        }
        #expect(files.contains { $0.path == "Tests/TidyTests/TidyTests.swift" })
        #expect(files.contains { $0.path == "deploy/run" })
    }

    // MARK: Reading

    private static let files = Result { try readFiles() }

    private static func readFiles() throws -> [SourceFile] {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        var paths = ["Package.swift", ".ci/run", "openapi.yaml"]
        for folder in ["Sources", "Tests", "deploy"] {
            let found = FileManager.default.enumerator(atPath: root.appending(path: folder).path)
            while let path = found?.nextObject() as? String { paths.append(folder + "/" + path) }
        }
        return try paths.sorted().filter(isText).compactMap { path in
            let url = root.appending(path: path)
            guard try url.resourceValues(forKeys: [.isRegularFileKey]).isRegularFile == true else { return nil }
            return SourceFile(path: path, text: String(decoding: try Data(contentsOf: url), as: UTF8.self))
        }
    }

    /// What people write. Test vectors and pages that others wrote are as they are.
    private static func isText(_ path: String) -> Bool {
        let name = path.split(separator: "/").last ?? ""
        guard let dot = name.lastIndex(of: ".") else { return path.hasPrefix("deploy/") || path == ".ci/run" }
        return ["swift", "c", "h", "S", "yaml", "md", "sh"].contains(name[name.index(after: dot)...])
    }
}
