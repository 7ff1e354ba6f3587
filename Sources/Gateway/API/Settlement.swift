// The body of a settle: `{"ack":[id],"nack":[id|{"id","delay_ms"}],"extend":[id]}`, checked.

import Net
import Redis

/// What a consumer says of messages that it holds.
struct Settlement {
    enum Operation: String, CaseIterable {
        case ack, nack, extend
    }

    struct Item {
        var operation: Operation
        var id: StreamID
        /// How long no read takes a nacked message; nil: not at all.
        var delay: Duration?
    }

    /// First the acks, then the nacks, then the extends, each in its list's order. No ID is there twice.
    private(set) var items: [Item] = []
    /// Acks and extends do nothing more when they are done again; a nacked message may have come back to its consumer.
    var isIdempotent: Bool { !items.contains { $0.operation == .nack } }
    private var seen: Set<StreamID> = []
    private let limits: Limits

    init(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws(Problem) {
        self.limits = limits
        var lists: [Operation: [Item]] = [:]
        try JSONObject.read(bytes, Operation.allCases.map(\.rawValue)) { name, reader throws(JSONError) in
            guard let operation = Operation(rawValue: name) else { preconditionFailure("Only known members come here.") }
            items = []
            if let problem = try readList(operation, &reader) { return problem }
            lists[operation] = items
            return nil
        }
        items = Operation.allCases.flatMap { lists[$0] ?? [] }
        guard !items.isEmpty else {
            throw .body("no ID is given; name at least one, as in {\"ack\":[\"1709251200000-0\"]}", at: "")
        }
    }

    private mutating func readList(_ operation: Operation, _ reader: inout JSONReader) throws(JSONError) -> Problem? {
        try reader.enterArray()
        while try reader.nextElement() {
            guard seen.count < limits.ids else { return Problem(.tooLarge, "At most \(limits.ids) IDs a call.") }
            let pointer = "/\(operation.rawValue)/\(items.count)"
            do throws(Problem) {
                let item = try Settlement.item(operation, &reader, limits, at: pointer)
                guard seen.insert(item.id).inserted else {
                    return .body("\(item.id) is given more than once; one thing can be done with a message", at: pointer)
                }
                items.append(item)
            } catch {
                return error
            }
        }
        return nil
    }

    private static func item(
        _ operation: Operation, _ reader: inout JSONReader, _ limits: Limits, at pointer: String
    ) throws(Problem) -> Item {
        var problem: Problem?
        var (id, delay): ([UInt8]?, Duration?)
        do throws(JSONError) {
            if operation == .nack, try reader.peek() == .object {
                problem = try readDelayed(&reader, &id, &delay, limits.nackDelay, at: pointer)
            } else {
                id = try reader.string().bytes()
            }
        } catch {
            throw Problem(error)
        }
        if let problem { throw problem }
        guard let id else { throw .body("a delayed nack names its message: {\"id\":\"1709251200000-0\",\"delay_ms\":5000}", at: pointer) }
        return Item(operation: operation, id: try id.entryID(pointer), delay: delay == .zero ? nil : delay)
    }

    private static func readDelayed(
        _ reader: inout JSONReader, _ id: inout [UInt8]?, _ delay: inout Duration?, _ longest: Duration, at pointer: String
    ) throws(JSONError) -> Problem? {
        try reader.enterObject()
        while let name = try reader.nextMember() {
            if name == "id", id == nil {
                id = try reader.string().bytes()
            } else if name == "delay_ms", delay == nil {
                let wish = try reader.integer()
                guard (0...longest.milliseconds).contains(wish) else {
                    return .body("a delay is from 0 to \(longest.milliseconds) ms, not \(wish)", at: "\(pointer)/delay_ms")
                }
                delay = .milliseconds(wish)
            } else {
                return JSONObject.refusal(name.text(), ["id", "delay_ms"], at: pointer)
            }
        }
        return nil
    }
}
