// How a file is written.

enum StyleRules {
    static let all = [
        rootTasks, noForcedTry, explainedTry, noPostponement, noSleeping, heldReplies, opening, length, typeNames,
        whitespace, machinePaths, waitingTests,
    ]

    static let lineLimit = 400
    /// A file longer than this is worth a look; the test only mentions it.
    static let lineAim = 300

    static let rootTasks = Rule.perLine(
        "only the loop starts root tasks",
        where: { $0.isSwift && $0.path != "Sources/Net/EventLoop+Executor.swift" }
    ) { line in
        let starts = ["Task(", "Task {", "Task{", "Task.detached", "Task.immediate", "Task<"]
        return starts.first(where: line.code.hasWord).map { "\($0): use EventLoop.spawn" }
    }

    static let noForcedTry = Rule.perLine("no try!") { line in
        line.code.hasWord("try!") ? "try!" : nil
    }

    static let explainedTry = Rule.perFile("a try? says why the error does not matter") { file in
        guard file.isSwift else { return [] }
        return file.lines.indices.compactMap { index in
            let line = file.lines[index]
            guard line.code.hasWord("try?"), line.comment.isEmpty else { return nil }
            let above = index > 0 ? file.lines[index - 1].comment : ""
            return above.isEmpty ? Finding(path: file.path, line: index + 1, text: "try? without a comment") : nil
        }
    }

    static let noPostponement = Rule.perLine("nothing is put off in a comment", where: { _ in true }) { line in
        ["TODO", "FIXME"].first(where: line.comment.hasWord)
    }

    static let noSleeping = Rule.perLine("nobody sleeps, tests neither") { line in
        if line.code.contains("Task.sleep") || line.code.contains("Thread.sleep") { return "sleeps" }
        if line.code.hasWord("usleep(") || line.code.hasWord("nanosleep(") { return "sleeps" }
        return line.code.contains("Glibc.sleep(") || line.code.trimmed.hasPrefix("sleep(") ? "sleeps" : nil
    }

    /// A reply's bytes are good for as long as somebody holds it. A released binary lets go of an array's element, or of
    /// what a call gave, as soon as its last use is over: `withBytes` holds it.
    static let heldReplies = Rule.perLine("the bytes of a reply are read while it is held") { line in
        if line.code.contains("].bytes"), !line.code.contains("].bytes(") { return "bytes of an element" }
        guard let awaited = line.code.firstRange(of: "await ") else { return nil }
        var depth = 0
        for index in line.code[awaited.upperBound...].indices {
            switch line.code[index] {
            case "(": depth += 1
            case ")":
                depth -= 1
                let rest = line.code[index...]
                if depth <= 0, rest.hasPrefix(").bytes"), !rest.hasPrefix(").bytes(") { return "bytes of what a call gave" }
            default: break
            }
        }
        return nil
    }

    static let opening = Rule.perFile("a file opens with a // paragraph") { file in
        // A C file's header speaks for it.
        guard file.isSource, file.path != "Package.swift", !file.path.hasSuffix(".c") else { return [] }
        return file.lines.first?.raw.hasPrefix("// ") == true ? [] : [Finding(path: file.path, line: 1, text: "says not what it is")]
    }

    static let length = Rule.perFile("a file has fewer than \(lineLimit) lines") { file in
        guard file.isSource, file.lines.count > lineLimit else { return [] }
        return [Finding(path: file.path, line: file.lines.count, text: "\(file.lines.count - 1) lines")]
    }

    static let typeNames = Rule.perLine("no type is named for having no better name") { line in
        let words = line.code.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)
        let kinds: Set<String> = ["struct", "class", "enum", "actor", "protocol", "typealias"]
        for (kind, name) in zip(words, words.dropFirst()) where kinds.contains(kind) {
            let banned = ["Manager", "Helper", "Helpers", "Util", "Utils", "Utility", "Service", "Impl"]
            if let suffix = banned.first(where: name.hasSuffix) { return "\(name): what does a \(suffix) do?" }
        }
        return nil
    }

    static let whitespace = Rule.perFile("no tab, no trailing space, one newline at the end") { file in
        var findings: [Finding] = []
        for (number, line) in file.lines.enumerated() {
            if line.raw.contains("\t") { findings.append(Finding(path: file.path, line: number + 1, text: "tab")) }
            if line.raw.last == " " || line.raw.last == "\r" || line.raw.hasSuffix("\r") {
                findings.append(Finding(path: file.path, line: number + 1, text: "trailing space"))
            }
        }
        let ending = file.lines.suffix(2).map(\.raw)
        if ending.last != "" || ending.first == "" {
            findings.append(Finding(path: file.path, line: file.lines.count, text: "end of file"))
        }
        return findings
    }

    static let machinePaths = Rule.perLine("no path of somebody's machine", where: { _ in true }) { line in
        // In two parts, so that this file keeps its own rule.
        let paths = ["wor" + "k/", "roo" + "t/", "home" + "/", "Use" + "rs/"].map { "/" + $0 }
        return paths.first { path in
            line.raw.ranges(of: path).contains { found in
                // `./x/root/` and `example.org/home/` are no such paths.
                let before = found.lowerBound == line.raw.startIndex ? " " : line.raw[line.raw.index(before: found.lowerBound)]
                return !before.isLetter && !before.isNumber && !"._-*}".contains(before)
            }
        }
    }

    /// The pool that tests run on has a thread a core: two that block it would leave both cores idle.
    static let waitingTests = Rule.perFile("a suite that waits for other processes does so on threads of its own") { file in
        guard file.path.hasPrefix("Tests/EndToEndTests/") else { return [] }
        return file.lines.indices.compactMap { index in
            let code = file.lines[index].code
            let isBare = code.hasPrefix("struct ") && code.contains("Tests {") && file.lines[max(index - 1, 0)].code.trimmed.isEmpty
            guard isBare || code.contains("@Suite"), !code.contains(".gateway("), !code.contains(".blocking") else { return nil }
            return Finding(path: file.path, line: index + 1, text: "neither .gateway() nor .blocking")
        }
    }
}
