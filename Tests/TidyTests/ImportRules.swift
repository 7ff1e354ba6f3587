// Who may import whom: sluice → Gateway → {HTTP, Redis, Webhook} → Net → CLinux, and Crypto beside them.
// The three siblings never import one another, and each C module has one Swift target that knows it (and one of the tests).

enum ImportRules {
    /// What each target may import, beside the system's modules.
    static let allowed: [String: Set<String>] = [
        "Sources/Crypto": ["COpenSSL"],
        "Sources/Net": ["CLinux"],
        "Sources/HTTP": ["Net"],
        "Sources/Redis": ["Net", "Crypto", "CHiredis"],
        "Sources/Webhook": ["Net", "Crypto", "CCurl"],
        "Sources/Gateway": ["Net", "HTTP", "Redis", "Webhook", "Crypto", "CAssets", "Yams", "Logging"],
        "Sources/sluice": ["Gateway", "Net", "ArgumentParser"],
        "Sources/sluicebench": ["Net", "Webhook", "ArgumentParser"],
    ]

    static let system: Set<String> = ["Glibc", "Synchronization"]

    /// Foundation costs 10 MB and 8 ms at start, and is not for a request's path. A file that can't do
    /// without it is listed here, with its reason.
    static let foundationAllowed: Set<String> = []

    static let all = [storeys, oneOwnerOfC, foundation]

    static let storeys = Rule.perFile("a module imports only what stands below it") { file in
        guard let allowed = allowed[file.target] else { return [] }
        return imports(of: file).compactMap { line, module in
            if allowed.contains(module) || system.contains(module) || module.hasPrefix("Foundation") { return nil }
            return Finding(path: file.path, line: line, text: "imports \(module)")
        }
    }

    static let oneOwnerOfC = Rule(name: "a C module is imported by one Swift target, and by one of the tests") { files in
        var owners: [String: String] = [:]
        var findings: [Finding] = []
        for file in files {
            for (line, module) in imports(of: file) where isC(module) {
                let key = "\(file.path.prefix { $0 != "/" }) \(module)"
                let owner = owners[key, default: file.target]
                owners[key] = owner
                if owner != file.target {
                    findings.append(Finding(path: file.path, line: line, text: "imports \(module), as \(owner) does"))
                }
            }
        }
        return findings
    }

    static let foundation = Rule.perFile("no Foundation outside the allow-list") { file in
        guard file.path.hasPrefix("Sources/"), !foundationAllowed.contains(file.path) else { return [] }
        return imports(of: file).compactMap { line, module in
            module.hasPrefix("Foundation") || module == "Dispatch"
                ? Finding(path: file.path, line: line, text: "imports \(module)") : nil
        }
    }

    /// CLinux, CHiredis, …: a C and a second capital.
    private static func isC(_ module: String) -> Bool {
        module.first == "C" && module.dropFirst().first?.isUppercase == true
    }

    /// Line number and module of each import, whatever stands around the word.
    private static func imports(of file: SourceFile) -> [(Int, String)] {
        guard file.isSwift else { return [] }
        return file.lines.enumerated().compactMap { number, line in
            let words = line.code.split(separator: " ")
            guard let at = words.firstIndex(of: "import"), at + 1 < words.count else { return nil }
            guard words[..<at].allSatisfy({ prefixes.contains(String($0)) || $0.hasPrefix("@") }) else { return nil }
            let kinds: Set<Substring> = ["struct", "class", "enum", "func", "protocol", "typealias", "let", "var"]
            let named = kinds.contains(words[at + 1]) && at + 2 < words.count ? words[at + 2] : words[at + 1]
            return named.split(separator: ".").first.map { (number + 1, String($0)) }
        }
    }

    private static let prefixes: Set<String> = ["public", "package", "internal", "fileprivate", "private"]
}
