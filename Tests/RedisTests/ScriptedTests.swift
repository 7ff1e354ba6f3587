// The client against servers that a real Redis can't be made to be.
import Net
import Support
import Testing

@testable import Redis

@Suite(.blocking) struct ScriptedTests {
    /// A rig whose server lives on the same loop, and how that one answers.
    static func rig(_ limits: RedisLimits = ClientTests.limits(), _ answer: @escaping ([String], Int) -> ScriptedRedis.Answer)
        throws -> (Rig, ScriptedRedis)
    {
        let loop = try EventLoop()
        let server = try ScriptedRedis(on: loop)
        server.answer = answer
        return (Rig(server.endpoint, loop: loop, limits: limits), server)
    }

    @Test func `a server older than tracking and COMMAND DOCS is worked with`() throws {
        let (rig, server) = try ScriptedTests.rig { words, _ in
            switch (words[0], words.count > 1 ? words[1] : "") {
            case ("CLIENT", "TRACKING"): .reply("-ERR Unknown subcommand\r\n")
            case ("COMMAND", _): .reply("-ERR unknown\r\n")
            case ("ECHO", let text): .reply("+\(text)\r\n")
            default: .usual
            }
        }
        try #require(rig.connect())
        #expect(rig.on { $0.client.features?.trackingRefusal } == "ERR Unknown subcommand")
        rig.run { rig in #expect(await rig.perform(words("ECHO x")) == .success(.simple("x"))) }
        let order = server.heard.map { $0.prefix(2).joined(separator: " ") }
        let subscribed = try #require(order.firstIndex(of: "SUBSCRIBE __redis__:invalidate"))
        #expect(try #require(order.firstIndex(of: "CLIENT TRACKING")) > subscribed)
        rig.close()
    }

    @Test func `a server that is loading its data is not there yet, and what was in flight waits for it`() throws {
        var infos = 0
        let (rig, server) = try ScriptedTests.rig { words, connection in
            guard words[0] == "INFO" else { return words[0] == "GET" ? (connection > 1 ? .reply("+late\r\n") : .hangUp) : .usual }
            infos += 1
            let text = "redis_version:7.0.0\r\nloading:\(infos == 2 || infos == 3 ? 1 : 0)\r\n"
            return .reply("$\(text.utf8.count)\r\n\(text)\r\n")
        }
        try #require(rig.connect())
        rig.begin { await $0.record(words("GET x")) }
        #expect(rig.wait { $0.outcomes == [.success(.simple("late"))] })
        #expect(infos == 4 && rig.on { $0.recorder.connects } == 2 && server.heard.count { $0[0] == "GET" } == 2)
        rig.close()
    }

    @Test func `docs deeper than hiredis reads are not asked for again`() throws {
        let (rig, server) = try ScriptedTests.rig { words, _ in
            words.starts(with: ["COMMAND", "DOCS"]) ? .reply(String(repeating: "*1\r\n", count: 1100) + ":1\r\n") : .usual
        }
        try #require(rig.connect())
        #expect(server.heard.count { $0.starts(with: ["COMMAND", "DOCS"]) } == 1)
        rig.close()
    }

    @Test func `malformed replies end the connection, never the process`() throws {
        let (rig, server) = try ScriptedTests.rig { words, _ in
            words[0] == "ECHO" ? .reply("$5\r\nhelloXX:::") : words[0] == "GET" ? .reply("+late\r\n") : .usual
        }
        try #require(rig.connect())
        rig.begin { await $0.record(words("ECHO x", .write)) }
        rig.begin { await $0.record(words("GET x")) }
        #expect(rig.wait { $0.recorder.connects == 2 && $0.outcomes.count == 2 })
        guard case .failure(.outcomeUnknown(.write, .protocolError)) = rig.on({ $0.outcomes[0] }) else {
            Issue.record("\(rig.on { $0.outcomes })")
            return
        }
        #expect(rig.on { $0.outcomes[1] } == .success(.simple("late")))
        server.say("+unasked\r\n", on: 2)
        server.say("+unasked\r\n", on: 3)
        #expect(rig.wait { $0.recorder.connects == 3 })
        rig.close()
    }

    @Test func `a script that had to be loaded keeps who takes its late answer, and a caller's patience ends before the deadline`() throws {
        var limits = ClientTests.limits()
        limits.timeout = .seconds(600)
        let script = RedisScript("return 1")
        var (calls, connection) = (0, 0)
        let (rig, server) = try ScriptedTests.rig(limits) { words, index in
            switch words[0] {
            case "EVALSHA":
                calls += 1
                connection = index
                return calls == 1 ? .reply("-NOSCRIPT no such script\r\n") : .silence
            case "SCRIPT": return .reply("+digest\r\n")
            default: return .usual
            }
        }
        try #require(rig.connect())
        let late = Late()
        rig.begin { rig in
            do throws(RedisError) {
                let patience = rig.loop.now + .seconds(1)  // More than the loading takes.
                let reply = try await rig.client.evaluate(
                    script, script.call(keyCount: 0, effect: .consume), patience: patience, late: { late.text = $0.text })
                Issue.record("\(reply)")
            } catch {
                late.error = error
            }
        }
        #expect(rig.wait { _ in late.error != nil })
        #expect(late.error == .outcomeUnknown(.consume, .timedOut) && late.error?.isTimeout == true)
        #expect(late.text == nil)
        server.say("+better late\r\n", on: connection)
        #expect(rig.wait { _ in late.text == "better late" })
        rig.close()
    }

    private final class Late: @unchecked Sendable {
        var text: String?
        var error: RedisError?
    }

    @Test func `a server that turns us away is quoted`() throws {
        let (rig, server) = try ScriptedTests.rig { words, _ in
            words[0] == "CLIENT" ? .reply("-ERR max number of clients reached\r\n") : .hangUp
        }
        rig.loop.runUntilIdle()
        rig.on { $0.client.start() }
        #expect(rig.wait { !$0.recorder.reasons.isEmpty })
        #expect("\(rig.on { $0.recorder.reasons[0] })".contains("max number of clients"))
        rig.close()
        server.hangUp()
    }

    @Test func `two PINGs without an answer end both connections`() throws {
        var limits = ClientTests.limits()
        limits.pingInterval = .milliseconds(20)
        var isDeaf = false
        let (rig, server) = try ScriptedTests.rig(limits) { words, index in isDeaf && index < 2 ? .silence : .usual }
        try #require(rig.connect())
        isDeaf = true
        #expect(rig.wait { $0.recorder.connects == 2 })
        #expect("\(rig.on { $0.recorder.reasons[0] })".contains("PING"))
        rig.close()
        server.hangUp()
    }

    /// A rig with a command in flight that is not answered, and whose subscription has just been cut off.
    private func rigWithoutSubscription(_ limits: RedisLimits = ClientTests.limits()) throws -> (Rig, ScriptedRedis) {
        let late = Late()
        let (rig, server) = try ScriptedTests.rig(limits) { words, index in
            guard words[0] == "ECHO", index == 0 else { return .usual }
            late.text = words[1]
            return .silence
        }
        try #require(rig.connect())
        rig.begin { await $0.record(words("ECHO x", .consume)) }
        #expect(rig.wait { _ in late.text != nil })
        server.hangUp(1)
        return (rig, server)
    }

    @Test func `what is in flight when the subscription breaks is answered`() throws {
        let (rig, server) = try rigWithoutSubscription()
        #expect(rig.wait { !$0.client.isConnected })
        rig.begin { await $0.record(words("ECHO y", .consume)) }
        #expect(rig.wait { $0.outcomes.count == 1 })
        server.say("+x\r\n", on: 0)
        #expect(rig.wait { $0.recorder.connects == 2 })
        guard case .failure(.unavailable(.connectionLost)) = rig.on({ $0.outcomes[0] }) else {
            Issue.record("\(rig.on { $0.outcomes })")
            return
        }
        #expect(rig.on { $0.outcomes.dropFirst() } == [.success(.simple("x"))])
        #expect(server.heard.count { $0.first == "ECHO" } == 1)
        rig.close()
    }

    @Test func `after a break of the subscription nobody is waited for beyond his deadline`() throws {
        var limits = ClientTests.limits()
        limits.timeout = .milliseconds(500)
        let (rig, server) = try rigWithoutSubscription(limits)
        #expect(rig.wait { $0.recorder.connects == 2 })
        #expect(rig.on { $0.outcomes } == [.failure(.outcomeUnknown(.consume, .timedOut))])
        rig.close()
        server.hangUp()
    }

    @Test func `a name that does not resolve is told, and the loop goes on`() throws {
        let endpoint = try RedisEndpoint(url: "redis://no-such-host.invalid")
        let rig = Rig(endpoint, loop: try EventLoop(), limits: ClientTests.limits())
        rig.loop.runUntilIdle()
        rig.on { $0.client.start() }
        #expect(rig.wait { !$0.recorder.reasons.isEmpty })
        #expect("\(rig.on { $0.recorder.reasons[0] })".contains("no-such-host.invalid"))
        rig.close()
    }

    @Test func `localhost is found by name`() throws {
        let server = try RedisServerProcess(onPort: true)
        guard case .tcp(_, let port) = server.endpoint.place else { throw RedisError.overloaded }
        let rig = Rig(
            RedisEndpoint(place: .tcp(host: "localhost", port: port)), loop: try EventLoop(), limits: ClientTests.limits())
        #expect(rig.connect())
        // It may have an address where nobody listens; that is no outage while there is another.
        #expect(rig.on { $0.recorder.reasons.isEmpty })
        rig.close()
    }

    @Test func `what the kernel has not taken whole was not executed`() throws {
        let (rig, server) = try ScriptedTests.rig { _, _ in .usual }
        try #require(rig.connect())
        var large = RedisCommand("SET", effect: .write)
        large.append(literal: "k")
        large.append([UInt8](repeating: 1, count: 60 << 20))
        let command = large
        rig.loop.spawn { await rig.record(command) }
        server.stopReading()
        rig.loop.runUntilIdle()
        server.hangUp()
        #expect(rig.wait { $0.outcomes.count == 1 })
        guard case .failure(.unavailable(.connectionLost)) = rig.on({ $0.outcomes[0] }) else {
            Issue.record("\(rig.on { $0.outcomes })")
            return
        }
        rig.close()
    }
}

@Suite(.blocking) struct HandshakeTests {
    @Test func `tracking waits for both connections, in either order`() {
        var handshake = Handshake()
        #expect(handshake.event(.commandsReady) == .wait)
        #expect(handshake.event(.subscriptionReady(id: 3)) == .track(redirect: 3))
        #expect(handshake.event(.trackingAnswered) == .finish)
        handshake = Handshake()
        #expect(handshake.event(.subscriptionReady(id: nil)) == .wait)
        #expect(handshake.event(.commandsReady) == .finish)
    }
}
