// The router's templates, segment by segment, and the walk of a path along them.
//
// It lies flat, in arrays of plain numbers: a walk retains and allocates nothing.

import Net

struct PathTree {
    private struct Node {
        var firstLiteral: Int?
        var parameter: Int?
        /// The number of the template that ends here.
        var end: Int?
    }

    private struct Literal {
        /// Its bytes, in `text`.
        var segment: Range<Int>
        var node: Int
        /// The next literal of the same parent.
        var next: Int?
    }

    private var nodes = [Node()]
    private var literals: [Literal] = []
    private var text: [UInt8] = []
    private var endCount = 0

    // MARK: Finding

    /// The number of the template that `path`, which begins with a slash, is one of; nil: of none.
    func find(_ path: UnsafeRawBufferPointer, _ parameters: inout PathParameters) -> Int? {
        find(0, path, 1, &parameters)
    }

    /// The same from `start` on, the first byte of a segment.
    private func find(
        _ node: Int, _ path: UnsafeRawBufferPointer, _ start: Int, _ parameters: inout PathParameters
    ) -> Int? {
        guard start <= path.count else { return nodes[node].end }
        let end = path.firstPlace(of: UInt8(ascii: "/"), from: start) ?? path.count
        let segment = path.part(start, end)
        var next = nodes[node].firstLiteral
        while let place = next {
            if isSame(segment, literals[place].segment),
                let found = find(literals[place].node, path, end + 1, &parameters)
            {
                return found
            }
            next = literals[place].next
        }
        guard let child = nodes[node].parameter else { return nil }
        parameters.append(segment)
        if let found = find(child, path, end + 1, &parameters) { return found }
        parameters.removeLast()
        return nil
    }

    private func isSame(_ segment: UnsafeRawBufferPointer, _ literal: Range<Int>) -> Bool {
        text.withUnsafeBytes { Percent.equals(segment, $0.part(literal.lowerBound, literal.upperBound)) }
    }

    // MARK: Building

    /// The number of a template: that of the same one added before, or the next.
    mutating func add(_ template: String) -> Int {
        precondition(template.utf8.first == UInt8(ascii: "/"), "A route begins with a slash.")
        var node = 0
        var parameters = 0
        for segment in template.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            if segment.first == UInt8(ascii: "{") {
                parameters += 1
                node = parameterChild(of: node)
            } else {
                node = literalChild(of: node, Array(segment))
            }
        }
        precondition(parameters <= PathParameters.limit, "A route has at most four parameters.")
        if let end = nodes[node].end { return end }
        nodes[node].end = endCount
        endCount += 1
        return endCount - 1
    }

    private mutating func parameterChild(of node: Int) -> Int {
        if let child = nodes[node].parameter { return child }
        nodes[node].parameter = nodes.count
        nodes.append(Node())
        return nodes.count - 1
    }

    private mutating func literalChild(of node: Int, _ segment: [UInt8]) -> Int {
        var last: Int?
        var next = nodes[node].firstLiteral
        while let place = next {
            if text[literals[place].segment].elementsEqual(segment) { return literals[place].node }
            last = place
            next = literals[place].next
        }
        if let last { literals[last].next = literals.count } else { nodes[node].firstLiteral = literals.count }
        literals.append(Literal(segment: text.count..<text.count + segment.count, node: nodes.count))
        text += segment
        nodes.append(Node())
        return nodes.count - 1
    }
}
