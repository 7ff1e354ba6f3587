// A sink at work on a real Redis, with a scripted receiver.

import Support
import Testing

@testable import Gateway
@testable import Net
@testable import Redis
@testable import Webhook

@Suite(.blocking) struct SinkTests {
    private func definition(_ change: (inout SinkDefinition) -> Void = { _ in }) -> SinkDefinition {
        var definition = SinkDefinition(name: "test")
        definition.streams = ["orders"]
        definition.start = .earliest
        definition.url = "http://receiver.example/hook"
        definition.retry.base = .milliseconds(20)
        definition.retry.max = .milliseconds(200)
        definition.retry.maxDeliveries = 3
        definition.lease = .seconds(2)
        change(&definition)
        return definition
    }

    private func isQuiet(_ rig: RedisRig) throws -> Bool {
        try rig.run("XPENDING orders sink:test").hasPrefix("*4\r\n:0")
    }

    @Test func `what is there and what comes is delivered, signed, and acknowledged`() throws {
        let rig = try RedisRig()
        try rig.run("XADD orders 1-0 name first")
        try rig.gateway.on { gateway in
            try gateway.add(definition {
                $0.secrets = [.literal("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
                $0.headers = [.init(name: "X-Order", value: "{stream}/{id}/{field:name}")]
            })
        }
        #expect(rig.wait { $0.outbound.requests.count == 1 })
        try rig.run("XADD orders 2-0 name second traceparent 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        #expect(rig.wait { $0.outbound.requests.count == 2 })
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 2 })
        #expect(try isQuiet(rig))
        rig.gateway.on { gateway in
            let request = gateway.outbound.requests[0]
            let body = String(decoding: request.body, as: UTF8.self)
            #expect(body == #"{"stream":"orders","group":"sink:test","id":"1-0","timestamp_ms":1,"fields":{"name":"first"},"delivery_count":1}"#)
            let headers = Dictionary(uniqueKeysWithValues: request.headers.map { ($0.0.lowercased(), $0.1) })
            #expect(headers["x-order"] == "orders/1-0/first")
            #expect(headers["content-type"] == "application/json")
            #expect(headers["sluice-delivery-count"] == "1")
            let id = headers["webhook-id"] ?? ""
            #expect(id.hasPrefix("msg_") && id.utf8.count == 30)
            let secret = try? WebhookSecret(parsing: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  // Nil fails below.
            #expect(headers["webhook-signature"] == secret.map {
                WebhookSignature.header(
                    id: id, timestamp: Int(headers["webhook-timestamp"] ?? "") ?? 0, body: request.body, secrets: [$0])
            })
            let other = Dictionary(uniqueKeysWithValues: gateway.outbound.requests[1].headers.map { ($0.0.lowercased(), $0.1) })
            #expect(other["traceparent"]?.hasPrefix("00-0af7") == true)
            #expect(other["webhook-id"] != id)
        }
        rig.close()
    }

    @Test func `a failing message is retried with its count, then becomes a dead letter, and others go past it`() throws {
        let rig = try RedisRig()
        rig.gateway.on { gateway in
            gateway.outbound.answer = { request in
                ScriptedOutbound.status(String(decoding: request.body, as: UTF8.self).contains("poison") ? 500 : 200)
            }
        }
        try rig.gateway.on { try $0.add(definition()) }
        try rig.run("XADD orders 1-0 a poison")
        for id in 2...20 { try rig.run("XADD orders \(id)-0 a b") }
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 19 && $0.sinks[0].state.counters[0].deadLetters == [.maxRetriesExceeded: 1] })
        #expect(try isQuiet(rig))
        rig.gateway.on { gateway in
            #expect(gateway.outbound.count("1-0") == 3)
            let counts = gateway.outbound.requests.filter { String(decoding: $0.body, as: UTF8.self).contains("poison") }
                .map { $0.headers.first { $0.0 == "Sluice-Delivery-Count" }?.1 }
            #expect(counts == ["1", "2", "3"])
        }
        let letter = try #require(rig.fields(try rig.send(.xrange("orders:dlq")).get()))
        #expect(letter.contains { $0 == ("original_data", #"{"fields":{"a":"poison"}}"#) })
        #expect(letter.contains { $0 == ("attempts", "3") })
        rig.close()
    }

    @Test func `a receiver that asks for patience is left alone, and no attempt is spent`() throws {
        let rig = try RedisRig()
        rig.gateway.on { gateway in
            gateway.outbound.answer = { [unowned outbound = gateway.outbound] _ in
                ScriptedOutbound.status(outbound.requests.count == 1 ? 429 : 200, outbound.requests.count == 1 ? "1" : nil)
            }
        }
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        let began = rig.loop.now
        try rig.gateway.on { try $0.add(definition { $0.concurrency = 1 }) }
        #expect(rig.wait { $0.outbound.requests.count == 1 })
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 3 })
        #expect(rig.loop.now - began > .milliseconds(900))
        rig.gateway.on { gateway in
            let again = gateway.outbound.requests.last { String(decoding: $0.body, as: UTF8.self).contains("\"1-0\"") }
            #expect(again?.headers.first { $0.0 == "Sluice-Delivery-Count" }?.1 == "1")
        }
        rig.close()
    }

    @Test func `a 410 ends the sink, and what it held is pending still`() throws {
        let rig = try RedisRig()
        rig.gateway.on { $0.outbound.answer = { _ in ScriptedOutbound.status(410) } }
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.gateway.on { try $0.add(definition()) }
        #expect(rig.wait { $0.sinks[0].state.counters[0].released == 1 })
        rig.gateway.on { gateway in
            guard case .disabled(let reason) = gateway.sinks[0].status else { return #expect(Bool(false)) }
            #expect(reason.contains("410"))
        }
        #expect(try rig.run("XPENDING orders sink:test").contains("unowned"))
        try rig.run("XADD orders 9-0 a b")
        #expect(try rig.run("XINFO GROUPS orders").contains("1-0"))  // The last one delivered.
        rig.close()
    }

    @Test func `a sink that is drained waits for what is in flight, and hands the rest to the next`() throws {
        let rig = try RedisRig()
        // Two are taken: there may be two in flight then.
        rig.gateway.on { gateway in
            gateway.outbound.answer = { [unowned outbound = gateway.outbound] _ in outbound.requests.count <= 2 ? ScriptedOutbound.status(200) : nil }
        }
        for id in 1...2 { try rig.run("XADD orders 0-\(id) a b") }
        for id in 1...6 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.gateway.on { try $0.add(definition { $0.concurrency = 2 }) }
        #expect(rig.wait { $0.outbound.openCount == 2 })
        rig.loop.spawn { [gateway = rig.gateway] in await gateway.drain(0, within: .seconds(5)) }
        rig.loop.runUntilIdle()
        rig.gateway.on { #expect($0.drained.isEmpty) }
        rig.gateway.on { $0.outbound.land(ScriptedOutbound.status(200)) }
        #expect(rig.wait { $0.drained == [0] })
        #expect(try isQuiet(rig))
        // What does not land in time goes back with its count.
        try rig.gateway.on { try $0.add(definition { $0.concurrency = 2 }) }
        #expect(rig.wait { $0.outbound.openCount == 1 })
        rig.loop.spawn { [gateway = rig.gateway] in await gateway.drain(1, within: .milliseconds(50)) }
        #expect(rig.wait { $0.drained == [0, 1] })
        #expect(try rig.run("XPENDING orders sink:test").contains("unowned"))
        rig.gateway.on { gateway in
            gateway.outbound.land(ScriptedOutbound.status(500))
            gateway.outbound.answer = { _ in ScriptedOutbound.status(200) }
        }
        try rig.gateway.on { try $0.add(definition()) }
        #expect(rig.wait { $0.sinks[2].state.counters[0].delivered == 4 })
        #expect(try isQuiet(rig))
        rig.gateway.on { gateway in
            let again = gateway.outbound.requests.last { String(decoding: $0.body, as: UTF8.self).contains("\"3-0\"") }
            #expect(again?.headers.first { $0.0 == "Sluice-Delivery-Count" }?.1 == "2")
        }
        rig.close()
    }

    @Test func `what a dead process held is taken over after the lease, its retries at their time`() throws {
        let rig = try RedisRig()
        try rig.run("XGROUP CREATE orders sink:test 0 MKSTREAM")
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.run("XREADGROUP GROUP sink:test sink:test:dead STREAMS orders >")
        let due = String(decoding: GatewayKeys.due(StreamName("orders"), GroupName("sink:test")), as: UTF8.self)
        let time = Int((MonotonicClock().wallTime + .milliseconds(12000)).milliseconds)
        try rig.run("ZADD \(due) \(time) 2-0")
        try rig.run("XDEL orders 3-0")
        try rig.gateway.on { try $0.add(definition()) }
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 1 })
        #expect(MonotonicClock().wallTime < .milliseconds(time))
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 2 })
        #expect(MonotonicClock().wallTime >= .milliseconds(time))
        rig.gateway.on { gateway in
            #expect(gateway.sinks[0].state.counters[0].takeovers == 2)
            #expect(gateway.sinks[0].state.counters[0].deadLetters == [.trimmed: 1])
        }
        #expect(try isQuiet(rig))
        rig.close()
    }

    @Test func `what is in flight for longer than the lease stays ours`() throws {
        try inSomeRound { _ in try isKeptAlive() }
    }

    /// Nothing is kept alive while this thread stands still: false where it did so for as long as a keep-alive may be late.
    private func isKeptAlive() throws -> Bool {
        let rig = try RedisRig()
        rig.gateway.on { $0.outbound.answer = { _ in nil } }
        try rig.run("XADD orders 1-0 a b")
        // Its reader has no slot left, and so nothing to do; the other one's looks for what was left behind.
        try rig.gateway.on { try $0.add(definition { $0.lease = .seconds(1); $0.concurrency = 1 }) }
        #expect(rig.wait { $0.outbound.openCount == 1 })
        try rig.gateway.on { try $0.add(definition { $0.lease = .seconds(1) }) }
        let loop = rig.loop
        let end = loop.now + .milliseconds(2500)
        let clock = MonotonicClock()
        var (last, standstill) = (clock.now, Duration.zero)
        let isOver = loop.run {
            let now = clock.now
            (standstill, last) = (max(standstill, now - last), now)
            return loop.now > end
        }
        #expect(isOver)
        guard standstill < .milliseconds(500) else { return false }
        rig.gateway.on { gateway in
            #expect(gateway.outbound.requests.count == 1)
            gateway.outbound.land(ScriptedOutbound.status(200))
        }
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered + $0.sinks[1].state.counters[0].delivered == 1 })
        rig.close()
        return true
    }

    @Test func `a group that is destroyed is created again, and nothing is lost`() throws {
        let rig = try RedisRig()
        for id in 1...3 { try rig.run("XADD orders \(id)-0 a b") }
        try rig.gateway.on { try $0.add(definition()) }
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 3 })
        try rig.run("XGROUP DESTROY orders sink:test")
        try rig.run("XADD orders 4-0 a b")
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 4 })
        rig.gateway.on { gateway in
            #expect(gateway.sinks[0].state.counters[0].groupsCreatedAgain == 1)
            #expect(gateway.outbound.requests.count == 4)
        }
        try rig.run("FLUSHALL")
        try rig.run("XADD orders 1-0 a anew")
        #expect(rig.wait { $0.sinks[0].state.counters[0].delivered == 5 })
        rig.close()
    }

    @Test func `a Redis that dies and comes back is waited for`() throws {
        let rig = try RedisRig()
        rig.gateway.on { $0.outbound.answer = { _ in nil } }
        try rig.run("XADD orders 1-0 a b")
        try rig.gateway.on { try $0.add(definition()) }
        #expect(rig.wait { $0.outbound.openCount == 1 })
        rig.server.end()
        #expect(rig.wait { !$0.redis.isConnected })
        rig.gateway.on { $0.outbound.land(ScriptedOutbound.status(200)) }
        try rig.server.start()
        rig.gateway.on { $0.outbound.answer = { _ in ScriptedOutbound.status(200) } }
        #expect(rig.wait { $0.redis.isConnected })
        try rig.run("XADD orders 2-0 a b")
        #expect(rig.wait { $0.outbound.count("2-0") == 1 })
        #expect(rig.wait { $0.sinks[0].state.counters[0].held == 0 })
        rig.close()
    }
}
