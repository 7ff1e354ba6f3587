// Globs: what they match is what Redis says that they match, for any pattern and any name.

import Support
import Testing

@testable import Gateway

@Suite(.blocking) struct GlobTests {
    @Test func `any glob matches what Redis matches with it`() throws {
        var random = SeededRandom(#function)
        let redis = try RedisServerProcess()
        let letters = Array(#"aabbcd*?[]^-\é"#)
        func text(_ lengths: ClosedRange<Int>) -> String { String((0..<Int.random(in: lengths, using: &random)).map { _ in letters.randomElement(using: &random)! }) }
        let names = Set((0..<400).map { _ in text(1...5) })
        try redis.run(["MSET"] + names.flatMap { [$0, "x"] })
        for _ in 0..<400 {
            let pattern = text(1...7)
            if pattern.contains("[") && pattern.contains("é") { continue }  // What Redis makes of it depends on its machine.
            let found = Set(try redis.ask(["KEYS", pattern]).elements.compactMap(\.text))
            let glob = Glob(pattern)
            #expect(Set(names.filter { glob.matches(Array($0.utf8)) }) == found, "\(pattern)\(random.note)")
            #expect(found.allSatisfy { Array($0.utf8).starts(with: glob.prefix) }, "\(pattern)\(random.note)")
            #expect(!glob.isName || found.count <= 1, "\(pattern)\(random.note)")
            // What covers a glob matches whatever that matches.
            let other = Glob(text(0...2) + "*")
            if other.covers(glob) { #expect(found.allSatisfy { other.matches(Array($0.utf8)) }, "\(other.text) \(pattern)\(random.note)") }
        }
        for name in names { #expect(Glob(literal: name).isName && Glob(literal: name).prefix == Array(name.utf8), "\(name)") }
    }

    @Test func `a prefix and * covers globs that begin so, and nothing else is taken to`() {
        func covers(_ text: String, _ other: String) -> Bool { Glob(text).covers(Glob(other)) }
        #expect(covers("*", "*") && covers("*", "a[bc]?") && covers("orders:*", "orders:*:dlq") && covers("a?c", "a?c"))
        #expect(!covers("orders:*", "*") && !covers("orders:*", "order*") && !covers("orders:*", "orders") && !covers("a?*", "ab*"))
        #expect(!covers("orders:1", "orders:*") && covers(#"a\**"#, #"a\*b?"#) && !covers(#"a\**"#, "a*b"))
    }

    @Test(arguments: ["a[b", "[]", "[^]x", #"a*\"#, "[a-]", "[a-é]"])
    func `what Redis would take for something else than was meant is told`(text: String) { #expect(Glob.problem(text) != nil) }

    @Test(arguments: ["*", "a?[bc][^d][a-f]*", #"a\[*"#, "a]*"])
    func `others are none of that`(text: String) { #expect(Glob.problem(text) == nil) }
}
