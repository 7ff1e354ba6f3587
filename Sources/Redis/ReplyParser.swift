// Bytes from the socket in, flat replies out. Owned by one connection.
//
// The replies of one `feed` share one storage. Whoever keeps none of them costs nothing: the buffer is
// used again. What does not parse ends the parser, and with it the connection.

import CHiredis

/// The server sent something that is not RESP2, or more than we take.
struct ProtocolError: Error {
    let reason: String
}

final class ReplyParser {
    private let reader: OpaquePointer
    private let replyLimit: Int
    private var storage: ReplyStorage?

    /// `replyLimit`: bytes of one reply, after which the server is taken for broken.
    init(replyLimit: Int) {
        guard let reader = sluice_reader_create() else { preconditionFailure("There is no memory for a parser.") }
        self.reader = reader
        self.replyLimit = replyLimit
    }

    deinit { sluice_reader_free(reader) }

    /// Calls `receive` for each reply that `bytes` completes; it may keep the reply. False ends the feed.
    func feed(_ bytes: UnsafeRawBufferPointer, _ receive: (RedisReply) -> Bool) throws(ProtocolError) {
        defer { endBatch() }
        var rest = bytes[...]
        while !rest.isEmpty {
            let slice = UnsafeRawBufferPointer(rebasing: rest.prefix(Int(SLUICE_READER_SLICE)))
            rest = rest.dropFirst(slice.count)
            guard sluice_reader_feed(reader, slice.baseAddress, slice.count) == 0 else {
                throw ProtocolError(reason: "no memory for a reply")
            }
            while let reply = try next() {
                guard receive(reply) else { return }
            }
            guard sluice_reader_pending(reader) <= replyLimit else {
                throw ProtocolError(reason: "a reply of more than \(replyLimit) bytes")
            }
        }
    }

    private func next() throws(ProtocolError) -> RedisReply? {
        var start = 0
        var end = 0
        switch sluice_reader_next(reader, &start, &end) {
        case 0: return nil
        case 1: break
        default: throw ProtocolError(reason: String(cString: sluice_reader_error(reader)))
        }
        guard let base = sluice_reader_base(reader) else { preconditionFailure("A reply takes eight bytes or more.") }
        let storage = self.storage ?? ReplyStorage(base: base)
        storage.base = base
        self.storage = storage
        return RedisReply(storage: storage, start: start, end: end)
    }

    /// Seals the storage if a reply in it was kept.
    private func endBatch() {
        guard storage != nil else { return }
        if isKnownUniquelyReferenced(&storage) {
            sluice_reader_recycle(reader)
        } else if let storage {
            // The reader may have moved its buffer while it parsed the unfinished reply after the last one.
            if let base = sluice_reader_base(reader) { storage.base = base }
            guard sluice_reader_detach(reader) == 0 else { preconditionFailure("There is no memory for a reply.") }
            storage.isSealed = true
            self.storage = nil
        }
    }
}
