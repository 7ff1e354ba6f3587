// What is kept of a reply while libcurl reads it: a pure value, fed line by line and piece by piece.
//
// libcurl ends a reply that was cut inside its head (`HTTP/1.1 200 OK\r\nContent-Le`, close) as a success
// with status 200. Only the blank line after a final head tells that one has arrived whole.

struct ReplyReader {
    private let limits: WebhookLimits
    private(set) var status = 0
    private(set) var headIsWhole = false
    private(set) var retryAfter: String?
    private(set) var kept: [UInt8] = []
    private(set) var bodyBytes = 0
    private(set) var isHeadTooLarge = false
    private(set) var isBodyTooLarge = false
    private var headBytes = 0
    private var keptLimit: Int

    /// What is kept of a `Retry-After`: a date has 29 bytes.
    private static let retryAfterLimit = 64

    init(limits: WebhookLimits = WebhookLimits()) {
        self.limits = limits
        keptLimit = limits.keptBodyBytes
    }

    /// Ready for the next reply, of whose body so many bytes are kept; nil: as the limits have it.
    mutating func reset(keeping bytes: Int? = nil) {
        keptLimit = bytes ?? limits.keptBodyBytes
        status = 0
        headIsWhole = false
        retryAfter = nil
        kept = []
        bodyBytes = 0
        isHeadTooLarge = false
        isBodyTooLarge = false
        headBytes = 0
    }

    /// One line as libcurl hands it over, its line end included. False: the head is too large.
    mutating func head(_ line: UnsafeRawBufferPointer) -> Bool {
        headBytes += line.count
        guard headBytes <= limits.maxHeadBytes else {
            isHeadTooLarge = true
            return false
        }
        // Lines after the final head are trailers (RFC 9112 §7.1.2).
        guard !headIsWhole else { return true }
        if isStatusLine(line) {
            status = statusCode(line)
            retryAfter = nil
        } else if line.count <= 2, line.allSatisfy({ $0 == UInt8(ascii: "\r") || $0 == UInt8(ascii: "\n") }) {
            // RFC 9110 §15.2: any number of 1xx heads may come before the final one. A 101 nobody asked for
            // is final: what follows it is not HTTP.
            headIsWhole = status >= 200 || status == 101
        } else if let value = value(of: "retry-after:", in: line) {
            retryAfter = value
        }
        return true
    }

    /// False: there is more than we read.
    mutating func body(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bodyBytes += bytes.count
        let room = keptLimit - kept.count
        if room > 0 { kept.append(contentsOf: bytes.prefix(room)) }
        isBodyTooLarge = bodyBytes > limits.maxBodyBytes
        return !isBodyTooLarge
    }

    var answer: WebhookAnswer {
        WebhookAnswer(status: status, retryAfter: retryAfter, body: kept, bodyTruncated: bodyBytes > kept.count)
    }

    private func isStatusLine(_ line: UnsafeRawBufferPointer) -> Bool {
        line.count >= 5 && line[0] == UInt8(ascii: "H") && line[1] == UInt8(ascii: "T")
            && line[2] == UInt8(ascii: "T") && line[3] == UInt8(ascii: "P") && line[4] == UInt8(ascii: "/")
    }

    /// RFC 9112 §4: three digits after the first space. 0 for anything else.
    private func statusCode(_ line: UnsafeRawBufferPointer) -> Int {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")), line.count >= space + 4 else { return 0 }
        let digits = line[(space + 1)...(space + 3)]
        guard digits.allSatisfy({ (0x30...0x39).contains($0) }) else { return 0 }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    /// `name` in lower case with its colon.
    private func value(of name: StaticString, in line: UnsafeRawBufferPointer) -> String? {
        guard line.count > name.utf8CodeUnitCount else { return nil }
        for index in 0..<name.utf8CodeUnitCount where line[index] | 0x20 != name.utf8Start[index] | 0x20 { return nil }
        let isSpace: (UInt8) -> Bool = { $0 == 0x20 || $0 == 0x09 || $0 == 0x0D || $0 == 0x0A }
        var rest = line[name.utf8CodeUnitCount...].drop(while: isSpace)
        while let last = rest.last, isSpace(last) { rest.removeLast() }
        return String(decoding: rest.prefix(ReplyReader.retryAfterLimit), as: UTF8.self)
    }
}
