// One request on its way through a handler: what the path named, decoded and checked.

import HTTP
import Net
import Redis

struct Call {
    let request: Request
    let parameters: PathParameters
    var caller = Caller()

    /// The first path parameter of every call below `/v1/streams/`.
    func stream() throws(Problem) -> StreamName {
        try Call.checkedStream(StreamName(bytes: try decode(0, "stream")))
    }

    /// The streams that a query names, each once, and each for the caller to use.
    func streams(_ query: QueryParameters, _ limits: Limits) throws(Problem) -> [StreamName] {
        let names = try query.all("stream")
        guard !names.isEmpty else { throw .parameter("stream", "name at least one, as in ?stream=orders&stream=payments.") }
        guard names.count <= limits.streams else {
            throw .parameter("stream", "at most \(limits.streams) streams a read, not \(names.count).")
        }
        var streams: Set<StreamName> = []
        return try names.map { name throws(Problem) in
            try caller.require(name)
            let stream = try Call.checkedStream(StreamName(bytes: try Call.checkedName(name, "stream")))
            guard streams.insert(stream).inserted else { throw .parameter("stream", "\(name.quoted) is given twice.") }
            return stream
        }
    }

    private static func checkedStream(_ name: StreamName) throws(Problem) -> StreamName {
        if name.isReserved {
            throw Problem(.reservedName, "Names that begin with 'sluice:' are the gateway's own.")
        }
        return name
    }

    /// The second, but where the path names no stream.
    func group(at place: Int = 1) throws(Problem) -> GroupName { GroupName(bytes: try decode(place, "group")) }

    func consumer(at place: Int = 2) throws(Problem) -> ConsumerName { ConsumerName(bytes: try decode(place, "consumer")) }

    /// The consumer of a call that makes it a holder of messages.
    func readingConsumer(at place: Int = 2) throws(Problem) -> ConsumerName {
        let name = try consumer(at: place)
        if name == .unowned {
            throw Problem(.reservedName, "The consumer 'unowned' holds the messages that nobody holds; read under another name.")
        }
        return name
    }

    /// An entry's ID in the path, e.g. `…/messages/1709251200000-0`.
    func messageID() throws(Problem) -> StreamID {
        try decode(1, "id").entryID("id")
    }

    private func decode(_ index: Int, _ name: String) throws(Problem) -> [UInt8] {
        let bytes: [UInt8]
        do { bytes = try percentDecode(parameters[index]) } catch { throw Problem(error) }
        return try Call.checkedName(bytes, name)
    }

    /// A stream's, group's or consumer's name; `name` says which in the problem.
    static func checkedName(_ bytes: [UInt8], _ name: String) throws(Problem) -> [UInt8] {
        guard !bytes.isEmpty else { throw .parameter(name, "a name has at least one byte.") }
        guard bytes.count <= Limits.nameBytes else {
            throw .parameter(name, "a name has at most \(Limits.nameBytes) bytes, not \(bytes.count).")
        }
        guard !bytes.contains(0) else { throw .parameter(name, "a name holds no NUL byte.") }
        return bytes
    }

    func query(_ known: [StaticString] = [], repeatable: [StaticString] = []) throws(Problem) -> QueryParameters {
        try QueryParameters(request, known, repeatable: repeatable)
    }

    /// All of the body. The same bytes, however often it is asked.
    func body(upTo limit: Int? = nil) async throws(Problem) -> UnsafeRawBufferPointer {
        do { return try await request.body.collected(upTo: limit) } catch { throw Problem(error) }
    }

    /// The same if it has come; nil: `afterBody`.
    func bodyAtHand(upTo limit: Int? = nil) -> UnsafeRawBufferPointer? {
        request.body.collectedAlready(upTo: limit)
    }

    /// Collects the body in a task, and then begins anew.
    func afterBody(upTo limit: Int? = nil, _ handler: @escaping (Call) throws(Problem) -> Outcome) -> Outcome {
        .task { () async throws(Problem) in
            _ = try await body(upTo: limit)
            return try handler(self)
        }
    }
}

extension StreamName {
    private static let reservedPrefix = Array("sluice:".utf8)

    /// The gateway's own keys: never a user's stream.
    var isReserved: Bool { bytes.starts(with: StreamName.reservedPrefix) }
}
