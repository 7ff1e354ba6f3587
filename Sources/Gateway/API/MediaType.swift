// What a body is, by its Content-Type (API.md §1.6). No vendor media types.

import HTTP
import Net

enum BodyForm {
    case json, ndjson, form
    /// One field, `data`.
    case text, bytes
    /// CloudEvents in structured mode: one, and a list.
    case event, events

    /// A form may still turn out to be JSON: see `seen`.
    init(_ request: Request) throws(Problem) {
        if let coding = request.header("content-encoding"), !coding.equalsIgnoringCase("identity") {
            throw Problem(.unsupportedMediaType, "Content-Encoding is not taken; send the body as it is.")
        }
        guard let header = request.header("content-type") else {
            self = .json
            return
        }
        if header.isSame(as: "application/json") {  // As nearly everybody writes it.
            self = .json
            return
        }
        let (type, charset) = MediaType.parse(header)
        if let charset, !charset.equalsIgnoringCase("utf-8"), !charset.equalsIgnoringCase("us-ascii"),
            !type.equalsIgnoringCase("application/octet-stream")
        {
            throw Problem(.unsupportedMediaType, "Text is UTF-8 here; any other charset is sent as application/octet-stream.")
        }
        if type.equalsIgnoringCase("application/json") { self = .json }
        else if type.equalsIgnoringCase("application/x-www-form-urlencoded") { self = .form }
        else if type.equalsIgnoringCase("application/x-ndjson") { self = .ndjson }
        else if type.equalsIgnoringCase("text/plain") { self = .text }
        else if type.equalsIgnoringCase("application/cloudevents+json") { self = .event }
        else if type.equalsIgnoringCase("application/cloudevents-batch+json") { self = .events }
        else if type.equalsIgnoringCase("application/octet-stream") { self = .bytes }
        else {
            throw Problem(
                .unsupportedMediaType,
                "\(Array(type).quoted) is not taken; send application/json, application/x-ndjson, application/x-www-form-urlencoded, text/plain, application/octet-stream, application/cloudevents+json or application/cloudevents-batch+json.")
        }
    }
}

extension BodyForm {
    /// What it is once its bytes are there: what `curl -d` sends as a form is JSON when it begins like that.
    func seen(_ bytes: UnsafeRawBufferPointer) -> BodyForm {
        self == .form && bytes.looksLikeJSON ? .json : self
    }
}

enum MediaType {
    /// `type/subtype` without blanks and parameters, and the charset (quotes taken off).
    static func parse(_ header: UnsafeRawBufferPointer) -> (type: UnsafeRawBufferPointer, charset: UnsafeRawBufferPointer?) {
        var charset: UnsafeRawBufferPointer?
        guard let end = header.firstIndex(of: UInt8(ascii: ";")) else { return (header.trimmed, nil) }
        let type = UnsafeRawBufferPointer(rebasing: header[..<end]).trimmed
        for parameter in header[(end + 1)...].split(separator: UInt8(ascii: ";")) {
            let part = UnsafeRawBufferPointer(rebasing: parameter).trimmed
            guard let equals = part.firstIndex(of: UInt8(ascii: "=")),
                UnsafeRawBufferPointer(rebasing: part[..<equals]).equalsIgnoringCase("charset")
            else { continue }
            charset = UnsafeRawBufferPointer(rebasing: part[(equals + 1)...]).trimmed.unquoted
        }
        return (type, charset)
    }

    /// Whether an Accept header leaves room for `type` (RFC 9110 §12.5.1), by type, `type/*` or `*/*`, with a weight above 0.
    static func accepts(
        _ header: UnsafeRawBufferPointer, _ type: StaticString, _ group: StaticString, any: StaticString = "*/*"
    ) -> Bool {
        for range in header.split(separator: UInt8(ascii: ",")) {
            let range = UnsafeRawBufferPointer(rebasing: range).trimmed
            let (name, _) = parse(range)
            guard name.equalsIgnoringCase(any) || name.equalsIgnoringCase(type) || name.equalsIgnoringCase(group) else { continue }
            if !hasZeroWeight(range) { return true }
        }
        return false
    }

    /// Whether an Accept header names just this, with a weight above 0.
    static func names(_ header: UnsafeRawBufferPointer, _ type: StaticString) -> Bool {
        accepts(header, type, type, any: type)
    }

    private static func hasZeroWeight(_ range: UnsafeRawBufferPointer) -> Bool {
        range.split(separator: UInt8(ascii: ";")).dropFirst().contains { parameter in
            let text = String(decoding: UnsafeRawBufferPointer(rebasing: parameter).trimmed, as: UTF8.self)
            return text.hasPrefix("q=0") && text.dropFirst(2).allSatisfy { $0 == "0" || $0 == "." }
        }
    }
}

extension UnsafeRawBufferPointer {
    fileprivate var unquoted: UnsafeRawBufferPointer {
        guard count >= 2, first == UInt8(ascii: "\""), last == UInt8(ascii: "\"") else { return self }
        return UnsafeRawBufferPointer(rebasing: self[1..<(count - 1)])
    }
}

extension Call {
    /// A body that must be JSON, whole.
    func jsonBody(_ limits: Limits) async throws(Problem) -> UnsafeRawBufferPointer {
        _ = try await body(upTo: limits.bodyBytes)
        return try jsonBodyAtHand(limits)
    }

    /// The same, where the body has come.
    func jsonBodyAtHand(_ limits: Limits) throws(Problem) -> UnsafeRawBufferPointer {
        guard let bytes = bodyAtHand(upTo: limits.bodyBytes), !bytes.isEmpty else { throw Problem(.invalidJSON, "This call takes a JSON body; none was sent.") }
        guard try BodyForm(request).seen(bytes) == .json else {
            throw Problem(.unsupportedMediaType, "This call takes application/json.")
        }
        return bytes
    }
}

extension UnsafeRawBufferPointer {
    var looksLikeJSON: Bool {
        let first = first { $0 > UInt8(ascii: " ") }
        return first == UInt8(ascii: "{") || first == UInt8(ascii: "[")
    }
}
