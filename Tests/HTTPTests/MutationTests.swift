// Input that means no good: random and mutated heads and bodies, placed so that a read past their end
// touches an unmapped page and kills the test (the way picohttpparser's tests do it).

import Glibc
import Net
import Testing

@testable import HTTP

/// Two pages, of which the second may not be touched.
private final class Fence {
    private let base: UnsafeMutableRawPointer
    private static let page = 4096
    private static let pages = 16

    init() {
        let size = Fence.page * (Fence.pages + 1)
        base = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        mprotect(base + Fence.page * Fence.pages, Fence.page, PROT_NONE)
    }

    deinit { munmap(base, Fence.page * (Fence.pages + 1)) }

    /// `bytes`, ending where the mapped pages end.
    func place(_ bytes: [UInt8]) -> UnsafeRawBufferPointer {
        let start = base + Fence.page * Fence.pages - bytes.count
        start.copyMemory(from: bytes, byteCount: bytes.count)
        return UnsafeRawBufferPointer(start: start, count: bytes.count)
    }
}

struct MutationTests {
    private static let heads = [
        "GET /a?b=c HTTP/1.1\r\nHost: h:80\r\nX-Long: a value, of more than sixteen bytes\r\nX: \r\n\r\n",
        "POST http://[::1]:80/x%41 HTTP/1.1\r\nHost: h%41\r\nContent-Length: 123456\r\nConnection: a, close\r\n\r\n",
        "PUT / HTTP/1.0\r\nTransfer-Encoding: gzip, chunked\r\nExpect: 100-continue\r\n\r\n",
    ]
    private static let chunks = "5;a=b\r\nhello\r\n0A \t;x\r\n0123456789\r\n000\r\nT: v\r\nU: w\r\n\r\n"
    /// What grammars turn on.
    private static let spice = Array("\r\n\t :/?#%[]@*,;=+0aFg\u{0}\u{7f}".utf8) + [0x80, 0xff]

    private func mutate(_ text: String, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = Array(text.utf8)
        for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
            let place = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0: bytes[place] = MutationTests.spice.randomElement(using: &random) ?? 0
            case 1: bytes[place] = UInt8.random(in: 0...255, using: &random)
            case 2: bytes.remove(at: place)
            case 3: bytes.insert(MutationTests.spice.randomElement(using: &random) ?? 0, at: place)
            default: bytes.removeSubrange(place...)
            }
        }
        return bytes
    }

    @Test func `no head, whole or cut, is read past its end, and every split ends alike`() {
        let seed = seed()
        var random = SeededGenerator(state: seed)
        let fence = Fence()
        for _ in 0..<20_000 {
            let bytes = mutate(MutationTests.heads.randomElement(using: &random) ?? "", &random)
            let placed = fence.place(bytes)
            var head = RequestHead()
            let whole = outcome { () throws(HTTPError) in try head.parse(placed, HTTPLimits()) }
            if whole == nil {
                // What was taken names stretches within it.
                for field in head.fields { #expect(Int(field.valueEnd) <= bytes.count && field.valueStart <= field.valueEnd) }
                #expect(head.path.end <= bytes.count && head.host.end <= bytes.count, "SEED=\(seed)")
            }
            var finder = HeadFinder()
            let atOnce = look(&finder, placed, bytes.count)
            var stepwise = HeadFinder()
            var step: String?
            for length in 0...bytes.count where step == nil || step == "incomplete" {
                step = look(&stepwise, placed, length)
            }
            // An early refusal may come before the end is seen, and with another reason.
            if case "head" = atOnce?.prefix(4) { #expect(step == atOnce || whole != nil, "SEED=\(seed)") }
        }
    }

    @Test func `no chunk is read past its end, and every split decodes alike`() {
        let seed = seed()
        var random = SeededGenerator(state: seed)
        let fence = Fence()
        let limits = HTTPLimits.Framing(HTTPLimits())
        for _ in 0..<20_000 {
            let bytes = mutate(MutationTests.chunks, &random)
            let placed = fence.place(bytes)
            let whole = decode(placed, [bytes.count], limits)
            #expect(decode(placed, Array(1...max(bytes.count, 1)), limits) == whole, "SEED=\(seed)")
        }
    }

    @Test func `hosts and percent-encoding are not read past their end`() {
        let seed = seed()
        var random = SeededGenerator(state: seed)
        let fence = Fence()
        for _ in 0..<20_000 {
            let text = ["[::1]:80", "a.b%41:80", "%41+b%2", "a=b&c=%"].randomElement(using: &random) ?? ""
            let placed = fence.place(mutate(text, &random))
            _ = Authority.isValid(placed)
            _ = outcome { () throws(HTTPError) in _ = try percentDecode(placed, plusIsSpace: true) }
            for pair in PairSequence(placed, .form) { _ = pair.hasName("a") }
        }
    }

    @Test func `mutated requests on a connection leave nothing behind`() throws {
        let seed = seed()
        var random = SeededGenerator(state: seed)
        let harness = try Harness(echo)
        for _ in 0..<500 {
            harness.client = harness.connect()
            harness.send(mutate(MutationTests.heads[0] + MutationTests.heads[1], &random))
            harness.send(mutate("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + MutationTests.chunks, &random))
            _ = harness.receive()
        }
        harness.hangUp()
        #expect(harness.server.counters.open == 0 && harness.server.counters.inFlight == 0, "SEED=\(seed)")
    }

    // MARK: Outcomes

    private func outcome(_ body: () throws(HTTPError) -> Void) -> HTTPError? {
        do throws(HTTPError) {
            try body()
            return nil
        } catch {
            return error
        }
    }

    private func look(_ finder: inout HeadFinder, _ bytes: UnsafeRawBufferPointer, _ length: Int) -> String? {
        do throws(HTTPError) {
            return switch try finder.look(at: bytes.part(0, length), HTTPLimits()) {
            case .head(let length): "head \(length)"
            case .emptyLine: "empty"
            case .incomplete: "incomplete"
            }
        } catch {
            return "\(error)"
        }
    }

    /// Data and end as text, when the bytes come in stretches that end at `ends`.
    private func decode(_ bytes: UnsafeRawBufferPointer, _ ends: [Int], _ limits: HTTPLimits.Framing) -> String {
        var decoder = ChunkedDecoder()
        var data: [UInt8] = []
        var place = 0
        do throws(HTTPError) {
            for end in ends where end <= bytes.count {
                stretch: while true {
                    switch try decoder.decode(bytes.part(place, end), limits) {
                    case .data(let start, let consumed):
                        data += bytes.part(place + start, place + consumed)
                        place += consumed
                    case .needsMore(let consumed):
                        place += consumed
                        break stretch
                    case .end(let consumed):
                        return "\(data) end \(place + consumed)"
                    }
                }
            }
            return "\(data) more"
        } catch {
            return "\(data) \(error)"
        }
    }
}
