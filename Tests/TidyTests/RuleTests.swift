// Each rule fails on a bad sample and passes a good one: a rule that can't fail is no rule.

import Testing

struct RuleTests {
    struct Sample: CustomTestStringConvertible, Sendable {
        let rule: Rule
        var path = "Sources/HTTP/Sample.swift"
        let bad: String
        let good: String
        var testDescription: String { rule.name + ": " + bad }
    }

    static let samples = [
        Sample(rule: ImportRules.storeys, bad: "import Redis\n", good: "public import Net\n"),
        Sample(rule: ImportRules.storeys, bad: "@testable import Webhook\n", good: "// import Webhook\n"),
        Sample(rule: ImportRules.storeys, path: "Sources/Net/A.swift", bad: "import HTTP\n", good: "import CLinux\n"),
        Sample(rule: ImportRules.storeys, path: "Sources/sluice/A.swift", bad: "import Redis\n", good: "import Gateway\n"),
        Sample(
            rule: ImportRules.storeys, path: "Sources/Gateway/A.swift", bad: "import CCurl\n",
            good: "import struct Redis.RedisError\n"),
        Sample(rule: ImportRules.foundation, bad: "import Foundation\n", good: "import Glibc\n"),
        Sample(rule: ImportRules.foundation, bad: "internal import FoundationEssentials\n", good: "let a = 1\n"),
        Sample(rule: StyleRules.rootTasks, bad: "Task { }\n", good: "Task.isCancelled\n"),
        Sample(rule: StyleRules.rootTasks, bad: "let t = Task(priority: nil) {}\n", good: "CurlTask(1)\n"),
        Sample(rule: StyleRules.rootTasks, bad: "Task.detached {}\n", good: "loop.spawn { await work() }\n"),
        Sample(rule: StyleRules.noForcedTry, bad: "try! work()\n", good: "// try! is banned\n"),
        Sample(rule: StyleRules.explainedTry, bad: "try? work()\n", good: "try? work()  // May be gone.\n"),
        Sample(rule: StyleRules.explainedTry, bad: "a()\n\ntry? b()\n", good: "// May be gone.\ntry? b()\n"),
        Sample(rule: StyleRules.noPostponement, bad: "// TODO: later\n", good: "let a = \"TODO\"\n"),
        Sample(rule: StyleRules.noPostponement, path: "deploy/run", bad: "# FIXME\n", good: "# done\n"),
        Sample(rule: StyleRules.noSleeping, bad: "usleep(10)\n", good: "await loop.sleep(for: .seconds(1))\n"),
        Sample(rule: StyleRules.noSleeping, bad: "try await Task.sleep(for: x)\n", good: "\"Task.sleep\"\n"),
        Sample(rule: StyleRules.noSleeping, bad: "Thread.sleep(forTimeInterval: 1)\n", good: "clock.advance(by: x)\n"),
        Sample(rule: StyleRules.heldReplies, bad: "f(replies[1].bytes)\n", good: "f(try texts[1].bytes())\n"),
        Sample(
            rule: StyleRules.heldReplies, bad: "f(try await send(.get(key())).bytes)\n",
            good: "try await ask(.get(call.stream().bytes), reply.bytes)\n"),
        Sample(
            rule: StyleRules.heldReplies, bad: "(try await send(x)).bytes\n", good: "try await send(x).withBytes { f($0) }\n"),
        Sample(rule: StyleRules.opening, bad: "import Net\n", good: "// What this is.\nimport Net\n"),
        Sample(
            rule: StyleRules.length, bad: String(repeating: "a\n", count: 400), good: String(repeating: "a\n", count: 399)),
        Sample(rule: StyleRules.typeNames, bad: "final class PoolManager {}\n", good: "final class Pool {}\n"),
        Sample(rule: StyleRules.typeNames, bad: "struct URLUtils: X {}\n", good: "let manager = Manager.self\n"),
        Sample(rule: StyleRules.whitespace, bad: "\tlet a = 1\n", good: "    let a = 1\n"),
        Sample(rule: StyleRules.whitespace, bad: "let a = 1 \n", good: "let a = 1\n"),
        Sample(rule: StyleRules.whitespace, bad: "let a = 1", good: "a\n\nb\n"),
        Sample(rule: StyleRules.whitespace, bad: "let a = 1\r\n", good: "let a = 1\n"),
        Sample(
            rule: StyleRules.waitingTests, path: "Tests/EndToEndTests/A.swift", bad: "@Suite(.serialized) struct ATests {\n",
            good: "@Suite(.gateway(\"--port\"),\n    .serialized)\nstruct ATests {\n"),
        Sample(
            rule: StyleRules.waitingTests, path: "Tests/EndToEndTests/A.swift", bad: "\nstruct ATests {\n",
            good: "\n@Suite(.blocking) struct ATests {\n"),
        Sample(rule: StyleRules.machinePaths, bad: "let a = \"/wor" + "k/x\"\n", good: "cd /var/lib/x\n"),
        Sample(rule: StyleRules.machinePaths, bad: "// see /home" + "/ada/x\n", good: "GET example.org/home" + "/x\n"),
    ]

    @Test(arguments: samples) func `a rule tells the bad from the good`(sample: Sample) {
        #expect(!sample.rule.check([SourceFile(path: sample.path, text: sample.bad)]).isEmpty)
        #expect(sample.rule.check([SourceFile(path: sample.path, text: sample.good)]).isEmpty)
    }

    @Test func `a C module with two importers is found`() {
        let net = SourceFile(path: "Sources/Net/A.swift", text: "import CLinux\n")
        let more = SourceFile(path: "Sources/Net/B.swift", text: "public import CLinux\n")
        let redis = SourceFile(path: "Sources/Redis/A.swift", text: "import CLinux\n")
        let test = SourceFile(path: "Tests/NetTests/A.swift", text: "import CLinux\n")
        let other = SourceFile(path: "Tests/RedisTests/A.swift", text: "import CLinux\n")
        #expect(ImportRules.oneOwnerOfC.check([net, more]).isEmpty)
        #expect(ImportRules.oneOwnerOfC.check([net, more, redis]).map(\.path) == [redis.path])
        #expect(ImportRules.oneOwnerOfC.check([net, test]).isEmpty)
        #expect(ImportRules.oneOwnerOfC.check([test, net, other]).map(\.path) == [other.path])
    }

    @Test func `every rule has a bad sample`() {
        let shown = Set(Self.samples.map(\.rule.name) + [ImportRules.oneOwnerOfC.name])
        #expect(Set(TidyTests.rules.map(\.name)) == shown)
    }

    @Test func `the insides of strings and comments are no code`() {
        let text = """
            let a = "try! \\" // no" + #"a " try! "# // try! here
            /* try!
               try! */ let b = \"""
               try!
               \"""
            func `try! it`() {}
            """
        let code = SourceFile(path: "A.swift", text: text).lines.map(\.code)
        #expect(!code.joined().contains("try!"))
        #expect(code[0].hasPrefix("let a =  + #"))
        #expect(code[2].contains("let b ="))
    }
}
