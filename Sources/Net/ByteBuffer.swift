// Bytes on their way in or out: a growing array with a read end and a write end.
//
// Owned by one loop. A class, so that it can be lent: connections borrow theirs from the loop's
// `BufferPool` while a request is in work, and an idle connection holds none.
// Pointers into it are good until the next append, `reserve`, `discard` or `clear`.

import Glibc

public final class ByteBuffer {
    @usableFromInline var base: UnsafeMutablePointer<UInt8>
    @usableFromInline var start = 0
    @usableFromInline var end = 0
    public private(set) var capacity: Int

    public init(capacity: Int = 4096) {
        self.capacity = max(capacity, 64)
        base = .allocate(capacity: self.capacity)
    }

    deinit { base.deallocate() }

    /// Bytes written and not yet discarded.
    @inlinable public var count: Int { end - start }
    @inlinable public var isEmpty: Bool { end == start }

    /// The readable bytes.
    @inlinable public var bytes: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: base + start, count: end - start)
    }

    @inlinable public subscript(index: Int) -> UInt8 {
        get { base[start + index] }
        set { base[start + index] = newValue }
    }

    // MARK: Writing

    @inlinable public func append(_ byte: UInt8) {
        if end == capacity { grow(1) }
        base[end] = byte
        end += 1
    }

    /// A literal: copied from the binary. Named apart from `append(_: String)`, which would win for literals.
    /// Inlined, so that a short one is a store or two.
    @inlinable @inline(__always) public func append(literal: StaticString) {
        let count = literal.utf8CodeUnitCount
        if capacity - end < count { grow(count) }
        UnsafeMutableRawPointer(base + end).copyMemory(from: literal.utf8Start, byteCount: count)
        end += count
    }

    @inlinable public func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        if capacity - end < bytes.count { grow(bytes.count) }
        UnsafeMutableRawPointer(base + end).copyMemory(from: source, byteCount: bytes.count)
        end += bytes.count
    }

    @inlinable public func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    @inlinable public func append(_ bytes: ArraySlice<UInt8>) {
        bytes.withUnsafeBytes { append($0) }
    }

    public func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// In decimal digits.
    @inlinable public func append<Number: FixedWidthInteger>(decimal number: Number) {
        if capacity - end < 21 { grow(21) }
        if number < 0 {
            base[end] = UInt8(ascii: "-")
            end += 1
        }
        let magnitude = UInt64(number.magnitude)
        let count = Decimal.digits(magnitude)
        Decimal.write(magnitude, count: count, to: base + end)
        end += count
    }

    /// Room for at least `count` bytes, for a `read(2)` to fill; then say how many with `wrote`.
    public func reserve(_ count: Int) -> UnsafeMutableRawBufferPointer {
        if capacity - end < count { grow(count) }
        return UnsafeMutableRawBufferPointer(start: base + end, count: capacity - end)
    }

    @inlinable public func wrote(_ count: Int) { end += count }

    /// Takes back the last bytes written, down to `count` readable ones.
    public func truncate(to count: Int) { end = start + count }

    // MARK: Reading

    @inlinable public func discard(_ count: Int) {
        start += count
        if start == end {
            start = 0
            end = 0
        }
    }

    public func clear() {
        start = 0
        end = 0
    }

    /// All that is readable, copied.
    public func takeArray() -> [UInt8] {
        defer { clear() }
        return Array(bytes)
    }

    @usableFromInline func grow(_ needed: Int) {
        let used = end - start
        if start > 0 && capacity - used >= needed && start >= capacity / 2 {
            memmove(base, base + start, used)  // Half of it is behind us: no need for more memory.
        } else {
            var size = capacity * 2
            while size - used < needed { size *= 2 }
            let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: size)
            memcpy(larger, base + start, used)
            base.deallocate()
            base = larger
            capacity = size
        }
        start = 0
        end = used
    }
}

/// A loop's spare buffers. Bounded, and large ones are let go: one big reply must not cost memory for ever.
public final class BufferPool {
    /// Spare buffers kept: as many as connections are typically busy in one tick.
    public static let spareLimit = 256
    /// A buffer that grew past this is freed, not kept.
    public static let keptCapacity = 64 * 1024
    /// What a new buffer holds: a request or a reply of the usual size.
    public static let newCapacity = 4096

    private var spare: [ByteBuffer] = []

    public init() {}

    public func take() -> ByteBuffer {
        spare.popLast() ?? ByteBuffer(capacity: BufferPool.newCapacity)
    }

    /// Nobody may use `buffer` after this.
    public func give(_ buffer: consuming ByteBuffer) {
        guard spare.count < BufferPool.spareLimit, buffer.capacity <= BufferPool.keptCapacity else { return }
        buffer.clear()
        spare.append(buffer)
    }
}
