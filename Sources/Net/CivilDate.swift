// Dates of the Gregorian calendar, in UTC, and seconds since 1970.
//
// Years are counted from March on, so that the leap day is the last of its year (Howard Hinnant, "chrono-Compatible
// Low-Level Date Algorithms": civil_from_days and days_from_civil); 400 years, an era, have 146,097 days.

/// A second of a day since 1970-01-01.
package struct CivilDate: Equatable, Sendable {
    package var year: Int
    /// 1 to 12.
    package var month: Int
    package var day: Int
    package var hour = 0
    package var minute = 0
    package var second = 0

    package init(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
        (self.year, self.month, self.day) = (year, month, day)
        (self.hour, self.minute, self.second) = (hour, minute, second)
    }

    /// - Parameter seconds: since 1970, not below 0.
    package init(unixSeconds seconds: Int) {
        let (days, time) = seconds.quotientAndRemainder(dividingBy: 86_400)
        let shifted = days + CivilDate.daysBefore1970
        let (era, dayOfEra) = shifted.quotientAndRemainder(dividingBy: CivilDate.daysOfEra)
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153  // Months of 31, 30, 31, 30, 31 days, again and again.
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60)
    }

    /// Since 1970. A leap second is the first of the next minute.
    package var unixSeconds: Int {
        let (era, yearOfEra) = (month <= 2 ? year - 1 : year).quotientAndRemainder(dividingBy: 400)
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        let days = era * CivilDate.daysOfEra + dayOfEra - CivilDate.daysBefore1970
        return days * 86_400 + hour * 3600 + minute * 60 + second
    }

    /// As HTTP writes them (RFC 9110 §5.6.7), January first.
    package static let monthNames: [StaticString] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static let daysOfEra = 146_097
    /// From 0000-03-01.
    private static let daysBefore1970 = 719_468
}
