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
        let days = seconds / 86_400
        let time = Int(seconds % 86_400)
        let (year, month, day) = civil(days)
        let buffer = ByteBuffer(capacity: 64)
        buffer.append(literal: "Date: ")
        buffer.append(literal: weekdays[Int((days + 4) % 7)])  // 1 January 1970 was a Thursday.
        buffer.append(literal: ", ")
        append(day, to: buffer)
        buffer.append(literal: months[month - 1])
        buffer.append(decimal: year)
        buffer.append(ASCII.space)
        for (part, end) in [(time / 3600, ":"), (time / 60 % 60, ":"), (time % 60, " GMT\r\n")] {
            append(part, to: buffer)
            buffer.append(end)
        }
        return buffer.takeArray()
    }

    private static func append(_ number: Int, to buffer: ByteBuffer) {
        if number < 10 { buffer.append(UInt8(ascii: "0")) }
        buffer.append(decimal: number)
    }

    /// The Gregorian date of a day number since 1970-01-01, counted in years that begin in March, so that
    /// the leap day is the last (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    private static func civil(_ days: Int64) -> (year: Int, month: Int, day: Int) {
        let shifted = Int(days) + 719_468
        let era = shifted / 146_097
        let dayOfEra = shifted % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, day)
    }

    private static let weekdays: [StaticString] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months: [StaticString] = [
        " Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ", " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec ",
    ]
}
