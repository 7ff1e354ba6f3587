// The chunked transfer coding (RFC 9112 §7.1), as a pure state machine over whatever bytes have come.
//
// Strict: CRLF only, hex digits only, a size that fits; extensions and trailers are bounded, checked
// for bytes that no field may hold, and thrown away. It copies nothing: data is a range of its input.

import Net

struct ChunkedDecoder {
    private enum State {
        case size, extensionBlank, extensionText, sizeLineFeed
        case data, dataReturn, dataLineFeed
        case trailerStart, trailerName, trailerValue, trailerLineFeed, finalLineFeed
        case done
    }

    /// What the bytes given came to; `consumed` of them are done with.
    enum Step: Equatable {
        /// Body bytes: `start..<consumed` of the input.
        case data(start: Int, consumed: Int)
        /// The body and its trailers have ended.
        case end(consumed: Int)
        case needsMore(consumed: Int)
    }

    private var state = State.size
    private var size = 0
    private var digits = 0
    private var extensionLength = 0
    private var trailerLength = 0

    /// The body and its trailers have been read.
    var isDone: Bool { state == .done }

    /// Fifteen hex digits fit an Int with room to spare; nobody sends a chunk of an exabyte.
    private static let maximumDigits = 15

    /// Hands out at most one stretch of data a call. Never looks beyond `bytes`.
    mutating func decode(_ bytes: UnsafeRawBufferPointer, _ limits: HTTPLimits.Framing) throws(HTTPError) -> Step {
        var place = 0
        while place < bytes.count {
            if state == .data {
                let count = min(size, bytes.count - place)
                size -= count
                if size == 0 { state = .dataReturn }
                return .data(start: place, consumed: place + count)
            }
            if state == .done { break }
            try take(bytes[place], limits)
            place += 1
        }
        return state == .done ? .end(consumed: place) : .needsMore(consumed: place)
    }

    private mutating func take(_ byte: UInt8, _ limits: HTTPLimits.Framing) throws(HTTPError) {
        switch state {
        case .size: try takeSize(byte)
        case .extensionBlank, .extensionText: try takeExtension(byte, limits)
        case .sizeLineFeed:
            try expect(byte, ASCII.lineFeed)
            state = size == 0 ? .trailerStart : .data
        case .dataReturn:
            try expect(byte, ASCII.carriageReturn)
            state = .dataLineFeed
        case .dataLineFeed:
            try expect(byte, ASCII.lineFeed)
            startChunk()
        case .trailerStart, .trailerName, .trailerValue, .trailerLineFeed: try takeTrailer(byte, limits)
        case .finalLineFeed:
            try expect(byte, ASCII.lineFeed)
            state = .done
        case .data, .done: preconditionFailure("Data and what follows the end are not taken byte by byte.")
        }
    }

    private mutating func startChunk() {
        state = .size
        size = 0
        digits = 0
        extensionLength = 0
    }

    private mutating func takeSize(_ byte: UInt8) throws(HTTPError) {
        if let value = ASCII.hexValue(byte) {
            guard digits < ChunkedDecoder.maximumDigits else { throw .chunkSizeTooLarge }
            digits += 1
            size = size << 4 | Int(value)
            return
        }
        guard digits > 0 else { throw .malformedChunk }
        switch byte {
        case ASCII.carriageReturn: state = .sizeLineFeed
        case UInt8(ascii: ";"): state = .extensionText
        case ASCII.space, ASCII.tab: state = .extensionBlank  // BWS: only before an extension (§7.1.1).
        default: throw .malformedChunk
        }
    }

    private mutating func takeExtension(_ byte: UInt8, _ limits: HTTPLimits.Framing) throws(HTTPError) {
        extensionLength += 1
        guard extensionLength <= limits.chunkExtension else { throw .chunkExtensionTooLong }
        if byte == UInt8(ascii: ";") {
            state = .extensionText
        } else if state == .extensionBlank {
            guard ASCII.isBlank(byte) else { throw .malformedChunk }
        } else if byte == ASCII.carriageReturn {
            state = .sizeLineFeed
        } else if (byte < 0x20 && byte != ASCII.tab) || byte == 0x7F {
            throw .malformedChunk
        }
    }

    private mutating func takeTrailer(_ byte: UInt8, _ limits: HTTPLimits.Framing) throws(HTTPError) {
        trailerLength += 1
        guard trailerLength <= limits.trailers else { throw .trailerTooLarge }
        switch state {
        case .trailerStart where byte == ASCII.carriageReturn: state = .finalLineFeed
        case .trailerStart where ASCII.isToken(byte): state = .trailerName
        case .trailerName where ASCII.isToken(byte): break
        case .trailerName where byte == UInt8(ascii: ":"): state = .trailerValue
        case .trailerValue where byte == ASCII.carriageReturn: state = .trailerLineFeed
        case .trailerValue where (byte >= 0x20 && byte != 0x7F) || byte == ASCII.tab: break
        case .trailerLineFeed where byte == ASCII.lineFeed: state = .trailerStart
        default: throw .malformedChunk
        }
    }

    private func expect(_ byte: UInt8, _ wanted: UInt8) throws(HTTPError) {
        guard byte == wanted else { throw .malformedChunk }
    }
}
