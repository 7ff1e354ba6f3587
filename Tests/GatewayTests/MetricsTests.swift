// `/metrics` against those who name what is on it: the limits, and README's table.

import Foundation
import Net
import Redis
import Testing

@testable import Gateway
@testable import HTTP

struct MetricsTests {
    private let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    private func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: root.appending(path: path)), as: UTF8.self)
    }

    /// The page of a gateway where everything is bounded, with one sink.
    private func page(_ http: HTTPCounters = HTTPCounters()) -> String {
        var snapshot = LoopSnapshot()
        snapshot.http = http
        snapshot.redis = RedisCounters().samples
        snapshot.sinks = [SinkSnapshot(sink: "s", stream: "t", status: .running, counters: SinkCounters(), endpoint: SinkSnapshot.Endpoint())]
        let page = ByteBuffer()
        MetricsPage([snapshot], WaiterCount(limit: 1, streamLimit: 1, clientLimit: 1)).write(to: page)
        return String(decoding: page.bytes, as: UTF8.self)
    }

    private func names(in text: some StringProtocol) -> Set<String> {
        Set(String(text).matches(of: /sluice_[a-z_]+[a-z]/).map { String($0.output) })
    }

    @Test func `every metric that a limit names is on the page`() throws {
        let (named, shown) = (names(in: try text("Sources/Gateway/Config/Limits.swift")), page())
        #expect(named.count > 10)
        for name in named.sorted() { #expect(shown.contains("# TYPE \(name) "), "\(name)") }
    }

    @Test func `every metric of README's table is on the page`() throws {
        let readme = try text("README.md")
        let begin = try #require(readme.firstRange(of: "**Metrics.**")).upperBound
        let end = try #require(readme[begin...].firstRange(of: "**Ending.**")).lowerBound
        let (named, shown) = (names(in: readme[begin..<end]), page())
        #expect(named.count > 10)
        for name in named.sorted() { #expect(shown.contains("# TYPE \(name) "), "\(name)") }
        for row in readme[begin..<end].split(separator: "\n") {
            // `…_errors_total` goes on where the row's first name does, by some of its words.
            guard let first = row.firstMatch(of: /`(sluice_[a-z_]+)/)?.output.1 else { continue }
            let words = first.split(separator: "_")
            for match in row.matches(of: /`…(_[a-z_]+)/) {
                let names = (1..<words.count).map { words[..<$0].joined(separator: "_") + match.output.1 }
                #expect(names.contains { shown.contains("# TYPE \($0) ") }, "\(match.output.0)")
            }
        }
    }

    @Test func `requests that can't be taken are counted by what they are told, those that break off are not`() {
        var http = HTTPCounters()
        for (error, count) in [(HTTPError.headTooLarge, 1), (.tooManyHeaders, 2), (.targetTooLong, 4), (.connectionLost, 8)] {
            for _ in 0..<count { http.count(error) }
        }
        let lines = page(http).split(separator: "\n").filter { $0.hasPrefix("sluice_http_rejected_total") }
        #expect(lines == [
            #"sluice_http_rejected_total{code="TOO_LARGE",status="414"} 4"#, #"sluice_http_rejected_total{code="TOO_LARGE",status="431"} 3"#,
        ])
    }
}
