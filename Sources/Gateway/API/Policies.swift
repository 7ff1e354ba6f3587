// A group's recovery policy (API.md §6): put, shown, deleted. Who carries it out is in Recovery/.

import HTTP
import Net
import Redis

extension API {
    /// `PUT /v1/streams/{s}/groups/{g}/recovery`
    func putPolicy(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group) = (try call.stream(), try call.group())
        let policy = try RecoveryPolicy(try await call.jsonBody(limits), stream: stream)
        try call.caller.require(policy.deadLetter.bytes)
        _ = try await ask(.xpending(stream.bytes, group: group.bytes), stream, group)  // Nothing is kept for a missing one.
        let type = try await ask(.type(policy.deadLetter.bytes), policy.deadLetter)
        guard type.matches("none") || type.matches("stream") else { throw .notAStream(policy.deadLetter) }
        let room = try await ask(
            IndexPolicyScript.script, IndexPolicyScript.call(stream, group, limit: limits.policies), stream, group)
        guard room.integer == 1 else { throw Problem(.tooLarge, "There are \(limits.policies) recovery policies already.") }
        let created = try await ask(PutPolicyScript.script, PutPolicyScript.call(stream, group, policy), stream, group).integer == 1
        let body = newBody()
        body.append(UInt8(ascii: "{"))
        policy.write(to: body)
        body.append(UInt8(ascii: "}"))
        return json(body, status: created ? 201 : 200)
    }

    /// `GET /v1/streams/{s}/groups/{g}/recovery`
    func showPolicy(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        let (stream, group) = (try call.stream(), try call.group())
        let groups = try await ask(.xinfoGroups(stream.bytes), stream, group)
        guard GroupRow.find(group, in: groups) != nil else { throw .groupNotFound(group, of: stream) }
        let reply = try await ask(RecoveryPolicy.read(stream, group), stream, group)
        guard let policy = RecoveryPolicy(reply) else { throw .policyNotFound(group, of: stream) }
        let body = newBody()
        body.append(UInt8(ascii: "{"))
        policy.write(to: body)
        RecoveryCounts(reply).write(to: body)
        body.append(UInt8(ascii: "}"))
        return json(body)
    }

    /// `DELETE /v1/streams/{s}/groups/{g}/recovery`
    func deletePolicy(_ call: Call) async throws(Problem) -> Response {
        _ = try call.query()
        try await call.refuseBody()
        let (stream, group) = (try call.stream(), try call.group())
        let reply = try await ask(DeletePolicyScript.script, DeletePolicyScript.call(stream, group), stream, group)
        guard reply.integer == 1 else { throw .policyNotFound(group, of: stream) }
        _ = try? await store.send(.forgetPolicy(stream, group))  // An entry without a policy does no harm.
        return json(literal: "{\"deleted\":true}")
    }
}

extension Problem {
    fileprivate static func policyNotFound(_ group: GroupName, of stream: StreamName) -> Problem {
        var problem = Problem(
            .policyNotFound, "The group \(group.bytes.quoted) of the stream \(stream.bytes.quoted) has no recovery policy; PUT makes one.")
        problem.hint = Hint(
            options: "-X PUT -d '{\"max_idle_ms\":30000}'",
            path: "/v1/streams/\(stream.bytes.percentEncoded)/groups/\(group.bytes.percentEncoded)/recovery")
        return problem
    }
}
