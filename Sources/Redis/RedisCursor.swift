// A forward walk over the elements of an array reply.
//
// Total: whatever shape the server's answer has, a walk over it ends, and an element of another kind
// than the one asked for is passed and told as nil. The caller decides whether that is an error.

/// Walks elements in the order they came. `enterArray` goes down, `skip` passes an element with all
/// that is in it. Pointers it gives are good as long as the cursor or its reply is held.
public struct RedisCursor {
    private let storage: ReplyStorage
    private var position: Int
    private let end: Int
    /// Elements of the outermost array that have not been passed. Not counted down inside an entered array.
    public private(set) var remaining: Int
    /// Elements still to pass of the arrays that were entered.
    private var inside = 0

    init(storage: ReplyStorage, position: Int, end: Int, remaining: Int) {
        self.storage = storage
        self.position = position
        self.end = end
        self.remaining = remaining
    }

    private var header: UInt64 { storage.base.load(fromByteOffset: position, as: UInt64.self) }

    /// A place to come back to. Cheaper than a copy of the cursor, which holds on to the reply.
    public struct Place {
        fileprivate let position: Int
        fileprivate let remaining: Int
        fileprivate let inside: Int
    }

    public var place: Place { Place(position: position, remaining: remaining, inside: inside) }

    public mutating func goBack(to place: Place) {
        (position, remaining, inside) = (place.position, place.remaining, place.inside)
    }

    /// Nothing is left.
    public var isAtEnd: Bool { position >= end }

    /// What comes next; nil at the end.
    public var kind: RedisReply.Kind? { isAtEnd ? nil : RedisReply.Kind(header: header) }

    /// The next element, as a reply of its own, which may be kept. The cursor stays.
    public var current: RedisReply? {
        guard !isAtEnd else { return nil }
        var after = self
        after.skip()
        return RedisReply(storage: storage, start: position, end: after.position)
    }

    /// Passes an element, with everything in it.
    public mutating func skip() {
        guard !isAtEnd else { return }
        passed(1)
        var left = 1
        while left > 0 {
            left -= 1
            let header = header
            if RedisReply.Kind(header: header) == .array { left += Int(header >> 4) }
            position += RedisCursor.width(header)
        }
    }

    /// Passes an element; its bytes if it was a text (a bulk string, a status or an error).
    public mutating func takeBytes() -> UnsafeRawBufferPointer? {
        guard position < end, case let header = header, RedisReply.Kind.isText(header: header) else {
            skip()
            return nil
        }
        let bytes = UnsafeRawBufferPointer(start: storage.base + position + 8, count: Int(header >> 4))
        passed(1)
        position += RedisCursor.width(header)
        return bytes
    }

    /// Passes an element; its value if it was an integer.
    public mutating func takeInteger() -> Int64? {
        guard kind == .integer else {
            skip()
            return nil
        }
        let value = storage.base.load(fromByteOffset: position + 8, as: Int64.self)
        passed(1)
        position += 16
        return value
    }

    /// Passes an element; its text if it had one. For names and messages, not for data.
    public mutating func takeText() -> String? {
        takeBytes().map { String(decoding: $0, as: UTF8.self) }
    }

    /// Enters an array: returns how many elements it has, and what comes next is its first one. The
    /// caller takes or skips exactly that many. Nil, and the element is passed, if it is no array.
    public mutating func enterArray() -> Int? {
        guard kind == .array else {
            skip()
            return nil
        }
        let count = Int(header >> 4)
        passed(1)
        inside += count
        position += 8
        return count
    }

    /// Passes an array and returns a walk over its elements; nil if it is no array. Costs a second pass
    /// over them, and spares the caller the counting.
    public mutating func takeArray() -> RedisCursor? {
        guard kind == .array else {
            skip()
            return nil
        }
        let first = position + 8
        let count = Int(header >> 4)
        skip()
        return RedisCursor(storage: storage, position: first, end: position, remaining: count)
    }

    /// A walk over the array that comes next, of which is known that nothing follows it; nil if it is no array.
    public var lastArray: RedisCursor? {
        guard kind == .array else { return nil }
        return RedisCursor(storage: storage, position: position + 8, end: end, remaining: Int(header >> 4))
    }

    /// Bytes of a value, the elements of an array not among them.
    @inline(__always) private static func width(_ header: UInt64) -> Int {
        if RedisReply.Kind.isText(header: header) { return 8 + (Int(header >> 4) + 7) & ~7 }
        return RedisReply.Kind(header: header) == .integer ? 16 : 8
    }

    private mutating func passed(_ count: Int) {
        if inside > 0 { inside -= count } else { remaining -= count }
    }
}
