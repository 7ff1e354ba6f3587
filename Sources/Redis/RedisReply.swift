// One reply, flat: values lie one behind the other in a buffer that all replies of one read share
// (CHiredis.h has the layout). For 100 messages this takes 34 µs where a tree of hiredis' objects
// takes 80.
//
// The buffer is written by the connection's parser while it reads, sealed before any task sees the
// reply, and never changed afterwards: that is why replies may cross threads.

import CHiredis
import Glibc
import Net

/// The memory behind the replies of one read from the socket.
final class ReplyStorage: @unchecked Sendable {
    // Unchecked: changed by the parser's thread until it is sealed, which is before anybody else has it.

    /// Moves while the parser still reads; the parser keeps it up to date.
    @usableFromInline var base: UnsafeRawPointer
    /// Whether `base` is ours to free; until then it is the parser's.
    var isSealed = false

    init(base: UnsafeRawPointer) { self.base = base }

    deinit {
        if isSealed { free(UnsafeMutableRawPointer(mutating: base)) }
    }
}

public struct RedisReply: Sendable {
    /// The kinds of RESP2.
    public enum Kind: UInt8, Sendable {
        /// A status line, `+OK`.
        case simple = 1
        case bulk = 2
        case integer = 3
        case array = 4
        /// `$-1`, the missing value.
        case null = 5
        /// `*-1`, the missing array: a read that found nothing, an aborted EXEC.
        case nullArray = 6
        case error = 7
    }

    let storage: ReplyStorage
    let start: Int
    let end: Int

    init(storage: ReplyStorage, start: Int, end: Int) {
        self.storage = storage
        self.start = start
        self.end = end
    }

    private var header: UInt64 { storage.base.load(fromByteOffset: start, as: UInt64.self) }

    public var kind: Kind { Kind(header: header) }

    /// True for the missing value and the missing array.
    public var isNull: Bool { kind == .null || kind == .nullArray }

    /// Elements of an array, bytes of a text; 0 for the others.
    public var count: Int { Int(header >> 4) }

    /// The value of an integer reply; nil for any other kind.
    public var integer: Int64? {
        kind == .integer ? storage.base.load(fromByteOffset: start + 8, as: Int64.self) : nil
    }

    /// The bytes of a bulk string, a status or an error; empty for any other kind. Good as long as this
    /// reply (or another of the same read) is held in a variable.
    public var bytes: UnsafeRawBufferPointer {
        switch kind {
        case .simple, .bulk, .error: UnsafeRawBufferPointer(start: storage.base + start + 8, count: count)
        default: .empty
        }
    }

    /// The same, with the reply kept alive by the call.
    public func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withExtendedLifetime(storage) { body(bytes) }
    }

    /// A text as a String, bytes that are not UTF-8 replaced. For messages and names, not for data.
    public var text: String { withBytes { String(decoding: $0, as: UTF8.self) } }

    /// Whether the bytes are exactly `literal`.
    public func matches(_ literal: StaticString) -> Bool {
        withBytes { $0.isSame(as: literal) }
    }

    /// A cursor at the first element of an array; one that is at its end for any other kind.
    public var elements: RedisCursor {
        kind == .array
            ? RedisCursor(storage: storage, position: start + 8, end: end, remaining: count)
            : RedisCursor(storage: storage, position: end, end: end, remaining: 0)
    }

    /// The error that an error reply stands for.
    public var error: RedisError? {
        kind == .error ? withBytes { RedisError(errorLine: $0) } : nil
    }
}

extension RedisReply.Kind {
    /// A bulk string, a status or an error.
    @inline(__always) static func isText(header: UInt64) -> Bool {
        let texts: UInt64 = 1 << RedisReply.Kind.bulk.rawValue | 1 << simple.rawValue | 1 << error.rawValue
        return texts >> (header & 15) & 1 == 1
    }

    @inline(__always) init(header: UInt64) {
        guard let kind = RedisReply.Kind(rawValue: UInt8(truncatingIfNeeded: header & 15)) else {
            preconditionFailure("The parser writes no other kind.")
        }
        self = kind
    }
}
