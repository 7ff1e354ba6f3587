// The tree that configurations are read from, whether they came as YAML, as JSON or in one word on the
// command line. Each node knows its key and its place, so that every refusal can name both.

struct ConfigNode: Sendable {
    enum Content: Sendable {
        case null
        /// A scalar as written. Quoted ones are text, whatever they look like.
        case scalar(String, isQuoted: Bool)
        case list([ConfigNode])
        case map([Member])
    }

    struct Member: Sendable {
        let name: String
        let place: ConfigPlace
        let value: ConfigNode
    }

    let content: Content
    let place: ConfigPlace
    /// With its sections, `sinks.orders.url`.
    let key: String

    func problem(_ reason: String) -> ConfigProblem {
        ConfigProblem(place: place, key: key, reason: reason)
    }

    var isNull: Bool {
        if case .null = content { return true }
        return false
    }

    private func expected(_ wanted: String) -> ConfigProblem {
        switch content {
        case .null: problem("expected \(wanted), found nothing")
        case .scalar(let text, true): problem("expected \(wanted), found the text \"\(printable(text))\"")
        case .scalar(let text, false): problem("expected \(wanted), found \"\(printable(text))\"")
        case .list: problem("expected \(wanted), found a list")
        case .map: problem("expected \(wanted), found a map")
        }
    }

    // MARK: Scalars

    /// JSON says what is text and what is a list; in YAML and on a command line one word may be either.
    private var isJSON: Bool { place.pointer != nil }

    /// Text that is not empty.
    func text(_ wanted: String = "text") throws(ConfigProblem) -> String {
        guard case .scalar(let text, let isQuoted) = content, !text.isEmpty, isQuoted || !isJSON else { throw expected(wanted) }
        return text
    }

    func integer(in range: ClosedRange<Int>, _ noun: String = "a whole number") throws(ConfigProblem) -> Int {
        let wanted = range.upperBound == .max
            ? "\(noun) of at least \(range.lowerBound)" : "\(noun) from \(range.lowerBound) to \(range.upperBound)"
        guard case .scalar(let text, false) = content, let value = Int(text), range.contains(value) else {
            throw expected(wanted)
        }
        return value
    }

    /// Whole milliseconds.
    func duration(in range: ClosedRange<Int> = 1...86_400_000) throws(ConfigProblem) -> Duration {
        .milliseconds(try integer(in: range, "whole milliseconds"))
    }

    func number(in range: ClosedRange<Double>) throws(ConfigProblem) -> Double {
        guard case .scalar(let text, false) = content, let value = Double(text), range.contains(value) else {
            throw expected("a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    func boolean() throws(ConfigProblem) -> Bool {
        guard case .scalar(let text, false) = content, text == "true" || text == "false" else { throw expected("true or false") }
        return text == "true"
    }

    /// One of the cases of `Choice`, by its raw value.
    func choice<Choice: CaseIterable & RawRepresentable<String>>(_: Choice.Type = Choice.self) throws(ConfigProblem) -> Choice {
        let names = Choice.allCases.map(\.rawValue)
        guard case .scalar(let text, _) = content, let choice = Choice(rawValue: text) else {
            throw expected(names.count < 2 ? names.joined() : "one of \(names.joined(separator: ", "))")
        }
        return choice
    }

    // MARK: Collections

    func list() throws(ConfigProblem) -> [ConfigNode] {
        guard case .list(let nodes) = content else { throw expected("a list, as in [a, b]") }
        return nodes
    }

    func members() throws(ConfigProblem) -> [Member] {
        guard case .map(let members) = content else { throw expected("a map, as in {key: value}") }
        return members
    }

    /// A list of texts; one word is a list of one.
    func texts() throws(ConfigProblem) -> [String] {
        if case .scalar = content, !isJSON { return [try text()] }
        var texts: [String] = []
        for node in try list() { texts.append(try node.text()) }
        return texts
    }
}

/// Control characters as `?`: what is quoted in an error must not forge a line of its own.
func printable(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
}

/// Reads a map member by member, gathers what is wrong, and at the end names what nobody asked for.
final class ConfigMapReader {
    private let node: ConfigNode
    private let members: [ConfigNode.Member]
    private var known: Set<String> = []
    private(set) var problems: [ConfigProblem] = []

    init(_ node: ConfigNode) {
        self.node = node
        do throws(ConfigProblem) {
            members = try node.members()
        } catch {
            members = []
            problems = [error]
        }
        var seen: Set<String> = []
        for member in members where !seen.insert(member.name).inserted {
            problems.append(ConfigProblem(place: member.place, key: member.value.key, reason: "given twice"))
        }
    }

    /// The member's node, if it is there.
    func take(_ name: String) -> ConfigNode? {
        known.insert(name)
        return members.first { $0.name == name }?.value
    }

    /// Sets `value` from the member, if it is there; what `parse` refuses is kept among the problems.
    func read<Value>(_ name: String, into value: inout Value, _ parse: (ConfigNode) throws(ConfigProblem) -> Value) {
        guard let node = take(name) else { return }
        do throws(ConfigProblem) {
            value = try parse(node)
        } catch {
            problems.append(error)
        }
    }

    /// The same for a member that must be there.
    func require<Value>(_ name: String, into value: inout Value, _ parse: (ConfigNode) throws(ConfigProblem) -> Value) {
        if take(name) == nil { problems.append(node.problem("\"\(name)\" is missing")) }
        read(name, into: &value, parse)
    }

    func report(_ more: [ConfigProblem]) { problems += more }

    /// Names whose time has not come: refused with words of their own.
    func refuse(_ names: [String], _ reason: String) {
        for name in names {
            guard let node = take(name) else { continue }
            problems.append(node.problem(reason))
        }
    }

    /// A problem of two members together, placed at `name`.
    func object(_ name: String, _ reason: String) {
        problems.append(take(name)?.problem(reason) ?? node.problem(reason))
    }

    /// Refuses all members that were not taken, naming the nearest one that could have been meant.
    func finish(noun: String = "key") {
        for member in members where !known.contains(member.name) {
            let meant = nearestName(to: member.name, among: known.sorted())
            let hint = meant.map { "; did you mean \"\($0)\"?" } ?? "; known here: \(known.sorted().joined(separator: ", "))"
            problems.append(ConfigProblem(
                place: member.place, key: member.value.key, reason: "unknown \(noun) \"\(printable(member.name))\"\(hint)"))
        }
    }
}
