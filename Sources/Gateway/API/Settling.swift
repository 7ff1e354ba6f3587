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
        let settlement = try Settlement(try await call.jsonBody(limits), limits)
        let items = settlement.items
        let settle = SettleScript.call(stream, group, by: consumer, items, wantsStats: wantsStats)
        let time = releaseTime
        var parts: RedisCursor
        do throws(Problem) {
            parts = try await ask(SettleScript.script, settle, stream, group).elements
        } catch {
            throw settlement.isIdempotent ? error.ofIdempotentCall : error
        }
        let results = newBody()
        var released: [StreamID] = []
        let outcome = write(items, &parts, to: results, &released)
        release(released, stream, group, by: .only(consumer), time)
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

    /// The list of results, from the list of statuses. `released`: which are not the consumer's any more.
    private func write(
        _ items: [Settlement.Item], _ parts: inout RedisCursor, to body: ByteBuffer, _ released: inout [StreamID]
    ) -> Outcome {
        var statuses = parts.takeArray()
        var (done, lost) = (0, 0)
        body.append(UInt8(ascii: "["))
        for (index, item) in items.enumerated() {
            let status = statuses?.takeBytes() ?? .empty
            if status.isSame(as: "lease_lost") {
                lost += 1
            } else if item.operation == .ack || !status.isSame(as: "not_pending") {
                done += 1
            }
            if item.operation != .extend || !status.isSame(as: "done") { released.append(item.id) }
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
}

extension Problem {
    fileprivate static func leaseLost(results: String) -> Problem {
        var problem = Problem(.leaseLost, "Every one of these messages belongs to another consumer by now; nothing was done.")
        problem.members = [("results", results)]
        return problem
    }
}
