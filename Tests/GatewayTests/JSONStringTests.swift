// Strings: RFC 8259 §7 (escapes), §8.1 and §8.2 (UTF-8), and UTF-8 itself by table 3-7 of the Unicode Standard.

import Net
import Support
import Testing

@testable import Gateway

/// What the string `text` (quotes included) stands for, by all three ways of asking, which must agree.
private func decoded(_ text: String) throws -> [UInt8] {
    try reading(text) { reader in
        let string = try reader.string()
        try reader.end()
        let buffer = ByteBuffer()
        string.append(to: buffer)
        let bytes = string.bytes()
        #expect(Array(buffer.bytes) == bytes)
        #expect(string.count == bytes.count)
        #expect(bytes.withUnsafeBytes { string.equals($0) })
        return bytes
    }
}

/// A buffer's text.
private func written(_ body: (ByteBuffer) -> Void) -> String {
    let buffer = ByteBuffer(capacity: 64)
    body(buffer)
    return String(decoding: buffer.bytes, as: UTF8.self)
}

struct JSONStringTests {
    @Test(arguments: [
        (#""""#, ""), (#""abc""#, "abc"), (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{C}\n\r\t"), (#""\u0041\u00e9\u20AC""#, "Aé€"),
        (#""\u0000""#, "\u{0}"), (#""x\\\"y""#, "x\\\"y"), (#""\uD834\uDD1E""#, "\u{1D11E}"), (#""\uDBFF\uDFFF""#, "\u{10FFFF}"),
        (#""\uD800\uDC00""#, "\u{10000}"), (#""\uD7FF\uE000\uFFFF""#, "\u{D7FF}\u{E000}\u{FFFF}"), (#""/\/""#, "//"),
        ("\"\u{7F}\u{80}é€𝄞\u{2028}\u{2029}\u{FEFF}\"", "\u{7F}\u{80}é€𝄞\u{2028}\u{2029}\u{FEFF}"),
        (#""seven bytes, then an escape: \n and more after it""#, "seven bytes, then an escape: \n and more after it"),
    ])
    func `decodes every escape`(text: String, value: String) throws {
        #expect(try decoded(text) == Array(value.utf8))
    }

    @Test(arguments: [
        #""\a""#, #""\u""#, #""\u12""#, #""\u123g""#, #""\U0041""#, #""\x41""#, #""\0""#, #""\'""#, "\"\\\n\"", #""\u+041""#,
        #""\u 041""#, #""\"#, #""\u004"#,
    ])
    func `refuses an escape that is none`(text: String) {
        #expect(problem(text) != nil)
    }

    @Test(arguments: [
        #""\uD800""#, #""\uDBFF""#, #""\uDC00""#, #""\uDFFF""#, #""\uD800\uD800""#, #""\uDC00\uD800""#, #""\uD800x""#,
        #""\uD800\n""#, #""\uD800\u0041""#, #""\ud834\\udd1e""#, #""\uD834 \uDD1E""#,
    ])
    func `refuses half a pair of surrogates`(text: String) {
        #expect(problem(text)?.kind == .encoding)
    }

    @Test func `refuses every control character, wherever it stands`() {
        for byte in UInt8(0)..<0x20 {
            for lead in 0..<17 {  // Every place within the eight bytes that are looked at together.
                let bytes = Array("\"".utf8) + Array(repeating: UInt8(ascii: "a"), count: lead) + [byte] + Array("bbbbbbbb\"".utf8)
                #expect(problem(bytes) == JSONError(
                    kind: .syntax, offset: lead + 1,
                    reason: "a control character inside a string must be escaped, as in \\n or \\u001f"))
            }
        }
    }

    @Test func `names compare by what they stand for`() throws {
        for (text, name) in [(#""id""#, true), (#""\u0069d""#, true), (#""ID""#, false), (#""idx""#, false), (#""i\u0064x""#, false)] {
            #expect(try reading(text) { try $0.string() == "id" } == name)
        }
        let pairs = try reading(#"["a\u0062", "ab", "\u0061b", "ac"]"#) { reader in
            try reader.enterArray()
            var strings: [JSONString] = []
            while try reader.nextElement() { strings.append(try reader.string()) }
            return (strings[0] == strings[1], strings[0] == strings[2], strings[1] == strings[3])
        }
        #expect(pairs == (true, true, false))
    }

    // MARK: UTF-8

    @Test func `UTF-8 is taken and refused by the table of the Unicode Standard`() {
        let good: [[UInt8]] = [
            [], [0x00], [0x7F], [0xC2, 0x80], [0xDF, 0xBF], [0xE0, 0xA0, 0x80], [0xED, 0x9F, 0xBF], [0xEE, 0x80, 0x80],
            [0xEF, 0xBF, 0xBF], [0xF0, 0x90, 0x80, 0x80], [0xF4, 0x8F, 0xBF, 0xBF],
        ]
        let bad: [[UInt8]] = [
            [0x80], [0xBF], [0xC0, 0x80], [0xC1, 0xBF], [0xC2], [0xC2, 0x41], [0xC2, 0xC2], [0xE0, 0x9F, 0xBF], [0xE0, 0xA0],
            [0xE0, 0xA0, 0x41], [0xED, 0xA0, 0x80], [0xED, 0xBF, 0xBF], [0xF0, 0x8F, 0xBF, 0xBF], [0xF0, 0x90, 0x80],
            [0xF0, 0x90, 0x80, 0x41], [0xF4, 0x90, 0x80, 0x80], [0xF5, 0x80, 0x80, 0x80], [0xFE], [0xFF],
        ]
        for lead in 0..<9 {
            let before = Array(repeating: UInt8(ascii: "x"), count: lead)
            for after in [[], [UInt8(ascii: "y")], Array("yyyyyyyyy".utf8)] {
                for bytes in good {
                    #expect((before + bytes + after).withUnsafeBytes { isValidUTF8($0) }, "\(bytes)")
                }
                for bytes in bad {
                    #expect(!(before + bytes + after).withUnsafeBytes { isValidUTF8($0) }, "\(bytes)")
                    #expect(problem(Array("\"".utf8) + before + bytes + after + Array("\"".utf8)) != nil, "\(bytes)")
                }
            }
        }
    }

    @Test func `every two and three bytes are judged as the standard library judges them`() {
        // String(validating:) is an implementation that is not ours.
        func agrees(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { isValidUTF8($0) } == (String(validating: bytes, as: UTF8.self) != nil)
        }
        let edges: [UInt8] = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xFF]
        var disagreements: [[UInt8]] = []
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                if !agrees([first, second]) { disagreements.append([first, second]) }
                guard first >= 0xE0, edges.contains(second) else { continue }
                for third in edges {
                    for fourth in edges where !agrees([first, second, third, fourth]) {
                        disagreements.append([first, second, third, fourth])
                    }
                }
            }
        }
        #expect(disagreements == [])
    }

    // MARK: Writing

    @Test(arguments: [
        ("", #""""#), ("abc", #""abc""#), ("\"\\/", #""\"\\/""#), ("\u{8}\t\n\u{C}\r", #""\b\t\n\f\r""#),
        ("\u{0}\u{1}\u{B}\u{1F}\u{7F}", "\"\\u0000\\u0001\\u000b\\u001f\u{7F}\""), ("é€𝄞", "\"é€𝄞\""),
        ("0123456\"89abcde\\", #""0123456\"89abcde\\""#),
    ])
    func `writes what must be escaped escaped, and nothing else`(text: String, json: String) {
        #expect(written { $0.appendJSON(text) } == json)
        #expect(Array(text.utf8).withUnsafeBytes { bytes in written { $0.appendJSON(string: bytes) } } == json)
    }

    @Test func `what is written is read back`() throws {
        var random = SeededRandom()
        for _ in 0..<2000 {
            let text = random.text(upTo: 40)
            #expect(try decoded(written { $0.appendJSON(text) }) == Array(text.utf8), "\(text)\(random.note)")
        }
    }

    @Test(arguments: [
        ("{}", "{}"), (" { } ", "{}"), ("[ 1 , 2.50 , \"a b\" ]", #"[1,2.50,"a b"]"#),
        ("{\n\t\"a\" : { \"b\\\" \" : [ null , true ] } ,\r\n \"c\" : \"\\\\\" }", #"{"a":{"b\" ":[null,true]},"c":"\\"}"#),
        ("\" \"", "\" \""), (" 12 ", "12"), (#"["\u0041"]"#, #"["\u0041"]"#),
    ])
    func `a compact value loses its whitespace and nothing else`(text: String, compact: String) throws {
        let buffer = ByteBuffer()
        try reading(text) { try $0.appendCompact(to: buffer) }
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == compact)
    }
}
