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
        /// Where the argument that comes in pieces begins, and how many digits its header has.
        var openAt: Int?
        var openDigits = 0
        var firstKey: Range<Int>?
        var furtherKeys: [Range<Int>] = []
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
        let (seconds, attoseconds) = duration.components
        append(decimal: seconds * 1000 + attoseconds / 1_000_000_000_000_000)
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

    /// A key: an argument that is recorded, so that the command can be routed.
    public mutating func appendKey(_ key: UnsafeRawBufferPointer) {
        append(key)
        let end = memory.header.used - 2
        let range = end - key.count..<end
        if memory.header.firstKey == nil {
            memory.header.firstKey = range
        } else {
            memory.header.furtherKeys.append(range)
        }
    }

    public mutating func appendKey(_ key: [UInt8]) {
        key.withUnsafeBytes { appendKey($0) }
    }

    // MARK: An argument in pieces

    /// Begins an argument whose bytes come in pieces by `extend`, until `endArgument`.
    /// - Parameter expecting: how long it will probably be. A guess with the right number of digits saves
    ///   moving it, an upper bound saves growing.
    public mutating func beginArgument(expecting: Int) {
        precondition(memory.header.openAt == nil, "Arguments don't nest.")
        let place = room(for: expecting + RedisCommand.overhead)
        var end = place
        RedisCommand.write(UInt8(ascii: "$"), expecting, to: &end)
        memory.header.used += end - place
        memory.header.openAt = memory.header.used
        memory.header.openDigits = Decimal.digits(UInt64(expecting))
    }

    public mutating func extend(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        memcpy(room(for: bytes.count), source, bytes.count)
        memory.header.used += bytes.count
    }

    public mutating func extend(_ byte: UInt8) {
        room(for: 1).pointee = byte
        memory.header.used += 1
    }

    public mutating func endArgument() {
        guard let start = memory.header.openAt else { preconditionFailure("No argument was begun.") }
        let count = memory.header.used - start
        let shift = Decimal.digits(UInt64(count)) - memory.header.openDigits
        let place = room(for: max(shift, 0) + 2)
        let text = place - count
        if shift != 0 { memmove(text + shift, text, count) }
        var header = text - 3 - memory.header.openDigits
        RedisCommand.write(UInt8(ascii: "$"), count, to: &header)
        var end = place + shift
        RedisCommand.writeLineEnd(&end)
        memory.header.used += shift + 2
        memory.header.argumentCount += 1
        memory.header.openAt = nil
    }

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

    /// Keys so far.
    public var keyCount: Int { memory.header.firstKey == nil ? 0 : 1 + memory.header.furtherKeys.count }

    /// Calls `body` with each key, in order. The pointers are good for the call.
    public func forEachKey(_ body: (UnsafeRawBufferPointer) -> Void) {
        guard let first = memory.header.firstKey else { return }
        withArguments { bytes in
            body(UnsafeRawBufferPointer(rebasing: bytes[first]))
            for key in memory.header.furtherKeys { body(UnsafeRawBufferPointer(rebasing: bytes[key])) }
        }
    }

    /// The encoded arguments; they follow `*argumentCount` on the wire.
    func withArguments<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        precondition(memory.header.openAt == nil, "An argument was begun and not ended.")
        return memory.withUnsafeMutablePointers { header, bytes in
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
