// The client against a real redis-server of its own.
import Net
import Support
import Testing

@testable import Redis

@Suite(.blocking) struct ClientTests {
    static func limits(_ change: (inout RedisLimits) -> Void = { _ in }) -> RedisLimits {
        var limits = RedisLimits()
        limits.reconnectBase = .milliseconds(5)
        limits.reconnectMaximum = .milliseconds(50)
        change(&limits)
        return limits
    }

    @Test(arguments: [false, true])
    func `it connects, learns what the server offers, and answers in order`(onPort: Bool) throws {
        let server = try RedisServerProcess(onPort: onPort)
        let rig = Rig(server.endpoint, loop: try EventLoop())
        try #require(rig.connect())
        let features = try #require(rig.on { $0.client.features })
        #expect(features.version.split(separator: ".").count == 3 && features.mode == "standalone")
        #expect(features.tracking && features.nudges)
        #expect(features.warnings.contains { $0.contains("append-only") })
        if features.version.hasPrefix("7.") || features.version.hasPrefix("8.") {
            #expect(features.offers("XADD", "NOMKSTREAM") && !features.offers("XADD", "NONSENSE"))
            #expect(features.offers("XGROUP|CREATE", "ENTRIESREAD") && features.offers("XGROUP|SETID", "ENTRIESREAD"))
        }
        rig.run { rig in
            let answers = await rig.perform((0..<1000).map { words("ECHO \($0)") })
            #expect(answers == (0..<1000).map { .success(.bulk("\($0)")) })
            #expect(await rig.perform(words("LPUSH list x", .write)) == .success(.integer(1)))
            let wrong = await rig.perform(words("XADD list * a b", .write))
            #expect(throws: RedisError.reply(code: .wrongType, message: "WRONGTYPE Operation against a key holding the wrong kind of value")) {
                try wrong.get()
            }
        }
        rig.close()
        #expect(rig.on { $0.recorder.connects } == 1 && rig.on { $0.recorder.reasons }.isEmpty)
    }

    @Test func `ACL users get in, wrong passwords are told, and what an ACL refuses is a feature less`() throws {
        let server = try RedisServerProcess(options: [
            "--user", "ann", "on", ">s:c/t", "~*", "&*", "+@all", "--user", "bob", "on", ">b", "~*", "resetchannels",
            "+@all", "--user", "default", "off",
        ])
        var endpoint = server.endpoint
        (endpoint.username, endpoint.password, endpoint.database) = ("ann", "s:c/t", 3)
        let ann = Rig(endpoint, loop: try EventLoop())
        try #require(ann.connect())
        #expect(ann.on { $0.client.features?.tracking } == true)
        ann.close()

        (endpoint.username, endpoint.password) = ("bob", "b")
        let bob = Rig(endpoint, loop: try EventLoop())
        try #require(bob.connect())
        let features = try #require(bob.on { $0.client.features })
        #expect(!features.tracking && !features.nudges && features.trackingRefusal?.hasPrefix("NOPERM") == true)
        bob.run { rig in
            #expect(await rig.perform(words("PING")) == .success(.simple("PONG")))
            #expect(await rig.perform([words("PING")], tracked: true) == [.failure(.unavailable(.noTracking))])
        }
        bob.close()

        for (user, password) in [("ann", "wrong"), (nil, nil)] {
            (endpoint.username, endpoint.password) = (user, password)
            let stranger = Rig(endpoint, loop: try EventLoop())
            stranger.loop.runUntilIdle()
            stranger.on { $0.client.start() }
            #expect(stranger.wait { !$0.recorder.reasons.isEmpty })
            let reason = try #require(stranger.on { $0.recorder.reasons.first })
            guard case .notConnected(let text) = reason else { throw RedisError.unavailable(reason) }
            #expect(text.hasPrefix(user == nil ? "NOAUTH" : "WRONGPASS"))
            stranger.run { rig in
                #expect(await rig.perform(words("PING")) == .failure(.unavailable(reason)))
            }
            stranger.close()
        }
    }

    @Test func `changes of tracked keys are told, whoever makes them and however`() throws {
        let server = try RedisServerProcess()
        let rig = Rig(server.endpoint, loop: try EventLoop())
        try #require(rig.connect())
        let changes: [[String]] = [["XADD", "k", "*", "a", "b"], ["RENAME", "k", "other"], ["XADD", "k", "*", "a", "b"], ["DEL", "k"]]
        for (index, change) in changes.enumerated() {
            rig.run { rig in
                let answers = await rig.perform([words("EXISTS k"), words("XLEN k")], tracked: true)
                #expect(answers.count == 2)
            }
            if index == 0 {
                rig.run { rig in _ = await rig.perform(words("XADD k * a b", .write)) }  // Our own, without NOLOOP.
            } else {
                try server.run(change)
            }
            #expect(rig.wait { $0.recorder.invalidated == Array(repeating: "k", count: index + 1) }, "\(change)")
        }
        rig.run { rig in _ = await rig.perform([words("EXISTS k")], tracked: true) }
        try server.run("FLUSHALL")
        #expect(rig.wait { $0.recorder.flushes == 1 })
        #expect(try server.run("PUBLISH", "sluice:nudge", "s g") == ":1\r\n")
        #expect(rig.wait { $0.recorder.nudges == ["s g"] })
        rig.close()
    }

    @Test func `a script that the server does not have is loaded, once`() throws {
        let server = try RedisServerProcess()
        let rig = Rig(server.endpoint, loop: try EventLoop())
        try #require(rig.connect())
        for _ in 0..<2 {
            rig.run { rig in
                let script = RedisScript("return {KEYS[1], ARGV[1]}")
                do throws(RedisError) {
                    let reply = try await rig.client.evaluate(
                        script, keys: [[107]], arguments: [[97]], effect: .write)
                    #expect(Tree(reply) == .array([.bulk("k"), .bulk("a")]))
                } catch {
                    Issue.record(error)
                }
            }
        }
        #expect(rig.on { $0.client.counters.errors.value } == 1)
        try server.run("SCRIPT", "FLUSH")
        rig.close()
    }

    @Test func `what is too much in flight is refused at once, and the rest is answered`() throws {
        let server = try RedisServerProcess()
        let rig = Rig(server.endpoint, loop: try EventLoop())
        try #require(rig.connect())
        rig.run { rig in
            let echo = words("ECHO x")
            let refused = await rig.perform(Array(repeating: echo, count: 100_001))
            #expect(refused == [.failure(.overloaded)])
            let answers = await rig.perform(Array(repeating: echo, count: 99_999))
            #expect(answers.count == 99_999 && answers.allSatisfy { $0 == .success(.bulk("x")) })
            var large = RedisCommand("ECHO", effect: .read)
            large.append([UInt8](repeating: 1, count: 64 << 20))
            #expect(await rig.perform(large) == .failure(.overloaded))
            #expect(rig.client.counters.overloads.value == 2)
        }
        rig.close()
    }

    @Test func `silence until the deadline: a write's outcome is unknown, its late answer is dropped in its place`() throws {
        try inSomeRound { _ in
            let server = try RedisServerProcess()
            let rig = Rig(server.endpoint, loop: try EventLoop(), limits: ClientTests.limits { limits in
                limits.timeout = .milliseconds(150)
                limits.pingInterval = .seconds(60)
            })
            try #require(rig.connect())
            let before = rig.on { $0.client.counters.timeouts.value }
            server.freeze()
            rig.begin { await $0.record(words("INCR n", .write)) }
            rig.begin { await $0.record(words("GET n")) }
            rig.begin { await $0.record(words("INCR n", .consume)) }
            #expect(rig.wait { $0.outcomes.count == 3 })
            #expect(rig.on { $0.outcomes } == [
                .failure(.outcomeUnknown(.write, .timedOut)), .failure(.unavailable(.timedOut)),
                .failure(.outcomeUnknown(.consume, .timedOut)),
            ])
            server.thaw()
            rig.run { rig in
                #expect(await rig.ask(words("ECHO mine")) == .success(.bulk("mine")))
                #expect(await rig.ask(words("GET n")) == .success(.bulk("2")))  // Both were executed after all.
            }
            server.freeze()  // Once more: what was late the first time must have left no trace.
            rig.begin { await $0.record(words("INCR n", .write)) }
            #expect(rig.wait { $0.outcomes.count == 4 })
            server.thaw()
            rig.run { rig in #expect(await rig.ask(words("GET n")) == .success(.bulk("3"))) }
            #expect(rig.on { $0.client.counters.timeouts.value - before - $0.lateReads } == 4 && rig.on { $0.recorder.connects } == 1)
            rig.close()
            return rig.on { $0.lateReads } == 0  // Else reads were late, and asked for again.
        }
    }

    @Test func `a server that dies in flight: writes are unknown, reads come again, and the client is back`() throws {
        let server = try RedisServerProcess()
        let rig = Rig(server.endpoint, loop: try EventLoop(), limits: ClientTests.limits())
        try #require(rig.connect())
        server.freeze()
        rig.begin { await $0.record(words("INCR n", .write)) }
        rig.begin { await $0.record(words("ECHO again")) }
        rig.begin { rig in
            let both = await rig.perform([words("EXISTS k"), words("ECHO k")], tracked: true)
            rig.outcomes += both
        }
        server.end()
        #expect(rig.wait { !$0.client.isConnected })
        rig.run { rig in
            guard case .failure(.unavailable) = await rig.perform(words("INCR n", .write)) else {
                Issue.record("Without a connection nothing is executed.")
                return
            }
        }
        try server.start()
        #expect(rig.wait { $0.recorder.connects == 2 && $0.outcomes.count == 4 })
        let outcomes = rig.on { $0.outcomes }
        guard case .failure(.outcomeUnknown(.write, _))? = outcomes.first else {
            Issue.record("\(outcomes)")
            return
        }
        #expect(outcomes.dropFirst() == [.success(.bulk("again")), .success(.integer(0)), .success(.bulk("k"))])
        #expect(rig.on { $0.client.counters.repeats.value } == 2 && rig.on { $0.client.counters.reconnects.value } == 1)
        try server.run("XADD", "k", "*", "a", "b")
        #expect(rig.wait { $0.recorder.invalidated == ["k"] }, "What was repeated is tracked again.")
        rig.close()
    }

    @Test func `closing answers what is in flight first`() throws {
        let server = try RedisServerProcess()
        let rig = Rig(server.endpoint, loop: try EventLoop())
        try #require(rig.connect())
        rig.begin { rig in
            await rig.record(words("ECHO last"))
        }
        rig.close()
        rig.loop.runUntilIdle()
        #expect(rig.on { $0.outcomes } == [.success(.bulk("last"))])
        rig.run { rig in #expect(await rig.perform(words("PING")) == .failure(.unavailable(.closed))) }
    }

    @Test func `killing either connection rebuilds both`() throws {
        let server = try RedisServerProcess()
        let rig = Rig(server.endpoint, loop: try EventLoop(), limits: ClientTests.limits())
        try #require(rig.connect())
        try server.run("CLIENT", "KILL", "TYPE", "pubsub")
        #expect(rig.wait { $0.recorder.connects == 2 })
        try server.run("CLIENT", "KILL", "TYPE", "normal")
        #expect(rig.wait { $0.recorder.connects == 3 })
        #expect(rig.on { $0.client.features?.tracking } == true)
        rig.close()
    }

    @Test func `XINFO STREAM FULL in an EXEC is not too deep`() throws {
        let server = try RedisServerProcess()
        try server.run("XGROUP", "CREATE", "s", "g", "0", "MKSTREAM")
        try server.run("XADD", "s", "1-1", "a", "b")
        try server.run("XREADGROUP", "GROUP", "g", "c", "STREAMS", "s", ">")
        let rig = Rig(server.endpoint, loop: try EventLoop())
        try #require(rig.connect())
        rig.run { rig in
            let answers = await rig.perform([
                RedisCommand("MULTI", effect: .read), .xinfoStreamFull([115]), RedisCommand("EXEC", effect: .read),
                words("XAUTOCLAIM s g d 0 -", .consume),
            ])
            guard case .success(.array(let executed)) = answers[2], case .array? = executed.first else {
                Issue.record("\(answers)")
                return
            }
            guard case .success(.array(let claimed)) = answers[3] else {
                Issue.record("\(answers)")
                return
            }
            // Deleted IDs come third since 7.0.
            #expect(claimed.prefix(2) == [.bulk("0-0"), .array([.array([.bulk("1-1"), .array([.bulk("a"), .bulk("b")])])])])
        }
        rig.close()
    }
}
