// The consumers of a group (API.md §3): listed, made, and deleted without losing what they hold.

import HTTP
import Net
import Redis

extension API {
    /// `PUT /v1/streams/{s}/groups/{g}/consumers/{c}`
    func createConsumer(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group, consumer) = (try call.stream(), try call.group(), try call.readingConsumer())
        try await call.refuseBody()
        let reply = try await ask(
            .xgroupCreateConsumer(stream.bytes, group: group.bytes, consumer: consumer.bytes), stream, group)
        return reply.integer == 1 ? json(literal: "{\"created\":true}", status: 201) : json(literal: "{\"created\":false}")
    }

    /// `DELETE /v1/streams/{s}/groups/{g}/consumers/{c}`
    func deleteConsumer(_ call: Call) async throws(Problem) -> Response {
        let removal = try ConsumerRemoval(call)
        try await call.refuseBody()
        let count = try await remove(removal)
        let body = newBody()
        body.append(literal: "{\"pending\":")
        body.append(count.pending)
        body.append(literal: ",\"transferred_to\":")
        if removal.pending == .transfer {
            removal.heir.bytes.withUnsafeBytes { body.appendNameValue("transferred_to", $0) }
        } else {
            body.append(literal: "null")
        }
        body.append(literal: ",\"deleted\":")
        body.append(count.gone)
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// Slice by slice, until one of them was the last. Each is whole in itself: who repeats the call goes on.
    private func remove(_ removal: ConsumerRemoval) async throws(Problem) -> (pending: Int64, gone: Int64) {
        let (stream, group, consumer) = (removal.stream, removal.group, removal.consumer)
        let call = DeleteConsumerScript.call(stream, group, consumer, removal.pending, to: removal.heir)
        var count: (pending: Int64, gone: Int64) = (0, 0)
        for slice in 0..<Limits.deletionSlices {
            let reply: RedisReply
            do {
                reply = try await ask(DeleteConsumerScript.script, call, stream, group)
            } catch {
                throw slice == 0 || error.status < 500 ? error : .unfinished(consumer, "Redis failed between two slices.", redisError: error.redisError)
            }
            var parts = reply.elements
            let outcome = parts.takeText().flatMap { DeleteConsumerScript.Outcome(rawValue: $0) }
            count.pending += parts.takeInteger() ?? 0
            count.gone += parts.takeInteger() ?? 0
            switch outcome {
            case .deleted: return count
            case .more: continue
            // Somebody else who deletes it has done the last slice.
            case .missing where slice > 0: return count
            case .missing, nil: throw .consumerNotFound(consumer, of: group)
            case .refused: throw .consumerHasPending(consumer)
            }
        }
        throw .unfinished(consumer, "It gets messages as fast as they are handed on.")
    }

    /// `GET /v1/streams/{s}/groups/{g}/consumers`
    func listConsumers(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group) = (try call.stream(), try call.group())
        let reply = try await ask(.xinfoConsumers(stream.bytes, group: group.bytes), stream, group)
        let body = newBody()
        body.append(literal: "{\"consumers\":")
        body.appendList(reply.elements) { ConsumerRow(&$0)?.write(to: body) }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }
}

/// Who is to be deleted, and what becomes of what it holds.
private struct ConsumerRemoval {
    var stream: StreamName
    var group: GroupName
    var consumer: ConsumerName
    var pending = DeleteConsumerScript.Pending.transfer
    /// Gets what the consumer holds, in a transfer.
    var heir = ConsumerName.unowned

    init(_ call: Call) throws(Problem) {
        let query = try call.query(["pending", "to"])
        (stream, group, consumer) = (try call.stream(), try call.group(), try call.consumer())
        let ways = DeleteConsumerScript.Pending.allCases
        if let place = try query.word("pending", ways.map(\.rawValue)) { pending = ways[place] }
        if let name = try query.bytes("to") {
            guard pending == .transfer else { throw .parameter("to", "only with pending=transfer: nothing is handed on otherwise.") }
            heir = ConsumerName(bytes: try Call.checkedName(name, "to"))
        }
        if pending == .transfer && heir == consumer {
            throw .parameter("to", "names the consumer that is to be deleted; name another, which gets what it holds.")
        }
    }
}

extension Problem {
    fileprivate static func consumerNotFound(_ consumer: ConsumerName, of group: GroupName) -> Problem {
        Problem(.consumerNotFound, "The group \(group.bytes.quoted) has no consumer \(consumer.bytes.quoted).")
    }

    fileprivate static func consumerHasPending(_ consumer: ConsumerName) -> Problem {
        Problem(
            .consumerHasPending,
            "The consumer \(consumer.bytes.quoted) holds messages; acknowledge them, or delete it with pending=transfer or pending=drop.")
    }

    /// Some slices were handed on, and then something went wrong: no other problem says so truthfully.
    fileprivate static func unfinished(_ consumer: ConsumerName, _ reason: String, redisError: String? = nil) -> Problem {
        var problem = Problem(
            .outcomeUnknown,
            "Not all that the consumer \(consumer.bytes.quoted) holds is handed on, and nothing is lost; repeating the call goes on. \(reason)")
        problem.redisError = redisError
        return problem
    }
}
