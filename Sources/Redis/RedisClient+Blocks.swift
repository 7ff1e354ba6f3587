// Sending many commands as one piece, and waiting for replicas.

import Net

extension RedisClient {
    /// Sends a block, whose answers come to it; `block.settled()` returns when it is through. Throws when nothing
    /// was sent. A block of the replicated lane needs `openReplicated` before it, without an await between.
    public func begin(_ block: CommandBlock) throws(RedisError) {
        let connection =
            switch block.lane {
            case .shared: try admit(count: block.count, bytes: block.byteCount)
            case .replicated: try replicaLink.carrier(for: block)
            }
        block.begin(deadline: loop.now + limits.timeout)
        connection.append(block)
    }

    /// Opens the connection of the replicated lane, where it is not open.
    public func openReplicated() async throws(RedisError) {
        guard !isClosing else { throw .unavailable(.closed) }
        try await replicaLink.open()
    }

    /// How many replicas have confirmed `write`, which was answered: waits until they are `replicas` or `patience`
    /// is over. 0 when the connection that carried it has broken.
    public func confirm(_ write: ReplicatedWrite, replicas: Int, within patience: Duration) async -> Int {
        await replicaLink.confirm(generation: write.generation, replicas: replicas, within: patience)
    }

    func checkRoom(on connection: RedisConnection, count: Int, bytes: Int) throws(RedisError) {
        guard connection.inFlightCount + count <= limits.inFlightCommands,
            connection.inFlightBytes + bytes <= limits.inFlightBytes
        else {
            counters.overloads.add(1)
            throw .overloaded
        }
        counters.commands.add(count)
    }
}
