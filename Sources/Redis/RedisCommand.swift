// A command under construction: the RESP array as it will be sent, encoded once.
//
// The header that counts the arguments is written last, right-aligned into a headroom at the front:
// an XADD's field count is known late, and Redis refuses leading zeros.

public struct RedisCommand: Sendable {
    /// What it means when no answer comes.
    public enum Effect: Sendable, Equatable {
        /// Changes nothing: may be repeated once after a reconnect.
        case read
        /// Changes data: without an answer its outcome is unknown, and it is never repeated.
        case write
        /// Hands something out to whoever asks (a group read, a claim): never repeated, as the first
        /// batch would be stranded.
        case consume
    }

    public let effect: Effect

    var storage: [UInt8]
    private var argumentCount = 0
    private var openArgument: Int?
    private var firstKeyRange: Range<Int>?
    private var furtherKeys: [Range<Int>] = []

    /// Room for `*`, ten digits and CR LF.
    private static let headroom = 13

    /// - Parameters:
    ///   - name: one word, e.g. `XADD`; a second one (`XINFO STREAM`) is an argument.
    ///   - reserving: bytes that the whole command will probably take.
    public init(_ name: StaticString, effect: Effect, reserving: Int = 160) {
        self.effect = effect
        storage = []
        storage.reserveCapacity(reserving)
        for _ in 0..<RedisCommand.headroom { storage.append(0) }
        append(literal: name)
    }

    // MARK: Arguments

    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        openHeader(bytes.count)
        storage.append(contentsOf: bytes)
        endLine()
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
    public mutating func append(decimal number: some FixedWidthInteger) {
        openHeader(RedisCommand.digits(number))
        appendDigits(number)
        endLine()
    }

    /// An entry's ID, as `ms-seq`.
    public mutating func append(id: StreamID) {
        openHeader(RedisCommand.digits(id.milliseconds) + 1 + RedisCommand.digits(id.sequence))
        appendDigits(id.milliseconds)
        storage.append(UInt8(ascii: "-"))
        appendDigits(id.sequence)
        endLine()
    }

    /// A key: an argument that is recorded, so that the command can be routed.
    public mutating func appendKey(_ key: UnsafeRawBufferPointer) {
        append(key)
        let range = storage.count - 2 - key.count..<storage.count - 2
        if firstKeyRange == nil { firstKeyRange = range } else { furtherKeys.append(range) }
    }

    public mutating func appendKey(_ key: [UInt8]) {
        key.withUnsafeBytes { appendKey($0) }
    }

    // MARK: An argument in pieces

    /// Begins an argument whose bytes come in pieces by `extend`, until `endArgument`.
    /// `expecting`: how long it will probably be; a guess with the right number of digits saves a move.
    public mutating func beginArgument(expecting: Int) {
        precondition(openArgument == nil, "Arguments don't nest.")
        openHeader(expecting)
        openArgument = storage.count
    }

    public mutating func extend(_ bytes: UnsafeRawBufferPointer) {
        storage.append(contentsOf: bytes)
    }

    public mutating func extend(_ byte: UInt8) {
        storage.append(byte)
    }

    public mutating func endArgument(expecting: Int) {
        guard let start = openArgument else { preconditionFailure("No argument was begun.") }
        openArgument = nil
        let count = storage.count - start
        if count != expecting {
            let header = start - RedisCommand.digits(expecting) - 2
            var right: [UInt8] = []
            RedisCommand.writeDigits(count, to: &right)
            storage.replaceSubrange(header..<start - 2, with: right)
        }
        endLine()
    }

    // MARK: What it says

    /// Whole, as it goes over the wire. The pointer is good for the call.
    func withEncoded<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        precondition(openArgument == nil, "An argument was begun and not ended.")
        fatalError()
    }

    private mutating func openHeader(_ count: Int) {
        argumentCount += 1
        storage.append(UInt8(ascii: "$"))
        appendDigits(count)
        endLine()
    }

    private mutating func endLine() {
        storage.append(UInt8(ascii: "\r"))
        storage.append(UInt8(ascii: "\n"))
    }

    private mutating func appendDigits(_ number: some FixedWidthInteger) {
        RedisCommand.writeDigits(number, to: &storage)
    }
    private static func writeDigits(_ number: some FixedWidthInteger, to storage: inout [UInt8]) {}
    private static func digits(_ number: some FixedWidthInteger) -> Int { 0 }
}
