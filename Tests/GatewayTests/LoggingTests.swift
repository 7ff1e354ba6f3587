// Log lines: their form, and that no text from outside can break or forge one.

import Glibc
import Logging
import Net
import Testing

@testable import Gateway

private func line(_ form: LogLine.Form, _ message: String, _ metadata: Logger.Metadata = [:], at time: Duration = .zero) -> String {
    let buffer = ByteBuffer()
    LogLine.append(to: buffer, form, time: time, level: .warning, message: message, metadata: metadata)
    return String(decoding: buffer.bytes, as: UTF8.self)
}

struct LoggingTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (951_782_399_999, "2000-02-28T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_800_000, "2000-03-01T00:00:00.000Z"), (1_709_251_199_001, "2024-02-29T23:59:59.001Z"),
        (1_709_251_200_000, "2024-03-01T00:00:00.000Z"), (1_735_689_599_999, "2024-12-31T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (4_107_456_000_000, "2100-02-28T00:00:00.000Z"),
    ])
    func `times are RFC 3339 in UTC`(milliseconds: Int, text: String) {  // By `date -u -d @…`.
        let buffer = ByteBuffer()
        LogLine.appendTime(to: buffer, .milliseconds(milliseconds))
        #expect(String(decoding: buffer.bytes, as: UTF8.self) == text)
    }

    @Test func `dates agree with the C library over two centuries, a day in seven`() {
        for day in stride(from: 0, to: 73_050, by: 7) {
            var seconds = time_t(day) * 86_400, parts = tm()
            gmtime_r(&seconds, &parts)
            let buffer = ByteBuffer()
            LogLine.appendTime(to: buffer, .seconds(seconds))
            func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + "\(number)" }
            let expected = "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T00:00:00.000Z"
            let text = String(decoding: buffer.bytes, as: UTF8.self)
            if text != expected { Issue.record("\(text) is not \(expected)") }
        }
    }

    @Test func `JSON lines are flat, with the metadata in the order of their names`() {
        #expect(
            line(.json, "sink failing", ["url": "http://x/", "attempt": "3"], at: .milliseconds(1_709_251_200_123))
                == #"{"time":"2024-03-01T00:00:00.123Z","level":"warning","message":"sink failing","attempt":"3","url":"http://x/"}"# + "\n")
        #expect(line(.json, "m", ["level": "x"]).contains(#""level":"warning","message":"m","_level":"x"}"#))
    }

    @Test func `lines for people quote what has spaces`() {
        #expect(
            line(.human, "sink failing", ["why": "timed out", "n": "3", "none": ""])
                == #"1970-01-01T00:00:00.000Z WARNING  sink failing n=3 none="" why="timed out""# + "\n")
    }

    @Test(arguments: [LogLine.Form.human, .json])
    func `no text can break a line or move a cursor`(form: LogLine.Form) {
        let evil = "a\nb\r\u{1B}[2J\u{0}\u{7F}\u{9B}1m\u{85}\u{2028}\u{202E}\" c=d \\"
        for text in [line(form, evil), line(form, "m", ["k": "\(evil)"]), line(form, "m", ["\(evil)": "v"])] {
            #expect(text.utf8.filter { $0 == 0x0A }.count == 1 && text.utf8.last == 0x0A)
            #expect(!text.utf8.contains { $0 < 0x20 && $0 != 0x0A })
            if form == .human {
                #expect(!text.unicodeScalars.contains { (0x7F..<0xA0).contains($0.value) || [0x2028, 0x202E].contains($0.value) })
            } else {
                #expect(problem(text) == nil)
            }
        }
    }

    @Test func `a reader that has stopped stops nobody, and learns what it missed`() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        let sink = StderrLog(.json, descriptor: ends[1])
        let message = String(repeating: "x", count: 3000)
        for _ in 0..<100 { sink.write(.info, message, [:]) }  // A pipe holds 64 KiB.
        #expect(sink.dropped > 50)
        var bytes = [UInt8](repeating: 0, count: 1 << 17)
        let count = read(ends[0], &bytes, bytes.count)
        #expect(count > 0)
        sink.write(.info, "again", [:])
        let more = read(ends[0], &bytes, bytes.count)
        let lines = String(decoding: bytes[..<max(more, 0)], as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.last?.contains(#""lines":"\#(sink.dropped)""#) == true)
    }

    @Test func `a line too long is cut and stays well formed`() throws {
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        defer { for end in ends { close(end) } }
        StderrLog(.json, descriptor: ends[1]).write(.info, String(repeating: "\u{1}é", count: 100_000), ["k": "v"])
        var bytes = [UInt8](repeating: 0, count: 1 << 17)
        let count = read(ends[0], &bytes, bytes.count)
        #expect(count > 100 && count <= StderrLog.lineLimit)
        #expect(problem(Array(bytes[..<max(count, 0)])) == nil)
    }

    @Test func `a logger's level and metadata are its own`() {
        let sink = StderrLog(.json, descriptor: -1)
        var one = StderrLogHandler(sink, level: .info)
        one[metadataKey: "k"] = "1"
        var two = one
        two.logLevel = .error
        two[metadataKey: "k"] = "2"
        #expect(one.logLevel == .info && one[metadataKey: "k"] == "1")
        #expect(two.logLevel == .error && two[metadataKey: "k"] == "2")
    }
}
