// How a sink is let in at its receiver: a real gateway, a receiver that asks for credentials, and a server of tokens.

import Foundation
import Support
import Testing

@Suite(.blocking) struct SinkAuthTests {
    private static func tokens(_ answer: @escaping @Sendable (Int) -> Receiver.Answer = SinkAuthTests.token) throws -> Receiver {
        try Receiver { answer($0.number) }
    }

    @Sendable private static func token(_ number: Int) -> Receiver.Answer {
        .status(200, body: "{\"access_token\":\"t\(number)\",\"token_type\":\"bearer\",\"expires_in\":3600}")
    }

    private static func oauth(_ tokens: Receiver, _ more: String = "") -> String {
        "{oauth2: {token_url: '\(tokens.url)', client_id: 'me & you', client_secret: 'hush/1+'\(more)}}"
    }

    @Test func `a fixed credential goes with every request`() throws {
        let rig = try SinkRig(["auth": "{basic: {username: test, password: '123£'}}"])
        _ = try rig.newGateway()
        _ = try rig.add(count: 3)
        try rig.waitUntilSettled()
        // RFC 7617 §2.1's own example.
        #expect(rig.receiver.deliveries.map { $0.headers["authorization"] } == Array(repeating: "Basic dGVzdDoxMjPCow==", count: 3))
        #expect(rig.receiver.deliveries.allSatisfy { $0.isSigned(with: SinkRig.secrets[0]) })
    }

    @Test func `a token's file is read again when it changes, and while it is gone the last one is used`() throws {
        let folder = try TemporaryDirectory()
        let file = "\(folder.path)/token"
        func write(_ text: String) throws { try text.write(toFile: file, atomically: true, encoding: .utf8) }
        try write("one\n")
        let rig = try SinkRig(["auth": "{bearer: 'file:\(file)'}"])
        let gateway = try rig.newGateway()
        try rig.add()
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.map { $0.headers["authorization"] } == ["Bearer one"])
        try write("two")
        try rig.wait("the new one is used") {
            try rig.add()
            try rig.waitUntilSettled()
            return rig.receiver.deliveries.last?.headers["authorization"] == "Bearer two"
        }
        try FileManager.default.removeItem(atPath: file)
        try rig.wait("it is missed") {
            try rig.add()
            return gateway.log.contains("a credential can't be read again")
        }
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.last?.headers["authorization"] == "Bearer two")
    }

    @Test func `one token is fetched for all, and another when the receiver answers 401`() throws {
        let tokens = try Self.tokens()
        let rig = try SinkRig(["auth": Self.oauth(tokens, ", scope: 'a b', audience: 'urn:x'")]) {
            $0.headers["authorization"] == "Bearer t2" ? .status(200) : .status(401)
        }
        let ids = try rig.add(count: 20)
        let gateway = try rig.newGateway()
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.allSatisfy { $0.attempt == 1 })
        #expect(rig.receiver.confirmed == Set(ids))
        #expect(tokens.deliveries.count == 2)
        for request in tokens.deliveries {
            #expect(String(decoding: request.body, as: UTF8.self) == "grant_type=client_credentials&scope=a%20b&audience=urn%3Ax")
            // RFC 6749 §2.3.1: both are encoded as in a form first.
            #expect(request.headers["authorization"] == "Basic " + Data("me%20%26%20you:hush%2F1%2B".utf8).base64EncodedString())
            #expect(request.headers["content-type"] == "application/x-www-form-urlencoded" && request.headers["webhook-id"] == nil)
        }
        #expect(!gateway.log.contains("hush") && !gateway.log.contains("t2\""))
        tokens.stop()
    }

    @Test func `a 401 to a new token too is the receiver's word`() throws {
        let tokens = try Self.tokens()
        let rig = try SinkRig(["auth": Self.oauth(tokens, ", client_auth: client_secret_post"), "retry": "{base_ms: 50, max_ms: 50, max_deliveries: 2}"]) { _ in .status(401) }
        let gateway = try rig.newGateway()
        let id = try rig.add()
        try rig.waitUntilSettled()
        #expect(try rig.deadLetters(gateway)[id]?["last_status"] == "401")
        #expect(rig.receiver.deliveries.map(\.attempt) == [1, 1, 2, 2])
        #expect(rig.receiver.deliveries.map { $0.headers["authorization"] } == ["Bearer t1", "Bearer t2", "Bearer t2", "Bearer t3"])
        #expect(tokens.deliveries.allSatisfy { String(decoding: $0.body, as: UTF8.self).hasSuffix("&client_id=me%20%26%20you&client_secret=hush%2F1%2B") })
        #expect(tokens.deliveries.allSatisfy { $0.headers["authorization"] == nil })
        tokens.stop()
    }

    @Test func `while there is no token no attempt is spent, however long that is`() throws {
        let tokens = try Self.tokens { number in
            switch number {
            case 1: .reset
            case 2: .status(401, body: #"{"error":"invalid_client","error_description":"hush/1+"}"#)
            case 3: .status(200, body: "{}")
            case 4: .status(200, body: #"{"access_token":"a b","expires_in":"60"}"#)
            case 5: .status(200, body: #"{"access_token":"x","token_type":"mac"}"#)
            default: SinkAuthTests.token(number)
            }
        }
        let rig = try SinkRig(["auth": Self.oauth(tokens), "retry": "{base_ms: 50, max_ms: 100, max_deliveries: 1}"])
        let gateway = try rig.newGateway()
        let ids = try rig.add(count: 5)
        try rig.waitUntilSettled()
        #expect(rig.receiver.deliveries.count == 5 && rig.receiver.deliveries.allSatisfy { $0.attempt == 1 })
        #expect(tokens.deliveries.count >= 6)
        #expect(try rig.deadLetters(gateway).isEmpty)
        try rig.expectPromise(ids, gateway)
        #expect(gateway.log.contains("the token endpoint answered 401 (invalid_client)") && !gateway.log.contains("hush"))
        tokens.stop()
    }
}
