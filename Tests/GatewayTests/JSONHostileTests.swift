// Hostile texts: cut anywhere, changed at random, and placed so that one byte too far is a crash.

import Glibc
import Net
import Support
import Testing

@testable import Gateway

extension SeededRandom {
    mutating func text(upTo limit: Int) -> String {
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0...limit, using: &self) {
            let ranges: [ClosedRange<UInt32>] = [0...0x1F, 0x20...0x7E, 0x20...0x7E, 0x22...0x22, 0x5C...0x5C, 0x7F...0xD7FF, 0xE000...0x10FFFF]
            let range = ranges[Int.random(in: 0..<ranges.count, using: &self)]
            if let scalar = Unicode.Scalar(UInt32.random(in: range, using: &self)) { text.append(scalar) }
        }
        return String(text)
    }
}

/// A page that can be read with one behind it that can't: the bytes handed out end where the first does.
final class GuardedPage {
    private let base: UnsafeMutableRawPointer
    private let size = Int(sysconf(Int32(_SC_PAGESIZE)))

    init() throws {
        base = try #require(mmap(nil, size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))
        try #require(base != MAP_FAILED)
        try #require(mprotect(base + size, size, PROT_NONE) == 0)
    }

    deinit { munmap(base, size * 2) }

    /// A copy of `bytes`, the byte after which is a segmentation fault.
    func place(_ bytes: some Collection<UInt8>) -> UnsafeRawBufferPointer {
        precondition(bytes.count <= size, "one page holds it")
        let place = UnsafeMutableRawBufferPointer(start: base + size - bytes.count, count: bytes.count)
        place.copyBytes(from: bytes)
        return UnsafeRawBufferPointer(place)
    }
}

/// Reads every value there is and decodes every string: what a handler could possibly do.
private func consume(_ reader: inout JSONReader, _ buffer: ByteBuffer) throws(JSONError) {
    switch try reader.peek() {
    case .object:
        try reader.enterObject()
        while let name = try reader.nextMember() {
            name.append(to: buffer)
            try consume(&reader, buffer)
        }
    case .array:
        try reader.enterArray()
        while try reader.nextElement() { try consume(&reader, buffer) }
    case .string: try reader.string().append(to: buffer)
    case .number: buffer.append(try reader.number())
    case .boolean: _ = try reader.boolean()
    case .null: try reader.null()
    }
}

private func verdicts(_ bytes: UnsafeRawBufferPointer) -> (pulled: JSONError?, skipped: JSONError?, compact: JSONError?) {
    func verdict(_ body: (inout JSONReader) throws(JSONError) -> Void) -> JSONError? {
        var reader = JSONReader(bytes)
        do throws(JSONError) {
            try body(&reader)
            try reader.end()
            return nil
        } catch {
            return error
        }
    }
    let buffer = ByteBuffer()
    return (
        verdict { (reader) throws(JSONError) in try consume(&reader, buffer) },
        verdict { (reader) throws(JSONError) in try reader.skip() },
        verdict { (reader) throws(JSONError) in try reader.appendCompact(to: buffer) }
    )
}

struct JSONHostileTests {
    private static let documents = [
        #"{"fields":{"orderID":"1001","amount":99.99,"paid":true,"note":null}}"#,
        #"{"messages":[{"fields":[["a","1"],["a","2"]],"id":"1709251200000-0"},{"fields":{"é":"\u20ac \ud834\udd1e 𝄞"}}]}"#,
        #"[ -0.5e+10 , [ ] , { } , "\"\\\/\b\f\n\r\t" , false ]"#,
        "[\"\u{7FF}\u{FFFF}\u{10FFFF}\"]",
    ]

    @Test(arguments: documents)
    func `every beginning of a document is an error, and nothing after it is looked at`(document: String) throws {
        let page = try GuardedPage()
        let bytes = Array(document.utf8)
        let whole = verdicts(page.place(bytes))
        #expect(whole.pulled == nil && whole.skipped == nil && whole.compact == nil)
        for length in 0..<bytes.count {
            let cut = verdicts(page.place(bytes[..<length]))
            let error = try #require(cut.skipped, "cut at \(length)")
            #expect(cut.pulled == error && cut.compact == error)
            #expect(error.kind == .truncated || error.kind == .encoding, "cut at \(length): \(error)")
            #expect(error.offset <= length)
        }
    }

    @Test func `a text changed at random is judged alike however it is read`() throws {
        let page = try GuardedPage()
        var random = SeededRandom()
        let spice = Array("{}[]\",:\\u0d8eE+-.tfn 19\n".utf8) + [0x00, 0x1F, 0x80, 0xC0, 0xE2, 0xED, 0xF4, 0xFF]
        for round in 0..<4000 {
            var bytes = Array(JSONHostileTests.documents[round % JSONHostileTests.documents.count].utf8)
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                let byte = spice[Int.random(in: 0..<spice.count, using: &random)]
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[place] = byte
                case 1: bytes.insert(byte, at: place)
                case 2 where bytes.count > 1: bytes.remove(at: place)
                default: bytes.swapAt(place, Int.random(in: 0..<bytes.count, using: &random))
                }
            }
            let (pulled, skipped, compact) = verdicts(page.place(bytes))
            #expect(pulled == skipped && skipped == compact, "\(bytes)\(random.note)")
            guard skipped == nil else { continue }
            #expect(bytes.withUnsafeBytes { isValidUTF8($0) }, "\(bytes)\(random.note)")
        }
    }

    @Test func `compact text is JSON still, and compacting it again changes nothing`() throws {
        var random = SeededRandom()
        for _ in 0..<500 {
            let text = random.document(depth: 4)
            let once = ByteBuffer(), twice = ByteBuffer()
            try reading(text) { try $0.appendCompact(to: once) }
            try reading(String(decoding: once.bytes, as: UTF8.self)) { try $0.appendCompact(to: twice) }
            #expect(Array(once.bytes) == Array(twice.bytes), "\(text)\(random.note)")
        }
    }

    @Test func `writing reads nothing past the end either`() throws {
        let page = try GuardedPage()
        let buffer = ByteBuffer()
        for length in 0..<40 {
            let bytes = page.place(Array(repeating: UInt8(ascii: "a"), count: length))
            buffer.appendJSON(string: bytes)
            #expect(isValidUTF8(bytes))
            #expect(buffer.count == length + 2)
            buffer.clear()
            let cut = page.place(Array(repeating: UInt8(ascii: "a"), count: length) + [0xF4])
            #expect(!isValidUTF8(cut))
        }
    }
}

extension SeededRandom {
    /// A valid document with whitespace strewn about.
    mutating func document(depth: Int) -> String {
        func space() -> String { [" ", "", "\n", "\t ", ""].randomElement(using: &self) ?? "" }
        func quoted(_ text: String) -> String {
            let buffer = ByteBuffer()
            buffer.appendJSON(text)
            return String(decoding: buffer.bytes, as: UTF8.self)
        }
        switch Int.random(in: 0..<(depth > 0 ? 6 : 4), using: &self) {
        case 0: return ["0", "-1.5e3", "99.990"].randomElement(using: &self) ?? ""
        case 1: return ["true", "false", "null"].randomElement(using: &self) ?? ""
        case 2, 3: return quoted(text(upTo: 10))
        case 4:
            let members = (0..<Int.random(in: 0..<4, using: &self)).map { _ in
                space() + quoted(text(upTo: 5)) + space() + ":" + space() + document(depth: depth - 1) + space()
            }
            return "{" + space() + members.joined(separator: ",") + "}"
        default:
            let elements = (0..<Int.random(in: 0..<4, using: &self)).map { _ in space() + document(depth: depth - 1) + space() }
            return "[" + space() + elements.joined(separator: ",") + "]"
        }
    }
}
