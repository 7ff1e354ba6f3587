// Dates and seconds since 1970. The known answers are those of `date -u -d @SECONDS`.

import Net
import Testing

struct CivilDateTests {
    @Test(arguments: [
        (0, CivilDate(year: 1970, month: 1, day: 1)),
        (784_111_777, CivilDate(year: 1994, month: 11, day: 6, hour: 8, minute: 49, second: 37)),
        (951_782_400, CivilDate(year: 2000, month: 2, day: 29)),
        (951_868_799, CivilDate(year: 2000, month: 2, day: 29, hour: 23, minute: 59, second: 59)),
        (4_107_542_400, CivilDate(year: 2100, month: 3, day: 1)),
        (253_402_300_799, CivilDate(year: 9999, month: 12, day: 31, hour: 23, minute: 59, second: 59)),
    ])
    func `a second has its date, and a date its second`(seconds: Int, date: CivilDate) {
        #expect(CivilDate(unixSeconds: seconds) == date)
        #expect(date.unixSeconds == seconds)
    }

    @Test func `each day of four centuries comes back, and follows the one before it`() {
        var before = CivilDate(unixSeconds: 0)
        for day in 1...146_097 {
            let date = CivilDate(unixSeconds: day * 86_400)
            let follows = date.day == before.day + 1 && date.month == before.month
                || date.day == 1 && (date.month == before.month + 1 || date.month == 1 && before.month == 12 && date.year == before.year + 1)
            guard date.unixSeconds == day * 86_400, follows else {
                Issue.record("\(date) after \(before)")
                return
            }
            before = date
        }
        #expect(before == CivilDate(year: 2370, month: 1, day: 1))
    }
}
