// Redis fails between two commands of one call, when the first was executed: what the client is told must be true of
// that one. A Redis that answers as the test says, since a real one can't be made to die at that moment.

import Support
import Testing

@Suite(.blocking, .serialized) struct HalfDoneTests {
    enum Failing: CaseIterable, Sendable {
        case hangsUp, isSilent

        var answer: ScriptedRedis.Answer { self == .hangsUp ? .hangUp : .silence }
    }

    /// Answers what `answers` has for a command by its name, in turn; whatever comes after the last of them fails.
    private final class Script: @unchecked Sendable {
        private var answers: [String: [String]]  // Used by the server's thread alone.
        private let failing: Failing
        private var isMute = false

        init(_ answers: [String: [String]], _ failing: Failing) { (self.answers, self.failing) = (answers, failing) }

        func answer(_ words: [String]) -> ScriptedRedis.Answer {
            if isMute { return .silence }  // What is not answered holds up all that comes behind it.
            let name = words[0] == "EVALSHA" && !words.contains("S") ? "" : words[0]  // Not the gateway's own work.
            guard var left = answers[name] else { return .usual }
            guard !left.isEmpty else {
                isMute = failing == .isSilent
                return failing.answer
            }
            defer { answers[name] = left }
            return .reply(left.removeFirst())
        }
    }

    /// This process was given no time, in each round.
    private struct Standstill: Error {}

    /// What the call is answered, by a gateway in front of such a Redis.
    private func reply(
        _ failing: Failing, _ answers: [String: [String]], _ method: String, _ path: String, _ json: String? = nil
    ) throws -> Reply {
        // The silent one is waited for as long as that.
        let timeout = failing == .isSilent ? "1000" : "20000"
        for _ in 0..<5 {
            let script = Script(answers, failing)
            let redis = try ScriptedServer { script.answer($0) }
            let gateway = try GatewayProcess(["--redis", redis.url, "--loops", "1", "--redis-timeout-ms", timeout])
            let client = TestClient(port: gateway.port)
            try waitUntil("the gateway reaches Redis") { try client.get("/readyz").status == 200 }
            let type = json == nil ? [:] : ["Content-Type": "application/json"]
            let pending = client.begin(method, "/v1/streams/S\(path)", body: json.map { Array($0.utf8) }, headers: type)
            var (last, standstill) = (ContinuousClock.now, Duration.zero)
            try waitUntil("it is answered") {
                let now = ContinuousClock.now
                (standstill, last) = (max(standstill, now - last), now)
                return pending.isDone
            }
            let reply = try pending.wait()
            // Else the script may have answered too late: it is of this process.
            if failing == .hangsUp || standstill < .milliseconds(500) { return withExtendedLifetime((redis, gateway)) { reply } }
        }
        throw Standstill()
    }

    private let ids = #"{"ids":["1-0","2-0","3-0"]}"#

    @Test(arguments: Failing.allCases) func `an ack is told, whatever becomes of the group's numbers`(failing: Failing) throws {
        let reply = try reply(failing, ["XACK": [":3\r\n"], "XINFO": []], "POST", "/groups/g/ack?stats", ids)
        #expect(reply.status == 200 && reply.json == ["acked": 3, "group": nil], "\(reply.text)")
    }

    @Test(arguments: Failing.allCases) func `an ack that deletes is told, whatever becomes of the group's numbers`(failing: Failing) throws {
        let done = "*2\r\n:1\r\n*3\r\n:1\r\n:-1\r\n:-1\r\n"
        let reply = try reply(failing, ["EVALSHA": [done], "XINFO": []], "POST", "/groups/g/ack?delete&stats", ids)
        #expect(reply.status == 200 && reply.json["acked"] == 1 && reply.json["group"] == nil, "\(reply.text)")
        #expect(reply.json["results"].array.map { $0["status"] } == ["deleted", "not_found", "not_found"])
    }

    @Test(arguments: Failing.allCases) func `an ack that found nothing claims nothing`(failing: Failing) throws {
        let reply = try reply(failing, ["XACK": [":0\r\n"], "XINFO": []], "POST", "/groups/g/ack", ids)
        #expect(reply.status == 503 && reply.code == "REDIS_UNAVAILABLE", "\(reply.text)")
    }

    @Test(arguments: Failing.allCases) func `what was claimed is told, whatever becomes of the group's numbers`(failing: Failing) throws {
        let row = "*5\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n:2\r\n:70\r\n$1\r\na\r\n"
        let claim = try reply(
            failing, ["EVALSHA": ["*2\r\n*1\r\n\(row)*0\r\n"], "XINFO": []], "POST", "/groups/g/consumers/c/claim?stats", ids)
        #expect(claim.status == 200 && claim.ids == ["1-0"] && claim.json["group"] == nil, "\(claim.text)")
        let autoclaim = try reply(
            failing, ["EVALSHA": ["*3\r\n$3\r\n0-0\r\n*1\r\n\(row)*0\r\n"], "XINFO": []], "POST", "/groups/g/consumers/c/autoclaim?stats")
        #expect(autoclaim.status == 200 && autoclaim.ids == ["1-0"] && autoclaim.json["group"] == nil, "\(autoclaim.text)")
    }

    @Test(arguments: Failing.allCases) func `what was read is told, whatever becomes of the group's numbers`(failing: Failing) throws {
        let found = "*1\r\n*2\r\n$1\r\nS\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nn\r\n$1\r\n1\r\n"
        let reply = try reply(
            failing, ["XREADGROUP": [found], "XINFO": []], "POST", "/groups/g/consumers/c/read?stats&unowned=false")
        #expect(reply.status == 200 && reply.numbers == ["1"] && reply.json["group"] == nil, "\(reply.text)")
    }

    @Test(arguments: Failing.allCases) func `of a write that was not answered itself the outcome is unknown`(failing: Failing) throws {
        let reply = try reply(failing, ["XACK": [], "XINFO": []], "POST", "/groups/g/ack?stats", ids)
        #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
    }

    /// Two slices of 512 may be under way; the third is not sent to wait as long.
    @Test func `the rest of a batch is not sent to a Redis that hangs`() throws {
        let messages = [String](repeating: #"{"fields":{"n":"1"}}"#, count: 1100).joined(separator: ",")
        let reply = try reply(.isSilent, ["XADD": []], "POST", "/messages", "{\"messages\":[\(messages)]}")
        let codes = reply.json["results"].array.map { $0["error"]["code"].string }
        #expect(reply.code == "OUTCOME_UNKNOWN" && codes.count == 1100)
        #expect(codes.prefix(1024).allSatisfy { $0 == "OUTCOME_UNKNOWN" } && codes.suffix(76).allSatisfy { $0 == "REDIS_UNAVAILABLE" })
    }

    @Test(arguments: Failing.allCases) func `a deletion that fails between two slices says how far it has come`(failing: Failing) throws {
        let slice = "*2\r\n:0\r\n*2\r\n:1\r\n:1\r\n"
        let reply = try reply(failing, ["EVALSHA": [slice]], "POST", "/delete?ref=acked", ids)
        #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
        #expect(reply.json["detail"].string?.contains("first 2 of 3") == true, "\(reply.text)")
    }

    @Test(arguments: Failing.allCases) func `a consumer whose messages are handed on in part says so`(failing: Failing) throws {
        let slice = "*3\r\n$4\r\nmore\r\n:1000\r\n:0\r\n"
        let reply = try reply(failing, ["EVALSHA": [slice]], "DELETE", "/groups/g/consumers/c")
        #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
        #expect(reply.json["detail"].string?.contains("nothing is lost") == true, "\(reply.text)")
    }

    @Test(arguments: Failing.allCases) func `a group that was created is not called missing`(failing: Failing) throws {
        let reply = try reply(failing, ["XGROUP": ["+OK\r\n"], "XINFO": []], "PUT", "/groups/g?mkstream")
        #expect(reply.status == 504 && reply.code == "OUTCOME_UNKNOWN" && reply.json["retryable"] == true, "\(reply.text)")
        #expect(reply.json["detail"].string?.contains("was created") == true, "\(reply.text)")
    }
}
