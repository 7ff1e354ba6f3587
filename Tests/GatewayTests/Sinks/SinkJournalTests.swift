// What is remembered of attempts until it is told.

import Testing

@testable import Gateway
@testable import Redis
@testable import Webhook

struct SinkJournalTests {
    private let journal = SinkJournal()

    private func end(_ number: Int, _ status: Int) {
        let answer = WebhookAnswer(status: status, retryAfter: nil, body: [], bodyTruncated: false)
        let result = WebhookResult(outcome: .answered(answer), duration: .milliseconds(7), newConnection: false)
        let outcome = SinkOutcome(result.outcome, SinkDefinition(name: "s"), wallTime: .zero)
        journal.ended(.init(stream: 0, id: StreamID(UInt64(number), 0)), 1, result, outcome, wall: .milliseconds(number))
    }

    @Test func `failures are all kept up to a bound, the latest of them, and of successes a few`() {
        for number in 1...1000 { end(number, number % 2 == 0 ? 200 : 500) }
        #expect(journal.failures.count <= 200 && journal.failuresInARow == 0)
        journal.decided { _ in nil }
        let (failures, successes) = journal.take()
        let failed: [UInt64] = failures.map { $0.key.id.milliseconds }
        let succeeded: [UInt64] = successes.map { $0.key.id.milliseconds }
        #expect(failed == Array(stride(from: 801, through: 999, by: 2)))
        #expect(succeeded == Array(stride(from: 2, through: 20, by: 2)))
        #expect(journal.take().failures.isEmpty && journal.lastSuccess == .milliseconds(1000))
    }

    @Test func `a failure is told once its next attempt is decided, and not before`() {
        var told = 0
        journal.changed = { told += 1 }
        end(1, 500)
        end(2, 503)
        #expect(told == 1)
        #expect(journal.take().failures.isEmpty && told == 2)  // Asked again, since they are still to come.
        journal.decided { $0.id.milliseconds == 1 ? .seconds(9) : nil }
        end(3, 500)
        let rows = journal.take().failures
        let nexts: [Duration?] = rows.map { $0.next }
        #expect(nexts == [Duration.seconds(9), nil])
        #expect(journal.failuresInARow == 3)
        journal.decided { _ in .seconds(5) }
        #expect(journal.take().failures.first?.next == .seconds(5))
        #expect(journal.lastFailure?.next == .seconds(5))
        end(4, 200)
        #expect(journal.failuresInARow == 0 && journal.take().successes.count == 1)
    }

    @Test func `a row is JSON whatever is in it`() throws {
        end(5, 500)
        journal.decided { _ in .seconds(2) }
        let row = try #require(journal.take().failures.first).json(stream: "a\"\u{7}é", replica: "h:1")
        let json = try #require(row.withUnsafeBytes { JSONRow($0) })
        #expect(json["stream"]?.text == "a\"\u{7}é" && json["id"]?.text == "5-0" && json["status"]?.integer == 500)
        #expect(json["next_attempt_ms"]?.integer == 2000 && json["ms"]?.integer == 7 && json["outcome"]?.text == "retry")
    }

    @Test func `a report and a stop read back as they were written`() throws {
        var report = SinkReport()
        report.replica = "h:1"
        report.state = .backingOff
        report.until = 5
        report.lastError = "status \"500\""
        report.problems = [("s", "d")]
        report.counters = [("delivered", 3)]
        report.lastFailure = #"{"id":"1-0","status":null}"#
        let read = try #require(report.json.withUnsafeBytes { SinkReport(json: $0) })
        #expect(read.json == report.json && read.count("delivered") == 3 && read.problems[0].detail == "d")
        let stop = SinkStop(.disabled, "gone \"for good\"", since: .seconds(1), fingerprint: "f")
        let again = Array(stop.json.utf8).withUnsafeBytes { SinkStop(json: $0) }
        #expect(again == stop && stop.concerns("f") && !stop.concerns("g"))
        #expect(SinkStop(.paused, "", since: .zero).concerns("g"))
        for junk in ["", "null", "[]", "{}", #"{"state":"other"}"#, "{"] {
            #expect(Array(junk.utf8).withUnsafeBytes { SinkStop(json: $0) } == nil)
            #expect(Array(junk.utf8).withUnsafeBytes { SinkReport(json: $0) }?.json == nil)
        }
    }
}
