// The strict reader, section by section of RFC 8259. The cases are our own.

import Testing

@testable import Gateway

/// Reads `text` as one whole document; nil when it is JSON, else what was wrong.
func problem(_ text: String, depthLimit: Int = 64) -> JSONError? { problem(Array(text.utf8), depthLimit: depthLimit) }

func problem(_ bytes: [UInt8], depthLimit: Int = 64) -> JSONError? {
    bytes.withUnsafeBytes { bytes in
        var reader = JSONReader(bytes, depthLimit: depthLimit)
        do throws(JSONError) {
            try reader.skip()
            try reader.end()
            return nil
        } catch {
            return error
        }
    }
}

/// Reads with `body`, from bytes that live as long as it does.
func reading<Answer>(_ text: String, _ body: (inout JSONReader) throws -> Answer) throws -> Answer {
    try Array(text.utf8).withUnsafeBytes { bytes in
        var reader = JSONReader(bytes)
        return try body(&reader)
    }
}

struct JSONReaderTests {
    @Test(arguments: [
        "{}", "[]", "\"\"", "0", "true", "false", "null",                     // §2, §3: any value is a text.
        " \t\r\n{ \"a\" :\t1 ,\n\"b\":[ ] }\r\n ", "[1 , 2\n]",               // §2: whitespace around tokens.
        "{\"\":0}", "{\"a\":1,\"a\":2}", "{\"a\":{\"b\":{}}}",                // §4: empty and repeated names.
        "[[],[[]],{}]", "[null,true,\"x\",-1]",                               // §5.
    ])
    func `takes what the grammar allows`(text: String) {
        #expect(problem(text) == nil)
    }

    @Test(arguments: [
        "", " ", "\n",                                                        // §2: there must be a value.
        "True", "nul", "NULL", "nulls", "tru", "truefalse",                   // §3: three names, lower case.
        "NaN", "Infinity", "-Infinity", "undefined",                          // §3, §6.
        "{", "}", "{\"a\"}", "{\"a\":}", "{\"a\" 1}", "{a:1}", "{'a':1}", "{1:2}", "{\"a\":1,}", "{,}",
        "{\"a\":1 \"b\":2}", "{\"a\"::1}", "{\"a\":1;\"b\":2}", "{\"a\":1]",  // §4.
        "[", "]", "[1,]", "[,1]", "[,]", "[1 2]", "[1,,2]", "[1}", "[1;2]",   // §5.
        "1 2", "{}{}", "[]]", "{}x", "\"a\"\"b\"",                            // §2: one value.
        "// c\n1", "/* c */1", "[1/*c*/]", "#1",                              // No comments.
        "\u{0B}1", "\u{0C}1", "\u{A0}1", "1\u{2028}", "\u{FEFF}1", "\u{0}1",  // §2: four bytes are whitespace. §8.1: no BOM.
        "'a'", "`a`", "\"a", "a\"",                                           // §7.
    ])
    func `refuses what it does not`(text: String) {
        #expect(problem(text) != nil)
    }

    @Test(arguments: [
        "0", "-0", "1", "10", "-1", "0.0", "1.5", "-1.50", "1e1", "1E1", "1e+1", "1e-1", "0e0", "0E-0", "1.0e05",
        "123456789012345678901234567890", "0.000000000000000000000000000000001", "1e999",
    ])
    func `takes a number of §6 as written`(text: String) throws {
        let literal = try reading(text) { reader in
            let literal = String(decoding: try reader.number(), as: UTF8.self)
            try reader.end()
            return literal
        }
        #expect(literal == text)
    }

    @Test(arguments: [
        "-", "+1", "01", "-01", "00", ".5", "-.5", "1.", "1.e1", "1e", "1e+", "1e-", "1E", "1e1.5", "1..2", "1ee1", "0x1",
        "1_000", "1,000", "--1", "1-", "1+1", "0b1", "1f", "１",
    ])
    func `refuses any other number`(text: String) {
        #expect(problem(text) != nil)
        #expect(problem("[\(text)]") != nil || text == "1,000")  // In an array that is two numbers, the second bad.
    }

    @Test func `an integer is a number without fraction and exponent that fits 64 bits`() throws {
        for (text, value) in [
            ("0", 0), ("-0", 0), ("42", 42), ("-7", -7), ("9223372036854775807", Int.max),
            ("-9223372036854775808", Int.min),
        ] {
            #expect(try reading(text) { try $0.integer() } == value)
        }
        for (text, kind) in [
            ("9223372036854775808", JSONError.Kind.outOfRange), ("-9223372036854775809", .outOfRange),
            ("99999999999999999999999", .outOfRange), ("1.0", .mismatch), ("1e3", .mismatch), ("\"1\"", .mismatch),
        ] {
            let error = #expect(throws: JSONError.self) { try reading(text) { try $0.integer() } }
            #expect(error?.kind == kind, "\(text)")
        }
    }

    @Test func `the bound on depth is met exactly`() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            func nested(_ depth: Int) -> String {
                String(repeating: open, count: depth) + "0" + String(repeating: close, count: depth)
            }
            #expect(problem(nested(64)) == nil)
            #expect(problem(nested(65))?.kind == .tooDeep)
            #expect(problem(nested(3), depthLimit: 3) == nil)
            #expect(problem(nested(4), depthLimit: 3)?.kind == .tooDeep)
            #expect(problem(String(repeating: open, count: 1_000_000))?.kind == .tooDeep)
        }
        #expect(problem("[" + String(repeating: "[[]],", count: 1000) + "[]]", depthLimit: 3) == nil, "depth is not width")
    }

    @Test func `members and elements are handed out one by one`() throws {
        try reading(#" { "fields" : {"a":"1","b":[true,null]}, "n": 12 , "ok":false } "#) { reader in
            #expect(try reader.peek() == .object)
            try reader.enterObject()
            let fields = try #require(try reader.nextMember())
            #expect(fields == "fields")
            #expect(!(fields == "field") && !(fields == "fieldss") && !(fields == ""))
            try reader.enterObject()
            #expect(try reader.nextMember()?.text() == "a")
            #expect(try reader.string().text() == "1")
            #expect(try reader.nextMember()?.text() == "b")
            try reader.enterArray()
            #expect(try reader.nextElement())
            #expect(try reader.boolean() == true)
            #expect(try reader.nextElement())
            #expect(try reader.peek() == .null)
            try reader.null()
            #expect(try !reader.nextElement())
            #expect(try reader.nextMember() == nil)
            #expect(try reader.nextMember()?.text() == "n")
            #expect(try reader.integer() == 12)
            #expect(try reader.nextMember()?.text() == "ok")
            #expect(try reader.boolean() == false)
            #expect(try reader.nextMember() == nil)
            try reader.end()
        }
    }

    @Test func `a value of another kind is a mismatch at its own place`() throws {
        let error = #expect(throws: JSONError.self) {
            try reading(#"{"ids": 5}"#) { reader in
                try reader.enterObject()
                _ = try reader.nextMember()
                try reader.enterArray()
            }
        }
        #expect(error == JSONError(kind: .mismatch, offset: 8, reason: "expected an array, found a number"))
        #expect(throws: JSONError.self) { try reading("1") { try $0.string() } }
        #expect(throws: JSONError.self) { try reading("\"true\"") { try $0.boolean() } }
    }

    @Test(arguments: [
        ("[1,]", 3, "no ',' may come after the last"), ("{\"a\":1,}", 7, "no ',' may come after the last"),
        ("{\"a\" 1}", 5, "':'"), ("[1 2]", 3, "',' or ']'"), ("['a']", 1, "double quotes"), ("\u{FEFF}1", 0, "byte order mark"),
        ("[01]", 2, "zero"), ("{\"a\":1} x", 8, "end of the text"), ("\"\n\"", 1, "control"), ("[1", 2, "ends"),
    ])
    func `errors name the place and what would be right`(text: String, offset: Int, words: String) throws {
        let error = try #require(problem(text))
        #expect(error.offset == offset)
        #expect(error.reason.contains(words), "\(error.reason)")
    }
}
