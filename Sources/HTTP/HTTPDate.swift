// The value of `Date` (RFC 9110 §6.6.1), written once a second.

import Net

/// `IMF-fixdate` (RFC 9110 §5.6.7), as a whole header line.
struct HTTPDate {
    private(set) var line: [UInt8] = []
    /// The loop's time at which the next second of the wall clock begins.
    private var validUntil = Duration.zero

    /// Makes `line` that of the loop's present.
    @inline(__always) mutating func refresh(_ loop: EventLoop) {
        if loop.now >= validUntil || line.isEmpty { write(loop) }
    }

    private mutating func write(_ loop: EventLoop) {
        let wall = loop.clock.wallTime
        let seconds = wall.components.seconds
        validUntil = loop.now + .seconds(1) - (wall - .seconds(seconds))
        line = HTTPDate.line(seconds)
    }

    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` CRLF, of seconds since 1970.
    static func line(_ seconds: Int64) -> [UInt8] {
        let date = CivilDate(unixSeconds: Int(seconds))
        let buffer = ByteBuffer(capacity: 64)
        buffer.append(literal: "Date: ")
        buffer.append(literal: weekdays[Int((seconds / 86_400 + 4) % 7)])  // 1 January 1970 was a Thursday.
        buffer.append(literal: ", ")
        append(date.day, to: buffer)
        buffer.append(ASCII.space)
        buffer.append(literal: CivilDate.monthNames[date.month - 1])
        buffer.append(ASCII.space)
        buffer.append(decimal: date.year)
        buffer.append(ASCII.space)
        for (part, end) in [(date.hour, ":"), (date.minute, ":"), (date.second, " GMT\r\n")] {
            append(part, to: buffer)
            buffer.append(end)
        }
        return buffer.takeArray()
    }

    private static func append(_ number: Int, to buffer: ByteBuffer) {
        if number < 10 { buffer.append(UInt8(ascii: "0")) }
        buffer.append(decimal: number)
    }

    private static let weekdays: [StaticString] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
}
