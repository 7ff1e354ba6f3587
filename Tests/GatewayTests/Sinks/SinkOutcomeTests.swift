// What an answer means (SINKS.md §2), and what `Retry-After` says (RFC 9110 §10.2.3).

import Testing

@testable import Gateway
@testable import Net
@testable import Webhook

struct SinkOutcomeTests {
    private func outcome(
        _ status: Int, _ retryAfter: String? = nil, body: String = "", isCut: Bool = false, honours: Bool = false
    ) -> SinkOutcome {
        var definition = SinkDefinition(name: "s")
        definition.deadLetterOn = [400, 413, 503]
        definition.honoursReplies = honours
        return SinkOutcome(
            .answered(WebhookAnswer(status: status, retryAfter: retryAfter, body: Array(body.utf8), bodyTruncated: isCut)),
            definition, wallTime: .seconds(784_111_777))
    }

    @Test func `a 2xx's body is honoured where the sink says so, and only where it is clear`() {
        let retry = SinkOutcome.retry(status: 200, error: "status 200, which says RETRY")
        #expect(outcome(200, body: #"{"status":"RETRY"}"#, honours: true) == retry)
        #expect(outcome(200, body: #" {"why":{"a":[1]}, "status" : "\u0052ETRY"} "#, honours: true) == retry)
        #expect(outcome(202, body: #"{"status":"DROP"}"#, honours: true) == .dropped(status: 202))
        #expect(outcome(200, body: #"{"status":"RETRY"}"#) == .success(status: 200))
        #expect(outcome(500, body: #"{"status":"DROP"}"#, honours: true) == .retry(status: 500, error: "status 500"))
        for body in [
            "", "{}", "RETRY", #"{"status":"SUCCESS"}"#, #"{"status":"retry"}"#, #"{"status":null}"#, #"{"status":"RETRY""#,
            #"{"status":"RETRY","status":"RETRY"}"#, #"[{"status":"RETRY"}]"#, #"{"status":"RETRY"} x"#, #"{"a":{"status":"DROP"}}"#,
        ] {
            #expect(outcome(200, body: body, honours: true) == .success(status: 200), "\(body)")
        }
        #expect(outcome(200, body: #"{"status":"RETRY"}"#, isCut: true, honours: true) == .success(status: 200))
    }

    @Test func `only a 2xx acknowledges`() {
        for status in 100...599 {
            if case .success = outcome(status) {
                #expect((200..<300).contains(status))
            } else {
                #expect(!(200..<300).contains(status))
            }
        }
        #expect(outcome(204, "5") == .success(status: 204))
    }

    @Test func `a redirect is a failure like any other, and 410 ends the sink`() {
        #expect(outcome(301) == .retry(status: 301, error: "status 301"))
        #expect(outcome(500) == .retry(status: 500, error: "status 500"))
        #expect(outcome(410) == .gone)
        #expect(outcome(410, "10") == .gone)
    }

    @Test func `a 429 and whatever carries Retry-After spends no attempt`() {
        #expect(outcome(429) == .throttled(status: 429, retryAfter: nil, spends: false))
        #expect(outcome(429, "junk") == .throttled(status: 429, retryAfter: nil, spends: false))
        #expect(outcome(500, "7") == .throttled(status: 500, retryAfter: .seconds(7), spends: false))
        #expect(outcome(301, "7") == .throttled(status: 301, retryAfter: .seconds(7), spends: false))
        #expect(outcome(502) == .throttled(status: 502, retryAfter: nil, spends: true))
        #expect(outcome(502, "soon") == .throttled(status: 502, retryAfter: nil, spends: true))
    }

    @Test func `a final status is final, whatever it carries`() {
        #expect(outcome(413) == .final(status: 413))
        #expect(outcome(503, "7") == .final(status: 503))
    }

    @Test func `our own faults are told from the receiver's`() {
        func outcome(_ failure: WebhookFailure) -> SinkOutcome {
            SinkOutcome(.failed(failure, message: "m"), SinkDefinition(name: "s"), wallTime: .zero)
        }
        for failure in [WebhookFailure.resolverDown, .noDescriptors, .outOfMemory, .noCredential, .cancelled] {
            #expect(outcome(failure) == .ours(error: "m"))
        }
        for failure in [WebhookFailure.connect, .timeout, .tls, .brokenReply, .hostNotFound, .refusedTarget] {
            #expect(outcome(failure) == .retry(status: nil, error: "m"))
        }
    }

    // The date is RFC 9110 §5.6.7's own example, 784111777 seconds after 1970.
    @Test func `a date is read in the forms of the RFC`() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            #expect(RetryAfter.unixSeconds(text) == 784_111_777)
            #expect(RetryAfter.delay(text, wallTime: .seconds(784_111_770)) == .seconds(7))
            #expect(RetryAfter.delay(text, wallTime: .seconds(784_111_999)) == .zero)
            #expect(RetryAfter.delay(text, wallTime: .zero) == .seconds(3600))
        }
    }

    // `date -u -d '2028-02-29 23:59:59' +%s`
    @Test func `a leap day is read, in RFC 850's form too`() {
        #expect(RetryAfter.unixSeconds("Tuesday, 29-Feb-28 23:59:59 GMT") == 1_835_481_599)
        #expect(RetryAfter.unixSeconds("Tue, 29 Feb 2028 23:59:59 GMT") == 1_835_481_599)
    }

    @Test func `seconds are cut to an hour and junk is nothing`() {
        func delay(_ text: String) -> Duration? { RetryAfter.delay(text, wallTime: .zero) }
        #expect(delay("0") == .zero)
        #expect(delay(" 120 ") == .seconds(120))
        #expect(delay("86400") == .seconds(3600))
        #expect(delay("99999999999999999999999999") == .seconds(3600))
        for junk in ["", " ", "-5", "1.5", "1 2", "soon", "5s", "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 25:49:37 GMT"] {
            #expect(delay(junk) == nil, "\(junk)")
        }
    }

    @Test func `a backoff grows to its maximum, and jitter is only ever added`() {
        var retry = SinkDefinition.Retry()
        retry.max = .seconds(60)
        var backoff = SinkBackoff(retry, seed: 1)
        #expect((1...8).map { backoff.least(after: $0) } == [1, 2, 4, 8, 16, 32, 60, 60].map { Duration.seconds($0) })
        for failures in [1, 5, 1000] {
            let least = backoff.least(after: failures)
            var seen: Set<Duration> = []
            for _ in 0..<100 {
                let delay = backoff.delay(after: failures)
                #expect(delay >= least && delay <= least * 1.2)
                seen.insert(delay)
            }
            #expect(seen.count > 50)
        }
    }
}
