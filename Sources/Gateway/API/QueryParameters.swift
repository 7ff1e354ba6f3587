// A call's query parameters: each handler says which it knows, takes them typed, and everything else is
// refused with the name that was probably meant (API.md §1.4).

import Glibc
import HTTP
import Net
import Redis

struct QueryParameters {
    /// Parsed only when there is a query: the usual call has none.
    private var pairs: [Given] = []

    // A struct: of a tuple the runtime would have to look up the type.
    private struct Given {
        let name: StaticString
        let value: UnsafeRawBufferPointer?
    }

    /// - Parameters:
    ///   - known: every parameter that the call takes.
    ///   - repeatable: those of them that may come more than once.
    init(_ request: Request, _ known: [StaticString] = [], repeatable: [StaticString] = []) throws(Problem) {
        guard request.hasQuery, !request.query.isEmpty else { return }
        for pair in PairSequence(request.query, .query) {
            guard let name = known.first(where: pair.hasName) else { throw QueryParameters.unknown(pair, known) }
            if contains(name) && !repeatable.contains(where: { $0.isSame(as: name) }) {
                throw .parameter(name.text, "given more than once; it takes one value.")
            }
            pairs.append(Given(name: name, value: pair.value))
        }
    }

    private static func unknown(_ pair: PairSequence.Pair, _ known: [StaticString]) -> Problem {
        guard let name = try? pair.decodedName() else {  // A malformed name has its own sentence.
            return Problem(HTTPError.malformedPercentEncoding)
        }
        let text = String(decoding: name.prefix(80), as: UTF8.self)
        if let near = nearestName(to: text, among: known.map(\.text)) {
            return .parameter(text, "unknown here; did you mean \(near)?")
        }
        return .parameter(
            text, known.isEmpty ? "this call takes no parameters." : "unknown here; known are \(known.map(\.text).joined(separator: ", ")).")
    }

    func contains(_ name: StaticString) -> Bool {
        pairs.contains { $0.name.isSame(as: name) }
    }

    /// Whether the parameter came as its bare name: without `=`, or as form encoders write it, with nothing behind that.
    func isBare(_ name: StaticString) -> Bool {
        pairs.contains { $0.name.isSame(as: name) && $0.value?.isEmpty ?? true }
    }

    /// The decoded value; nil when the parameter is absent.
    func bytes(_ name: StaticString) throws(Problem) -> [UInt8]? {
        guard let pair = pairs.first(where: { $0.name.isSame(as: name) }) else { return nil }
        return try decode(pair.value ?? .empty)
    }

    /// Every value of a repeatable parameter, decoded, in order.
    func all(_ name: StaticString) throws(Problem) -> [[UInt8]] {
        var values: [[UInt8]] = []
        for pair in pairs where pair.name.isSame(as: name) {
            values.append(try decode(pair.value ?? .empty))
        }
        return values
    }

    private func decode(_ raw: UnsafeRawBufferPointer) throws(Problem) -> [UInt8] {
        do { return try percentDecode(raw) } catch { throw Problem(error) }
    }

    /// `true`, `false`, or the bare name, which is true.
    func flag(_ name: StaticString) throws(Problem) -> Bool? {
        guard contains(name) else { return nil }
        if isBare(name) { return true }
        switch try text(name) {
        case "true"?: return true
        case "false"?: return false
        default: throw .parameter(name.text, "takes true or false; the bare name is true.")
        }
    }

    func text(_ name: StaticString) throws(Problem) -> String? {
        try bytes(name).map { String(decoding: $0, as: UTF8.self) }
    }

    /// A whole number within `range`.
    func integer(_ name: StaticString, in range: ClosedRange<Int>) throws(Problem) -> Int? {
        guard let pair = pairs.first(where: { $0.name.isSame(as: name) }) else { return nil }
        if let number = pair.value?.fewDigits, range.contains(number) { return number }
        let value = try decode(pair.value ?? .empty)
        guard let number = Int(strictDigits: value), range.contains(number) else {
            let bounds = range.upperBound == .max ? "from \(range.lowerBound) on" : "from \(range.lowerBound) to \(range.upperBound)"
            throw .parameter(name.text, "takes a whole number \(bounds), not \(value.quoted).")
        }
        return number
    }

    /// Integer milliseconds.
    func milliseconds(_ name: StaticString, atMost limit: Int = 1 << 46) throws(Problem) -> Duration? {
        try integer(name, in: 0...limit).map { .milliseconds($0) }
    }

    /// One of a few words; its place among them.
    func word(_ name: StaticString, _ words: [String]) throws(Problem) -> Int? {
        guard let value = try text(name) else { return nil }
        guard let index = words.firstIndex(of: value) else {
            throw .parameter(name.text, "takes \(words.joined(separator: " or ")), not \(Array(value.utf8).quoted).")
        }
        return index
    }
}

extension UnsafeRawBufferPointer {
    /// The number that one to nine plain digits are; nil for anything else.
    fileprivate var fewDigits: Int? {
        guard (1...9).contains(count) else { return nil }
        var number = 0
        for byte in self {
            guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
            number = number * 10 + Int(byte - UInt8(ascii: "0"))
        }
        return number
    }
}

extension StaticString {
    /// The literal as a String, for sentences.
    var text: String { description }

    func isSame(as other: StaticString) -> Bool {
        utf8CodeUnitCount == other.utf8CodeUnitCount && memcmp(utf8Start, other.utf8Start, utf8CodeUnitCount) == 0
    }
}

extension Int {
    /// Decimal digits with an optional minus, nothing else; nil when it does not fit.
    init?(strictDigits bytes: [UInt8]) {
        guard let last = bytes.last, bytes.first != UInt8(ascii: "+"), last != UInt8(ascii: "-"),
            let value = Int(String(decoding: bytes, as: UTF8.self))
        else { return nil }
        self = value
    }
}
