// An ordered sink at work on a real Redis, which refuses nudges, forgets leases, or comes back with less than it knew.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis
@testable import Webhook

@Suite(.blocking) struct SinkOrderedTests {
    private let lease = String(decoding: GatewayKeys.sinkLease(StreamName("orders"), GroupName("sink:test")), as: UTF8.self)

    private func definition(_ change: (inout SinkDefinition) -> Void = { _ in }) -> SinkDefinition {
        var definition = SinkDefinition(name: "test")
        definition.streams = ["orders"]
        definition.start = .earliest
        definition.url = "http://receiver.example/hook"
        definition.orderBy = .stream
        definition.timeout = .milliseconds(700)
        definition.connectTimeout = .milliseconds(300)
        definition.lease = .seconds(2)
        change(&definition)
        return definition
    }

    private func delivered(_ rig: RedisRig, _ count: Int) -> Bool {
        rig.wait { $0.sinks.reduce(0) { $0 + $1.state.counters[0].delivered } == count }
    }

    @Test func `where Redis tells nobody of unowned messages, what is new is delivered all the same, and a drain ends`() throws {
        let rig = try RedisRig()
        rig.gateway.on { $0.memory.index.isTold = false }
        try rig.run("XADD orders 1-0 a b")
        try rig.gateway.on { try $0.add(definition()) }
        #expect(delivered(rig, 1))
        try rig.run("XADD orders 2-0 a b")
        #expect(delivered(rig, 2))
        rig.loop.spawn { [gateway = rig.gateway] in await gateway.drain(0, within: .seconds(5)) }
        #expect(rig.wait { $0.drained == [0] })
        #expect(try rig.run("HEXISTS \(lease) holder") == ":0\r\n")
        rig.close()
    }

    @Test func `a thousand trimmed messages that nobody has don't keep new ones back`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders sink:test 0 MKSTREAM")
        let fill = "for i = 1, 1200 do redis.call('XADD', 'orders', i .. '-0', 'a', 'b') end redis.call('XREADGROUP', 'GROUP', 'sink:test', 'unowned', 'COUNT', 1200, 'STREAMS', 'orders', '>') redis.call('XTRIM', 'orders', 'MAXLEN', 0)"
        try rig.server.run(["EVAL", fill, "0"])
        try rig.gateway.on { try $0.add(definition { $0.deadLetter = .none }) }
        try rig.run("XADD orders 2000-0 a b")
        #expect(delivered(rig, 1))
        rig.close()
    }

    @Test func `whoever gets a lease that Redis has forgotten waits for what is on its way`() throws {
        let rig = try RedisRig()
        rig.gateway.on { $0.outbound.answer = { _ in nil } }
        try rig.run("XADD orders 1-0 a b")
        let patient = definition { ($0.timeout, $0.lease) = (.seconds(15), .seconds(60)) }
        for _ in 0..<2 { try rig.gateway.on { try $0.add(patient) } }
        #expect(rig.wait { $0.outbound.openCount == 1 })
        let first = rig.gateway.on { $0.sinks[0].state.streams[0].lease != nil } ? 0 : 1
        try rig.run("DEL \(lease)")
        rig.gateway.on { $0.sinks[1 - first].leaseFreed(.init(stream: StreamName("orders"), group: GroupName("sink:test"))) }
        #expect(rig.wait { $0.sinks[1 - first].streams[0].search == .all && $0.sinks[1 - first].streams[0].takeoverDue > .zero })
        try rig.run("XADD orders 2-0 a b")
        rig.gateway.on { gateway in
            #expect(gateway.outbound.requests.count == 1)
            gateway.outbound.answer = { _ in ScriptedOutbound.status(200) }
            gateway.outbound.land(ScriptedOutbound.status(200))
        }
        #expect(delivered(rig, 2))
        rig.gateway.on { #expect($0.outbound.count("1-0") == 1 && $0.outbound.requests.count == 2) }
        rig.close()
    }

    @Test func `what is pending again under our own name when Redis comes back is delivered, while the lease stays ours`() throws {
        let rig = try RedisRig()
        try rig.gateway.on { try $0.add(definition { $0.lease = .seconds(60) }) }
        try rig.run("XADD orders 1-0 a b")
        #expect(delivered(rig, 1))
        let consumer = rig.gateway.on { String(decoding: $0.sinks[0].consumer.bytes, as: UTF8.self) }
        let fill = "redis.call('XADD', 'orders', '2-0', 'a', 'b') redis.call('XREADGROUP', 'GROUP', 'sink:test', ARGV[1], 'STREAMS', 'orders', '>')"
        try rig.server.run(["EVAL", fill, "0", consumer])
        try rig.run("CLIENT KILL TYPE normal")
        #expect(delivered(rig, 2))
        rig.gateway.on { #expect($0.sinks[0].state.counters[0].leasesTaken == 1) }
        rig.close()
    }

    @Test func `a request that waits for a token keeps to the lease as it was when it was decided on`() throws {
        let rig = try RedisRig()
        rig.gateway.on { $0.outbound.answer = { _ in nil } }
        try rig.run("XADD orders 1-0 a b")
        try rig.gateway.on { try $0.add(definition { $0.lease = .seconds(12); $0.auth = SinkAuth(scheme: .oauth2(.init(tokenURL: "http://receiver.example/token", clientID: "us", clientSecret: .literal("x")))) }) }
        #expect(rig.wait { $0.outbound.openCount == 1 })
        let until = rig.gateway.on { $0.sinks[0].state.streams[0].lease?.until }
        #expect(rig.wait { $0.sinks[0].state.streams[0].lease?.until != until })
        let answer = WebhookAnswer(status: 200, retryAfter: nil, body: Array(#"{"access_token":"t","expires_in":3600}"#.utf8), bodyTruncated: false)
        rig.gateway.on { $0.outbound.land(.answered(answer)) }
        rig.gateway.on { #expect($0.outbound.requests.count == 2 && $0.outbound.requests.last?.notAfter == until) }
        rig.close()
    }
}
