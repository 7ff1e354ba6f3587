// Settling (API.md §3): a consumer acknowledges, hands back and keeps alive what it holds, in one call.

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/groups/{g}/consumers/{c}/settle`
    func settleMessages(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["stats"])
        let (stream, group, consumer) = (try call.stream(), try call.group(), try call.readingConsumer())
        let wantsStats = try query.flag("stats") ?? false
        guard !call.request.body.isEmpty else {
            throw Problem(.invalidRequest, "Say what to do in a body: {\"ack\":[\"1709251200000-0\"]}, and likewise nack and extend.")
        }
        let items = try Settlement(try await call.jsonBody(limits), limits).items
        let settle = SettleScript.call(stream, group, by: consumer, items, wantsStats: wantsStats)
        var parts = try await ask(SettleScript.script, settle, stream, group).elements
        let results = newBody()
        let outcome = write(items, &parts, to: results)
        guard outcome != .allLost else {
            defer { loop.buffers.give(results) }
            throw .leaseLost(results: String(decoding: results.bytes, as: UTF8.self))
        }
        let body = newBody()
        body.append(literal: "{\"results\":")
        body.append(results.bytes)
        loop.buffers.give(results)
        if wantsStats, let groups = parts.takeArray() { try writeStats(group, of: stream, groups, to: body) }
        body.append(UInt8(ascii: "}"))
        return json(body, status: outcome == .allDone ? 200 : 207)
    }

    private enum Outcome {
        case allDone, allLost, mixed
    }

    /// The list of results, from the list of statuses.
    private func write(_ items: [Settlement.Item], _ parts: inout RedisCursor, to body: ByteBuffer) -> Outcome {
        var statuses = parts.takeArray()
        var (done, lost) = (0, 0)
        body.append(UInt8(ascii: "["))
        for (index, item) in items.enumerated() {
            let status = statuses?.takeBytes() ?? UnsafeRawBufferPointer(start: nil, count: 0)
            if status.isSame(as: "lease_lost") {
                lost += 1
            } else if item.operation == .ack || !status.isSame(as: "not_pending") {
                done += 1
            }
            body.append(literal: index == 0 ? "{\"id\":\"" : ",{\"id\":\"")
            body.append("\(item.id)")
            body.append(literal: "\",\"op\":\"")
            body.append(item.operation.rawValue)
            body.append(literal: "\",\"status\":")
            body.appendJSON(string: status)
            body.append(UInt8(ascii: "}"))
        }
        body.append(UInt8(ascii: "]"))
        return done == items.count ? .allDone : lost == items.count ? .allLost : .mixed
    }

    /// What a client that has gone was to get becomes unowned, a slice at a time. What was delivered again since, perhaps to
    /// the same client under the same name, is left where it is. With its group everything that was pending has gone.
    func handBack(
        _ stream: StreamName, _ group: GroupName, from consumer: ConsumerName, _ deliveries: [Delivery]
    ) async throws(RedisError) {
        for start in stride(from: 0, to: deliveries.count, by: Limits.scriptSlice) {
            let slice = deliveries[start..<min(start + Limits.scriptSlice, deliveries.count)]
            let reply: RedisReply
            do {
                reply = try await store.evaluate(SettleScript.script, SettleScript.handBack(stream, group, from: consumer, slice))
            } catch {
                if error.code == .noGroup || error.code == .wrongType { return }
                throw error
            }
            var parts = reply.elements
            guard var statuses = parts.takeArray() else { continue }
            while statuses.remaining > 0 {
                if statuses.takeBytes()?.isSame(as: "done") ?? false { longPoll.counters.handedBack += 1 }
            }
        }
    }
}

extension Problem {
    fileprivate static func leaseLost(results: String) -> Problem {
        var problem = Problem(.leaseLost, "Every one of these messages belongs to another consumer by now; nothing was done.")
        problem.members = [("results", results)]
        return problem
    }
}
