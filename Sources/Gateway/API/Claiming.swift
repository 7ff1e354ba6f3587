// Taking over what another consumer holds (API.md §3): XCLAIM and XAUTOCLAIM, the same on every version.

import HTTP
import Net
import Redis

extension API {
    /// `POST /v1/streams/{s}/groups/{g}/consumers/{c}/claim`
    func claimMessages(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(
            ["min_idle_ms", "idle_ms", "time_ms", "retry_count", "force", "justid", "last_id", "fields", "stats"])
        let (stream, group, consumer) = (try call.stream(), try call.group(), try call.readingConsumer())
        var claim = ClaimScript.Claim(stream: stream, group: group, consumer: consumer)
        claim.minIdle = try minIdle(query, of: claim.key)
        claim.idle = try query.milliseconds("idle_ms")
        claim.time = try query.milliseconds("time_ms")
        claim.retryCount = try query.integer("retry_count", in: 0...GivingFragment.mostDeliveries)
        claim.force = try query.flag("force") ?? false
        claim.justID = try query.flag("justid") ?? false
        claim.lastID = try query.bytes("last_id")?.entryID("last_id")
        if claim.idle != nil && claim.time != nil {
            throw .parameter("time_ms", "not together with idle_ms: both set when the message was last delivered.")
        }
        let (asPairs, wantsStats) = (try query.wantsPairs(), try query.flag("stats") ?? false)
        claim.ids = try await call.ids(query, limits)
        let time = releaseTime
        let reply = try await ask(ClaimScript.script, ClaimScript.call(claim), stream, group)
        let body = newBody()
        body.append(UInt8(ascii: "{"))
        var parts = reply.elements
        let claimed = writeClaimed(&parts, justID: claim.justID, asPairs: asPairs, to: body)
        release(claimed, stream, group, by: .anybodyBut(consumer), time)
        if wantsStats { await appendStats(stream, group, to: body) }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `POST /v1/streams/{s}/groups/{g}/consumers/{c}/autoclaim`
    func autoclaimMessages(_ call: Call) async throws(Problem) -> Response {
        let query = try call.query(["min_idle_ms", "start", "count", "justid", "fields", "stats"])
        let (stream, group, consumer) = (try call.stream(), try call.group(), try call.readingConsumer())
        try await call.refuseBody()
        let justID = try query.flag("justid") ?? false
        let (asPairs, wantsStats) = (try query.wantsPairs(), try query.flag("stats") ?? false)
        let call = AutoclaimScript.call(
            stream, group, consumer, minIdle: try minIdle(query, of: WaitKey(stream: stream, group: group)),
            start: try query.bytes("start")?.autoclaimStart() ?? .zero,
            count: try query.integer("count", in: 1...limits.ids) ?? 100, justID: justID)
        let time = releaseTime
        let reply = try await ask(AutoclaimScript.script, call, stream, group)
        var parts = reply.elements
        let body = newBody()
        body.append(literal: "{\"cursor\":")
        body.appendJSON(string: parts.takeBytes() ?? .empty)
        body.append(UInt8(ascii: ","))
        let claimed = writeClaimed(&parts, justID: justID, asPairs: asPairs, to: body)
        release(claimed, stream, group, by: .anybodyBut(consumer), time)
        if wantsStats { await appendStats(stream, group, to: body) }
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// How long a message may stay with a consumer of the group before others may take it (API.md §3).
    func lease(of key: WaitKey) -> Duration {
        recovery.index.policy(key)?.maxIdle ?? config.lease
    }

    /// Idle time from which a message may be claimed; the bare name is the group's lease.
    func claimIdle(_ name: StaticString, _ query: QueryParameters, of key: WaitKey) throws(Problem) -> Duration? {
        guard query.contains(name) else { return nil }
        return query.isBare(name) ? lease(of: key) : try query.milliseconds(name)
    }

    /// `min_idle_ms` of the calls that only claim: the lease, unless they say otherwise.
    private func minIdle(_ query: QueryParameters, of key: WaitKey) throws(Problem) -> Duration {
        try claimIdle("min_idle_ms", query, of: key) ?? lease(of: key)
    }

    /// `"messages":[…]` or `"ids":[…]`, then `"deleted_ids":[…]`: from rows [id, fields, count, idle, consumer]
    /// and a list of ids. The IDs of the first.
    private func writeClaimed(_ parts: inout RedisCursor, justID: Bool, asPairs: Bool, to body: ByteBuffer) -> [StreamID] {
        let writer = MessageWriter(body: body, asPairs: asPairs)
        body.append(literal: justID ? "\"ids\":" : "\"messages\":")
        var claimed: [StreamID] = []
        body.appendList(parts.takeArray()) { rows in
            if let id = rows.peekID() { claimed.append(id) }
            guard var row = rows.takeArray() else { return }
            let id = row.takeBytes()
            if justID { return body.appendJSON(string: id ?? .empty) }
            var fields = row
            row.skip()
            let details = DeliveryDetails(
                deliveryCount: row.takeInteger() ?? 1, idle: row.takeInteger(), consumer: row.takeBytes())
            writer.write(id: id, fields: &fields, details)
        }
        body.append(literal: ",\"deleted_ids\":")
        body.appendList(parts.takeArray()) { ids in
            if let id = ids.takeBytes() { body.appendJSON(string: id) }
        }
        return claimed
    }
}

extension [UInt8] {
    /// Where XAUTOCLAIM begins: an ID, or `earliest`.
    fileprivate func autoclaimStart() throws(Problem) -> StreamID {
        if elementsEqual("earliest".utf8) || elementsEqual("-".utf8) { return .zero }
        return try entryID("start")
    }
}
