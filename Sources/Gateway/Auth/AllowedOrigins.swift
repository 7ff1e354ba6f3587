// The origins of web pages that may call (`allowed_origins`, API.md §8), and what their browsers are told, without which a
// page may not read what it gets (Fetch Standard §3.3).
//
// It is told of one origin, never of any (`*`), and never that cookies may go along: there are none, and a token is a
// header that the page sets itself. A request without an Origin costs one look at the bits of its headers' names.

import HTTP
import Net

struct AllowedOrigins {
    /// In lower case.
    private let origins: [String]

    init(_ config: Config) { origins = config.allowedOrigins.map { $0.lowercased() } }

    func contains(_ origin: UnsafeRawBufferPointer) -> Bool {
        origins.contains(String(decoding: origin, as: UTF8.self).lowercased())
    }

    /// The request's Origin, if it is one of them.
    func named(by request: Request) -> UnsafeRawBufferPointer? {
        guard !origins.isEmpty, let origin = request.header("origin"), contains(origin) else { return nil }
        return origin
    }
}

extension Response {
    /// All that a reply may say in a header of ours. (Browsers show a page a few others unasked, Content-Type among them.)
    static let readableHeaders = ["X-Request-Id", "Retry-After", "Sluice-Block-Ms", "Idempotent-Replayed", "Allow", "WWW-Authenticate"]

    /// All that a call takes in a header which a page may not send unasked, but for those of an event's attributes.
    private static let takenHeaders = [
        "Authorization", "Content-Type", "Last-Event-ID", "Idempotency-Key", "If-None-Match", "X-Request-Id",
    ]

    /// How long a browser may remember what it was told beforehand: as long as any does.
    private static let preflightAge = Duration.seconds(7200)

    /// Pages of `origin` may read it.
    mutating func letRead(_ origin: UnsafeRawBufferPointer) {
        addHeader("Access-Control-Allow-Origin", origin)
        addHeader("Access-Control-Expose-Headers", Response.readableHeaders.joined(separator: ", "))
        addHeader("Vary", "Origin")
    }

    /// The answer to a browser that asks first whether a page may make a call (a preflight); `methods` are the path's.
    mutating func answerPreflight(_ request: Request, methods: String) {
        let wished = request.header("access-control-request-headers").map { $0.split(separator: UInt8(ascii: ",")) } ?? []
        // A CloudEvent in binary mode has attributes of any name, each a header.
        let attributes = wished.map { UnsafeRawBufferPointer(rebasing: $0).trimmed }.filter(\.isEventAttribute)
        let headers = Response.takenHeaders + attributes.map { String(decoding: $0, as: UTF8.self) }
        addHeader("Access-Control-Allow-Methods", methods)
        addHeader("Access-Control-Allow-Headers", headers.joined(separator: ", "))
        addHeader("Access-Control-Max-Age", "\(Response.preflightAge.components.seconds)")
    }
}

extension UnsafeRawBufferPointer {
    /// `ce-` and letters, digits or dashes.
    fileprivate var isEventAttribute: Bool {
        guard count > 3, UnsafeRawBufferPointer(rebasing: prefix(3)).equalsIgnoringCase("ce-") else { return false }
        return allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                UInt8(ascii: "-"):
                true
            default: false
            }
        }
    }
}
