// The tests' look at replies: what it lets through and what it does not. And openapi.yaml's own examples.

import Support
import Testing
import Yams

struct ContractTests {
    private let contract: Contract

    init() throws {
        contract = try Contract(yaml: """
            paths:
              /things/{name}:
                parameters: [{name: name, in: path, schema: {type: string}}]
                get:
                  operationId: showThing
                  parameters: [{name: count, in: query, schema: {type: integer}}]
                  responses:
                    "200":
                      headers: {Sluice-Block-Ms: {schema: {type: integer}}, Sluice-Kind: {required: true, schema: {type: string}}}
                      content: {application/json: {schema: {$ref: "#/components/schemas/Thing"}}}
                    "503": {$ref: "#/components/responses/Problem"}
                    default: {$ref: "#/components/responses/Problem"}
              /things/first:
                get:
                  operationId: showFirst
                  responses: {"200": {content: {text/plain: {schema: {type: string}}}}}
            components:
              responses:
                Problem:
                  headers: {Retry-After: {schema: {type: integer}}}
                  content: {application/problem+json: {schema: {$ref: "#/components/schemas/Problem"}}}
              schemas:
                Thing: {type: object, required: [n], properties: {n: {type: integer}}}
                Problem:
                  type: object
                  required: [type, status, code, request_id]
                  properties: {type: {}, status: {type: integer}, code: {enum: [NOT_FOUND, OVERLOADED, METHOD_NOT_ALLOWED]}, request_id: {}}
            """)
    }

    private static let headers = [
        "content-type": "application/json", "cache-control": "no-store", "sluice-kind": "a", "content-length": "8", "date": "now",
    ]

    /// - Parameter headers: instead of the usual ones; an empty one is left out.
    private func reply(_ status: Int = 200, _ body: String = "{\"n\":1}\n", _ headers: [String: String] = [:]) -> Reply {
        var all = ContractTests.headers
        for (name, value) in headers { all[name] = value.isEmpty ? nil : value }
        return Reply(status: status, headers: all, body: Array(body.utf8))
    }

    private func problem(_ status: Int, _ code: String, says: Int? = nil, _ headers: [String: String] = [:]) -> Reply {
        var all: [String: String] = ["content-type": "application/problem+json", "x-request-id": "a", "sluice-kind": ""]
        for (name, value) in headers { all[name] = value }
        return reply(status, "{\"type\":\"/docs/errors#\(code)\",\"status\":\(says ?? status),\"code\":\"\(code)\",\"request_id\":\"a\"}\n", all)
    }

    @Test func `what is as documented passes`() {
        #expect(contract.violations(of: reply(), to: "GET", "/things/a?count=1") == [])
        #expect(contract.violations(of: reply(200, "{\"n\":1}\n", ["sluice-block-ms": "5", "x-request-id": "a"]), to: "GET", "/things/a%2Fb") == [])
        #expect(contract.violations(of: reply(200, ""), to: "HEAD", "/things/a") == [])
        #expect(contract.violations(of: reply(200, "hello", ["content-type": "text/plain", "sluice-kind": ""]), to: "GET", "/things/first") == [])
        #expect(contract.violations(of: problem(404, "NOT_FOUND"), to: "GET", "/things/a?what") == [])
        #expect(contract.violations(of: problem(404, "NOT_FOUND"), to: "GET", "/nothing") == [])
        #expect(contract.violations(of: problem(405, "METHOD_NOT_ALLOWED", ["allow": "GET"]), to: "DELETE", "/things/a") == [])
        #expect(contract.violations(of: reply(204, "", ["allow": "GET"]), to: "OPTIONS", "/things/a") == [])
        #expect(contract.violations(of: problem(503, "OVERLOADED", ["retry-after": "1"]), to: "GET", "/things/a") == [])
    }

    @Test func `what is not as documented is told`() {
        for (reply, method, target, wrong) in [
            (reply(202), "GET", "/things/a", "may not answer 202"),
            (reply(200, "{}\n"), "GET", "/things/a", "'n' is missing"),
            (reply(200, "{\"n\":1,\"m\":2}\n"), "GET", "/things/a", "/m: an undocumented member"),
            (reply(200, "{\"n\":1}"), "GET", "/things/a", "line feed"),
            (reply(200, "{\"n\":1\n"), "GET", "/things/a", "no JSON"),
            (reply(200, "{\"n\":1}\n", ["content-type": "text/html"]), "GET", "/things/a", "not 'text/html'"),
            (reply(200, "{\"n\":1}\n", ["content-type": ""]), "GET", "/things/a", "not ''"),
            (reply(200, "{\"n\":1}\n", ["sluice-kind": ""]), "GET", "/things/a", "comes with sluice-kind"),
            (reply(200, "{\"n\":1}\n", ["sluice-block-ms": "a"]), "GET", "/things/a", "sluice-block-ms"),
            (reply(200, "{\"n\":1}\n", ["sluice-other": "a"]), "GET", "/things/a", "undocumented header sluice-other"),
            (reply(200, "{\"n\":1}\n", ["cache-control": ""]), "GET", "/things/a", "no-store"),
            (reply(), "GET", "/things/a?cuont=1", "'cuont' was taken"),
            (reply(), "GET", "/things/first", "not 'application/json'"),
            (reply(), "GET", "/nothing", "in no document"), (reply(), "POST", "/things/a", "in no document"),
            (problem(404, "NOT_FOUND", says: 400), "GET", "/things/a", "another status"),
            (problem(404, "NOT_FOUND", ["x-request-id": "b"]), "GET", "/things/a", "X-Request-Id"),
            (problem(404, "NONE"), "GET", "/nothing", "/code"),
            (problem(405, "METHOD_NOT_ALLOWED"), "POST", "/things/a", "Allow"),
            (problem(503, "OVERLOADED"), "GET", "/things/a", "Retry-After"),
            (reply(204, ""), "OPTIONS", "/things/a", "Allow"),
        ] {
            let found = contract.violations(of: reply, to: method, target)
            #expect(found.contains { $0.contains(wrong) }, "\(wrong): \(found)")
        }
    }

    @Test func `a problem without a call is held against the problem's schema`() {
        #expect(contract.violationsOfProblem(problem(404, "NOT_FOUND")) == [])
        #expect(contract.violationsOfProblem(problem(404, "NONE")) != [])
        #expect(contract.violationsOfProblem(reply(400)) != [])
    }

    @Test func `the examples of openapi.yaml are as its schemas say`() throws {
        let contract = try Contract.shared.get()
        let examples = try contract.examples()
        #expect(examples.count > 50)
        for example in examples {
            let wrong = example.schema.violations(of: example.value, contract.definitions, isClosed: true)
            #expect(wrong == [], "\(example.place)")
        }
    }
}
