// A message to add, from each form a body may have, straight into its XADD.
//
// The usual message has its fields first, and they are copied as they are read. Members may come in any
// order, though: where one that changes the command comes late, the fields are read once more. Nothing is built.

import Crypto
import HTTP
import Net
import Redis

/// Where in a body a message stands; written out only for a problem (RFC 6901).
enum MessagePlace: CustomStringConvertible {
    case top
    /// Of a list at the top: NDJSON's lines, or events.
    case element(Int)
    /// Of `messages`.
    case item(Int)

    var description: String {
        switch self {
        case .top: ""
        case .element(let index): "/\(index)"
        case .item(let index): "/messages/\(index)"
        }
    }
}

/// The command of one message of many, given back when it was copied: its memory serves the next.
final class SpareCommand {
    private var command: RedisCommand?
    private var start = (used: 0, argumentCount: 0)

    /// What `options.command` gives.
    func take(_ options: AddOptions) -> RedisCommand {
        guard var command = command.take() else {
            let command = options.command(options.id, reserving: 256)
            start = command.end
            return command
        }
        command.cut(backTo: start)
        return command
    }

    func give(_ command: consuming RedisCommand) { self.command = consume command }
}

/// Reads messages of JSON bodies.
struct MessageReader {
    let options: AddOptions
    /// Fields of a message, at most.
    let fieldLimit: Int
    /// Where values that are not plain are put together.
    let scratch: ByteBuffer
    /// For messages whose command is copied at once.
    var spare: SpareCommand?

    /// The members of a message, found and not yet read.
    struct Members {
        var fields: JSONReader?
        /// The fields already copied, as they are when no other member says anything of them.
        var plainCommand: RedisCommand?
        var isBase64 = false
        var id: StreamAddID?
        /// A batch, in place of one message.
        var messages: JSONReader?
    }

    // MARK: Finding the members

    /// Reads the object that comes next. `pointer` names it in problems.
    func members(_ reader: inout JSONReader, mayBeBatch: Bool, at pointer: MessagePlace) throws(Problem) -> Members {
        var members = Members()
        var problem: Problem?
        do throws(JSONError) {
            problem = try find(&members, &reader, mayBeBatch: mayBeBatch, at: pointer)
        } catch {
            throw Problem(error)
        }
        if let problem { throw problem }
        if members.messages != nil {
            guard members.fields == nil, members.id == nil, !members.isBase64 else {
                throw .body("'messages' stands alone; each of its items has its own fields, id and encoding", at: "\(pointer)")
            }
        } else if members.fields == nil {
            throw .body("a message needs 'fields', as in {\"fields\":{\"name\":\"value\"}}", at: "\(pointer)")
        }
        return members
    }

    private func find(
        _ members: inout Members, _ reader: inout JSONReader, mayBeBatch: Bool, at pointer: MessagePlace
    ) throws(JSONError) -> Problem? {
        guard try reader.peek() == .object else {
            return .body("a message is an object, as in {\"fields\":{\"name\":\"value\"}}", at: "\(pointer)")
        }
        try reader.enterObject()
        var hasEncoding = false
        while let name = try reader.nextMember() {
            if name == "fields", members.fields == nil {
                _ = try reader.peek()
                members.fields = reader
                members.plainCommand = plainCommand(&reader, at: pointer)
                if members.plainCommand == nil { try reader.skip() }
            } else if name == "messages", mayBeBatch, members.messages == nil {
                _ = try reader.peek()
                members.messages = reader
                try reader.skip()
            } else if name == "id", members.id == nil {
                let text = try reader.string().bytes()
                do throws(Problem) { members.id = try text.addID("\(pointer)/id") } catch { return error }
            } else if name == "encoding", !hasEncoding {
                hasEncoding = true
                let encoding = try reader.string()
                guard encoding == "base64" else { return .body("the one encoding is base64", at: "\(pointer)/encoding") }
                members.isBase64 = true
            } else {
                let known = ["fields", "id", "encoding"] + (mayBeBatch ? ["messages"] : [])
                return JSONObject.refusal(name.text(), known, at: "\(pointer)")  // A known name that comes here is a repeated one.
            }
        }
        return nil
    }

    // MARK: Copying the fields

    /// The XADD of fields that nothing else is said of; passes them. Nil, and nothing is passed, when something
    /// is wrong with them: whoever reads them later tells what.
    private func plainCommand(_ reader: inout JSONReader, at pointer: MessagePlace) -> RedisCommand? {
        var ahead = reader
        var command = spare?.take(options) ?? options.command(options.id, reserving: 256)
        var copier = FieldCopier(isBase64: false, limit: fieldLimit, scratch: scratch, pointer: pointer)
        do throws(JSONError) {
            guard try copier.copy(&ahead, to: &command) == nil else { return nil }
        } catch {
            return nil
        }
        reader = ahead
        return command
    }

    /// The whole XADD of one message.
    func command(_ members: Members, at pointer: MessagePlace) throws(Problem) -> RedisCommand {
        if let command = members.plainCommand, members.id == nil, !members.isBase64 { return command }
        guard var reader = members.fields else { preconditionFailure("A message without fields was refused.") }
        if members.id != nil && options.id != nil {
            throw .parameter("id", "given in the query and in the body; name it once.")
        }
        var command = options.command(members.id ?? options.id, reserving: 256)
        var copier = FieldCopier(isBase64: members.isBase64, limit: fieldLimit, scratch: scratch, pointer: pointer)
        var problem: Problem?
        do throws(JSONError) {
            problem = try copier.copy(&reader, to: &command)
        } catch {
            throw Problem(error)
        }
        if let problem { throw problem }
        return command
    }
}

/// Copies one message's fields into its command.
private struct FieldCopier {
    let isBase64: Bool
    let limit: Int
    let scratch: ByteBuffer
    let pointer: MessagePlace
    private var count = 0
    /// A bit for each name so far: a name whose bit is not there is new.
    private var nameBits: UInt64 = 0
    /// The names, once there are many.
    private var manyNames: Set<[UInt8]> = []

    /// So many names are compared one by one where their bits are alike.
    private static let comparedNames = 16

    init(isBase64: Bool, limit: Int, scratch: ByteBuffer, pointer: MessagePlace) {
        self.isBase64 = isBase64
        self.limit = limit
        self.scratch = scratch
        self.pointer = pointer
    }

    mutating func copy(_ reader: inout JSONReader, to command: inout RedisCommand) throws(JSONError) -> Problem? {
        let problem: Problem?
        switch try reader.peek() {
        case .object: problem = try copyObject(&reader, to: &command)
        case .array: problem = try copyPairs(&reader, to: &command)
        default: return .body("fields are an object or a list of pairs", at: "\(pointer)/fields")
        }
        if problem == nil && count == 0 {
            return .body("a message has at least one field", at: "\(pointer)/fields")
        }
        return problem
    }

    private mutating func copyObject(_ reader: inout JSONReader, to command: inout RedisCommand) throws(JSONError) -> Problem? {
        try reader.enterObject()
        let first = reader
        while let name = try reader.nextMember() {
            if try repeats(name, first) {
                return .body(
                    "field \(name.bytes().quoted) is repeated; the pairs form takes that: \"fields\":[[\"name\",\"value\"],…]",
                    at: "\(pointer)/fields")
            }
            if let problem = append(name, to: &command) { return problem }
            if let problem = try appendValue(&reader, to: &command) { return problem }
            count += 1
            if let problem = tooMany() { return problem }
        }
        return nil
    }

    private mutating func copyPairs(_ reader: inout JSONReader, to command: inout RedisCommand) throws(JSONError) -> Problem? {
        try reader.enterArray()
        while try reader.nextElement() {
            try reader.enterArray()
            guard try reader.nextElement() else { return notAPair() }
            if let problem = append(try reader.string(), to: &command) { return problem }
            guard try reader.nextElement() else { return notAPair() }
            if let problem = try appendValue(&reader, to: &command) { return problem }
            if try reader.nextElement() { return notAPair() }
            count += 1
            if let problem = tooMany() { return problem }
        }
        return nil
    }

    private func notAPair() -> Problem {
        .body("a pair is [\"name\",\"value\"]", at: "\(pointer)/fields/\(count)")
    }

    private func tooMany() -> Problem? {
        count > limit ? .tooManyFields(limit) : nil
    }

    /// Whether the object whose members begin at `first` has had that name before.
    private mutating func repeats(_ name: JSONString, _ first: JSONReader) throws(JSONError) -> Bool {
        if count >= FieldCopier.comparedNames { return try repeatsAmongMany(name, first) }
        let bit = FieldCopier.bit(of: name)
        let isNew = nameBits & bit == 0
        nameBits |= bit
        if isNew { return false }
        var reader = first
        for _ in 0..<count {
            if let other = try reader.nextMember(), other == name { return true }
            try reader.skip()
        }
        return false
    }

    private mutating func repeatsAmongMany(_ name: JSONString, _ first: JSONReader) throws(JSONError) -> Bool {
        var reader = first
        while manyNames.count < count, let other = try reader.nextMember() {
            manyNames.insert(other.bytes())
            try reader.skip()
        }
        return !manyNames.insert(name.bytes()).inserted
    }

    /// All bits where escapes hide what the name is.
    private static func bit(of name: JSONString) -> UInt64 {
        name.hasEscapes ? .max : name.raw.nameBit
    }

    private func append(_ string: JSONString, to command: inout RedisCommand) -> Problem? {
        if isBase64 {
            guard let bytes = Base64.decode(string.bytes()) else {
                return .body("\(string.bytes().quoted) is no base64 (RFC 4648 §4, padded)", at: "\(pointer)/fields")
            }
            command.append(bytes)
        } else {
            command.append(string, scratch)
        }
        return nil
    }

    /// A string is its text, a number or boolean its literal as written, an object or array its compact JSON.
    private func appendValue(_ reader: inout JSONReader, to command: inout RedisCommand) throws(JSONError) -> Problem? {
        let kind = try reader.peek()
        if isBase64 && kind != .string {
            return .body("with \"encoding\":\"base64\" every value is a base64 string", at: "\(pointer)/fields")
        }
        switch kind {
        case .string: return append(try reader.string(), to: &command)
        case .null:
            return .body("a value can't be null: Redis has no such thing; leave the field out", at: "\(pointer)/fields")
        default: try command.append(value: kind, &reader, scratch)
        }
        return nil
    }
}

extension RedisCommand {
    /// Its text. `scratch` is where what has escapes is put together.
    mutating func append(_ string: JSONString, _ scratch: ByteBuffer) {
        guard string.hasEscapes else { return append(string.raw) }
        scratch.clear()
        string.append(to: scratch)
        append(scratch.bytes)
    }

    /// A value as it is written into a message: a string is its text, a number or boolean its literal, an object or
    /// array its compact JSON. `kind` is what the reader has peeked; null is the caller's to judge.
    mutating func append(value kind: JSONReader.Kind, _ reader: inout JSONReader, _ scratch: ByteBuffer) throws(JSONError) {
        switch kind {
        case .string: append(try reader.string(), scratch)
        case .number: append(try reader.number())
        case .boolean: append(literal: try reader.boolean() ? "true" : "false")
        case .object, .array, .null:
            scratch.clear()
            try reader.appendCompact(to: scratch)
            append(scratch.bytes)
        }
    }
}

extension Problem {
    static func tooManyFields(_ limit: Int) -> Problem {
        Problem(.tooLarge, "A message has at most \(limit) fields (max_fields).")
    }
}
