// A command under construction: the arguments of the RESP array as they will be sent, encoded once,
// in one piece of memory.
//
// The array's own header, which counts the arguments, is written when the command is sent: an XADD's
// field count is known late, and Redis refuses a count with leading zeros. Copies share their memory
// until one is changed.

import Glibc
import Net

public struct RedisCommand: @unchecked Sendable {
    // Unchecked: `memory` is changed only while this value is its one owner (`room`).

    /// What it means when no answer comes.
    public enum Effect: Sendable, Equatable {
        /// Changes nothing: may be repeated once after a reconnect.
        case read
        /// Changes data: without an answer its outcome is unknown, and it is never repeated.
        case write
        /// Changes data, and nothing more when it is executed again: may be repeated once after a reconnect; without
        /// an answer its outcome is unknown.
        case idempotent
        /// Hands something out to whoever asks (a group read, a claim): never repeated, as the first
        /// batch would be stranded.
        case consume
    }

    public let effect: Effect
    private var memory: ManagedBuffer<Header, UInt8>

    private struct Header {
        var used = 0
        var capacity: Int
        var argumentCount = 0
        var firstKey: Range<Int>?
        /// See `mark`.
        var mark = 0
    }

    /// - Parameters:
    ///   - name: one word, e.g. `XADD`; a second one (`XINFO STREAM`) is an argument.
    ///   - reserving: bytes that the whole command will probably take; more costs a copy.
    public init(_ name: StaticString, effect: Effect, reserving: Int = 192) {
        self.effect = effect
        memory = RedisCommand.allocate(capacity: max(reserving, 64))
        append(literal: name)
    }

    // MARK: Arguments

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        let count = bytes.count
        let place = room(for: count + RedisCommand.overhead)
        var end = place
        RedisCommand.write(UInt8(ascii: "$"), count, to: &end)
        if let source = bytes.baseAddress {
            memcpy(end, source, count)
            end += count
        }
        RedisCommand.writeLineEnd(&end)
        finishArgument(end - place)
    }

    public mutating func append(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { append($0) }
    }

    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// A literal: named apart from `append(_: String)`, which would win for literals.
    public mutating func append(literal: StaticString) {
        append(UnsafeRawBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    /// A number, in decimal digits.
    public mutating func append(decimal number: Int64) {
        let magnitude = number.magnitude
        let sign = number < 0 ? 1 : 0
        let place = room(for: 24 + RedisCommand.overhead)
        var end = place
        RedisCommand.write(UInt8(ascii: "$"), sign + Decimal.digits(magnitude), to: &end)
        if sign == 1 { RedisCommand.write(UInt8(ascii: "-"), to: &end) }
        RedisCommand.writeDigits(magnitude, to: &end)
        RedisCommand.writeLineEnd(&end)
        finishArgument(end - place)
    }

    public mutating func append(decimal number: Int) { append(decimal: Int64(number)) }

    /// A time span, as whole milliseconds.
    public mutating func append(milliseconds duration: Duration) {
        append(decimal: duration.milliseconds)
    }

    /// An entry's ID, as `ms-seq`; with `exclusive`, as `(ms-seq`, the open end of a range.
    public mutating func append(id: StreamID, exclusive: Bool = false) {
        let (first, second) = (Decimal.digits(id.milliseconds), Decimal.digits(id.sequence))
        let count = first + 1 + second
        let place = room(for: 48 + RedisCommand.overhead)
        var end = place
        RedisCommand.write(UInt8(ascii: "$"), exclusive ? count + 1 : count, to: &end)
        if exclusive { RedisCommand.write(UInt8(ascii: "("), to: &end) }
        RedisCommand.writeDigits(id.milliseconds, count: first, to: &end)
        RedisCommand.write(UInt8(ascii: "-"), to: &end)
        RedisCommand.writeDigits(id.sequence, count: second, to: &end)
        RedisCommand.writeLineEnd(&end)
        finishArgument(end - place)
    }

    /// A key: where the first is, is recorded. All of a command's are in one slot.
    public mutating func appendKey(_ key: UnsafeRawBufferPointer) {
        append(key)
        let end = memory.header.used - 2  // 2: the line end.
        if memory.header.firstKey == nil { memory.header.firstKey = end - key.count..<end }
    }

    public mutating func appendKey(_ key: [UInt8]) {
        key.withUnsafeBytes { appendKey($0) }
    }

    // MARK: Parts of it

    /// Remembers this place for `withMarkedArguments`.
    public mutating func mark() { memory.header.mark = memory.header.used }

    /// Appends the arguments of `other` that stand behind its first key, as they are encoded there.
    public mutating func append(argumentsBehindKeyOf other: RedisCommand) {
        guard let key = other.memory.header.firstKey else { preconditionFailure("That command has no key.") }
        other.withArguments { bytes in
            let rest = UnsafeRawBufferPointer(rebasing: bytes[(key.upperBound + 2)...])  // 2: the key's line end.
            let place = room(for: rest.count)
            if let source = rest.baseAddress { memcpy(place, source, rest.count) }
            memory.header.used += rest.count
        }
        memory.header.argumentCount += other.argumentCount - 2  // Its name and its key.
    }

    /// A place to come back to with `cut`.
    public var end: (used: Int, argumentCount: Int) { (memory.header.used, memory.header.argumentCount) }

    /// Takes back what was appended since `end`, which held no key; the memory stays.
    public mutating func cut(backTo end: (used: Int, argumentCount: Int)) {
        _ = room(for: 0)  // Copies that share the memory keep theirs.
        memory.header.used = end.used
        memory.header.argumentCount = end.argumentCount
    }

    // MARK: What it says

    /// The encoded arguments from the mark on: equal for equal arguments.
    public func withMarkedArguments<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        withArguments { body(UnsafeRawBufferPointer(rebasing: $0[memory.header.mark...])) }
    }

    /// Arguments so far, the name among them.
    public var argumentCount: Int { memory.header.argumentCount }

    /// Bytes so far, the array's header not among them.
    public var byteCount: Int { memory.header.used }

    /// The encoded arguments; they follow `*argumentCount` on the wire.
    func withArguments<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        memory.withUnsafeMutablePointers { header, bytes in
            body(UnsafeRawBufferPointer(start: bytes, count: header.pointee.used))
        }
    }

    // MARK: Memory

    @inline(__always) private func finishArgument(_ size: Int) {
        memory.withUnsafeMutablePointerToHeader { header in
            header.pointee.used += size
            header.pointee.argumentCount += 1
        }
    }

    /// An argument's `$`, digits and two line ends.
    private static let overhead = 1 + 20 + 2 + 2

    private static func allocate(capacity: Int) -> ManagedBuffer<Header, UInt8> {
        .create(minimumCapacity: capacity) { _ in Header(capacity: capacity) }
    }

    /// Where the next bytes go, with room for `count` of them.
    @inline(__always) private mutating func room(for count: Int) -> UnsafeMutablePointer<UInt8> {
        let isOwned = isKnownUniquelyReferenced(&memory)
        let fits = memory.withUnsafeMutablePointerToHeader { $0.pointee.used + count <= $0.pointee.capacity }
        if !isOwned || !fits { copyMemory(withRoomFor: count) }
        return memory.withUnsafeMutablePointers { $1 + $0.pointee.used }
    }

    @inline(never) private mutating func copyMemory(withRoomFor count: Int) {
        let old = memory
        memory = RedisCommand.allocate(capacity: max(old.header.used + count, 2 * old.header.used))
        let capacity = memory.header.capacity
        memory.header = old.header
        memory.header.capacity = capacity
        memory.withUnsafeMutablePointerToElements { target in
            _ = old.withUnsafeMutablePointerToElements { memcpy(target, $0, old.header.used) }
        }
    }

    private static func write(_ byte: UInt8, to place: inout UnsafeMutablePointer<UInt8>) {
        place.pointee = byte
        place += 1
    }

    /// A header line: its mark, a number, CR LF.
    @inline(__always)
    private static func write(_ mark: UInt8, _ number: Int, to place: inout UnsafeMutablePointer<UInt8>) {
        write(mark, to: &place)
        if number < 10 {  // As most arguments are.
            write(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: number), to: &place)
        } else {
            writeDigits(UInt64(number), to: &place)
        }
        writeLineEnd(&place)
    }

    private static func writeLineEnd(_ place: inout UnsafeMutablePointer<UInt8>) {
        write(UInt8(ascii: "\r"), to: &place)
        write(UInt8(ascii: "\n"), to: &place)
    }

    private static func writeDigits(_ number: UInt64, to place: inout UnsafeMutablePointer<UInt8>) {
        writeDigits(number, count: Decimal.digits(number), to: &place)
    }

    @inline(__always)
    private static func writeDigits(_ number: UInt64, count: Int, to place: inout UnsafeMutablePointer<UInt8>) {
        Decimal.write(number, count: count, to: place)
        place += count
    }
}
