// What the fuzzer (Sources/HTTPFuzz) may call of the parser's inside.

import Net

package enum HTTPFuzzing {
    /// Finds, cuts and parses a head as a connection does; any outcome is good that is no crash.
    package static func parseHead(_ bytes: UnsafeRawBufferPointer) {
        let limits = HTTPLimits()
        var finder = HeadFinder()
        var head = RequestHead()
        do throws(HTTPError) {
            try head.parse(bytes, limits)
        } catch {
            _ = error.status
        }
        do throws(HTTPError) {
            for length in [bytes.count / 2, bytes.count] {
                guard case .head(let end) = try finder.look(at: bytes.part(0, length), limits) else { continue }
                try head.parse(bytes.part(0, end), limits)
                return
            }
        } catch {
            _ = error.detail
        }
    }

    /// Decodes the bytes as a chunked body, whole and one by one.
    package static func splitsAgree(_ bytes: UnsafeRawBufferPointer) -> Bool {
        decode(bytes, step: max(bytes.count, 1)) == decode(bytes, step: 1)
    }

    private static func decode(_ bytes: UnsafeRawBufferPointer, step: Int) -> Outcome {
        var decoder = ChunkedDecoder()
        var outcome = Outcome()
        var place = 0
        do throws(HTTPError) {
            var end = 0
            while end < bytes.count {
                end = min(end + step, bytes.count)
                stretch: while true {
                    switch try decoder.decode(bytes.part(place, end), HTTPLimits.Framing(HTTPLimits())) {
                    case .data(let start, let consumed):
                        outcome.data += bytes.part(place + start, place + consumed)
                        place += consumed
                    case .needsMore(let consumed):
                        place += consumed
                        break stretch
                    case .end(let consumed):
                        outcome.end = place + consumed
                        return outcome
                    }
                }
            }
        } catch {
            outcome.error = error
        }
        return outcome
    }

    private struct Outcome: Equatable {
        var data: [UInt8] = []
        var end: Int?
        var error: HTTPError?
    }
}
