// `Retry-After` (RFC 9110 §10.2.3): seconds, or a date in any of the three forms of §5.6.7.

import Net

enum RetryAfter {
    /// Nobody makes us wait longer.
    static let longest = Duration.seconds(3600)

    /// Nil for what is neither. A date that has passed is no wait at all.
    static func delay(_ text: String, wallTime: Duration) -> Duration? {
        let bytes = text.utf8.drop { $0 == 0x20 || $0 == 0x09 }
        let trimmed = Substring(bytes)
        guard !trimmed.isEmpty else { return nil }
        if bytes.allSatisfy({ (0x30...0x39).contains($0) || $0 == 0x20 }) {
            let digits = trimmed.split(separator: " ")
            guard digits.count == 1 else { return nil }
            guard let seconds = Int(digits[0]) else { return longest }  // Too many digits for 64 bits.
            return seconds > 3600 ? longest : .seconds(seconds)
        }
        guard let date = unixSeconds(String(trimmed)) else { return nil }
        return min(max(.seconds(date) - wallTime, .zero), longest)
    }

    /// Seconds since 1970 of an HTTP-date.
    static func unixSeconds(_ text: String) -> Int? {
        let words = text.split { $0 == " " || $0 == "," }
        // Sun, 06 Nov 1994 08:49:37 GMT
        if words.count == 6, words[5] == "GMT" { return seconds(words[1], words[2], words[3], words[4]) }
        // Sunday, 06-Nov-94 08:49:37 GMT
        if words.count == 4, words[3] == "GMT" {
            let parts = words[1].split(separator: "-")
            guard parts.count == 3, let year = Int(parts[2]), (0...99).contains(year) else { return nil }
            // Two digits mean the year nearest to now; what is waited for lies in this century.
            return seconds(parts[0], parts[1], Substring(String(2000 + year)), words[2])
        }
        // Sun Nov  6 08:49:37 1994
        if words.count == 5 { return seconds(words[2], words[1], words[4], words[3]) }
        return nil
    }

    private static func seconds(_ day: Substring, _ month: Substring, _ year: Substring, _ time: Substring) -> Int? {
        let clock = time.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        guard let day = Int(day), (1...31).contains(day), let month = CivilDate.monthNames.firstIndex(where: { $0.description == month }),
            let year = Int(year), (1970...9999).contains(year), clock.count == 3,
            let hour = clock[0], (0...23).contains(hour), let minute = clock[1], (0...59).contains(minute),
            let second = clock[2], (0...60).contains(second)
        else { return nil }
        return CivilDate(year: year, month: month + 1, day: day, hour: hour, minute: minute, second: second).unixSeconds
    }
}
